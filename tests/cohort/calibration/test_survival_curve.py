"""Digitised curves: what is read, what is refused, and the hazard that follows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trialsim.cohort.calibration.survival_curve import SurvivalCurve, hazard_pieces, read_curve
from trialsim.errors import DataError


def _curve(tmp_path: Path, text: str, **options) -> SurvivalCurve:
    path = tmp_path / "curve.csv"
    path.write_text(text)
    return read_curve(path, shown="curve.csv", **options)


def _problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(DataError) as caught:
        _curve(tmp_path, text)
    return [str(problem) for problem in caught.value.problems]


def _survival(breaks: np.ndarray, hazards: np.ndarray, t: np.ndarray) -> np.ndarray:
    edges = np.concatenate(([0.0], breaks, [np.inf]))
    return np.exp(-np.clip(t[:, None] - edges[:-1], 0.0, np.diff(edges)) @ hazards)


def test_points_and_numbers_at_risk_are_read_in_order_of_time(tmp_path: Path):
    curve = _curve(tmp_path, "time,survival,at_risk\n6,0.5,40\n3,0.8,\n0,,100\n9,0.51,\n", days=30.4375)
    np.testing.assert_allclose(curve.time, np.array([0, 3, 6, 9]) * 30.4375)
    np.testing.assert_allclose(curve.survival, [1, 0.8, 0.5, 0.5])  # the hand slipped by 0.01
    np.testing.assert_allclose(curve.at_risk, [100, 40])
    np.testing.assert_allclose(curve.at_risk_time, np.array([0, 6]) * 30.4375)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,survival\n1,83\n2,0.7\n", "curve.csv:2  the survival 83 is not between 0 and 1; write a proportion, not a percentage"),
        ("time,survival\n-1,0.9\n2,0.7\n", "curve.csv:2  the time is missing or negative"),
        ("time,survival\n1,0.7\n2,0.9\n", "curve.csv:3  the survival rises from 0.7 to 0.9"),
        ("time,survival,at_risk\n1,0.9,10\n2,0.8,12\n", "curve.csv:3  the number at risk grows from 10 to 12"),
        ("time,survival,at_risk\n1,0.9,10\n2,0.8,3.5\n", "curve.csv:3  the number at risk 3.5 is not a whole number from 0"),
        ("time,survival\n1,0.9\n", "curve.csv  has 1 points of survival; at least 2 are needed"),
        ("time,surv\n1,0.9\n", 'curve.csv  there is no column "survival"; did you mean "surv"?'),
    ],
)
def test_what_is_no_curve_is_named_with_its_line(tmp_path: Path, text: str, message: str):
    assert _problems(tmp_path, text) == [message]


def test_a_weibull_curve_is_followed_to_the_tolerance():
    time = np.linspace(0, 900, 91)
    curve = SurvivalCurve(time, np.exp(-((time / 400) ** 1.6)), np.empty(0), np.empty(0))
    breaks, hazards = hazard_pieces(curve)
    assert np.abs(_survival(breaks, hazards, time) - curve.survival).max() <= 0.005 + 1e-12
    assert len(breaks) < 15
    loose, _ = hazard_pieces(curve, 0.05)
    assert len(loose) < len(breaks)


def test_an_exponential_curve_is_one_piece_that_goes_on():
    time = np.arange(0.0, 400.0, 10)
    breaks, hazards = hazard_pieces(SurvivalCurve(time, np.exp(-0.003 * time), np.empty(0), np.empty(0)))
    np.testing.assert_allclose(breaks, [390])
    np.testing.assert_allclose(hazards, [0.003, 0.003], rtol=1e-12)


def test_a_curve_that_ends_at_zero_and_one_drawn_with_steps_have_hazards():
    curve = SurvivalCurve(np.array([0.0, 10, 10, 20, 20, 30]), np.array([1.0, 1.0, 0.6, 0.6, 0.0, 0.0]), np.empty(0), np.empty(0))
    breaks, hazards = hazard_pieces(curve)
    assert np.isfinite(hazards).all()
    assert (hazards >= 0).all()
    assert (np.diff(breaks) > 0).all()


def test_points_at_time_0_alone_are_no_curve(tmp_path: Path):
    assert _problems(tmp_path, "time,survival\n0,1\n0,0.5\n") == ["curve.csv  has no point of survival after time 0"]


@pytest.mark.parametrize("tail", ["", "25,0\n", "25,0\n40,0\n90,0\n", "30,0\n30,0\n"])
def test_nobody_outlives_a_curve_that_ends_at_0(tmp_path: Path, tail: str):
    """However long the line at 0 is drawn, the hazard after it is that with which the curve came down."""
    breaks, hazards = hazard_pieces(_curve(tmp_path, f"time,survival\n5,0.7\n10,0.4\n15,0.1\n20,0\n{tail}"))
    assert breaks[-1] == 20
    assert hazards[-1] > 0.5
    assert _survival(breaks, hazards, np.array([60.0])) < 1e-9
