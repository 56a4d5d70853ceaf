"""Eligible patients drawn directly: against rejection, against the truncated normal of SciPy, and where rejection is hopeless."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.cohort import Criterion, check_acceptance, draw_cohort
from trialsim.cohort.eligibility import acceptance_rate, eligible
from trialsim.cohort.fitted import FittedCohort, FittedColumn
from trialsim.cohort.fitted.conditional import draw_by_importance, given, narrowed, truncated_normal, truncations
from trialsim.cohort.fitted.dependence import GaussianFactors
from trialsim.cohort.fitted.margins import fit_smooth, fit_stepped
from trialsim.cohort.fitted.rules import Copy, Rule
from trialsim.errors import DataError, ProtocolError
from trialsim.rng import Block, Streams

LOADINGS = torch.tensor([[0.8, 0.1], [0.6, -0.5], [-0.5, 0.6], [0.3, 0.7]], dtype=torch.float64)


@pytest.fixture(scope="module")
def model() -> FittedCohort:
    """Two numbers, a category of three levels, a binary column linked to it; a rule and a copy of the first number."""
    rng = np.random.default_rng(1)
    x, y = np.exp(rng.normal(size=4000)), 50 + 10 * rng.normal(size=4000)
    stage = rng.choice(3, 4000, p=[0.5, 0.3, 0.2]).astype(float)
    flag = (rng.random(4000) < 0.2 + 0.3 * stage).astype(float)
    margins = [
        fit_smooth(x)[0],
        fit_smooth(y)[0],
        fit_stepped(stage, np.arange(3.0))[0],
        fit_stepped(flag, np.arange(2.0), {"stage": (stage, 3)})[0],
    ]
    columns = [FittedColumn(name, "", (), margin, None) for name, margin in zip(("x", "y", "stage", "flag"), margins, strict=True)]
    columns += [
        FittedColumn("high", "", (), None, Rule("x", (1.5, 4.0), (0, 1, 2), (0.0, 1.0, 2.0))),
        FittedColumn("again", "", (), None, Copy("x", 1.0, -2.0)),
    ]
    return FittedCohort(columns=tuple(columns), dependence=GaussianFactors(LOADINGS, (1 - (LOADINGS**2).sum(-1)).sqrt()), card={})


def _criteria(**given_: dict) -> dict[str, Criterion]:
    return {name: Criterion.model_validate({"category": "inclusion", "covariate": name.split("_")[0], **keys}) for name, keys in given_.items()}


@pytest.mark.parametrize("intervals", [[(-math.inf, -1.0)], [(0.3, 0.5)], [(-2.0, -1.0), (0.0, 0.1), (1.5, math.inf)], [(4.0, math.inf)], [(-math.inf, -5.0)]])
def test_a_truncated_normal_has_its_distribution_function(intervals):
    """Increasing in z, and F(t(z)) = Φ(z) with F of SciPy's normal."""
    z = torch.linspace(-4, 4, 801, dtype=torch.float64)
    t, mass = truncated_normal(z, [(torch.full_like(z, low), torch.full_like(z, high)) for low, high in intervals])
    p = [stats.norm.cdf(high) - stats.norm.cdf(low) if low < 0 else stats.norm.sf(low) - stats.norm.sf(high) for low, high in intervals]
    np.testing.assert_allclose(mass.numpy(), sum(p), rtol=1e-9)
    assert (t.diff() >= 0).all()
    assert all(any(low <= value <= high for low, high in intervals) for value in t.tolist())
    above = np.array([sum(max(0.0, stats.norm.sf(max(low, v)) - stats.norm.sf(high)) for low, high in intervals if high > v) for v in t.tolist()])
    np.testing.assert_allclose(above / sum(p), stats.norm.sf(z.numpy()), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "criteria, column",
    [
        (_criteria(x={"min": 2.5}), "x"),
        (_criteria(x={"min": 0.2, "max": 0.4}), "x"),
        (_criteria(stage={"equals": 2}), "stage"),
        (_criteria(stage={"in": [0, 2]}), "stage"),
        (_criteria(high={"equals": 2}), "x"),
        (_criteria(again={"min": 0.5}), "x"),
        ({"no": Criterion.model_validate({"category": "exclusion", "covariate": "y", "min": 40, "max": 65})}, "y"),
    ],
)
def test_it_agrees_with_rejection(model, criteria, column):
    """Every column, and the correlations, of 25,600 patients given the criterion against those who meet it among 100 times as many drawn."""
    (truncation,) = truncations(model, criteria)
    assert truncation.column == column
    block, n = Block(0, 64), 400
    everybody = model.sample(Streams(2), Block(0, 256), 1000)
    meets = eligible(criteria, everybody)
    share = meets.double().mean().item()
    assert abs(truncation.probability - share) < 4 * math.sqrt(share * (1 - share) / 256_000)
    direct = given(model, truncation).sample(Streams(3), block, n)
    assert eligible(criteria, direct).all()
    ours = np.stack([direct.columns[name].numpy().ravel() for name in model.names])
    theirs = np.stack([everybody.columns[name][meets].numpy() for name in model.names])
    for one, two in zip(ours, theirs, strict=True):
        bound = 1.95 * math.sqrt(1 / one.size + 1 / two.size)  # KS: 1 in 1,000
        assert stats.ks_2samp(one, two).statistic < bound
    both = np.corrcoef(np.stack([ours[0], ours[1]]))[0, 1], np.corrcoef(np.stack([theirs[0], theirs[1]]))[0, 1]
    assert abs(both[0] - both[1]) < 4 * 1.5 * math.sqrt(1 / ours.shape[1] + 1 / theirs.shape[1])


