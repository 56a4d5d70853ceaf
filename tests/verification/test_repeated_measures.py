"""Type I error and coverage of mixed models for repeated measures, with dropout at random, by sample size and degrees of freedom."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from trialsim.analysis import p_value
from trialsim.analysis.methods.clda import Clda
from trialsim.analysis.methods.mmrm import Mmrm
from trialsim.records import VisitData

QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}
REPLICATES = 20_000
VISITS = 4
EFFECT = torch.tensor([0.0, 0.2, 0.4, 0.6], dtype=torch.float64)


def _trials(n: int, seed: int, *, effect: float, adjusted: bool = True) -> VisitData:
    """Unstructured errors and a baseline, a covariate if `adjusted`; who does badly at a visit is likelier to be gone at the next: about a third by the end."""
    generator = torch.Generator().manual_seed(seed)
    patient, noise = (torch.randn((REPLICATES, n, k), generator=generator, dtype=torch.float64) for k in (1, VISITS))
    group = (torch.arange(n) % 2).to(torch.int8).expand(REPLICATES, n).contiguous()
    value = 0.8 * patient + 0.5 * noise + 0.4 * noise.cumsum(-1)
    value = value + effect * group[..., None] * EFFECT + 0.3 * torch.arange(VISITS)
    risk = torch.sigmoid(-2.2 - 0.7 * value[..., :-1])
    gone = torch.zeros(value.shape, dtype=torch.bool)
    gone[..., 1:] = (torch.rand(risk.shape, generator=generator, dtype=torch.float64) < risk).cummax(-1).values
    baseline = patient[..., 0] + 0.5 * torch.randn((REPLICATES, n), generator=generator, dtype=torch.float64)
    return VisitData(
        value=torch.where(gone, torch.nan, value), group=group, at=VISITS - 1, baseline=baseline, covariates=baseline[..., None] if adjusted else None
    )


def _share(hits: torch.Tensor) -> float:
    return hits.double().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("df", ["satterthwaite", "kenward_roger_linear"])
@pytest.mark.parametrize("n", [60, 200])
def test_type_one_error_of_mmrm(n: int, df: str) -> None:
    """Two-sided 5 % within 3 MCSE (0.46 %)."""
    found = Mmrm(method="mmrm", df=df, **QUESTION).estimate(_trials(n, 1, effect=0.0), favours=1)
    assert (found.failure == 0).all()
    assert abs(_share(p_value(found, sides=2) < 0.05) - 0.05) < 3 * math.sqrt(0.05 * 0.95 / REPLICATES)


@pytest.mark.slow
def test_kenward_roger_in_the_parameters_of_mmrm_rejects_too_often_in_small_trials() -> None:
    """40 patients: 6.1 % (5.3 % with Satterthwaite, 4.8 % with kenward_roger_linear); 200 patients: 5.1 %."""
    share = {}
    for n in (40, 200):
        found = Mmrm(method="mmrm", df="kenward_roger", **QUESTION).estimate(_trials(n, 1, effect=0.0), favours=1)
        share[n] = _share(p_value(found, sides=2) < 0.05)
    assert share[40] == pytest.approx(0.0606, abs=3 * math.sqrt(0.06 * 0.94 / REPLICATES))
    assert abs(share[200] - 0.05) < 3 * math.sqrt(0.05 * 0.95 / REPLICATES)


@pytest.mark.slow
def test_type_one_error_of_clda() -> None:
    found = Clda(method="clda", df="kenward_roger_linear", **QUESTION).estimate(_trials(100, 2, effect=0.0, adjusted=False), favours=1)
    assert (found.failure == 0).all()
    assert abs(_share(p_value(found, sides=2) < 0.05) - 0.05) < 3 * math.sqrt(0.05 * 0.95 / REPLICATES)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Mmrm, Clda])
def test_coverage_and_bias(kind: type[Mmrm] | type[Clda]) -> None:
    """The 95 % interval holds the true difference within 3 MCSE; the estimate is unbiased, though dropout depends on what was seen."""
    found = kind(method=kind.__name__.lower(), **QUESTION).estimate(_trials(120, 3, effect=1.0, adjusted=kind is Mmrm), favours=1)
    assert (found.failure == 0).all()
    error = found.estimate - EFFECT[-1]
    covered = error.abs() <= torch.tensor(stats.t.ppf(0.975, found.df.numpy())) * found.std_error
    assert abs(_share(covered) - 0.95) < 3 * math.sqrt(0.05 * 0.95 / REPLICATES)
    assert abs(error.mean().item()) < 3 * error.std().item() / math.sqrt(REPLICATES)
