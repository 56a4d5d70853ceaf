"""The cohort model of ACTG175 against the real patients: dependence, privacy, bits, and the effect it must preserve."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trialsim.cohort import CohortModel
from trialsim.cohort.fitted import FittedCohort
from trialsim.data import PatientTable
from trialsim.records import Cohort
from trialsim.rng import Block, Streams


@pytest.fixture(scope="module")
def drawn(actg_cohort: FittedCohort) -> Cohort:
    """100 cohorts of 2,139 patients."""
    return actg_cohort.sample(Streams(175), Block(0, 100), 2139)


def test_it_is_a_cohort_model(actg_cohort: FittedCohort):
    assert isinstance(actg_cohort, CohortModel)
    assert len(actg_cohort.names) == 16
    assert actg_cohort.units["age"] == actg_cohort.units["preanti"] == "time"
    assert actg_cohort.units["cd40"] == "cells/mm3"
    assert actg_cohort.levels["strat"] == ("1", "2", "3")
    assert actg_cohort.card["left_out"]["zprior"] == "it is constant"


def test_pairwise_correlations_are_those_of_the_data(actg_cohort: FittedCohort, actg_patients: Cohort, drawn: Cohort):
    """Largest error below 0.05 (found: 0.033); the Monte Carlo error of a correlation here is below 1 / sqrt(213,900) = 0.0022."""
    names = actg_cohort.names
    real = np.corrcoef(np.stack([actg_patients.columns[name][0].numpy() for name in names]))
    synthetic = np.corrcoef(np.stack([drawn.columns[name].flatten().numpy() for name in names]))
    error = np.abs(synthetic - real)
    assert error.max() < 0.05
    assert actg_cohort.card["largest_correlation_error"] == pytest.approx(error.max(), abs=0.008)


def test_means_and_shares_are_those_of_the_data(actg_cohort: FittedCohort, actg_patients: Cohort, drawn: Cohort):
    for name in actg_cohort.names:
        real, synthetic = actg_patients.columns[name][0], drawn.columns[name].flatten()
        assert abs(synthetic.mean() - real.mean()) < 0.02 * real.std() + 4 * real.std() / math.sqrt(213_900)
        assert 0.95 < synthetic.std() / real.std() < 1.05


def test_rules_hold_in_every_patient(drawn: Cohort):
    days, naive = drawn.columns["preanti"], drawn.columns["strat"] == 0
    assert ((drawn.columns["str2"] == 0) == naive).all()
    assert ((days == 0) <= naive).all()
    assert abs((days == 0).double().mean() - 873 / 2139) < 4 * 0.5 / math.sqrt(213_900)


def test_no_real_value_is_emitted(actg_cohort: FittedCohort, actg_table: PatientTable, drawn: Cohort):
    """No synthetic number of a smooth column equals a real one, except at the atom (0 days of therapy), which 873 share."""
    for name in ("age", "wtkg", "cd40", "cd80", "preanti"):
        scale = 365.25 if name == "age" else 1.0
        synthetic = drawn.columns[name].flatten().numpy()
        assert not np.isin(synthetic[synthetic > 0], actg_table.numbers(name) * scale).any()


def test_a_patient_does_not_depend_on_the_block(actg_cohort: FittedCohort):
    whole = actg_cohort.sample(Streams(3), Block(0, 64), 200, attempt=2)
    for first, size, n in ((0, 7, 200), (63, 1, 131), (5, 1, 1)):
        part = actg_cohort.sample(Streams(3), Block(first, size), n, attempt=2)
        for name in actg_cohort.names:
            assert torch.equal(part.columns[name], whole.columns[name][first : first + size, :n])
        for fitted in (actg_cohort.events["event"].linear_predictor, actg_cohort.values["cd4", "w20"].mean):
            assert torch.equal(fitted(part), fitted(whole)[first : first + size, :n])


def _cox(time: np.ndarray, event: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Log HR and SE of one covariate, by Newton's method (times without ties)."""
    order = np.argsort(time, kind="stable")
    event, x, beta = event[order], x[order], 0.0
    for _ in range(8):
        weight = np.exp(beta * x)
        mean = np.cumsum((weight * x)[::-1])[::-1] / np.cumsum(weight[::-1])[::-1]
        information = (event * mean * (1 - mean)).sum()
        beta += (event * (x - mean)).sum() / information
    return beta, information**-0.5


