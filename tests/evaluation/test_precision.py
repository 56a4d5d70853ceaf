"""Summaries of chunks against NumPy on the whole column, and the factor by which replicates fall short."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trialsim.evaluation.precision import Summary, mcse_so_far, merge, shortfall, summarise
from trialsim.evaluation.trial_values import AnalysisLabels, Column
from trialsim.rng import Block

POWER = Column("primary", "os", None, "power", "probability")
OTHER = Column("second", "os", None, "power", "probability")
DURATION = Column(None, None, None, "duration", "days")
ESTIMATE = Column("primary", "os", None, "estimate_mean", "log_hazard_ratio")


def test_merged_summaries_are_those_of_all_values():
    rng = np.random.default_rng(3)
    values = 900.0 + rng.gamma(2.0, 30.0, 1000)
    values[rng.random(1000) < 0.1] = np.nan
    pieces = [Summary.of(part) for part in np.split(values, [64, 65, 300, 700])]
    total = Summary(0, 0.0, 0.0)
    for piece in pieces:
        total = total.merged(piece)
    there = values[~np.isnan(values)]
    assert total.n == len(there)
    assert total.total == pytest.approx(there.sum(), rel=1e-13)
    assert total.sd == pytest.approx(there.std(ddof=1), rel=1e-12)
    assert Summary.of(np.array([np.nan])) == Summary(0, 0.0, 0.0)
    assert Summary.of(np.array([5.0])).sd == 0.0


def test_merging_takes_columns_that_only_one_has():
    a, b = Summary.of(np.array([1.0, 2.0])), Summary.of(np.array([4.0]))
    assert merge({POWER: a}, {POWER: b, DURATION: b}) == {POWER: a.merged(b), DURATION: b}


def test_the_mcse_of_each_kind_of_measure():
    hits, days = np.array([1.0] * 30 + [0.0] * 70), np.arange(100.0)
    found = {POWER: Summary.of(hits), DURATION: Summary.of(days), ESTIMATE: Summary.of(days)}
    assert mcse_so_far(found, "power") == {POWER: pytest.approx(math.sqrt(0.3 * 0.7 / 100))}
    assert mcse_so_far(found, "duration") == {DURATION: pytest.approx(days.std(ddof=1) / 10)}
    assert mcse_so_far(found, "empirical_se") == {ESTIMATE._replace(measure="empirical_se"): pytest.approx(days.std(ddof=1) / math.sqrt(198))}
    assert mcse_so_far(found, "n_events") == {}
    assert mcse_so_far({POWER: Summary.of(np.ones(98))}, "power") == {POWER: pytest.approx(math.sqrt(99 / 100 * 1 / 100 / 98))}


def test_the_least_precise_result_of_a_measure_counts():
    found = {POWER: Summary.of(np.array([1.0] * 2 + [0.0] * 98)), OTHER: Summary.of(np.array([1.0] * 50 + [0.0] * 50)), DURATION: Summary.of(np.array([7.0]))}
    assert shortfall(found, {"power": 0.025, "n_events": 1.0}) == {"power": pytest.approx(4.0)}
    assert shortfall(found, {"power": 0.05})["power"] <= 1.0
    assert shortfall(found, {"duration": 1.0}) == {"duration": math.inf}
    assert shortfall(found, {}) == {}


def test_only_what_is_named_is_summarised(synthetic_record):
    record, labels = synthetic_record(Block(0, 20)), {"primary": AnalysisLabels("primary", "os", None, 1, None)}
    assert {column.measure for column in summarise(record, labels, frozenset({"power", "empirical_se"}))} == {"power", "estimate_mean"}
    assert summarise(record, labels, frozenset()) == {}
