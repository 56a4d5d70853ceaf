"""What every covariate law is: a distribution written in the protocol that can be drawn by its inverse CDF.

One number in, one number out, monotone: a patient keeps their rank when a parameter of the law changes, and the
Gaussian copula only has to supply correlated normal scores.

**Source:** Devroye 1986, Non-Uniform Random Variate Generation, chapter II.2, doi 10.1007/978-1-4613-8643-8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from trialsim.parts import Part
from trialsim.tensors import resident
from trialsim.units import Quantity, parse_share, shortest

_WORDS = {"": "a bare number", "time": "a time", "rate": "a rate"}


def wrong(sentence: str) -> PydanticCustomError:
    """The error of a parameter that cannot be, as one sentence."""
    return PydanticCustomError("law", "{sentence}", {"sentence": sentence})


def by_share(given: Any) -> Any:
    """The keys of a map as shares, in their shortest form (25 % is 0.25); an error where one comes twice."""
    if not isinstance(given, dict):
        return given
    found: dict[str, Any] = {}
    for key, value in given.items():
        share = shortest(parse_share(key))
        if share in found:
            raise wrong(f"{share} is given twice")
        found[share] = value
    return found


Quantiles = Annotated[dict[str, Quantity], BeforeValidator(by_share)]
BY_QUANTILES = "Probability → the value that this share lies at or below, as a paper prints a median and quartiles; at least two."


class CovariateLaw(Part):
    """The base of the covariate laws.

    A law lists in `measures` the fields that carry the covariate's own dimension, in `per_measure` those that carry one over
    it, and in `positive` those that must be above 0. All numbers of one law share one dimension.
    """

    measures: ClassVar[tuple[str, ...]] = ()
    per_measure: ClassVar[tuple[str, ...]] = ()
    positive: ClassVar[tuple[str, ...]] = ()

    @property
    def dimension(self) -> str:
        """ "" for a bare number, "time" (days), or the unit as given."""
        given = [d for d in self._dimensions().values() if d is not None]
        return given[0] if given else ""

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the levels of a categorical covariate; empty for a number."""
        return ()

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """The values of a law on few or countably many of them, ascending, and the probability at or below each; None for others."""
        return None

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The value (a level's index for a category) with probability `u`, in (0, 1), at or below it."""
        raise NotImplementedError

    def from_normal_score(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The value whose standard normal score is `z`."""
        return self.quantile(torch.special.ndtr(z))

    def _dimensions(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name in (*self.measures, *self.per_measure):
            given = getattr(self, name)
            if isinstance(given, dict):
                found |= {f"{name} {key}": value.dimension for key, value in given.items()}
            elif isinstance(given, Quantity):
                found[name] = {"rate": "time", "": ""}.get(given.dimension) if name in self.per_measure else given.dimension
        return found

    @model_validator(mode="after")
    def _numbers_agree(self) -> Self:
        dimensions = self._dimensions()
        for name, dimension in dimensions.items():
            if dimension is None:
                raise wrong(f"{name} is {getattr(self, name)}; it must be a bare number or a number per time")
            if dimension == "rate":
                field, _, key = name.partition(" ")
                given = getattr(self, field)
                raise wrong(f"{name} is {given[key] if key else given}; a covariate is not a rate")
        if len(set(dimensions.values())) > 1:
            words = " and ".join(f"{name} is {_WORDS.get(str(d), f'in {d}')}" for name, d in dimensions.items())
            raise wrong(f"{words}; all numbers of a law must have the same unit")
        for name in self.positive:
            given = getattr(self, name)
            for key, part in given.items() if isinstance(given, dict) else (("", given),):
                value = part.value if isinstance(part, Quantity) else part
                if value is not None and value <= 0:
                    raise wrong(f"{f'{name} {key}'.strip()} is {part}; it must be positive")
        return self

    def _exactly_one(self, *names: str) -> None:
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "none is given"
            raise wrong(f"give exactly one of {', '.join(names)}; {found}")

    def _exactly_one_of(self, *ways: tuple[str, ...]) -> None:
        """Each way to state the law is a group of fields that go together; an error unless one of them is given, and nothing else."""
        given = {name for way in ways for name in way if getattr(self, name) is not None}
        if not any(set(way) == given for way in ways):
            names = [name for name in type(self).model_fields if name in given]
            found = f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} given" if names else "none is given"
            raise wrong(f"give {', or '.join(' and '.join(way) for way in ways)}; {found}")

    @staticmethod
    def _plain(quantiles: dict[str, Quantity]) -> dict[float, float]:
        return {float(key): value.value for key, value in quantiles.items()}


def by_scipy(inverse: Callable[[NDArray[np.float64]], NDArray[np.float64]], u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Applies a SciPy inverse to a CPU tensor; for laws that are `cpu_only`."""
    return torch.from_numpy(np.asarray(inverse(u.numpy()), dtype=np.float64))


class CountTable:
    """The inverse CDF of a law on the whole numbers, from its CDF on `first`, `first + 1`, …"""

    def __init__(self, first: int, cdf: NDArray[np.floating[Any]]):
        self.first = first
        self.steps = (first + np.arange(len(cdf), dtype=np.float64), np.asarray(cdf, dtype=np.float64))
        self.cdf = torch.from_numpy(np.ascontiguousarray(cdf, dtype=np.float64))

    def __call__(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        found = torch.searchsorted(resident(self.cdf, u.device), u.contiguous())
        return found.clamp_(max=len(self.cdf) - 1).to(torch.float64) + self.first