def test_the_treatment_effect_is_preserved(actg_cohort: FittedCohort, actg_table: PatientTable, drawn: Cohort):
    """Cohorts drawn from the model, randomised 3:1, followed as in the trial, and analysed by an unadjusted Cox regression.

    The conditional HR of the model (about 0.51) must dilute to the marginal one of the data, 0.535. Over 100 cohorts the
    MCSE of the mean log HR is 0.009, that of its SD 0.0065.
    """
    replicates, n = 100, 2139
    block, streams, event = Block(0, replicates), Streams(175), actg_cohort.events["event"]
    days, seen, treat = (actg_table.numbers(name) for name in ("days", "cens", "treat"))
    beta, se = _cox(days, seen, treat)
    assert beta == pytest.approx(math.log(0.535), abs=0.002)

    arm = (streams("allocation").uniform(block, n) < 0.75).double()
    hazard = streams("outcome/event").exponential(block, n) / torch.exp(event.linear_predictor(drawn) + arm * event.arm_log_hr["combination"])
    starts = torch.tensor([0.0, *event.breaks], dtype=torch.float64)
    hazards = torch.tensor(event.hazards, dtype=torch.float64)
    cumulative = torch.cat((torch.zeros(1, dtype=torch.float64), torch.cumsum(starts.diff() * hazards[:-1], 0)))
    piece = torch.searchsorted(cumulative, hazard, right=True) - 1
    time = starts[piece] + (hazard - cumulative[piece]) / hazards[piece]
    # censoring times from the data's reverse Kaplan–Meier estimate
    censored, counts = np.unique(days[seen == 0], return_counts=True)
    left = np.cumprod(1 - counts / np.array([(days >= t).sum() for t in censored]))
    place = torch.searchsorted(torch.from_numpy(1 - left), streams("dropout").uniform(block, n)).clamp(max=len(censored) - 1)
    censoring = torch.from_numpy(censored)[place]
    observed, happened = torch.minimum(time, censoring).numpy(), (time <= censoring).numpy()

    # 521 events; 3 % for censoring that is not quite independent of the baseline, and 4 MCSE (SD about 20)
    assert abs(happened.sum(1).mean() - seen.sum()) < 0.03 * seen.sum() + 4 * 20 / math.sqrt(replicates)
    found = np.array([_cox(observed[r], happened[r], arm[r].numpy()) for r in range(replicates)])
    assert abs(found[:, 0].mean() - beta) < 0.03
    assert abs(found[:, 0].std(ddof=1) - se) < 3 * se / math.sqrt(2 * replicates)
    assert abs(found[:, 1].mean() - se) < 0.005


def test_the_difference_in_cd4_is_preserved(actg_cohort: FittedCohort, actg_table: PatientTable, drawn: Cohort):
    block, streams, value = Block(0, 100), Streams(175), actg_cohort.values["cd4", "w20"]
    arm = (streams("allocation").uniform(block, 2139) < 0.75).double()
    y = value.mean(drawn) + arm * value.arm_difference["combination"] + value.sd * streams("outcome/cd4").normal(block, 2139)
    difference = (y * arm).sum(1) / arm.sum(1) - (y * (1 - arm)).sum(1) / (1 - arm).sum(1)
    real = actg_table.numbers("cd420")
    assert abs(difference.mean() - 49.4) < 1 + 4 * 7.2 / math.sqrt(100)  # the adjusted one: baselines are balanced in a draw
    assert abs(difference.std() - 7.1) < 4 * 7.1 / math.sqrt(200)
    assert abs(y.std() / real.std() - 1) < 0.02
    r = np.corrcoef(y.flatten(), drawn.columns["cd40"].flatten())[0, 1]
    assert abs(r - np.corrcoef(real, actg_table.numbers("cd40"))[0, 1]) < 0.03
