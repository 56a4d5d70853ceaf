"""Train on synthetic, test on real: can the synthetic patients replace the real ones for making a prediction?

Each outcome is predicted from the covariates and the arm by gradient-boosted trees, once trained on real patients (five
folds, tested on the fold left out) and once on as many synthetic ones (averaged over several samples), always tested on the
same real patients. Values are scored by R² = 1 − Σ e² / Σ (y − ȳ)², yes-or-no values by the AUC, event times by Harrell's
C of a Poisson model of events with the follow-up as exposure (proportional hazards over a constant baseline).

The loss is real − synthetic-trained; its standard error is that of a paired difference over the real test patients (and between synthetic samples), for given training patients.

**Source:** Esteban, Hyland & Rätsch 2017, arXiv:1706.02633 (train on synthetic, test on real); Holford 1980, Biometrics
36:299, doi 10.2307/2529982 (piecewise exponential survival as Poisson regression).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trialsim.cohort.fidelity.concordance import harrell
from trialsim.cohort.fidelity.features import tree_features
from trialsim.cohort.fidelity.measured import Measured
from trialsim.cohort.fidelity.side_by_side import Array, Mask, Side, SideBySide

FOLDS = 5
MOST = 5_000
FEWEST = 50
SIDES: tuple[Side, Side] = ("real", "synthetic")
Score = Literal["R²", "AUC", "C"]


@dataclass(frozen=True, slots=True)
class Utility:
    """One outcome's prediction: the score of a model trained on real and on synthetic patients, both tested on real ones."""

    outcome: str
    score: Score
    real: float
    synthetic: float
    loss: Measured

    def as_json(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "score": self.score, "trained_on_real": self.real, "trained_on_synthetic": self.synthetic, "loss": self.loss.as_json()}


@dataclass(frozen=True, slots=True)
class _Task:
    """An outcome on one side: features of the patients who have it, the target, and the follow-up of an event."""

    x: Array
    y: Array
    exposure: Array | None

    def rows(self, which: Any) -> _Task:
        return _Task(self.x[which], self.y[which], None if self.exposure is None else self.exposure[which])


def utilities(pair: SideBySide, *, n_draws: int = 5, seed: int = 1) -> tuple[Utility, ...]:
    """Every outcome with at least 50 real patients (and 20 events). A synthetic table that holds n · n_draws patients gives n_draws samples."""
    rng = np.random.default_rng([seed, 2])
    n = min(pair.n_real, MOST)
    if n < pair.n_real:
        pair = pair.only(np.sort(rng.choice(pair.n_real, n, replace=False)))
    found = []
    for outcome in pair.roles.events:
        found.append(_utility(outcome, "C", *(_event_task(pair, outcome, side) for side in SIDES), n_draws=n_draws, seed=seed))
    for column in pair.columns:
        if column.role == "value" and len(column.levels) <= 2:
            score: Score = "AUC" if column.levels else "R²"
            found.append(_utility(column.name, score, *(_value_task(pair, column.name, side) for side in SIDES), n_draws=n_draws, seed=seed))
    return tuple(utility for utility in found if utility is not None)


def _features(pair: SideBySide, side: Side) -> Array:
    arm = (pair.real_arm if side == "real" else pair.synthetic_arm).astype(np.float64)
    columns = [arm[:, None]]
    if pair.covariates:
        columns.append(tree_features(pair.covariates, side))
    return np.concatenate(columns, axis=1)


def _event_task(pair: SideBySide, outcome: str, side: Side) -> _Task:
    time, event = pair.follow_up(outcome, side)
    known = time > 0  # neither unknown nor without exposure
    return _Task(_features(pair, side)[known], event[known].astype(np.float64), time[known])


def _value_task(pair: SideBySide, name: str, side: Side) -> _Task:
    value = getattr(pair.by_name[name], side)
    known = ~np.isnan(value)
    return _Task(_features(pair, side)[known], value[known], None)


def _utility(outcome: str, score: Score, real: _Task, synthetic: _Task, *, n_draws: int, seed: int) -> Utility | None:
    from sklearn.model_selection import KFold

    n = len(real.y)
    classes = np.bincount(real.y.astype(np.int64), minlength=2) if score != "R²" else np.array([n, n])
    if n < FEWEST or classes.min() < 20 or len(synthetic.y) < FEWEST:
        return None
    train = n - n // FOLDS  # what the models trained on real patients see
    draws = max(1, min(n_draws, len(synthetic.y) // train))
    samples = [synthetic.rows(slice(place * train, (place + 1) * train)) for place in range(draws)]
    cross = np.empty(n)
    for fitted, left_out in KFold(FOLDS, shuffle=True, random_state=seed).split(real.x):
        cross[left_out] = _fit(real.rows(fitted), score, real.x[left_out])
    scored = [_score(_fit(sample, score, real.x), real, score) for sample in samples]
    ours, of_ours = _score(cross, real, score)
    theirs, of_theirs = float(np.mean([each for each, _ in scored])), np.mean([influence for _, influence in scored], axis=0)
    se = float((of_ours - of_theirs).std(ddof=1) / np.sqrt(n))
    if draws > 1:  # the samples themselves vary
        se = float(np.hypot(se, np.std([each for each, _ in scored], ddof=1) / np.sqrt(draws)))
    return Utility(outcome, score, ours, theirs, Measured(ours - theirs, se, n, train * draws))


def _fit(task: _Task, score: Score, x: Array) -> Array:
    """Scores of the patients x, by a model fitted to the task; a task without variation predicts a constant."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    options: dict[str, Any] = {
        "max_iter": 100,
        "learning_rate": 0.05,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 30,
        "l2_regularization": 1.0,
        "early_stopping": False,
        "random_state": 0,
    }
    if len(np.unique(task.y)) < 2:
        return np.full(len(x), float(task.y.mean()))
    if score == "AUC":
        return HistGradientBoostingClassifier(**options).fit(task.x, task.y).predict_proba(x)[:, 1]
    if score == "R²":
        return HistGradientBoostingRegressor(**options).fit(task.x, task.y).predict(x)
    assert task.exposure is not None
    rate = task.y / task.exposure
    weight = task.exposure / task.exposure.mean()
    model = HistGradientBoostingRegressor(loss="poisson", **options).fit(task.x, rate / rate.mean(), sample_weight=weight)
    return model.predict(x)


def _score(predicted: Array, task: _Task, score: Score) -> tuple[float, Array]:
    """The score and the influence of each patient on it."""
    if score == "R²":
        squares = (task.y - task.y.mean()) ** 2
        errors = (task.y - predicted) ** 2
        ratio = float(errors.sum() / squares.sum())
        return 1.0 - ratio, -(errors - ratio * squares) / float(squares.mean())
    if score == "C":
        assert task.exposure is not None
        return harrell(predicted, task.exposure, task.y == 1)
    # The AUC is the concordance of cases with controls: as if every case came first and every control were censored later.
    event: Mask = task.y == 1
    return harrell(predicted, np.where(event, 0.0, 1.0), event)
