"""Survival curves against lifelines; the band against its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from witness.samplers import Truth, trial

from trialsim.cohort.fidelity import side_by_side
from trialsim.cohort.fidelity.survival import survival_curve, survival_distances
from trialsim.cohort.sampler import OutcomeRoles

ONLY_EVENTS = OutcomeRoles(arm="arm", events={"death": ("time", "event")}, values={})


@pytest.mark.parametrize("ties", [False, True])
def test_the_curve_is_that_of_lifelines(ties):
    rng = np.random.default_rng(1)
    time, event = rng.exponential(10, 300), rng.random(300) < 0.6
    if ties:
        time = np.ceil(time)
    witness = KaplanMeierFitter().fit(time, event)
    curve = survival_curve(time, event)
    grid = np.linspace(0, 40, 101)
    np.testing.assert_allclose(curve.at(grid), witness.survival_function_at_times(grid).to_numpy(), rtol=1e-12)
    events = witness.event_table.loc[:7.0]
    total = sum(d / (n * (n - d)) for d, n in zip(events["observed"], events["at_risk"], strict=True))  # Greenwood 1926
    assert curve.se(7.0) == pytest.approx(float(witness.predict(7.0)) * np.sqrt(total), rel=1e-9)


def test_curves_without_events_or_with_one_patient():
    curve = survival_curve(np.array([1.0, 2.0]), np.array([False, False]))
    assert curve.at(np.array([0.0, 5.0])).tolist() == [1.0, 1.0]
    assert curve.se(5.0) == 0.0
    last = survival_curve(np.array([3.0]), np.array([True]))
    assert last.at(3.0) == 0.0
    assert last.at(2.9) == 1.0


def _distances(seed: int, *, log_hr: float = -0.4, n: int = 200, m: int = 600):
    model = Truth(log_hr=log_hr)
    pair, _ = side_by_side(trial(n, seed=seed), model.synthesise(m, seed=seed), modelled=("arm", "time", "event"), roles=ONLY_EVENTS)
    return survival_distances(pair, seed=seed)


def test_the_band_is_exceeded_by_chance_as_often_as_it_says():
    """200 pairs of tables of one law, two arms each: 5 % of 400 distances, so 20 with an SD of 4.4."""
    beyond = [curve.distance > curve.band for seed in range(200) for curve in _distances(seed)]
    assert len(beyond) == 400
    assert abs(np.sum(beyond) - 20) < 4 * np.sqrt(400 * 0.05 * 0.95)


def test_another_hazard_is_seen():
    control, treated = _distances(5, log_hr=1.0, n=1000, m=20_000)
    assert control.arm == "0"
    assert control.distance < control.band
    assert treated.distance > 2 * treated.band
    assert 0 < treated.time <= treated.until
    assert treated.n_synthetic + control.n_synthetic == 20_000


def test_the_curves_are_compared_while_a_tenth_is_observed():
    real = trial(1000, seed=3)
    (curve, _) = _distances(3, n=1000)
    follow_up = real.columns["time"][real.columns["arm"] == 0]
    assert (follow_up >= curve.until).sum() == len(follow_up) // 10
