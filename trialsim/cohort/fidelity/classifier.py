"""Can a classifier tell real from synthetic patients?

As many synthetic patients as real ones, all modelled columns, missing cells as they are; five stratified folds, each patient
scored by a model that has not seen them. AUC = P(a real patient scores higher than a synthetic one of the same fold): 0.5
is indistinguishable by this learner, 1 is told apart with certainty. It is averaged over several disjoint synthetic
samples; DeLong's variance is taken of each patient's mean placement, since the samples share their real patients, and multiplied
by 1 + 5 · n_test / n_train = 2.25 for what the folds' models owe to common training rows (no unbiased estimate of that
exists; without it intervals of the logistic regression hold chance far too rarely, with it a little too often).

Two learners: gradient-boosted trees, which see interactions, bends and rounding, and logistic regression, which sees means
and shares. The larger AUC is the one that is judged; below 0.5 is noise, not fidelity.

**Source:** Snoke, Raab, Nowok, Dibben & Slavkovic 2018, J R Stat Soc A 181:663, doi 10.1111/rssa.12358 (propensity scores of
synthetic data); DeLong et al. 1988, doi 10.2307/2531595; Nadeau & Bengio 2003, Mach Learn 52:239, doi
10.1023/A:1024068626366 (the factor).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trialsim.cohort.fidelity.concordance import placements
from trialsim.cohort.fidelity.features import linear_features, tree_features
from trialsim.cohort.fidelity.measured import Measured
from trialsim.cohort.fidelity.side_by_side import Array, SideBySide

FOLDS = 5
SHARED = 1 + FOLDS / (FOLDS - 1)
MOST = 5_000  # patients of each side; more only sharpen an estimate that is sharp already


@dataclass(frozen=True, slots=True)
class ToldApart:
    """The AUC of each learner, over `n_draws` synthetic samples of `n` patients."""

    trees: Measured
    logistic: Measured
    n: int
    n_draws: int
    by_draw: tuple[tuple[float, float], ...]

    @property
    def worst(self) -> Measured:
        """The learner that tells them apart best."""
        return max(self.trees, self.logistic, key=lambda auc: auc.estimate)

    def as_json(self) -> dict[str, Any]:
        low, high = self.worst.interval()
        return {
            "auc": self.worst.estimate,
            "se": self.worst.se,
            "ci_low": low,
            "ci_high": high,
            "n": self.n,
            "n_draws": self.n_draws,
            "learners": {"trees": self.trees.as_json(), "logistic": self.logistic.as_json()},
        }


def classifier_auc(pair: SideBySide, *, n_draws: int = 5, seed: int = 1) -> ToldApart:
    """Real against synthetic; the synthetic table must hold at least as many patients as the real one, and gives up to `n_draws` samples."""
    rng = np.random.default_rng([seed, 1])
    n = min(pair.n_real, MOST, pair.n_synthetic)
    if n < pair.n_real:
        pair = pair.only(np.sort(rng.choice(pair.n_real, n, replace=False)))
    draws = [pair.slice(first * n, n) for first in range(min(n_draws, pair.n_synthetic // n))]
    learners: tuple[tuple[Callable[[], Any], bool], ...] = ((_trees, True), (_logistic, False))
    measured: list[Measured] = []
    every: list[list[float]] = []
    for make, as_tree in learners:
        scored = [_one_draw(draw, make, as_tree=as_tree, seed=seed + place) for place, draw in enumerate(draws)]
        real = np.mean([ours for ours, _ in scored], axis=0)
        variance = real.var(ddof=1) / n + sum(theirs.var(ddof=1) / n for _, theirs in scored) / len(scored) ** 2
        every.append([float(theirs.mean()) for _, theirs in scored])
        measured.append(Measured(float(np.mean(every[-1])), float(np.sqrt(variance * SHARED)), n, n * len(scored)))
    return ToldApart(measured[0], measured[1], n, len(draws), tuple(zip(*every, strict=True)))


def _one_draw(pair: SideBySide, make: Callable[[], Any], *, as_tree: bool, seed: int) -> tuple[Array, Array]:
    """Every real and every synthetic patient's placement among those of the other kind in the same fold."""
    from sklearn.model_selection import StratifiedKFold

    n = pair.n_real
    sides = [tree_features(pair.columns, side) if as_tree else linear_features(pair.columns, side) for side in ("real", "synthetic")]
    x, y = np.concatenate(sides), np.concatenate((np.ones(n), np.zeros(pair.n_synthetic)))
    ours, theirs = np.empty(n), np.empty(pair.n_synthetic)
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a regression that has not quite converged is a weaker opponent, no error
            score = make().fit(x[train], y[train]).predict_proba(x[test])[:, 1]
        of_real = y[test] == 1
        ours[test[of_real]], theirs[test[~of_real] - n] = placements(score[of_real], score[~of_real])
    return ours, theirs


def _trees() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=100, learning_rate=0.08, max_leaf_nodes=15, l2_regularization=1.0, early_stopping=False, random_state=0)


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, max_iter=500)
