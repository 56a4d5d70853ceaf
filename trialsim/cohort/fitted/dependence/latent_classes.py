"""A latent-class model: a mixture of low-rank Gaussians, with discrete columns independent given the class."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from trialsim.cohort.fitted.margins import Scores
from trialsim.tensors import resident

REACH = 8.25  # no normal of a stream is further out
POINTS = 2049
_STEP = 2 * REACH / (POINTS - 1)


@dataclass(frozen=True)
class LatentClasses:
    """Columns are normal within a class, and what goes together across classes is dependent.

    Class k has share π_k. Within it column j is y_j = μ_kj + Λ_kj f + ψ_kj e_j, with at most three factors f; a discrete
    column has Λ_kj = 0, so that a level with the interval (a, b] has the probability Φ((b − μ) / ψ) − Φ((a − μ) / ψ): an
    ordinal probit of the class's own. With F_j(y) = Σ_k π_k Φ((y − μ_kj) / σ_kj), σ² = |Λ|² + ψ², the score is
    Φ⁻¹(F_j(y_j)): standard normal by itself, whatever the classes.

    `shares` π `[class]`, `centre` μ `[class, column]`, `loadings` Λ `[class, column, factor]`, `unique` ψ `[class, column]`.

    The class is told by `covariate/factor.0`, the factors are the next ones. The map to scores is tabulated within each
    class at 2,049 points and interpolated linearly: a score is off by 0.001 at most, where one class is a twentieth as
    wide as another, and by 0.0001 where widths are alike.
    """

    kind: ClassVar[str] = "latent_class"
    shares: Float[Tensor, "class"]
    centre: Float[Tensor, "class column"]
    loadings: Float[Tensor, "class column factor"]
    unique: Float[Tensor, "class column"]

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return len(self.shares)

    @property
    def n_factors(self) -> int:
        """One normal for the class, and one for each factor."""
        return 1 + int(self.loadings.shape[-1])

    @cached_property
    def _cuts(self) -> list[float]:
        """A patient's class is the number of cuts below their first factor."""
        return [float(cut) for cut in ndtri(np.cumsum(self.shares.numpy())[:-1])]

    @cached_property
    def _spread(self) -> Float[Tensor, "class column"]:
        return ((self.loadings**2).sum(-1) + self.unique**2).sqrt()

    @cached_property
    def _recipe(self) -> list[tuple[Tensor | None, list[Tensor], Tensor]]:
        """For each column: ψ / σ by class and the columns of Λ / σ by class (none for a discrete one), and its table."""
        loadings, unique = self.loadings / self._spread[..., None], self.unique / self._spread
        out: list[tuple[Tensor | None, list[Tensor], Tensor]] = []
        for column in range(self.centre.shape[1]):
            mixed = bool((self.loadings[:, column] != 0).any())
            weights = [loadings[:, column, m].contiguous() for m in range(loadings.shape[-1])] if mixed else []
            out.append((unique[:, column].contiguous() if mixed else None, weights, self._table(column)))
        return out

    def _table(self, column: int) -> Float[Tensor, "class*point"]:
        """Φ⁻¹(F_j(μ_kj + σ_kj g)) on the grid of g, class after class."""
        centre, spread = self.centre[:, column].numpy(), self._spread[:, column].numpy()
        y = centre[:, None] + spread[:, None] * np.linspace(-REACH, REACH, POINTS)
        return torch.from_numpy(mixture_score(y.ravel(), self.shares.numpy(), centre, spread))

    def mix(self, own: Sequence[Float[Tensor, "*shape"]], factors: Sequence[Float[Tensor, "*shape"]]) -> None:
        """Turns the columns' own normals e into scores, in place."""
        shape = factors[0].shape
        flat = [factor.reshape(-1) for factor in factors]
        member = torch.zeros_like(flat[0], dtype=torch.int32)
        for cut in self._cuts:
            member += flat[0] > cut
        first = member * POINTS
        for score, (unique, weights, table) in zip(own, self._recipe, strict=True):
            place = score.reshape(-1)
            if unique is not None:
                place = place * _look_up(unique, member)
                for factor, weight in zip(flat[1:], weights, strict=True):
                    place += _look_up(weight, member).mul_(factor)
            place = torch.add(place, REACH).mul_(1.0 / _STEP).clamp_(0.0, POINTS - 1.000001)
            index = place.to(torch.int32)
            place -= index
            index += first
            left = _look_up(table, index)
            index += 1
            score.copy_(place.mul_(_look_up(table, index).sub_(left)).add_(left).view(shape))

    def marginal(self, kept: Sequence[int]) -> LatentClasses:
        """The same classes, seen by some of the columns."""
        places = list(kept)
        return LatentClasses(self.shares, self.centre[:, places], self.loadings[:, places], self.unique[:, places])

    def tensors(self) -> Mapping[str, Tensor]:
        """π, μ, Λ and ψ."""
        return {"shares": self.shares, "centre": self.centre, "loadings": self.loadings, "unique": self.unique}

    def options(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    @classmethod
    def fit(cls, columns: Sequence[Scores], *, linked: Collection[tuple[int, int]] = (), like: LatentClasses | None = None) -> LatentClasses:
        """See `mixture.fit_mixture`. A link needs no care: it is in the intervals of its column."""
        from trialsim.cohort.fitted.dependence.mixture import fit_mixture

        return cls.of(fit_mixture(columns, like=None if like is None else like.tensors()), {})

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> LatentClasses:
        """The model with these classes."""
        return cls(shares=tensors["shares"], centre=tensors["centre"], loadings=tensors["loadings"], unique=tensors["unique"])


def _look_up(table: Float[Tensor, "entry"], index: Tensor) -> Tensor:
    return resident(table, index.device).index_select(0, index)  # a third of the time of table[index]


def mixture_score(y: NDArray[np.float64], shares: NDArray[np.float64], centre: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Φ⁻¹(Σ_k π_k Φ((y − μ_k) / σ_k)), from the nearer tail so that both are exact; within ±8.25."""
    z = (y[:, None] - centre) / spread
    below, above = ndtr(z) @ shares, ndtr(-z) @ shares
    with np.errstate(divide="ignore"):
        score = np.where(below < above, ndtri(below), -ndtri(above))
    return np.asarray(np.clip(score, -REACH, REACH))
