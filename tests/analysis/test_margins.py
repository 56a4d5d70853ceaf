"""Tests against margins: by hand for Wald's, by the score tests of their methods, from conduct's point of view, same bits."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from trialsim.analysis import METHODS, confidence_interval, normal_statistic, null_values, p_value
from trialsim.analysis.arm_hazard_ratio import arm_counts
from trialsim.analysis.methods.ancova import Ancova
from trialsim.analysis.methods.cox import Cox
from trialsim.analysis.methods.fisher import Fisher
from trialsim.analysis.methods.logrank import LogRank
from trialsim.analysis.methods.proportions import Proportions
from trialsim.analysis.methods.t_test import TTest
from trialsim.analysis.methods.wilcoxon import Wilcoxon
from trialsim.analysis.noncentral_hypergeometric import Support
from trialsim.analysis.two_by_two import Table
from trialsim.records import ValueData


def _non_inferior(margin: float, **options) -> dict:
    return {"type": "non_inferiority", "margin": margin, "sides": 1, "alpha": 0.025, **options}


def _table(x1: int, n1: int, x0: int, n0: int) -> ValueData:
    value = torch.tensor([1.0] * x1 + [0.0] * (n1 - x1) + [1.0] * x0 + [0.0] * (n0 - x0), dtype=torch.float64)[None]
    return ValueData(value=value, group=torch.tensor([1] * n1 + [0] * n0, dtype=torch.int8)[None])


@pytest.mark.parametrize("favours", [1, -1])
def test_a_t_test_against_a_margin_is_scipys_of_shifted_values(favours, simulated_values, method_of):
    data = simulated_values(replicates=10, difference=0.2, seed=1)
    method = method_of(TTest, **_non_inferior(0.5))
    found = method.answer(data, favours=favours)
    plain = method_of(TTest).estimate(data, favours=favours)
    for row in range(10):
        test, reference = (data.value[row][data.group[row] == arm].numpy() for arm in (1, 0))
        theirs = stats.ttest_ind(test + favours * 0.5, reference, equal_var=False, alternative="greater" if favours == 1 else "less")
        assert p_value(found, sides=method.tested_sides)[row].item() == pytest.approx(theirs.pvalue, rel=1e-9)
    assert torch.equal(found.estimate, plain.estimate)
    assert torch.equal(found.std_error, plain.std_error)


def test_non_inferiority_is_shown_exactly_when_the_interval_lies_above_the_loss(simulated_values, method_of):
    data = simulated_values(replicates=400, n=60, seed=2)
    method = method_of(Ancova, **_non_inferior(0.5))
    found = method.answer(data, favours=1)
    low, _ = confidence_interval(found, alpha_one_sided=0.025)
    assert torch.equal(p_value(found, sides=1) <= 0.025, low >= -0.5)
    assert 0.2 < (low >= -0.5).double().mean() < 0.8


def test_equivalence_is_two_one_sided_tests(simulated_values, method_of):
    data = simulated_values(replicates=400, n=200, seed=3)
    method = method_of(TTest, type="equivalence", margin=0.4, sides=2, alpha=0.1)
    assert method.alpha_one_sided == 0.05
    assert method.tested_sides == 1
    found = method.answer(data, favours=-1)
    low, high = confidence_interval(found, alpha_one_sided=0.05)
    p = p_value(found, sides=method.tested_sides)
    assert torch.equal(p <= 0.05, (low >= -0.4) & (high <= 0.4))
    for row in range(5):
        test, reference = (data.value[row][data.group[row] == arm].numpy() for arm in (1, 0))
        worse = stats.ttest_ind(test + 0.4, reference, equal_var=False, alternative="greater").pvalue
        better = stats.ttest_ind(test - 0.4, reference, equal_var=False, alternative="less").pvalue
        assert p[row].item() == pytest.approx(max(worse, better), rel=1e-8)


def test_the_sides_of_equivalence_are_alike(simulated_values, method_of):
    data = simulated_values(replicates=20, n=100, seed=4)
    method = method_of(TTest, type="equivalence", margin=0.3)
    torch.testing.assert_close(method.answer(data, favours=1).statistic, method.answer(data, favours=-1).statistic)


@pytest.mark.parametrize("margin", [1.3, 1 / 1.3])
def test_a_ratio_margin_is_a_distance(margin, simulated_events, method_of):
    """1.3 and 1/1.3 allow the same loss: hazards up to 1.3 times the reference's where fewer events are better."""
    data = simulated_events(replicates=20, n=200, log_hr=0.0)
    method = method_of(Cox, **_non_inferior(margin))
    found, plain = method.answer(data, favours=-1), method_of(Cox).estimate(data, favours=-1)
    assert method.allowed_loss == pytest.approx(math.log(1.3), rel=1e-12)
    torch.testing.assert_close(found.statistic, -(plain.estimate - math.log(1.3)) / plain.std_error)


