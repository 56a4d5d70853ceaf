"""Real against synthetic: chance where the law is one, the known AUC where it is shifted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from witness.samplers import MODELLED, ROLES, Independent, Truth, table_of, trial

from trialsim.cohort.fidelity import side_by_side
from trialsim.cohort.fidelity.classifier import classifier_auc
from trialsim.cohort.sampler import OutcomeRoles

ALONE = OutcomeRoles(None, {}, {})


def _shifted(shift: float, *, seed: int, n: int = 600, missing: float = 0.0):
    rng = np.random.default_rng(seed)
    real, synthetic = rng.standard_normal(n), shift + rng.standard_normal(3 * n)
    for column in (real, synthetic):
        column[rng.random(len(column)) < missing] = np.nan
    return side_by_side(table_of({"x": real}), table_of({"x": synthetic}), modelled=["x"], roles=ALONE)[0]


def test_a_shift_has_its_known_auc():
    """The best classifier of N(0, 1) against N(1, 1) has the AUC Φ(1/√2) = 0.760, which a logistic regression reaches."""
    found = classifier_auc(_shifted(1.0, seed=1))
    assert found.n_draws == 3
    assert abs(found.logistic.estimate - stats.norm.cdf(1 / np.sqrt(2))) < 4 * found.logistic.se
    assert 0.70 < found.trees.estimate < 0.77  # trees overfit a little
    assert found.worst is max(found.trees, found.logistic, key=lambda auc: auc.estimate)


def test_one_law_is_told_apart_by_chance_only():
    found = classifier_auc(_shifted(0.0, seed=11, n=300, missing=0.2), n_draws=2)
    for learner in (found.trees, found.logistic):
        assert abs(learner.estimate - 0.5) < 3.5 * learner.se
        assert 0.02 < learner.se < 0.036  # 1.5 · √(1/12 · (1/300 + 1/600)) where each patient's placement is uniform


def test_missing_cells_themselves_are_seen():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 1000))
    real = np.where(x > 0.5, np.nan, x)  # missing because of its value, in the data only
    synthetic = np.where(rng.random(1000) < 0.31, np.nan, y)
    pair = side_by_side(table_of({"x": real}), table_of({"x": synthetic}), modelled=["x"], roles=ALONE)[0]
    assert 0.58 < classifier_auc(pair).trees.estimate < 0.66  # the best that can be is 0.64


def test_broken_dependence_is_seen_by_trees():
    real = trial(400, seed=1)
    pair, _ = side_by_side(real, Independent(real, ROLES, MODELLED).synthesise(800, seed=2), modelled=MODELLED, roles=ROLES)
    found = classifier_auc(pair)
    assert found.trees.estimate > 0.75
    assert found.as_json()["ci_low"] < found.as_json()["auc"] < found.as_json()["ci_high"]


def test_the_seed_decides_and_a_small_synthetic_table_is_enough():
    pair, _ = side_by_side(trial(300, seed=1), Truth().synthesise(200, seed=2), modelled=MODELLED, roles=ROLES)
    first, again = classifier_auc(pair, seed=3), classifier_auc(pair, seed=3)
    assert first == again
    assert (first.n, first.n_draws) == (200, 1)
    assert first.trees.se == pytest.approx(0.045, abs=0.015)  # 1.5 · √(1/12 · 2/200)
