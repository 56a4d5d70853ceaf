"""The law that a private model keeps: noisy margins, effects of the arm, and correlations, and patients drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from trialsim.cohort.fitted.privacy_ledger import Accountant
from trialsim.cohort.fitted.private_cells import Cells, cell_scores, shares_of

Array = NDArray[np.float64]
Places = NDArray[np.int64]

SHARES = {"margins": 0.25, "events": 0.20, "effects": 0.10, "products": 0.45}
"""Of the budget (μ²). A release that a table has no use for leaves its share to the others."""
TYPICAL = 0.2  # the SD that correlations are thought to have between pairs
LIMIT = 0.98  # of a correlation
ROOM = 1.3  # of the expected squared length of a patient's scores
_NOISE_ONLY = 3.0  # SDs: missing cells fewer than that are none


@dataclass(frozen=True, slots=True)
class Coded:
    """What is counted: cells of covariates and values `[patient]`, arms, and cells of events (time cell · 2 + event)."""

    cells: Mapping[str, Cells]
    places: Mapping[str, Places]
    values: tuple[str, ...]
    arm: Places
    n_arms: int
    event_cells: Mapping[str, Cells]
    event_places: Mapping[str, Places]


@dataclass(frozen=True, slots=True)
class PrivateLaw:
    """Released numbers, and what follows from them alone.

    `n` is the noisy number of patients. `shares[name]` are of a column's cells; `missing[name]` its share of missing
    cells; `arms` the arms' shares; `effects[name]` `[arm]` the means of a value's normal score; `events[name]` `[arm, cell]`
    the shares of event cells, whose `order[name]` is from the worst to the best; `correlation` is of the normal scores of
    `cells` and then of `events`, in order.
    """

    n: float
    cells: Mapping[str, Cells]
    shares: Mapping[str, Array]
    missing: Mapping[str, float]
    arms: Array
    effects: Mapping[str, Array]
    event_cells: Mapping[str, Cells]
    events: Mapping[str, Array]
    order: Mapping[str, Places]
    correlation: Array

    def draw(self, n: int, generator: np.random.Generator) -> tuple[Places, dict[str, Array], dict[str, tuple[Array, Array]]]:
        """`n` patients: arms, columns (NaN missing), and (time, event) of each event.

        Margins, arms and correlations are those of the law as exactly as `n` allows, not up to chance: ranks replace
        scores, within arms where the arm matters.
        """
        arm = generator.permutation(_whole(self.arms, n))
        z = _scores(self.correlation, n, generator)
        everyone = np.zeros(n, dtype=np.int64)
        columns: dict[str, Array] = {}
        for place, (name, cells) in enumerate(self.cells.items()):
            score = z[:, place]
            if name in self.effects:
                shift = self.effects[name]
                score = ndtri(_ranks(score, arm)) * np.sqrt(max(0.05, 1.0 - float(self.arms @ shift**2))) + shift[arm]
            columns[name] = cells.values(*_quantile(_ranks(score, everyone), self.shares[name][None], everyone))
            columns[name][generator.random(n) < self.missing[name]] = np.nan
        found = {}
        for name, score in zip(self.events, z.T[len(self.cells) :], strict=True):
            order = self.order[name]
            rank, within = _quantile(_ranks(score, arm), self.events[name][:, order], arm)
            time = self.event_cells[name].values(order[rank] // 2, within)
            happened = (order[rank] % 2).astype(np.float64)
            gone = generator.random(n) < self.missing[name]
            time[gone] = happened[gone] = np.nan
            found[name] = time, happened
        return arm, columns, found


def _whole(shares: Array, n: int) -> Places:
    """`n` places whose numbers are as the shares, up to one patient."""
    ends = np.rint(np.cumsum(shares) * n).astype(np.int64)
    return np.repeat(np.arange(len(shares)), np.diff(np.concatenate(([0], ends[:-1], [n]))))


def _scores(correlation: Array, n: int, generator: np.random.Generator) -> Array:
    """Normal scores `[patient, column]` whose sample correlation is the one given (exactly, where there are patients enough)."""
    p = len(correlation)
    z = generator.standard_normal((n, p))
    if n > 2 * p:
        z -= z.mean(0)
        z = np.linalg.solve(np.linalg.cholesky(z.T @ z / n), z.T).T
    values, vectors = np.linalg.eigh(correlation)
    return np.asarray(z @ (vectors * np.sqrt(np.maximum(values, 0.0))).T)


def _ranks(score: Array, group: Places) -> Array:
    """(rank − ½) / n of each patient within their group."""
    order = np.lexsort((score, group))
    sizes = np.bincount(group)
    first = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    out = np.empty(len(score))
    out[order] = np.arange(len(score)) - first[group[order]]
    return np.asarray((out + 0.5) / sizes[group])


def _quantile(u: Array, shares: Array, row: Places) -> tuple[Places, Array]:
    """(cell, how far up in it) at probability `u` `[patient]` under the shares `[row, cell]` of each patient's row."""
    above = np.cumsum(shares, axis=1)
    place = np.empty(len(u), dtype=np.int64)
    for r in range(len(shares)):
        mine = row == r
        place[mine] = np.searchsorted(above[r], u[mine] * above[r, -1], "left").clip(max=shares.shape[1] - 1)
    share = shares[row, place]
    within = (u * above[row, -1] - (above[row, place] - share)) / np.where(share > 0, share, 1.0)
    return place, np.clip(within, 0.0, 1.0)


