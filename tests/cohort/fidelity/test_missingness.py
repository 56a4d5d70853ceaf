"""Missing cells: rates, their correlations, their patterns."""

from __future__ import annotations

import numpy as np
import pytest
from witness.samplers import table_of

from trialsim.cohort.fidelity import side_by_side
from trialsim.cohort.fidelity.missingness import missingness
from trialsim.cohort.sampler import OutcomeRoles

ROLES = OutcomeRoles(None, {}, {})


def _table(n: int, seed: int, *, together: bool):
    rng = np.random.default_rng(seed)
    first, second = rng.random(n) < 0.3, rng.random(n) < 0.3
    if together:
        second = first
    columns = {name: rng.standard_normal(n) for name in ("a", "b", "c")}
    columns["a"][first], columns["b"][second] = np.nan, np.nan
    return table_of(columns)


def test_equal_rates_with_another_pattern_are_told_apart():
    n, m = 2000, 50_000
    pair, _ = side_by_side(_table(n, 1, together=True), _table(m, 2, together=False), modelled=["a", "b", "c"], roles=ROLES)
    found = missingness(pair)
    assert [rate.column for rate in found.rates] == ["a", "b"]
    se = np.sqrt(0.21 / n + 0.21 / m)
    for rate in found.rates:
        assert abs(rate.error.estimate) < 4 * se
        assert rate.error.se == pytest.approx(se, rel=0.1)
    assert found.correlated == ("a", "b")
    assert found.correlation.estimate == pytest.approx(-1.0, abs=4 / np.sqrt(m))
    # together: 0.3 both, 0.7 neither; apart: 0.09, 0.49 and 0.42 one of the two
    assert found.patterns.estimate == pytest.approx(0.42, abs=4 * np.sqrt(0.25 / n))


def test_a_table_without_missing_cells_has_lost_them():
    real = _table(2000, 1, together=True)
    pair, _ = side_by_side(real, table_of({name: np.zeros(100) for name in "abc"}), modelled=["a", "b", "c"], roles=ROLES)
    found = missingness(pair)
    assert found.worst.error.estimate == pytest.approx(-np.isnan(real.columns["a"]).mean())
    assert found.correlation.estimate == pytest.approx(-1.0)


def test_nothing_missing_on_either_side():
    table = table_of({"a": np.arange(9.0)})
    pair, _ = side_by_side(table, table, modelled=["a"], roles=ROLES)
    assert missingness(pair).as_json() == {
        "rates": [],
        "largest_correlation_error": None,
        "patterns_tv": {"estimate": 0.0, "se": 0.0, "n_real": 9, "n_synthetic": 9},
    }
