"""A Gaussian copula in factor form, fitted by pairwise likelihood in Pyro."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort.fitted.dependence.pairs import PairStatistics
from trialsim.cohort.fitted.inference import fit_mode
from trialsim.cohort.fitted.margins import Scores

RANK = 10
_TOLERANCE = 1e-3  # of the log likelihood, whose own standard error is far larger


@dataclass(frozen=True)
class GaussianFactors:
    """Z = Λ f + ψ^½ e with unit variances: `loadings` Λ `[column, factor]`, `unique` ψ^½ `[column]`."""

    kind: ClassVar[str] = "copula"
    loadings: Float[Tensor, "column factor"]
    unique: Float[Tensor, "column"]

    @property
    def n_factors(self) -> int:
        """0: Z is drawn as L e with the Cholesky factor L of the correlation, which costs fewer numbers than factors would."""
        return 0

    @cached_property
    def _lower(self) -> list[list[float]]:
        correlation = self.correlation()
        jitter = 1e-12 * torch.eye(len(correlation), dtype=torch.float64)
        return [row[: place + 1] for place, row in enumerate(torch.linalg.cholesky(correlation + jitter).tolist())]

    def mix(self, own: Sequence[Float[Tensor, "*shape"]], factors: Sequence[Float[Tensor, "*shape"]]) -> None:
        """Turns independent normals e into scores Z = L e, in place."""
        for place in range(len(own) - 1, -1, -1):  # a row of L needs the normals before it, which are not scores yet
            *weights, last = self._lower[place]
            score = own[place].mul_(last)
            for earlier, weight in zip(own, weights, strict=False):
                if weight != 0.0:
                    score.add_(earlier, alpha=weight)

    def marginal(self, kept: Sequence[int]) -> GaussianFactors:
        """The copula of some of the columns."""
        return GaussianFactors(loadings=self.loadings[list(kept)], unique=self.unique[list(kept)])

    def tensors(self) -> Mapping[str, Tensor]:
        """Λ and ψ^½."""
        return {"loadings": self.loadings, "unique": self.unique}

    def options(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    @classmethod
    def fit(cls, columns: Sequence[Scores], *, linked: Collection[tuple[int, int]] = (), like: GaussianFactors | None = None) -> GaussianFactors:
        """See `fit_copula`."""
        return fit_copula(columns, linked=linked, like=like)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> GaussianFactors:
        """The copula with these loadings."""
        return cls(loadings=tensors["loadings"], unique=tensors["unique"])

    def w(self) -> Float[Tensor, "column factor"]:
        """The parameters of the fit, w_j = Λ_j / ψ_j^½."""
        return self.loadings / self.unique[:, None]

    def correlation(self) -> Float[Tensor, "column column"]:
        """ΛΛᵀ + ψ."""
        return self.loadings @ self.loadings.T + torch.diag(self.unique**2)


def fit_copula(
    columns: Sequence[Scores], *, linked: Collection[tuple[int, int]] = (), rank: int = RANK, like: GaussianFactors | None = None
) -> GaussianFactors:
    """The copula of columns given as scores.

    Every pair of columns contributes the likelihood of the patients seen in both, so missing cells are masked, pair by
    pair: exact-exact pairs a bivariate normal density, exact-interval pairs φ(z)·P(interval | z), interval-interval
    pairs a rectangle's probability (so discrete columns get polychoric and polyserial correlations, and a zero-inflated
    column is an interval at its atom and exact elsewhere). Their sum is a composite likelihood of Λ, with
    Λ_j = w_j / √(1 + |w_j|²), ψ_j = 1 / (1 + |w_j|²) and w ~ Normal(0, 3); its mode is found with Pyro.

    `linked` pairs of discrete columns have a direct link in their margins instead: their scores are held uncorrelated.
    `like`, fitted to other rows, is where the climb starts. The rank is at most 10 and at most the number of columns minus 1. Not handled: dependence that is not monotone, and
    data missing in a way that depends on unseen values.

    **Source:** Olsson 1979, Psychometrika 44:443, doi 10.1007/BF02296207; Olsson, Drasgow & Dorans 1982, 47:337;
    Varin, Reid & Firth 2011, Statistica Sinica 21:5 (composite likelihood).
    """
    import pyro
    import pyro.distributions as dist

    p = len(columns)
    if p < 2:
        return GaussianFactors(torch.zeros(p, 1, dtype=torch.float64), torch.ones(p, dtype=torch.float64))
    pairs = PairStatistics(columns, linked)
    start = (
        like.w()
        if like is not None and like.loadings.shape == (p, min(rank, p - 1))
        else _principal_factors(pairs.matrix(pairs.separately()), min(rank, p - 1))
    )
    rank = min(rank, p - 1)

    def model() -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(p, rank, dtype=torch.float64), 3.0).to_event(2))
        loadings = w / (1.0 + (w**2).sum(-1, keepdim=True)).sqrt()
        correlations = (loadings[pairs.first] * loadings[pairs.second]).sum(-1)
        pyro.factor("pairs", pairs.log_likelihood(correlations).sum())

    w = fit_mode(model, {"w": start}, steps=300, tolerance=_TOLERANCE)["w"]
    inverse = 1.0 / (1.0 + (w**2).sum(-1, keepdim=True)).sqrt()
    return GaussianFactors(loadings=w * inverse, unique=inverse.squeeze(-1))


def _principal_factors(correlation: Tensor, rank: int) -> Tensor:
    """A start: iterated principal factors, as w."""
    communality = 1.0 - 1.0 / torch.linalg.pinv(correlation).diagonal().clamp(min=1.0)
    for _ in range(50):
        values, vectors = torch.linalg.eigh(correlation - torch.diag(1.0 - communality))
        loadings = vectors[:, -rank:] * values[-rank:].clamp(min=0.0).sqrt()
        communality = (loadings**2).sum(-1).clamp(max=0.95)
    shrunk = loadings * (communality / (loadings**2).sum(-1).clamp(min=1e-12)).sqrt()[:, None].clamp(max=1.0)
    start = shrunk / (1.0 - (shrunk**2).sum(-1, keepdim=True)).clamp(min=0.05).sqrt()
    signs = torch.where(start.sum(0) < 0, -1.0, 1.0)  # eigenvectors have no sign of their own
    return start * signs + 1e-3
