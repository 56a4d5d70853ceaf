"""Coverage in a run is that of the interval which an analysis of the data prints, by the exact law of two binomials."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import confint_proportions_2indep

from trialsim.evaluation.estimation import Estimation
from trialsim.evaluation.results import CellLabels
from trialsim.evaluation.truth import TrueValue
from trialsim.execution.chunks import simulate_chunk
from trialsim.execution.comparisons import comparisons_of
from trialsim.execution.long_form import from_table, to_table
from trialsim.records import Block
from trialsim.simulate import compile_trial, simulate
from trialsim.spec import load

PROTOCOL = """\
spec: trialsim/1
study: {id: COV}
arms: {new: {type: experimental}, old: {type: active_comparator}}
population: {planned_enrollment: 60}
visits: {w4: {at: 4 weeks}}
endpoints: {cured: {type: binary, outcome: cured, at: w4}}
truth: {outcomes: {cured: {dist: bernoulli, p: 0.05}}}
accrual: {uniform: 3 months}
randomization: {method: permuted_block, block_size: 4}
analyses: {a: {endpoint: cured, treatment: {test: new, reference: old}, method: proportions, interval: INTERVAL}}
simulation: {seed: 5, replicates: 8000}
"""
N, P, PER_ARM = 8_000, 0.05, 30


def _exact(method: str) -> float:
    """The chance that the interval holds a difference of 0, over all tables but that without any event: there the analysis fails."""
    weight = binom.pmf(np.arange(PER_ARM + 1), PER_ARM, P)
    covered = total = 0.0
    for x in range(10):
        for y in range(10):
            if x == y == 0:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                low, high = confint_proportions_2indep(x, PER_ARM, y, PER_ARM, method=method, compare="diff")
            chance = weight[x] * weight[y]
            total += chance
            covered += chance * (low <= 0 <= high)
    return covered / total


@pytest.mark.parametrize("interval, theirs", [("wald", "wald"), ("wilson", "newcomb")])
def test_coverage_is_of_the_interval_of_the_method(tmp_path: Path, interval: str, theirs: str) -> None:
    """Within 3 MCSE of 8,000 trials; statsmodels' Newcombe interval is the one of `wilson`."""
    path = tmp_path / "p.yaml"
    path.write_text(PROTOCOL.replace("INTERVAL", interval))
    study = load(path)
    trial = compile_trial(study.cells()[0], study.directory)
    record = simulate_chunk(lambda block: simulate(trial, block), Block(0, N), block_size=2_000)
    record = from_table(to_table(record))  # as it is stored
    estimation = Estimation(comparisons_of(trial, {"a": TrueValue(0.0)})["a"])
    estimation.add(record, record.analyses["a"])
    row = next(row for row in estimation.rows(CellLabels("default", "base", "alternative")) if row.measure == "coverage")
    exact = _exact(theirs)
    assert row.estimate == pytest.approx(exact, abs=3 * np.sqrt(exact * (1 - exact) / row.n))
    without_events = (1 - P) ** (2 * PER_ARM)
    assert 1 - row.n / N == pytest.approx(without_events, abs=3 * np.sqrt(without_events / N))