def release_law(coded: Coded, accountant: Accountant) -> PrivateLaw:
    """Counts, and what each release costs. Neighbours: one patient more.

    margins   counts of all columns' cells and of the arms; a patient is in one cell of each: Δ = √(columns + 1)
    events    counts of arm × time × event, for each event: Δ = √events
    effects   sums of a value's score by arm, scores held within their cells' means: Δ = √(Σ of their largest squares)
    products  Σ_i s_ij s_ik of every pair of scores and Σ_i s_ij² / √2, a patient's scores shortened to length C:
              Δ = C² / √2, the length of these products for any vector of length C

    A score is the mean of a standard normal in the patient's cell (given the arm, for an event), 0 where missing; with
    variance v_j and share seen q_j, Σ s_ij s_ik / √(Σ s_ij² Σ s_ik²) is near ρ_jk √(v_j q_j v_k q_k), to first order in ρ;
    shortening, which is no small thing where columns are few, leaves that ratio nearly as it is (ρ is a polyserial
    correlation; strong ones come out up to a tenth low). Each estimate is shrunk by τ² / (τ² + its noise variance), τ = 0.2, and all are brought to the nearest
    correlation matrix. Scores, C and all else are functions of what was released before.

    **Source:** Dwork & Roth 2014, doi 10.1561/0400000042, appendix A (the Gaussian mechanism); Olsson, Drasgow & Dorans
    1982, Psychometrika 47:337, doi 10.1007/BF02294164.
    """
    share = _budget(coded)
    n, margins, missing, arms = _margins(coded, accountant, share["margins"])
    events, order, gone = _events(coded, accountant, share.get("events", 0.0))
    score_of = {name: cell_scores(shares) for name, shares in margins.items()}
    seen = {name: np.append(scores, 0.0)[coded.places[name]] for name, scores in score_of.items()}
    effects = _effects(coded, accountant, share.get("effects", 0.0), seen=seen, score_of=score_of, arms=arms, missing=missing, n=n)
    weights = {name: float((1 - missing[name]) * (margins[name] * score_of[name] ** 2).sum()) for name in margins}
    for name, shares in events.items():
        ranked = np.array([cell_scores(row[order[name]]) for row in shares])
        by_cell = np.zeros((len(shares), shares.shape[1] + 1))
        by_cell[:, order[name]] = ranked
        seen[name] = by_cell[coded.arm, coded.event_places[name]]
        weights[name] = float((1 - gone[name]) * (arms[:, None] * shares[:, order[name]] * ranked**2).sum())
    correlation = _correlation(seen, weights, accountant, share.get("products", 0.0), n)
    return PrivateLaw(n, coded.cells, margins, {**missing, **gone}, arms, effects, coded.event_cells, events, order, correlation)


