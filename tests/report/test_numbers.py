"""How Monte Carlo numbers are written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialsim.evaluation.results import ALL_MEASURES
from trialsim.report.numbers import MEASURES, figure, measure_name, scale_name


def row(estimate: float, mcse: float, n: int = 10_000, *, measure: str = "power", scale: str = "probability", null: bool = False) -> dict[str, Any]:
    return {"measure": measure, "scale": scale, "null": null, "estimate": estimate, "mcse": mcse, "n": n}


@pytest.mark.parametrize(
    ("given_row", "words"),
    [
        (row(0.9024, 0.00297), "0.9024 (± 0.0030, n 10,000)"),
        (row(0.0, 0.0024906, 400), "0.0000 (± 0.0025, n 400)"),
        (row(706.02, 9.48, 400, scale="days"), "23.20 (± 0.31, n 400)"),
        (row(352.0, 0.0, 12, scale="events"), "352 (± 0, n 12)"),
        (row(1234.567, 25.0, scale="patients"), "1,235 (± 25, n 10,000)"),
        (row(-0.6167, 0.0013, scale="log_hazard_ratio"), "−0.6167 (± 0.0013, n 10,000)"),
        (row(-0.00001, 0.004, scale="difference"), "0.0000 (± 0.0040, n 10,000)"),
        (row(49.4, 0.0, 0, scale="difference"), "49.40 (exact)"),
    ],
)
def test_a_number_has_the_decimals_that_its_standard_error_carries(given_row: dict[str, Any], words: str) -> None:
    assert str(figure(given_row)).replace("\u00a0", " ") == words


@given(st.floats(-1e5, 1e5, allow_nan=False), st.floats(1e-5, 1e4))
def test_what_is_shown_is_within_a_tenth_of_a_standard_error(estimate: float, mcse: float) -> None:
    shown = figure(row(estimate, mcse))
    assert shown is not None
    assert abs(float(shown.estimate.replace("−", "-").replace(",", "")) - estimate) <= 0.1 * mcse + 1e-9
    assert float(shown.mcse.replace(",", "")) == pytest.approx(mcse, rel=0.06)


def test_nothing_where_there_is_no_row() -> None:
    assert figure(None) is None


def test_every_measure_has_a_name() -> None:
    for measure in ALL_MEASURES:
        assert measure.partition("_quantile_")[0] in MEASURES
    assert measure_name(row(0, 0, measure="duration_quantile_10", scale="days")) == "Duration, 10 % quantile"
    assert measure_name(row(0, 0, null=True)) == "Type I error"
    assert measure_name(row(0, 0)) == "Power"
    assert scale_name(row(0, 0, scale="days")) == "months"
    assert scale_name(row(0, 0, scale="log_hazard_ratio")) == "log hazard ratio"