def test_criteria_that_no_interval_expresses_are_left_to_rejection(model):
    assert truncations(model, _criteria(flag={"equals": 1})) == ()
    assert narrowed(model, _criteria(flag={"equals": 1}))[1] == 1.0


def test_ordinary_criteria_change_nothing(model):
    criteria = _criteria(x={"min": 1}, stage={"in": [0, 1]})
    assert narrowed(model, criteria) == (model, 1.0)
    block, n = Block(0, 3), 50
    ours = draw_cohort(model, criteria, Streams(1), block, n)
    attempts = [model.sample(Streams(1), block, n, attempt=attempt) for attempt in range(60)]
    passed = torch.stack([eligible(criteria, cohort) for cohort in attempts])
    first = passed.double().argmax(0)
    for name, column in ours.columns.items():
        assert torch.equal(column, torch.stack([cohort.columns[name] for cohort in attempts]).gather(0, first[None])[0])


def test_one_in_a_hundred_thousand_is_drawn_at_once(model):
    """Rejection would need 100,000 attempts a patient, and is refused."""
    table = next(column.margin.table for column in model.columns if column.name == "x")
    bound = float(np.interp(stats.norm.isf(1e-5), np.linspace(-4.5, 4.5, len(table)), table.numpy()))
    criteria = _criteria(x={"min": bound})
    assert truncations(model, criteria)[0].probability == pytest.approx(1e-5, rel=1e-6)
    assert acceptance_rate(model, criteria, Streams(1)) < 1e-4
    draw_cohort(model, criteria, Streams(1), Block(0, 1), 10)
    began = time.process_time()
    cohort = draw_cohort(model, criteria, Streams(1), Block(0, 4), 250)
    assert time.process_time() - began < 2  # milliseconds; rejection would take an hour
    assert (cohort.columns["x"] >= bound).all()
    assert check_acceptance(model, criteria, Streams(1)) == pytest.approx(1e-5, rel=1e-6)


def test_a_patient_depends_on_their_address_alone(model):
    criteria = _criteria(x={"min": 6}, y={"max": 45})
    whole = draw_cohort(model, criteria, Streams(1), Block(0, 6), 80)
    for block, n in ((Block(2, 3), 80), (Block(5, 1), 7)):
        part = draw_cohort(model, criteria, Streams(1), block, n)
        rows = slice(block.first, block.first + block.size)
        assert all(torch.equal(column, whole.columns[name][rows, :n]) for name, column in part.columns.items())


def test_two_rare_criteria_narrow_to_the_rarer(model):
    criteria = _criteria(x={"min": 2.5}, y={"min": 62})
    narrow, share = narrowed(model, criteria)
    assert share == min(truncation.probability for truncation in truncations(model, criteria))
    assert share > 0.05 > share * acceptance_rate(narrow, criteria, Streams(1))
    ordinary = eligible(criteria, model.sample(Streams(4), Block(0, 256), 1000)).double().mean().item()
    assert abs(check_acceptance(model, criteria, Streams(1)) - ordinary) < 4 * math.sqrt(ordinary / 100_000)


def test_nobody_is_refused_in_one_line(model):
    with pytest.raises(ProtocolError, match=r"0 of 100,000 drawn patients are eligible \(acceptance rate 0.000%\)"):
        draw_cohort(model, _criteria(x={"min": 1e9}), Streams(1), Block(0, 1), 5)
    with pytest.raises(DataError, match='no patient of the model has such a "x"'):
        draw_by_importance(model, _criteria(x={"min": 1e9}), Streams(1), Block(0, 1), 5)


def test_importance_agrees_with_rejection_and_tells_how_good_it_is(model):
    """Three columns together: shares within 4 standard errors, margins within KS at 1 in 1,000 plus 1 / resolution."""
    criteria = _criteria(x={"min": 1.5}, y={"min": 50}, stage={"equals": 2}, flag={"equals": 1})
    everybody = model.sample(Streams(2), Block(0, 512), 1000)
    meets = eligible(criteria, everybody)
    share = meets.double().mean().item()
    drawn = draw_by_importance(model, criteria, Streams(3), Block(0, 16), 250, candidates=64)
    assert eligible(criteria, drawn.cohort).all()
    assert abs(drawn.acceptance - share) < 4 * math.hypot(drawn.acceptance_mcse, math.sqrt(share / 512_000))
    assert 4000 < drawn.ess < drawn.n_candidates == 64 * 4000
    assert 5 < drawn.resolution < 64
    for name in model.names:
        ours, theirs = drawn.cohort.columns[name].numpy().ravel(), everybody.columns[name][meets].numpy()
        assert stats.ks_2samp(ours, theirs).statistic < 1.95 * math.sqrt(1 / ours.size + 1 / theirs.size) + 1 / drawn.resolution
    again = draw_by_importance(model, criteria, Streams(3), Block(5, 2), 40, candidates=64)
    assert all(torch.equal(column, drawn.cohort.columns[name][5:7, :40]) for name, column in again.cohort.columns.items())


def test_importance_finds_the_share_of_a_rectangle(model):
    """P(both scores in their tails) against SciPy's bivariate normal."""
    criteria = _criteria(x={"min": 5}, y={"min": 65})
    one, two = truncations(model, criteria)
    r = float(model.dependence.correlation()[0, 1])
    corner = [-one.intervals[0][0], -two.intervals[0][0]]
    witness = stats.multivariate_normal(cov=[[1, r], [r, 1]]).cdf(corner)
    drawn = draw_by_importance(model, criteria, Streams(1), Block(0, 4), 250)
    assert abs(drawn.acceptance - witness) < 4 * drawn.acceptance_mcse
    assert drawn.acceptance_mcse < 0.02 * witness
