"""The correlation of declared covariates: a Gaussian copula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.cohort.calibration.correlation_of_values import NoCorrelationError, solve_pair
from trialsim.cohort.laws import CovariateLaw
from trialsim.parts import Part
from trialsim.units import Number

Pair = tuple[str, str, Annotated[Number, Field(gt=-1, lt=1)]]


class Correlation(Part):
    """A Gaussian copula: `pairs` are correlations of the covariates' normal scores, or of their values; pairs not named are 0.

    With `scale: values` each correlation is the Pearson correlation of the values themselves, as papers print it (a category
    counts as the index of its level), and the one of the scores is solved from it. It depends on the two laws alone, and
    those below a certain least or above a certain greatest correlation cannot be.

    **Source:** Nelsen 2006, An Introduction to Copulas, doi 10.1007/0-387-28678-0; Cario & Nelson 1997 (NORTA).
    """

    method: Literal["gaussian_copula"] = Field(default="gaussian_copula", description="The copula.")
    scale: Literal["scores", "values"] | None = Field(
        default=None,
        description="Whether `pairs` are correlations of the normal scores, or Pearson correlations of the values, as papers print them; absent: scores.",
    )
    pairs: tuple[Pair, ...] = Field(default=(), description="[covariate, covariate, their correlation].", examples=[[["age", "egfr", -0.4]]])

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

    def of_scores(self, laws: Mapping[str, CovariateLaw]) -> Correlation:
        """The same with correlations of normal scores. Trusts that `impossible` found nothing."""
        if self.scale != "values":
            return self
        solved = [(a, b, solve_pair(laws[a], laws[b], value)[0]) for a, b, value in self.pairs]
        return Correlation.model_construct(method=self.method, scale="scores", pairs=tuple((a, b, 0.0 if r is None else r) for a, b, r in solved))

    def impossible(self, laws: Mapping[str, CovariateLaw]) -> list[tuple[int | None, str]]:
        """What cannot be: the place among `pairs` (None: all of them together) and why, naming the covariates."""
        wrong: list[tuple[int | None, str]] = []
        for index, (first, second, value) in enumerate(self.pairs if self.scale == "values" else ()):
            try:
                rho, least, greatest = solve_pair(laws[first], laws[second], value)
            except NoCorrelationError as error:
                wrong.append((index, f"{first} and {second} have no correlation of values to speak of: {error}; use scale: scores"))
                continue
            if rho is None:
                wrong.append(
                    (
                        index,
                        f"the values of {first} and {second} cannot have the correlation {value:g}: with these laws it lies between {least:.3g} and {greatest:.3g}",
                    )
                )
        if not wrong and (indefinite := self.of_scores(laws).indefinite(tuple(laws))) is not None:
            wrong.append((None, indefinite))
        return wrong

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
