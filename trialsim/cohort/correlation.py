"""The correlation of declared covariates: a Gaussian copula."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.parts import Part
from trialsim.units import Number

Pair = tuple[str, str, Annotated[Number, Field(gt=-1, lt=1)]]


class Correlation(Part):
    """A Gaussian copula: `pairs` are correlations of the covariates' normal scores; pairs not named are 0.

    **Source:** Nelsen 2006, An Introduction to Copulas, doi 10.1007/0-387-28678-0; Cario & Nelson 1997 (NORTA).
    """

    method: Literal["gaussian_copula"] = Field(default="gaussian_copula", description="The copula.")
    pairs: tuple[Pair, ...] = Field(default=(), description="[covariate, covariate, correlation of their normal scores].", examples=[[["age", "egfr", -0.4]]])

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        seen: set[frozenset[str]] = set()
        for first, second, _ in self.pairs:
            if first == second:
                raise PydanticCustomError("correlation", '"{name}" is paired with itself', {"name": first})
            if frozenset((first, second)) in seen:
                raise PydanticCustomError("correlation", 'the pair "{a}", "{b}" is given twice', {"a": first, "b": second})
            seen.add(frozenset((first, second)))
        return self

    def matrix(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """The correlation matrix `[covariate, covariate]` of the normal scores."""
        place = {name: index for index, name in enumerate(names)}
        matrix = np.eye(len(names))
        for first, second, value in self.pairs:
            matrix[place[first], place[second]] = matrix[place[second], place[first]] = value
        return matrix

    def indefinite(self, names: tuple[str, ...]) -> str | None:
        """Why the matrix cannot be a correlation matrix, naming the covariates; None when it is positive definite."""
        correlated = tuple(name for name in names if any(name in pair[:2] for pair in self.pairs))
        if not correlated:
            return None
        values, vectors = np.linalg.eigh(self.matrix(correlated))
        if values[0] > 1e-10:
            return None
        guilty = [name for name, weight in zip(correlated, vectors[:, 0], strict=True) if abs(weight) > 0.1]
        return f"the correlations of {', '.join(guilty)} contradict each other: the matrix is not positive definite (smallest eigenvalue {values[0]:.3g})"