def test_the_log_rank_test_against_a_margin_is_the_score_test_there(simulated_events, method_of):
    data = simulated_events(replicates=20, n=200, strata=3)
    found = method_of(LogRank, **_non_inferior(1.3)).answer(data, favours=-1)
    score, information = arm_counts(data, ties="efron").score(torch.full((20,), math.log(1.3), dtype=torch.float64))
    torch.testing.assert_close(found.statistic, -score / information.sqrt())
    cox = method_of(Cox, **_non_inferior(1.3)).answer(data, favours=-1)
    assert (found.statistic - cox.statistic).abs().max() < 0.15  # Wald's and the score test agree to first order
    assert torch.equal(torch.sign(found.statistic), torch.sign(cox.statistic))


@pytest.mark.parametrize("test, z", [("farrington_manning", 2.84852684123), ("miettinen_nurminen", 2.83110449528)])
def test_proportions_against_a_margin_are_those_of_gsdesign(test, z, method_of):
    """testBinomial(x1 = 15, x2 = 8, n1 = 40, n2 = 42, delta0 = -0.1), with and without adj."""
    found = method_of(Proportions, test=test, **_non_inferior(0.1)).answer(_table(15, 40, 8, 42), favours=1)
    assert found.statistic.item() == pytest.approx(z, abs=1e-9)


def test_patients_who_all_respond_are_not_inferior(method_of):
    """No variance against equality, but 40 of 40 and 40 of 40 differ by 0.1 with p̃1 = 0.9: z = 0.1/√(0.9 0.1/40)."""
    method = method_of(Proportions, test="farrington_manning", **_non_inferior(0.1))
    found = method.answer(_table(40, 40, 40, 40), favours=1)
    assert found.failure.item() == 0
    assert found.statistic.item() == pytest.approx(0.1 / math.sqrt(0.9 * 0.1 / 40), rel=1e-6)
    assert method_of(Proportions).estimate(_table(40, 40, 40, 40), favours=1).failure.item() == 3


@pytest.mark.parametrize("favours", [1, -1])
def test_fishers_test_against_a_margin_is_the_exact_tail(favours, method_of):
    """Odds ratio 2 allowed either way: the noncentral hypergeometric tail there."""
    found = method_of(Fisher, **_non_inferior(2.0)).answer(_table(12, 30, 14, 33), favours=favours)
    theirs = stats.nchypergeom_fisher(63, 26, 30, 2.0**-favours)
    tail = theirs.sf(11) if favours == 1 else theirs.cdf(12)
    assert p_value(found, sides=1).item() == pytest.approx(tail, rel=1e-8)
    assert Support.of(Table(*(torch.tensor([float(x)], dtype=torch.float64) for x in (12, 30, 14, 33)))).lowest.item() == 0


def test_the_rank_sum_test_against_a_margin_shifts_the_test_arm(simulated_values, method_of):
    data = simulated_values(replicates=5, n=60, seed=6)
    found = method_of(Wilcoxon, **_non_inferior(0.5)).answer(data, favours=1)
    for row in range(5):
        test, reference = (data.value[row][data.group[row] == arm].numpy() for arm in (1, 0))
        theirs = stats.mannwhitneyu(test + 0.5, reference, alternative="greater", method="asymptotic")
        assert p_value(found, sides=1)[row].item() == pytest.approx(theirs.pvalue, rel=1e-9)


def test_the_far_side_of_a_failure_is_a_failure(simulated_values, method_of):
    data = simulated_values(replicates=2, n=30)
    value = data.value.masked_fill((torch.arange(2) == 1)[:, None], 1.0)
    found = method_of(TTest, **_non_inferior(0.5)).answer(ValueData(value=value, group=data.group), favours=1)
    assert found.failure.tolist() == [0, 3]
    assert torch.isnan(found.statistic).tolist() == [False, True]
    assert torch.isfinite(normal_statistic(found)[0])


def test_null_hypotheses_have_edges():
    assert null_values("superiority", 0.0, favours=1) == (0.0,)
    assert null_values("non_inferiority", 0.3, favours=-1) == (0.3,)
    assert null_values("equivalence", 0.3, favours=1) == (-0.3, 0.3)


QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}
REQUIRED = {"milestone": {"at": "12 months"}, "win_ratio": {"hierarchy": ["death", "relapse"]}, "proportions": {"test": "unpooled"}}


@pytest.mark.parametrize("method", METHODS, ids=lambda kind: kind.model_fields["method"].annotation.__args__[0])
def test_a_method_without_an_estimate_takes_no_margin(method):
    name = method.model_fields["method"].annotation.__args__[0]
    part = method.model_validate({**QUESTION, "method": name, **REQUIRED.get(name, {}), "type": "non_inferiority", "margin": 1.5})
    refused = [phrase for phrase in part.unsupported() if phrase.startswith("type: non_inferiority")]
    assert bool(refused) == (part.scale is None)


def test_a_margin_of_one_on_a_ratio_is_refused(method_of):
    with pytest.raises(ValueError, match="allows no loss"):
        method_of(Cox, **_non_inferior(1.0))
