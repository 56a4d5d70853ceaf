"""Patients behind a curve: a Kaplan-Meier estimate of known patients gives them back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.datasets import load_lung, load_rossi

from trialsim.cohort.calibration.reconstruction import reconstruct, standard_error
from trialsim.cohort.calibration.survival_curve import SurvivalCurve


def _published(time: np.ndarray, event: np.ndarray, marks: np.ndarray, digits: int = 4) -> tuple[SurvivalCurve, KaplanMeierFitter]:
    km = KaplanMeierFitter().fit(time, event)
    steps = km.survival_function_.iloc[:, 0]
    at_risk = np.array([(time >= mark).sum() for mark in marks], dtype=float)
    return SurvivalCurve(steps.index.to_numpy(), steps.round(digits).to_numpy(), marks, at_risk), km


def _lung() -> tuple[np.ndarray, np.ndarray]:
    data = load_lung().dropna(subset=["time", "status"])
    return data["time"].to_numpy(dtype=float), data["status"].to_numpy() == 1


def test_the_lung_cancer_patients_come_back():
    time, event = _lung()
    curve, km = _published(time, event, np.arange(0.0, 1001.0, 200.0))
    found, kind = reconstruct(curve)
    assert len(found) == len(time)
    assert kind.sum() == event.sum()
    np.testing.assert_array_equal([(found >= mark).sum() for mark in curve.at_risk_time[:-1]], curve.at_risk[:-1])
    again = KaplanMeierFitter().fit(found, kind)
    grid = np.linspace(0, 1000, 300)
    assert np.abs(km.predict(grid).to_numpy() - again.predict(grid).to_numpy()).max() < 0.01  # Guyot et al. report 0.002 to 0.02


def test_the_standard_error_is_greenwoods():
    time, event = _lung()
    curve, _ = _published(time, event, np.arange(0.0, 1001.0, 100.0))
    survival = 1.0
    total = 0.0
    expected = {0.0: 0.0}
    for at in np.unique(time[event]):
        at_risk, died = (time >= at).sum(), (time[event] == at).sum()
        survival *= 1 - died / at_risk
        total += died / (at_risk * (at_risk - died)) if at_risk > died else 0.0
        expected[at] = survival * np.sqrt(total)
    ours = dict(zip(curve.time, standard_error(curve), strict=True))
    for at in list(expected)[::10]:
        assert ours[at] == pytest.approx(expected[at], abs=2e-3)


def test_the_hazard_ratio_of_two_arms_survives():
    """Recidivism by financial aid: the Cox log hazard ratio of the reconstructed patients is the data's to a tenth of its standard error."""
    data = load_rossi()
    parts = []
    for arm in (0, 1):
        rows = data[data["fin"] == arm]
        curve, _ = _published(rows["week"].to_numpy(dtype=float), rows["arrest"].to_numpy() == 1, np.arange(0.0, 52.0, 10.0))
        time, event = reconstruct(curve)
        parts.append(pd.DataFrame({"week": time, "arrest": event.astype(int), "fin": arm}))
    real = CoxPHFitter().fit(data[["week", "arrest", "fin"]], "week", "arrest")
    made = CoxPHFitter().fit(pd.concat(parts), "week", "arrest")
    assert made.params_["fin"] == pytest.approx(real.params_["fin"], abs=0.1 * real.standard_errors_["fin"])


def test_without_numbers_at_the_start_there_are_no_patients():
    with pytest.raises(ValueError, match="begin at time 0"):
        reconstruct(SurvivalCurve(np.array([0.0, 1.0]), np.array([1.0, 0.5]), np.array([1.0]), np.array([10.0])))
