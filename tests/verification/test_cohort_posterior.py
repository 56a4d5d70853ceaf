"""The uncertainty of ACTG175's hazard ratio: the Laplace guide against NUTS, and why a mean-field guide would not do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trialsim.cohort.fitted import FittedEvent
from trialsim.cohort.fitted.columns import covariates_of
from trialsim.cohort.fitted.features import design_matrix, terms_of
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.nuts import draw_effects, log_joint, nuts_check
from trialsim.cohort.fitted.outcomes.events import fit_event
from trialsim.data import load_card, read_table

DATA = Path(__file__).parents[2] / "trials" / "data"
ARMS = ("combination", "zdv")


@pytest.fixture(scope="module")
def trial() -> tuple[FittedEvent, dict]:
    """The fitted event and what it was fitted to; no baseline of ACTG175 is missing."""
    table = read_table(DATA / "actg175.csv", load_card(DATA / "actg175.card.yaml"))
    found = covariates_of(table, rows=np.ones(table.n, dtype=bool), without=["treat", "days", "cens", "cd420"])[0]
    covariates = [covariate for covariate in found if not covariate.hidden]
    columns = {covariate.name: covariate.held() for covariate in covariates}
    terms = terms_of(covariates, columns)
    data = {
        "time": table.numbers("days"),
        "event": table.numbers("cens"),
        "arm": 1 - table.numbers("treat").astype(np.int64),
        "design": design_matrix(terms, columns),
        "arms": ARMS,
    }
    with isolated(1):
        return fit_event(**data, reference=1, terms=terms), data


@pytest.mark.slow
def test_nuts_and_the_laplace_guide_agree(trial):
    """SD of the log HR 0.08–0.10 under both, equal within their Monte Carlo error."""
    fitted, data = trial
    found = nuts_check(fitted, **data, of="combination", draws=1000, warmup=300)
    assert found.n_divergent == 0
    assert found.r_hat < 1.02
    assert found.ess > 300
    assert 0.08 <= found.laplace_sd <= 0.10
    assert 0.08 <= found.sd <= 0.10
    assert abs(found.sd - found.laplace_sd) < 3 * found.sd_mcse
    assert abs(found.mean - found.laplace_mean) < 3 * found.mean_mcse + 0.05 * found.sd
    assert found.agrees


@pytest.mark.slow
def test_a_mean_field_guide_is_overconfident(trial):
    """AutoNormal, fitted here by SVI in the model's own coordinates: its SD is that of the log HR with all else known.

    Two ways: the optimum in closed form, precision_ii^(−1/2) (Bishop 2006, eq. 10.12), and Pyro's own fit.
    """
    import pyro
    import pyro.distributions as dist
    from pyro.infer import SVI, Trace_ELBO
    from pyro.infer.autoguide import AutoNormal, init_to_value

    fitted, data = trial
    place = len(fitted.hazards)
    optimum = float(torch.linalg.inv(fitted.posterior.covariance)[place, place]) ** -0.5
    density = log_joint(fitted, **data)
    centre = torch.cat([value.reshape(-1) for value in fitted.posterior.mode.values()])

    def model() -> None:
        theta = pyro.sample("theta", dist.Normal(torch.zeros_like(centre), 1.0).to_event(1).mask(False))
        pyro.factor("density", density(theta))

    with isolated(1), pyro.get_param_store().scope():
        guide = AutoNormal(model, init_loc_fn=init_to_value(values={"theta": centre}), init_scale=0.05)
        svi = SVI(model, guide, pyro.optim.ClippedAdam({"lr": 0.01, "lrd": 0.1 ** (1 / 1500)}), Trace_ELBO(num_particles=4, vectorize_particles=False))
        for _ in range(1500):
            svi.step()
        sd = guide.scales.theta.detach()[place].item()
    assert 0.045 < optimum < 0.06
    assert abs(sd - optimum) < 0.1 * optimum
    assert sd < 0.7 * fitted.log_hr_sd["combination"]


@pytest.mark.slow
def test_draws_for_assurance_have_the_full_spread(trial):
    fitted, _ = trial
    n = 20_000
    log_hr = draw_effects(fitted.posterior, n, seed=1)["log_hr"][:, 0].numpy()
    assert abs(log_hr.std() - fitted.log_hr_sd["combination"]) < 4 * fitted.log_hr_sd["combination"] / np.sqrt(2 * n)
    assert abs(log_hr.mean() - fitted.arm_log_hr["combination"]) < 4 * fitted.log_hr_sd["combination"] / np.sqrt(n)
