"""The Kaplan–Meier estimate against lifelines."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from trialsim.report.figures.kaplan_meier import kaplan_meier


@pytest.mark.parametrize("ties", [False, True])
def test_estimate_and_limits_are_those_of_lifelines(ties: bool) -> None:
    rng = np.random.default_rng(4)
    time = rng.exponential(10.0, 400)
    time = np.ceil(time) if ties else time
    event = rng.random(400) < 0.6
    fitted = KaplanMeierFitter().fit(time, event)
    own = kaplan_meier(time, event)
    theirs = fitted.survival_function_at_times(own.time).to_numpy()
    limits = fitted.confidence_interval_.reindex(own.time).to_numpy()
    assert own.time[0] == 0
    assert own.survival == pytest.approx(theirs, rel=1e-12)
    assert own.last == time.max()
    inside = (own.survival > 0) & (own.survival < 1)
    assert inside.sum() > 10
    assert own.low[inside] == pytest.approx(limits[inside, 0], rel=1e-9)
    assert own.high[inside] == pytest.approx(limits[inside, 1], rel=1e-9)


def test_a_curve_that_falls_to_zero_ends_there() -> None:
    own = kaplan_meier(np.array([1.0, 2.0, 2.0]), np.array([True, True, True]))
    assert own.survival.tolist() == pytest.approx([1.0, 2 / 3, 0.0])
    assert own.low[-1] == own.high[-1] == 0.0
    assert np.isfinite(own.low).all()


def test_patients_censored_at_an_event_are_at_risk() -> None:
    own = kaplan_meier(np.array([1.0, 1.0, 3.0]), np.array([True, False, False]))
    assert own.time.tolist() == [0.0, 1.0]
    assert own.survival.tolist() == pytest.approx([1.0, 2 / 3])