def _budget(coded: Coded) -> dict[str, float]:
    """The share of each release that this table has a use for."""
    wanted = {
        "margins": True,
        "events": bool(coded.event_cells),
        "effects": bool(coded.values) and coded.n_arms > 1,
        "products": len(coded.cells) + len(coded.event_cells) > 1,
    }
    total = sum(SHARES[name] for name, wants in wanted.items() if wants)
    return {name: SHARES[name] / total for name, wants in wanted.items() if wants}


def _margins(coded: Coded, accountant: Accountant, share: float) -> tuple[float, dict[str, Array], dict[str, float], Array]:
    """The noisy number of patients, shares of cells, shares of missing cells, and shares of arms."""
    counts = [np.bincount(coded.places[name], minlength=cells.n + 1).astype(np.float64) for name, cells in coded.cells.items()]
    counts.append(np.bincount(coded.arm, minlength=coded.n_arms).astype(np.float64))
    noisy = accountant.release("counts of cells and arms", np.concatenate(counts), sensitivity=np.sqrt(len(counts)), share=share)
    sigma = accountant.releases[-1].sigma
    parts = np.split(noisy, np.cumsum([len(part) for part in counts])[:-1])
    n = max(float(np.average([part.sum() for part in parts], weights=[1 / len(part) for part in parts])), 1.0)
    missing = {
        name: min(max(float(part[-1]) / n, 0.0), 0.99) if part[-1] > _NOISE_ONLY * sigma else 0.0 for name, part in zip(coded.cells, parts, strict=False)
    }
    return n, {name: shares_of(part[:-1]) for name, part in zip(coded.cells, parts, strict=False)}, missing, shares_of(parts[-1])


def _events(coded: Coded, accountant: Accountant, share: float) -> tuple[dict[str, Array], dict[str, Places], dict[str, float]]:
    """Of each event: shares of cells by arm, the cells from the worst to the best, and the share that is missing."""
    if not coded.event_cells:
        return {}, {}, {}
    shapes = {name: (coded.n_arms, 2 * cells.n + 1) for name, cells in coded.event_cells.items()}
    counts = []
    for name, (arms, width) in shapes.items():
        counts.append(np.bincount(coded.arm * width + coded.event_places[name], minlength=arms * width).astype(np.float64))
    noisy = accountant.release("counts of arm, time and event", np.concatenate(counts), sensitivity=np.sqrt(len(counts)), share=share)
    sigma = accountant.releases[-1].sigma
    parts = np.split(noisy, np.cumsum([len(part) for part in counts])[:-1])
    events, order, missing = {}, {}, {}
    for (name, shape), part in zip(shapes.items(), parts, strict=True):
        table = part.reshape(shape)
        lost, total = float(table[:, -1].sum()), max(float(table.sum()), 1.0)
        missing[name] = min(lost / total, 0.99) if lost > _NOISE_ONLY * sigma * np.sqrt(shape[0]) else 0.0
        events[name] = np.array([shares_of(row[:-1]) for row in table])
        order[name] = worst_first(np.maximum(table[:, :-1], 0.0).sum(0))
    return events, order, missing


