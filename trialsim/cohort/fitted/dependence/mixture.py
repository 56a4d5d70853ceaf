"""Fitting a latent-class model: its likelihood with missing cells masked, and the number of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from trialsim.cohort.fitted.inference import fit_mode
from trialsim.cohort.fitted.margins import Scores

RANK = 3
MOST_CLASSES = 8
FEWEST_PER_CLASS = 50
STARTS = 4
_SHORT, _LONG = 25, 150  # steps of L-BFGS: to choose among starts, and to end with
_SCALE = 1e-5  # of the log density in the climb, which then ends where a step gains less than 0.001
_LEAST = 1e-12
_FAR = 40.0
_LOG_WIDTH = (-3.0, 2.0)  # of log ψ: a long step of a line search must not overflow
_LOG_2PI = float(np.log(2 * np.pi))

Parameters = Mapping[str, Tensor]


class MaskedScores:
    """Scores of patients, ready for the likelihood: exact columns as numbers, the others as places in a list of intervals.

    A column is exact or in intervals throughout. `exact` `[patient, exact column]` is 0 where missing and `seen` tells
    where it is not; `patterns` are the distinct rows of `seen`, `pattern` each patient's. `ends` `[interval, 2]` are those
    of all other columns, `owner` `[interval]` whose they are, `interval` `[patient, column]` a patient's (one past the
    last: missing), `levels` how many each column has.
    """

    def __init__(self, columns: Sequence[Scores]):
        self.n_columns = len(columns)
        self.is_exact = np.array([bool((~np.isnan(column.exact)).any()) for column in columns], dtype=bool)
        exact = np.stack([c.exact for c, kept in zip(columns, self.is_exact, strict=True) if kept], axis=1) if self.is_exact.any() else np.zeros((0, 0))
        self.n = len(columns[0].exact)
        if not self.is_exact.any():
            exact = np.zeros((self.n, 0))
        seen = ~np.isnan(exact)
        patterns, pattern = np.unique(seen, axis=0, return_inverse=True)
        self.exact = torch.from_numpy(np.where(seen, exact, 0.0))
        self.squared = self.exact**2
        self.seen = torch.from_numpy(seen.astype(np.float64))
        self.patterns, self.pattern = torch.from_numpy(patterns.astype(np.float64)), torch.from_numpy(pattern.reshape(-1))
        ends: list[NDArray[np.float64]] = []
        owner: list[int] = []
        places: list[NDArray[np.int64]] = []
        for place, column in enumerate(column for column, kept in zip(columns, self.is_exact, strict=True) if not kept):
            used, which = np.unique(column.interval[column.interval >= 0], return_inverse=True)
            cell = np.full(self.n, -1, dtype=np.int64)
            cell[column.interval >= 0] = which + len(owner)
            ends.append(np.clip(column.ends[used].reshape(-1, 2), -_FAR, _FAR))
            owner += [place] * len(used)
            places.append(cell)
        self.owner, self.ends = torch.tensor(owner, dtype=torch.int64), torch.from_numpy(np.concatenate([np.empty((0, 2)), *ends]))
        cells = np.stack(places, axis=1) if places else np.empty((self.n, 0), dtype=np.int64)
        self.interval = torch.from_numpy(np.where(cells < 0, len(owner), cells))
        self.levels = [owner.count(place) for place in range(len(places))]

    def guesses(self, columns: Sequence[Scores]) -> NDArray[np.float64]:
        """A number for every cell `[patient, column]`, to find starts from: the score, the middle of its interval, or 0."""
        out = np.zeros((self.n, self.n_columns))
        for place, column in enumerate(columns):
            if self.is_exact[place]:
                out[:, place] = np.nan_to_num(column.exact)
                continue
            low, high = column.ends[:, 0], column.ends[:, 1]
            density = np.exp(-0.5 * column.ends**2) / np.sqrt(2 * np.pi)
            middle = (density[:, 0] - density[:, 1]) / np.maximum(ndtr(high) - ndtr(low), 1e-300)
            within = column.interval >= 0
            out[within, place] = middle[column.interval[within]]
        return out


def class_log_likelihoods(scores: MaskedScores, parameters: Parameters) -> Float[Tensor, "patient class"]:
    """log p(seen cells of a patient | class), missing cells integrated out exactly.

    With V = ΛΛᵀ + ψ² restricted to the cells seen, Woodbury's identity needs only sums over columns: with
    M = I + Σ_j λ_j λ_jᵀ / ψ_j² and b = Σ_j λ_j (z_j − μ_j) / ψ_j²,

        (z − μ)ᵀ V⁻¹ (z − μ) = Σ_j (z_j − μ_j)² / ψ_j² − bᵀ M⁻¹ b,     log |V| = Σ_j log ψ_j² + log |M|.

    M depends on a patient by the pattern of missing cells alone.

    **Source:** Ghahramani & Hinton 1996, The EM algorithm for mixtures of factor analyzers, CRG-TR-96-1.
    """
    centre, log_unique, loadings = parameters["centre"], parameters["log_unique"].clamp(*_LOG_WIDTH), parameters["loadings"]
    total = torch.zeros(scores.n, len(centre), dtype=torch.float64)
    n_exact = scores.exact.shape[1]
    if n_exact:
        mu, log_psi = centre[:, :n_exact], log_unique[:, :n_exact]
        precision = torch.exp(-2.0 * log_psi)
        pull = precision[..., None] * loadings  # [class, column, factor]
        square = scores.squared @ precision.T - 2.0 * scores.exact @ (precision * mu).T + scores.seen @ (precision * mu**2).T
        shifts = [scores.exact @ pull[..., m].T - scores.seen @ (pull[..., m] * mu).T for m in range(loadings.shape[-1])]
        log_volume = scores.patterns @ (2.0 * log_psi + _LOG_2PI).T
        root = _cholesky_by_pattern(scores.patterns, pull, loadings)
        for row, cells in enumerate(root):  # forward substitution: bᵀ M⁻¹ b = |L⁻¹ b|²
            for column in range(row):
                shifts[row] = shifts[row] - cells[column][scores.pattern] * shifts[column]
            shifts[row] = shifts[row] / cells[row][scores.pattern]
            square = square - shifts[row] ** 2
            log_volume = log_volume + 2.0 * torch.log(cells[row])
        total = total - 0.5 * (square + log_volume[scores.pattern])
    if len(scores.levels):
        mu, psi = (x[:, n_exact:].T.index_select(0, scores.owner) for x in (centre, torch.exp(log_unique)))
        low, high = (scores.ends[:, :1] - mu) / psi, (scores.ends[:, 1:] - mu) / psi
        above = low > 0  # from the nearer tail, so that far intervals keep their digits
        low, high = torch.where(above, -high, low), torch.where(above, -low, high)
        mass = (torch.special.ndtr(high) - torch.special.ndtr(low)).clamp(min=_LEAST)
        log_mass = torch.cat((torch.log(mass), torch.zeros(1, len(centre), dtype=torch.float64)))  # the last: missing
        total = total + log_mass.index_select(0, scores.interval.reshape(-1)).view(scores.n, -1, len(centre)).sum(1)
    return total


def _cholesky_by_pattern(patterns: Tensor, pull: Tensor, loadings: Tensor) -> list[list[Tensor]]:
    """The Cholesky factor of M for every pattern and class, as rows of `[pattern, class]` tensors."""
    rank = loadings.shape[-1]
    root: list[list[Tensor]] = []
    for row in range(rank):
        cells: list[Tensor] = []
        for column in range(row + 1):
            cell = patterns @ (pull[..., row] * loadings[..., column]).T + float(row == column)
            for earlier in range(column):
                cell = cell - cells[earlier] * (root[column][earlier] if column < row else cells[earlier])
            cells.append(cell.sqrt() if row == column else cell / root[column][column])
        root.append(cells)
    return root


@dataclass(frozen=True, slots=True)
class _Fit:
    parameters: Parameters
    log_likelihood: float
    bic: float


def fit_mixture(columns: Sequence[Scores], *, like: Parameters | None = None, most_classes: int = MOST_CLASSES) -> dict[str, Tensor]:
    """π, μ, Λ and ψ of the latent-class model of columns given as scores, by maximum a posteriori in Pyro.

    The likelihood is Σ_i log Σ_k π_k p(z_i | k), the class and missing cells summed out. Priors, weak on the scale of
    scores: log π Normal(0, 1) up to a constant, μ Normal(0, 1.5), Λ Normal(0, 0.7), log ψ Normal(log 0.7, 0.5) for exact
    columns and Normal(0, 0.3) for discrete ones (no narrow class can sit on a few patients); the
    number of classes, 8 at most and 50 patients in each, has the smallest BIC. The search goes down from the most: a fit of one class fewer
    starts from the last with two classes merged, or from k-means (the first from four of those), whichever is likelier after
    25 steps of L-BFGS, and goes on for 150. With `like`, its number of classes and one fewer and more are tried. It ends when two fewer are
    no better. Classes are in order of their share.

    Exact columns have up to 3 factors. Discrete ones are independent given the class: their dependence on anything is
    by classes alone. Missing cells are masked, which is right where what is missing depends on what is seen. Not
    handled: columns that are partly exact and partly in intervals (the latter count as missing).

    **Source:** McLachlan & Peel 2000, Finite Mixture Models, chapters 2, 5 and 8, doi 10.1002/0471721182; Schwarz 1978,
    Annals of Statistics 6:461, doi 10.1214/aos/1176344136 (BIC); Biernacki et al. 2003, doi 10.1016/S0167-9473(02)00163-9
    (short runs from several starts).
    """
    scores = MaskedScores(columns)
    order = np.concatenate((np.flatnonzero(scores.is_exact), np.flatnonzero(~scores.is_exact)))
    guesses, n_exact = scores.guesses(columns)[:, order], scores.exact.shape[1]
    most = max(1, min(MOST_CLASSES, scores.n // FEWEST_PER_CLASS))
    known = None if like is None or like["centre"].shape[1] != scores.n_columns or len(like["shares"]) > most else _from_like(like, order, n_exact)
    counts = range(most, 0, -1) if known is None else range(min(len(known["centre"]) + 1, most), max(len(known["centre"]) - 2, 0), -1)
    best: _Fit | None = None
    above: _Fit | None = None
    for k in counts:
        starts = [_start(guesses, _clusters(guesses, k, seed), k, n_exact) for seed in range(STARTS if above is None else 1)]
        if above is not None:
            starts.append(_merged(scores, guesses, above, n_exact))
        if known is not None and len(known["centre"]) == k:
            starts.append(known)
        above = _fit(scores, k, starts)
        if best is None or above.bic < best.bic:
            best = above
        elif k <= len(best.parameters["centre"]) - 2:
            break
    assert best is not None
    return _ordered(best.parameters, np.argsort(order), n_exact)


def n_parameters(k: int, n_exact: int, levels: Sequence[int]) -> int:
    """The free parameters of k classes: rotations of the factors, and the spread of a binary column, are not free."""
    rank = min(RANK, max(n_exact - 1, 0))
    per_class = n_exact * (2 + rank) - rank * (rank - 1) // 2 + sum(1 if count <= 2 else 2 for count in levels)
    return k - 1 + k * per_class


def _fit(scores: MaskedScores, k: int, starts: Sequence[Parameters]) -> _Fit:
    import pyro
    import pyro.distributions as dist

    n_exact, p, rank = scores.exact.shape[1], scores.n_columns, starts[0]["loadings"].shape[-1]
    narrow = torch.tensor([np.log(0.7)] * n_exact + [0.0] * (p - n_exact), dtype=torch.float64).expand(k, p)
    width = torch.tensor([0.5] * n_exact + [0.3] * (p - n_exact), dtype=torch.float64).expand(k, p)

    def model() -> None:
        parameters = {
            "log_share": pyro.sample("log_share", dist.Normal(torch.zeros(k, dtype=torch.float64), 1.0).to_event(1)),
            "centre": pyro.sample("centre", dist.Normal(torch.zeros(k, p, dtype=torch.float64), 1.5).to_event(2)),
            "log_unique": pyro.sample("log_unique", dist.Normal(narrow, width).to_event(2)),
            "loadings": pyro.sample("loadings", dist.Normal(torch.zeros(k, n_exact, rank, dtype=torch.float64), 0.7).to_event(3))
            if n_exact and rank
            else torch.zeros(k, n_exact, rank, dtype=torch.float64),
        }
        pyro.factor("patients", _log_likelihood(scores, parameters))

    def climb(start: Parameters, steps: int) -> tuple[float, Parameters]:
        free = {name: value for name, value in start.items() if value.numel()}
        found = {**start, **fit_mode(pyro.poutine.scale(model, scale=_SCALE), free, steps=steps)}
        with torch.no_grad():
            return float(_log_likelihood(scores, found)), found

    tried = [climb(start, _SHORT) for start in starts]
    height, parameters = climb(max(tried, key=lambda pair: pair[0])[1], _LONG)
    size = n_parameters(k, n_exact, scores.levels)
    return _Fit(parameters, height, -2.0 * height + size * float(np.log(scores.n)))


def _log_likelihood(scores: MaskedScores, parameters: Parameters) -> Tensor:
    log_shares = torch.log_softmax(parameters["log_share"], 0)
    return torch.logsumexp(class_log_likelihoods(scores, parameters) + log_shares, dim=1).sum()


def _clusters(guesses: NDArray[np.float64], k: int, seed: int) -> NDArray[np.int64]:
    """The cluster of each patient by k-means with k-means++ seeding."""
    from scipy.cluster.vq import kmeans2

    if k == 1 or len(np.unique(guesses, axis=0)) <= k:
        return np.unique(guesses, axis=0, return_inverse=True)[1].reshape(-1) % k
    return np.asarray(kmeans2(guesses, k, iter=20, minit="++", rng=np.random.default_rng([seed, k]), missing="warn")[1], dtype=np.int64)


def _start(guesses: NDArray[np.float64], label: NDArray[np.int64], k: int, n_exact: int) -> Parameters:
    """Parameters from the moments of the patients with each label."""
    p, rank = guesses.shape[1], min(RANK, max(n_exact - 1, 0))
    centre, unique, loadings, share = np.zeros((k, p)), np.ones((k, p)), np.zeros((k, n_exact, rank)), np.zeros(k)
    for member in range(k):
        rows = guesses[label == member]
        share[member] = (len(rows) + 1.0) / (len(guesses) + k)
        if len(rows) < 10:
            continue
        centre[member] = rows.mean(0)
        unique[member, :n_exact] = np.maximum(rows[:, :n_exact].std(0), 0.2)
        if rank:
            values, vectors = np.linalg.eigh(np.cov(rows[:, :n_exact].T))
            loadings[member] = vectors[:, -rank:] * np.sqrt(np.maximum(values[-rank:], 0.0) * 0.5)
            loadings[member] *= np.where(loadings[member].sum(0) < 0, -1.0, 1.0)  # eigenvectors have no sign of their own
            unique[member, :n_exact] = np.sqrt(np.maximum(unique[member, :n_exact] ** 2 - (loadings[member] ** 2).sum(-1), 0.04))
    arrays = {"log_share": np.log(share), "centre": centre, "log_unique": np.log(unique), "loadings": loadings}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _merged(scores: MaskedScores, guesses: NDArray[np.float64], fit: _Fit, n_exact: int) -> Parameters:
    """A start with one class fewer: the pair merged that costs least, each patient counted to their likeliest class."""
    with torch.no_grad():
        posterior = class_log_likelihoods(scores, fit.parameters) + torch.log_softmax(fit.parameters["log_share"], 0)
        label = posterior.argmax(1).numpy()
        k = posterior.shape[1]
        tried: list[tuple[float, Parameters]] = []
        for first, second in combinations(range(k), 2):
            joined = np.where(label == second, first, label)
            start = _start(guesses, joined - (joined > second), k - 1, n_exact)
            tried.append((float(_log_likelihood(scores, start)), start))
    return max(tried, key=lambda pair: pair[0])[1]


def _from_like(like: Parameters, order: NDArray[np.int64], n_exact: int) -> Parameters:
    return {
        "log_share": torch.log(like["shares"]),
        "centre": like["centre"][:, order].clone(),
        "log_unique": torch.log(like["unique"][:, order]),
        "loadings": like["loadings"][:, order[:n_exact]].clone(),
    }


def _ordered(parameters: Parameters, back: NDArray[np.int64], n_exact: int) -> dict[str, Tensor]:
    """The parameters with the columns in their own order and the largest class first."""
    shares = torch.softmax(parameters["log_share"], 0)
    classes = torch.argsort(shares, descending=True, stable=True)
    loadings = parameters["loadings"]
    padding = torch.zeros(len(shares), len(back) - n_exact, loadings.shape[-1], dtype=torch.float64)
    return {
        "shares": shares[classes].clone(),
        "centre": parameters["centre"][classes][:, back].clone(),
        "loadings": torch.cat((loadings, padding), dim=1)[classes][:, back].clone(),
        "unique": torch.exp(parameters["log_unique"].clamp(*_LOG_WIDTH))[classes][:, back].clone(),
    }
