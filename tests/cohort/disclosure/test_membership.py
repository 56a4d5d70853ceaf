"""The membership AUC and its interval, against scikit-learn, DeLong's variance, SciPy, and simulated crossed effects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_t, norm, t
from sklearn.metrics import roc_auc_score

from trialsim.cohort.disclosure.membership import aucs, group_estimates, largest_t, placements, share_beaten, stronger_scores


def halves(refits: int, n: int, rng: np.random.Generator) -> np.ndarray:
    member = np.zeros((refits, n), dtype=bool)
    for row in member:
        row[rng.permutation(n)[: n // 2]] = True
    return member


@pytest.mark.parametrize("ties", [False, True])
def test_the_mean_placement_of_either_half_is_the_auc(ties: bool):
    rng = np.random.default_rng(1)
    score, member = rng.standard_normal(201), rng.random(201) < 0.4
    score = np.round(score) if ties else score
    u = placements(score, member)
    expected = roc_auc_score(member, score)
    assert u[member].mean() == pytest.approx(expected, abs=1e-12)
    assert u[~member].mean() == pytest.approx(expected, abs=1e-12)
    assert aucs(score[None], member[None])[0] == pytest.approx(expected, abs=1e-12)


def test_a_groups_share_is_counted_pair_by_pair():
    rng = np.random.default_rng(2)
    score, member, group = np.round(rng.standard_normal(60), 1), rng.random(60) < 0.5, rng.random(60) < 0.3
    for i, share in enumerate(share_beaten(score, member, group)):
        others = [j for j in range(60) if member[j] != member[i] and group[j]]
        right = [((score[i] > score[j]) if member[i] else (score[i] < score[j])) + 0.5 * (score[i] == score[j]) for j in others]
        assert share == pytest.approx(np.mean(right), abs=1e-12)


def delong(score: np.ndarray, member: np.ndarray) -> float:
    """DeLong's variance of one AUC, from the matrix of all comparisons."""
    kernel = (score[member][:, None] > score[~member]) + 0.5 * (score[member][:, None] == score[~member])
    return float(kernel.mean(1).var(ddof=1) / member.sum() + kernel.mean(0).var(ddof=1) / (~member).sum())


def test_refits_that_agree_have_delongs_variance():
    """The same halves and scores in every refit: nothing between refits, and the variance is that of one AUC."""
    rng = np.random.default_rng(3)
    member = np.repeat(halves(1, 400, rng), 6, axis=0)
    score = np.repeat(rng.standard_normal((1, 400)), 6, axis=0) + 0.5 * member
    found = group_estimates(score, member, {})
    assert found.std_error[0] ** 2 == pytest.approx(delong(score[0], member[0]), rel=0.01)
    assert found.estimate[0] == pytest.approx(roc_auc_score(member[0], score[0]), abs=1e-12)


def test_refits_without_anything_in_common_have_the_naive_variance():
    """New independent scores in every refit: patients are no more exposed one than another."""
    rng = np.random.default_rng(4)
    member = halves(40, 500, rng)
    found = group_estimates(rng.standard_normal((40, 500)) + 0.2 * member, member, {})
    assert found.std_error[0] == pytest.approx(np.sqrt((500 + 1) / (12 * 250 * 250) / 40), rel=0.35)  # SD over √S of a rank-sum AUC; df 39


