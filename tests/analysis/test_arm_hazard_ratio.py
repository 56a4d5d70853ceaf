"""The arm-only Cox model against the general one, against its definition, and at the edge of infinity."""

from __future__ import annotations

import math

import pytest
import torch

from trialsim.analysis import cox_arm_only, score_at_log_hr
from trialsim.analysis.partial_likelihood import maximise, standardised
from trialsim.analysis.risk_sets import risk_sets
from trialsim.records import EventData


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("strata", [1, 3])
@pytest.mark.parametrize("absent", [False, True])
def test_counts_and_running_sums_agree(simulated_events, ties, strata, absent):
    data = simulated_events(replicates=32, strata=strata, tied=True, absent=absent, log_hr=-0.5, seed=3)
    fit = cox_arm_only(data, ties=ties)
    there = data.time >= 0
    risk = risk_sets(data.time, data.event & there, data.stratum, ties=ties)
    present = there.gather(-1, risk.order).to(torch.float64)
    x, sd = standardised(data.group.to(torch.float64).gather(-1, risk.order)[None], present)
    general = maximise(x, present, risk)
    assert general.converged.all()
    torch.testing.assert_close(fit.estimate, general.coefficients[0] / sd[0], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(fit.std_error, general.point.pivots[0].rsqrt() / sd[0], rtol=1e-7, atol=0)


def _tiny(times, events, groups):
    return EventData(time=torch.tensor([times], dtype=torch.float64), event=torch.tensor([events]), group=torch.tensor([groups], dtype=torch.int8))


def test_a_trial_small_enough_to_solve_by_hand():
    # Events at 1 (test; 1 of 2 at risk in each arm ... ) and 2 (reference). Score: 1 - 2h/(2 + 2h) - 1h/(2 + h) with h the hazard ratio.
    fit = cox_arm_only(_tiny([1.0, 3.0, 2.0, 4.0], [True, False, True, False], [1, 1, 0, 0]))
    h = math.sqrt(2.0)  # root of 1 = h/(1+h) + h/(2+h), that is h² = 2
    assert fit.estimate.item() == pytest.approx(math.log(h), abs=1e-12)
    information = h / (1 + h) ** 2 + 2 * h / (2 + h) ** 2
    assert fit.std_error.item() == pytest.approx(information**-0.5, rel=1e-12)


@pytest.mark.parametrize(
    "times, events, groups, failure",
    [
        ([1.0, 2.0, 3.0], [True, True, True], [1, 1, 1], 2),
        ([1.0, 2.0, -1.0], [True, True, False], [1, 1, 0], 2),
        ([1.0, 2.0, 3.0], [False, False, False], [1, 0, 1], 1),
        ([1.0, 2.0, 3.0], [True, True, False], [1, 1, 0], 6),
        # All reference events happen before any test event and the test arm outlives the other: no finite maximum.
        ([1.0, 2.0, 3.0, 4.0], [True, True, True, True], [0, 0, 1, 1], 5),
    ],
)
def test_no_finite_estimate_is_a_failure(times, events, groups, failure):
    fit = cox_arm_only(_tiny(times, events, groups))
    assert fit.failure.item() == failure
    assert math.isnan(fit.estimate.item())
    assert math.isnan(fit.std_error.item())


def test_a_failure_leaves_its_neighbours_alone(simulated_events):
    data = simulated_events(replicates=3, seed=5)
    event = data.event.clone()
    event[1] = False
    spoilt = cox_arm_only(EventData(time=data.time, event=event, group=data.group))
    alone = cox_arm_only(data)
    assert spoilt.failure.tolist() == [0, 1, 0]
    assert torch.equal(spoilt.estimate[[0, 2]], alone.estimate[[0, 2]])


@pytest.mark.parametrize("log_hr", [-0.6, 0.0, math.log(0.9), 0.4])
@pytest.mark.parametrize("strata", [1, 4])
def test_the_score_is_positive_exactly_where_the_estimate_is_larger(simulated_events, log_hr, strata):
    data = simulated_events(replicates=200, n=60, strata=strata, tied=True, seed=11, log_hr=-0.2)
    fit = cox_arm_only(data)
    found = fit.failure == 0
    score = score_at_log_hr(data, log_hr)
    assert torch.equal((score > 0)[found], (fit.estimate > log_hr)[found])
    assert (score > 0).any()
    assert (score < 0).any()


def test_the_score_of_an_infinite_estimate_has_its_sign():
    never = _tiny([1.0, 2.0, 3.0, 4.0], [True, True, False, False], [0, 0, 1, 1])
    assert score_at_log_hr(never, -5.0).item() < 0
    always = _tiny([1.0, 2.0, 3.0, 4.0], [True, True, False, False], [1, 1, 0, 0])
    assert score_at_log_hr(always, 5.0).item() > 0
    assert score_at_log_hr(_tiny([1.0, 2.0], [False, False], [0, 1]), 0.3).item() == 0
