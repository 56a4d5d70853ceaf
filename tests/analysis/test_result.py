"""The row of one analysis: scales, nulls, failures."""

from __future__ import annotations

import json
import math

import pytest
import torch

from trialsim.analysis import Analysis
from trialsim.analysis.methods.cox import Cox
from trialsim.analysis.methods.logrank import LogRank
from trialsim.analysis.methods.t_test import TTest
from trialsim.analysis.result import Labels, result_row
from trialsim.errors import DataError
from trialsim.records import EventData

FIELDS = [
    "analysis",
    "method",
    "test",
    "reference",
    "visit",
    "population",
    "estimate",
    "scale",
    "std_error",
    "std_error_scale",
    "ci_low",
    "ci_high",
    "statistic",
    "df",
    "p_value",
    "n",
    "n_events",
]


def _row(method: Analysis, data, favours=-1) -> dict:
    return result_row(Labels("primary", "a", "b", None), method, data, favours=favours)


def test_a_hazard_ratio_is_natural_and_its_error_on_the_log(survival_data, method_of):
    row = _row(method_of(Cox, sides=2, alpha=0.1), survival_data("ovarian"))
    assert list(row) == FIELDS
    assert (row["scale"], row["std_error_scale"], row["method"]) == ("hazard_ratio", "log_hazard_ratio", "cox")
    half = 1.6448536269514722 * row["std_error"]
    assert math.log(row["ci_high"] / row["estimate"]) == pytest.approx(half, rel=1e-12)
    assert math.log(row["estimate"] / row["ci_low"]) == pytest.approx(half, rel=1e-12)
    assert (row["n"], row["n_events"], row["df"]) == (26, 12, None)
    json.dumps(row, allow_nan=False)


def test_one_sided_p_is_small_only_for_benefit(survival_data, method_of):
    data = survival_data("lung")
    good = _row(method_of(Cox, sides=1), data)
    bad = _row(method_of(Cox, sides=1), data, favours=1)
    two = _row(method_of(Cox, sides=2), data)
    assert good["p_value"] == pytest.approx(two["p_value"] / 2)
    assert bad["p_value"] == pytest.approx(1 - good["p_value"])


def test_what_a_method_does_not_estimate_is_null(survival_data, method_of):
    row = _row(method_of(LogRank), survival_data("lung"))
    assert row["statistic"] ** 2 == pytest.approx(10.32674195, rel=1e-6)
    assert [row[field] for field in ("estimate", "scale", "std_error", "std_error_scale", "ci_low", "ci_high", "df")] == [None] * 7
    with_cox = _row(method_of(LogRank, estimate="cox"), survival_data("lung"))
    assert with_cox["statistic"] == row["statistic"]
    cox = _row(method_of(Cox), survival_data("lung"))
    assert with_cox["estimate"] == pytest.approx(cox["estimate"], rel=1e-12)


def test_an_infinite_hazard_ratio_is_null_beside_a_test_that_is_not(method_of):
    data = EventData(
        time=torch.arange(1.0, 21.0, dtype=torch.float64)[None],
        event=(torch.arange(20) % 2 == 0)[None],
        group=(torch.arange(20) % 2).to(torch.int8)[None],
    )
    row = _row(method_of(LogRank, estimate="cox"), data)
    assert row["statistic"] > 2
    assert row["estimate"] is row["std_error"] is row["ci_high"] is row["scale"] is None


def test_a_difference_has_df_and_no_events(simulated_values, method_of):
    row = _row(method_of(TTest), simulated_values(replicates=1), favours=1)
    assert (row["scale"], row["std_error_scale"], row["n_events"]) == ("difference", "difference", None)
    assert row["df"] > 10


def test_a_failure_names_its_cause(survival_data, method_of):
    data = survival_data("ovarian")
    nothing = EventData(time=data.time, event=torch.zeros_like(data.event), group=data.group)
    with pytest.raises(DataError, match=r"^analyses.primary: no events in the analysis \(a against b\)$"):
        _row(method_of(Cox), nothing)
