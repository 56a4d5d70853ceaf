"""Correlations against pandas, their standard errors against simulation, and which pairs count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from witness.samplers import MODELLED, ROLES, Independent, Truth, table_of, trial

from trialsim.cohort.fidelity import side_by_side
from trialsim.cohort.fidelity.dependence import correlation_se, dependence, pairwise_correlation
from trialsim.cohort.sampler import OutcomeRoles


def test_pairwise_correlations_are_those_of_pandas():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 6)) @ rng.standard_normal((6, 6)) + 1e6  # far from zero: no digits are lost
    x[rng.random(x.shape) < 0.3] = np.nan
    x[:, 5] = 7.0  # constant: not defined
    x[2:, 4] = np.nan  # two patients: not defined
    expected = pd.DataFrame(x).corr(min_periods=3).to_numpy()
    np.testing.assert_allclose(pairwise_correlation(x), expected, rtol=1e-7, atol=1e-9)


def test_the_standard_error_holds_where_nothing_is_normal():
    """A rare indicator and a skewed number; the SD over 2,000 samples is known to 1.6 %."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(2000):
        z = rng.standard_normal(600)
        x, y = (z > 1.5).astype(float), np.exp(0.7 * z + 0.5 * rng.standard_normal(600))
        found.append((np.corrcoef(x, y)[0, 1], correlation_se(x, y)))
    estimates, errors = np.array(found).T
    assert errors.mean() == pytest.approx(estimates.std(), rel=0.08)
    assert np.isnan(correlation_se(np.ones(5), np.arange(5.0)))


def test_pairs_bound_by_a_rule_and_indicators_of_one_column_do_not_count():
    model = Truth()
    pair, _ = side_by_side(trial(500, seed=1), model.synthesise(2000, seed=1), modelled=MODELLED, roles=ROLES)
    found = dependence(pair)
    assert found.features[3:6] == ("site = north", "site = south", "site = west")
    compared = dict(zip(found.features, found.compared, strict=True))
    place = {name: index for index, name in enumerate(found.features)}
    assert not compared["x"][place["high"]]
    assert not compared["site = north"][place["site = west"]]
    assert compared["x"][place["site = west"]]
    # 11 features: 55 pairs, less x with high, less 3 pairs of sites
    assert found.n_pairs == 51
    assert set(found.by_role) == {"covariates", "with an outcome, the arm or another column"}
    assert found.rules[0].column == "high"
    assert found.rules[0].synthetic < 0.002  # the cut is known up to the gap between two of 500 patients: 0.35 / 500


def test_the_worst_pair_is_found_with_its_error():
    real = trial(800, seed=4)
    model = Independent(real, ROLES, MODELLED)
    pair, _ = side_by_side(real, model.synthesise(20_000, seed=1), modelled=MODELLED, roles=ROLES)
    worst = dependence(pair).worst[0]
    assert {worst.one, worst.two} == {"x", "value"}
    assert worst.real == pytest.approx(np.corrcoef(real.columns["x"], real.columns["value"])[0, 1])
    assert abs(worst.synthetic) < 4 / np.sqrt(20_000)
    assert dependence(pair).rules[0].synthetic == pytest.approx(2 * 0.31 * 0.69, abs=0.05)  # the rule is broken at random


def test_a_column_that_does_not_vary_any_more_has_lost_its_correlations():
    rng = np.random.default_rng(1)
    x = rng.standard_normal(200)
    real = table_of({"x": x, "y": x + rng.standard_normal(200)})
    pair, _ = side_by_side(real, replace(real, columns={**real.columns, "y": np.zeros(200)}), modelled=["x", "y"], roles=OutcomeRoles(None, {}, {}))
    found = dependence(pair).worst[0]
    assert found.error.estimate == pytest.approx(-found.real)
    assert found.real > 0.5


def test_a_copy_in_another_unit_is_a_line_and_not_the_values_of_the_data():
    """Synthetic patients have values that no real one has; a rounded copy, exceptions in the data, and one that is broken."""
    rng = np.random.default_rng(5)

    def made(n: int, broken: float = 0.0):
        kg = np.round(rng.normal(75, 12, n), 1)
        pounds = np.round(kg * 2.20462, 1)
        typed = rng.random(n) < 0.004 + broken
        return {"kg": kg, "pounds": np.where(typed, pounds + 2, pounds), "half": kg / 2}

    roles = OutcomeRoles(arm=None, events={}, values={})
    real = table_of(made(1000))
    for broken in (0.0, 0.2):
        pair, _ = side_by_side(real, table_of(made(20_000, broken)), modelled=("kg", "pounds", "half"), roles=roles)
        kept = {rule.column: rule for rule in dependence(pair).rules}
        assert set(kept) == {"pounds", "half"}
        assert kept["half"].synthetic == kept["half"].real == 0.0
        assert kept["pounds"].real <= 0.01
        assert kept["pounds"].synthetic == pytest.approx(0.004 + broken, abs=0.003 + 0.01 * (broken > 0))
