"""The columns of single trials: their means are the result rows, witnessed by NumPy on the raw record and by the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest

from trialsim.evaluation.operating_characteristics import operating_characteristics, size_quantiles
from trialsim.evaluation.results import CellLabels, Comparison
from trialsim.evaluation.trial_values import MEANS, SHARES, AnalysisLabels, trial_values
from trialsim.rng import Block

LABELS = CellLabels("default", "base", "alternative")


def labels(*names: str, sides: int = 1) -> dict[str, AnalysisLabels]:
    return {name: AnalysisLabels(name, "os", None, sides, "log_hazard_ratio") for name in names}


@pytest.fixture(scope="module")
def record(synthetic_record):
    return synthetic_record(Block(0, 400), analyses=("primary", "second"), two_sided=True, failure_rate=0.1)


def test_every_column_has_the_mean_that_the_results_report(record):
    columns = trial_values(record, labels("primary", "second", sides=2))
    comparisons = {name: Comparison(name, "os", None, "log_hazard_ratio", 0.025, 2, (1, 2, 3), futility=True, null=False) for name in ("primary", "second")}
    quantiles = size_quantiles(lambda: [record], ["os"], 400)
    rows = operating_characteristics(lambda: [record], labels=LABELS, comparisons=comparisons, quantiles=quantiles)
    reported = {(row.analysis, row.endpoint, row.arm, row.measure, row.scale): row for row in rows if row.look is None and row.measure in (*SHARES, *MEANS)}
    assert set(columns) == set(reported)
    for column, values in columns.items():
        there = values[~np.isnan(values)]
        assert len(values) == 400
        assert len(there) == reported[tuple(column)].n
        assert reported[tuple(column)].estimate == pytest.approx(there.mean(), rel=1e-12)


def test_failed_analyses_have_no_estimate_and_are_counted(record):
    columns = {(column.analysis, column.measure): values for column, values in trial_values(record, labels("primary")).items()}
    last = record.stop_look.numpy() - 1
    failed_at_last = record.analyses["primary"].failure.numpy()[np.arange(400), last] != 0
    assert failed_at_last.sum() > 10
    assert np.array_equal(np.isnan(columns["primary", "estimate_mean"]), failed_at_last)
    assert np.array_equal(np.isnan(columns["primary", "model_se_mean"]), failed_at_last)
    assert np.array_equal(columns["primary", "convergence_failure"] == 1, (record.analyses["primary"].failure.numpy() != 0).any(axis=1))


def test_an_analysis_of_several_arms_is_also_a_family(record):
    columns = trial_values(record, {name: AnalysisLabels("primary", "os", name, 1, None) for name in ("primary", "second")})
    low, high = (record.analyses[name].reject.numpy().any(axis=1) for name in ("primary", "second"))
    family = {column.measure: values for column, values in columns.items() if column.analysis == "primary" and column.arm is None}
    assert np.array_equal(family["power"], low | high)
    assert np.array_equal(family["power_all"], low & high)


def test_without_estimates_there_are_no_such_columns(synthetic_record):
    columns = trial_values(synthetic_record(Block(0, 10), estimates=False, ignoring=False), labels("primary"))
    assert {"estimate_mean", "model_se_mean", "power_ignoring_futility", "reject_wrong_direction"}.isdisjoint(column.measure for column in columns)