def simulated(rng: np.random.Generator, *, refits: int, n: int, exposed: float) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Scores in which patients differ in how much they are told: S = ±g_i + e, with g_i exponential."""
    member = halves(refits, n, rng)
    told = exposed * rng.exponential(size=n)
    scores = np.where(member, 1.0, -1.0) * told + rng.standard_normal((refits, n))
    return scores, member, {"a tenth": np.arange(n) < n // 10, "a half": rng.random(n) < 0.5}


def test_the_naive_interval_is_too_short_where_patients_differ():
    """Why patients count as random: SE over refits alone, for many refits, misses the variance between patients."""
    rng = np.random.default_rng(6)
    estimates, naive, ours = [], [], []
    for _ in range(60):
        scores, member, _ = simulated(rng, refits=40, n=200, exposed=0.6)
        found = group_estimates(scores, member, {})
        estimates.append(found.estimate[0])
        ours.append(found.std_error[0])
        naive.append(aucs(scores, member).std(ddof=1) / np.sqrt(40))
    spread = np.std(estimates, ddof=1)  # relative standard error 1 / √(2 · 59) = 9 %
    assert np.mean(naive) < 0.6 * spread
    assert np.mean(ours) == pytest.approx(spread, rel=4 * 0.09)


def test_the_largest_t_is_that_of_scipy():
    """P(max |t| ≤ c) by SciPy's multivariate t distribution function, within 4 MCSE of 40,000 draws."""
    for rho, df in ((0.0, 10.0), (0.7, 25.0)):
        c = largest_t(np.array([[4.0, 2 * rho], [2 * rho, 1.0]]), df)
        law = multivariate_t(np.zeros(2), np.array([[1.0, rho], [rho, 1.0]]), df=df, seed=1)
        box = law.cdf([c, c]) - law.cdf([-c, c]) - law.cdf([c, -c]) + law.cdf([-c, -c])
        assert box == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 40_000) + 1e-3)
    assert largest_t(np.eye(1), 7.0) == pytest.approx(t.ppf(0.975, 7), rel=0.02)
    assert largest_t(np.zeros((2, 2)), 7.0) == 0.0


def test_taking_the_stronger_attack_does_not_raise_the_estimate():
    """Three attacks that tell nothing: the mean AUC of the chosen one over 80 sets of 8 refits is ½ within 4 MCSE."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(80):
        member = halves(8, 60, rng)
        scores, _, _ = stronger_scores(rng.standard_normal((8, 60, 6)), member, tracing=rng.standard_normal((8, 60)), compete=True)
        found.append(aucs(scores, member).mean())
    assert np.mean(found) == pytest.approx(0.5, abs=4 * np.std(found) / np.sqrt(80))


def test_the_stronger_attack_is_taken():
    rng = np.random.default_rng(8)
    member = halves(8, 400, rng)
    features = rng.standard_normal((8, 400, 6))
    features[..., 0] += 2.0 * member - 1.0  # only the nearest neighbour tells, which the density ratio at the 5th does not see
    scores, own, alike = stronger_scores(features, member)
    assert own["density_ratio"] == pytest.approx(0.5, abs=0.05)
    assert aucs(scores, member).mean() == pytest.approx(own["shadow_model"], abs=1e-12)
    assert alike > 0.95  # the same rule is learned twice
    assert own["shadow_model"] == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.02)


def test_rules_learned_by_chance_double_the_variance_between_refits():
    """Where nothing is to be learned, the halves' means rise and fall together: the SE counts it, and is right within 4 SE of an SD."""
    rng = np.random.default_rng(9)
    estimates, errors, plain = [], [], []
    for _ in range(150):
        member = halves(8, 60, rng)
        scores, _, alike = stronger_scores(rng.standard_normal((8, 60, 6)), member)
        estimates.append(aucs(scores, member).mean())
        errors.append(group_estimates(scores, member, {}, alike=alike).std_error[0])
        plain.append(group_estimates(scores, member, {}).std_error[0])
    spread = np.std(estimates, ddof=1)
    assert np.mean(errors) > spread * (1 - 4 / np.sqrt(2 * 150)) / 1.1  # an SE of few refits is 4 to 10 % below on average
    assert np.mean(errors) > 1.15 * np.mean(plain)


def test_a_patient_group_in_one_half_only_counts_as_chance():
    member = np.array([[True] * 5 + [False] * 5] * 4)
    found = group_estimates(np.arange(40.0).reshape(4, 10), member, {"first": np.arange(10) < 1})
    assert np.isfinite(found.estimate).all()
    assert np.isfinite(found.std_error).all()
