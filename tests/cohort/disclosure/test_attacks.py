"""Attacks on membership, against known density ratios, scikit-learn, and the law of tracing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from witness.samplers import MODELLED, table_of, trial

from trialsim.cohort.disclosure.attacks import ShadowModel, density_ratio, neighbour_features, tracing_ratio
from trialsim.cohort.disclosure.space import Points, Space


def points(values: np.ndarray) -> Points:
    return Points(values, np.ones_like(values), np.ones(values.shape[1]))


def test_the_density_ratio_rises_with_the_true_one():
    """Two normal clouds 0.8 apart in 2 dimensions: the ratio at the 5th neighbour orders points as the true ratio does, mostly."""
    rng = np.random.default_rng(1)
    one, two, real = (rng.standard_normal((n, 2)) + shift for n, shift in ((4000, 0.4), (4000, -0.4), (2000, 0.0)))
    ratio = density_ratio(neighbour_features(points(real), points(one), points(two)))
    truth = 0.8 * real.sum(1)
    assert np.corrcoef(ratio, truth)[0, 1] > 0.6
    assert 2 * np.polyfit(truth, ratio, 1)[0] == pytest.approx(1.0, abs=0.15)  # log f_A / f_B = d (log r_B − log r_A), d = 2


@pytest.mark.parametrize("attack", [neighbour_features, tracing_ratio])
def test_exchanging_the_tables_changes_the_sign(attack):
    space = Space.of(trial(300, seed=1), MODELLED)
    real, one, two = (space.place(trial(300, seed=seed, missing=0.2)) for seed in (1, 2, 3))
    np.testing.assert_allclose(attack(real, one, two), -attack(real, two, one), atol=2e-2 if attack is tracing_ratio else 1e-12)


def test_a_shadow_model_is_a_logistic_regression():
    """Its weights are those of the penalised likelihood, found by Newton's method here."""
    rng = np.random.default_rng(2)
    features, member = rng.standard_normal((4, 100, 3)) * [1.0, 5.0, 0.0], rng.random((4, 100)) < 0.5
    features[..., 0] += member
    model = ShadowModel(features, member)
    x = features.reshape(-1, 3) / np.array([*np.sqrt((features.reshape(-1, 3) ** 2).mean(0))[:2], 1.0])
    w = np.zeros(3)
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ w))
        w -= np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + np.eye(3), x.T @ (p - member.ravel()) + w)
    np.testing.assert_allclose(model.score(features).ravel(), x @ w, atol=5e-3)


def test_a_copied_patient_is_recognised_and_missing_cells_do_not_hide_one():
    table = trial(400, seed=3, missing=0.4)
    space = Space.of(table, MODELLED)
    real = space.place(table)
    member = np.arange(400) < 200
    features = neighbour_features(real, real.take(member), real.take(~member))
    assert roc_auc_score(member, features[:, 0]) == 1.0


def test_tracing_follows_the_law_of_means():
    """An honest model, independent normals with fitted means and SDs (p = 60 parameters), n = 500 a side and as many synthetic rows.

    The best attack's AUC is Φ(√(p / 2n)) = 0.597. Ours also spends itself on 435 products that tell nothing, so it lies
    between chance and the law; the mean of 10 data sets has an SE of about 0.006.
    """
    rng = np.random.default_rng(4)
    found = []
    for _ in range(10):
        halves = rng.standard_normal((2, 500, 30))
        tables = [half.mean(0) + half.std(0) * rng.standard_normal((500, 30)) for half in halves]
        score = tracing_ratio(points(halves.reshape(-1, 30)), *(points(each) for each in tables))
        found.append(roc_auc_score(np.repeat((1, 0), 500), score))
    assert 0.54 < np.mean(found) < norm.cdf(np.sqrt(60 / 1000)) + 0.02


def test_a_constant_table_tells_nothing():
    table = table_of({"a": np.tile([0.0, 1.0], 60), "b": np.tile([1.0, 0.0], 60)})
    real = Space.of(table, ("a", "b")).place(table)
    assert (neighbour_features(real, real, real) == 0.0).all()
    assert np.abs(tracing_ratio(real, real, real)).max() < 1e-9
