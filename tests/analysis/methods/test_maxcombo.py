"""MaxCombo against simtrial on real data and a witness from the formulas; same bits, failures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import integrate, stats
from witness.logrank import weighted_logrank

from trialsim.analysis import p_value
from trialsim.analysis.methods.logrank import LogRank
from trialsim.analysis.methods.maxcombo import MaxCombo, statistics
from trialsim.records import EventData

CASES = ["SV-184", "SV-186", "SV-187", "SV-190", "SV-192"]
THREE = ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))


@pytest.mark.parametrize("case", CASES)
def test_statistics_correlations_and_p_are_those_of_simtrial(case, survival_method_rows, survival_data, method_of):
    """Its p-value is a Monte Carlo integral with an error of a few 1e-4 (mvtnorm asks for 1e-3); SV-187 is off by 2.2e-4.

    So p is also held against quadrature over SciPy's exact bivariate distribution.
    """
    own = survival_method_rows[survival_method_rows.case == case]
    values = {(output, int(index)): value for output, index, value in zip(own.output, own["index"], own.value, strict=True)}
    data = survival_data(own.dataset.iloc[0])
    z, correlation = statistics(data, THREE)
    np.testing.assert_allclose(z[:, 0].numpy(), [values["z", k] for k in (1, 2, 3)], rtol=1e-6)
    np.testing.assert_allclose(correlation[..., 0].numpy().ravel(), [values["corr", k] for k in range(1, 10)], rtol=1e-6)
    found = method_of(MaxCombo, weights=THREE, sides=1).estimate(data, favours=-1)
    assert p_value(found, sides=1).item() == pytest.approx(values["p_one_sided", 1], abs=3e-4)
    matrix, most = correlation[..., 0].numpy(), z.neg().amax().item()
    slope = matrix[0, 1:]
    rest = matrix[1:, 1:] - np.outer(slope, slope)

    def beyond(x: float) -> float:
        return stats.norm.pdf(x) * (1.0 - stats.multivariate_normal.cdf(most - slope * x, np.zeros(2), rest))

    exact = stats.norm.sf(most) + integrate.quad(beyond, -9.0, most, points=[most - 1.0, most - 0.2], epsabs=1e-12, limit=200)[0]
    assert p_value(found, sides=1).item() == pytest.approx(exact, rel=1e-6)


def test_every_reference_case_is_used(survival_method_rows):
    assert sorted(survival_method_rows[survival_method_rows.method == "maxcombo"].case.unique()) == CASES


@pytest.mark.parametrize("strata", [1, 2])
@pytest.mark.parametrize("sides", [1, 2])
def test_simulated_trials_are_those_of_the_witness(sides, strata, simulated_events, method_of):
    """Statistics and their correlation exactly; the joint p-value within the error of SciPy's integrator."""
    data = simulated_events(replicates=4, n=100, tied=True, absent=True, strata=strata, log_hr=-0.5, seed=61)
    analysis = method_of(MaxCombo, sides=sides)
    z, correlation = statistics(data, analysis.weights)
    p = p_value(analysis.estimate(data, favours=-1), sides=sides)
    weights = [lambda t, s, rho=rho, gamma=gamma: s(t, True) ** rho * (1 - s(t, True)) ** gamma for rho, gamma in analysis.weights]
    for row in range(4):
        there = (data.time[row] >= 0).numpy()
        time, event, group = (getattr(data, name)[row].numpy()[there] for name in ("time", "event", "group"))
        u, v = weighted_logrank(time, event, group, weights, None if strata == 1 else data.stratum[row].numpy()[there])
        scale = np.sqrt(np.diag(v))
        np.testing.assert_allclose(z[:, row].numpy(), u / scale, rtol=1e-9)
        np.testing.assert_allclose(correlation[..., row].numpy(), v / np.outer(scale, scale), rtol=1e-9)
        most = max(-u / scale) if sides == 1 else max(abs(u / scale))
        lower = np.full(4, -np.inf if sides == 1 else -most)
        inside = stats.multivariate_normal.cdf(
            np.full(4, most), np.zeros(4), v / np.outer(scale, scale), lower_limit=lower, allow_singular=True, maxpts=400_000, abseps=1e-8, releps=1e-8
        )
        assert p[row].item() == pytest.approx(1.0 - inside, abs=2e-4)


def test_one_weight_is_the_log_rank_test(simulated_events, method_of):
    data = simulated_events(replicates=30, tied=True, seed=62)
    plain = method_of(LogRank).estimate(data, favours=-1).statistic
    for sides in (1, 2):
        alone = method_of(MaxCombo, weights=[[0, 0]], sides=sides).estimate(data, favours=-1).statistic
        torch.testing.assert_close(alone, plain, rtol=1e-9, atol=1e-9)


def test_the_sign_favours_the_test_arm(simulated_events, method_of):
    data = simulated_events(replicates=6, n=300, log_hr=-1.0, seed=63)
    for sides in (1, 2):
        found = method_of(MaxCombo, sides=sides).estimate(data, favours=-1)
        assert (found.statistic > 2).all()
        assert (method_of(MaxCombo, sides=sides).estimate(data, favours=1).statistic < 0).all()
        assert found.estimate is None


def test_it_costs_less_than_bonferroni_and_more_than_the_best_test(simulated_events, method_of):
    data = simulated_events(replicates=40, log_hr=-0.5, seed=64)
    analysis = method_of(MaxCombo, sides=1)
    z, _ = statistics(data, analysis.weights)
    best = torch.special.ndtr(z).amin(0)
    p = p_value(analysis.estimate(data, favours=-1), sides=1)
    assert (p > best).all()
    assert (p < (4 * best).clamp(max=1.0)).all()


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("shape", [{"tied": True}, {"strata": 3, "absent": True}])
def test_numbers_do_not_depend_on_the_block(sides, shape, simulated_events, assert_same_bits, method_of):
    assert_same_bits(method_of(MaxCombo, sides=sides, weights=THREE), simulated_events(replicates=66, n=81, **shape), favours=-1)


def test_a_replicate_that_cannot_be_analysed_says_why(simulated_events, method_of):
    data = simulated_events(replicates=5, n=40, seed=65)
    event, group = data.event.clone(), data.group.clone()
    event[1] = False
    group[2] = 1
    event[3] = torch.arange(40) == (data.time[3] + 1e9 * ~data.event[3]).argmin()
    found = method_of(MaxCombo).estimate(EventData(data.time, event, group), favours=-1)
    assert found.failure.tolist() == [0, 1, 2, 3, 0]
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)
    whole = method_of(MaxCombo).estimate(dataclasses.replace(data), favours=-1)
    assert torch.equal(found.statistic[[0, 4]], whole.statistic[[0, 4]])


def test_weights_are_checked(method_of):
    for weights, message in (
        ([[0, 0], [0, 0]], "a pair twice"),
        ([[0, -1]], "greater than or equal to 0"),
        ([], "at least 1"),
        ([[0, k] for k in range(7)], "at most 6"),
    ):
        with pytest.raises(ValidationError, match=message):
            method_of(MaxCombo, weights=weights)