def worst_first(counts: Array) -> Places:
    """Cells (time cell · 2 + event) from the worst to the best by their log-rank scores: 1 − Λ(t) of an event, −Λ(t) of a censoring.

    **Source:** Peto & Peto 1972, J R Stat Soc A 135:185, doi 10.2307/2344317.
    """
    by_time = counts.reshape(-1, 2)
    at_risk = np.cumsum(by_time.sum(1)[::-1])[::-1]
    cumulative = np.cumsum(by_time[:, 1] / np.maximum(at_risk, 1.0))
    scores = np.stack((-cumulative, 1.0 - cumulative), axis=1).ravel()
    return np.argsort(-scores, kind="stable")


def _effects(
    coded: Coded,
    accountant: Accountant,
    share: float,
    *,
    seen: Mapping[str, Array],
    score_of: Mapping[str, Array],
    arms: Array,
    missing: Mapping[str, float],
    n: float,
) -> dict[str, Array]:
    """The mean normal score of each value in each arm, less its mean over arms."""
    if share <= 0:
        return {}
    sums = np.array([np.bincount(coded.arm, weights=seen[name], minlength=coded.n_arms) for name in coded.values])
    largest = np.array([np.abs(score_of[name]).max() for name in coded.values])
    noisy = accountant.release("sums of values' scores by arm", sums, sensitivity=float(np.sqrt((largest**2).sum())), share=share)
    found = {}
    for name, row in zip(coded.values, noisy, strict=True):
        mean = row / np.maximum(n * arms * (1 - missing[name]), 1.0)
        found[name] = np.clip(mean - arms @ mean, -1.5, 1.5)
    return found


def _correlation(seen: Mapping[str, Array], weights: Mapping[str, float], accountant: Accountant, share: float, n: float) -> Array:
    """The correlation of all scores, from noisy sums of products."""
    p = len(seen)
    if share <= 0:
        return np.eye(p)
    scores = np.stack([seen[name] for name in seen], axis=1)
    length = ROOM * sum(weights.values())
    scores = scores * np.sqrt(length / np.maximum((scores**2).sum(1), length))[:, None]
    first, second = np.triu_indices(p)
    halved = np.where(first == second, np.sqrt(0.5), 1.0)
    sums = (scores.T @ scores)[first, second] * halved
    noisy = accountant.release("sums of products of scores", sums, sensitivity=length / np.sqrt(2.0), share=share) / halved
    w = np.maximum(np.array([weights[name] for name in seen]), 1e-3)
    square = np.clip(noisy[first == second], 0.3 * n * w, 1.1 * n * w)
    pairs = first != second
    first, second = first[pairs], second[pairs]
    scale = np.sqrt(square[first] * square[second] * w[first] * w[second])
    rho, noise = noisy[pairs] / scale, accountant.releases[-1].sigma / scale
    out = np.eye(p)
    out[first, second] = np.clip(rho * TYPICAL**2 / (TYPICAL**2 + noise**2), -LIMIT, LIMIT)
    out[second, first] = out[first, second]
    return nearest_correlation(out)


def nearest_correlation(matrix: Array, *, least: float = 1e-4, steps: int = 200) -> Array:
    """The correlation matrix nearest to a symmetric one in the Frobenius norm, with eigenvalues of at least `least`.

    Alternating projections with Dykstra's correction on the matrices with such eigenvalues and on those with a unit
    diagonal.

    **Source:** Higham 2002, IMA J Numer Anal 22:329, doi 10.1093/imanum/22.3.329, algorithm 3.3.
    """
    y, correction = matrix.copy(), np.zeros_like(matrix)
    for _ in range(steps):
        given = y - correction
        values, vectors = np.linalg.eigh(given)
        x = (vectors * np.maximum(values, least)) @ vectors.T
        correction = x - given
        before, y = y, x.copy()
        np.fill_diagonal(y, 1.0)
        if np.abs(y - before).max() < 1e-9:
            break
    values, vectors = np.linalg.eigh(y)
    x = (vectors * np.maximum(values, least / 2)) @ vectors.T
    scale = np.sqrt(x.diagonal())
    return np.asarray(x / np.outer(scale, scale))
