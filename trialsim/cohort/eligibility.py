"""Who may enter: criteria, and the draw of a cohort in which everybody is eligible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Bool
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from trialsim.cohort.model import CohortModel
from trialsim.errors import Problem, ProtocolError, did_you_mean
from trialsim.parts import Part
from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.units import Quantity

Plain = str | int | float
LEAST_ACCEPTANCE = 0.001
_PROBE = (Block(0, 100), 1000)  # 100,000 patients: the SE of an acceptance of 0.1 % is 0.01 %


class Criterion(Part):
    """One eligibility criterion on one covariate.

    Bounds are inclusive. `in` and `equals` compare with levels of a category or with numbers. A patient is eligible
    when every inclusion criterion holds and no exclusion criterion does; a missing value fails a criterion of either
    category, because eligibility could not be confirmed.
    """

    category: Literal["inclusion", "exclusion"] = Field(description="inclusion: must hold; exclusion: must not hold.")
    covariate: str = Field(description="The covariate it is about.")
    min: Quantity | None = Field(default=None, description="The smallest value, inclusive, with the covariate's unit.")
    max: Quantity | None = Field(default=None, description="The largest value, inclusive, with the covariate's unit.")
    in_: tuple[Plain, ...] | None = Field(default=None, alias="in", description="The values (or levels) that satisfy it.")
    equals: Plain | None = Field(default=None, description="The value (or level) that satisfies it.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.min is None and self.max is None and self.in_ is None and self.equals is None:
            raise PydanticCustomError("criterion", "needs at least one of min, max, in, equals")
        if self.in_ is not None and len(self.in_) == 0:
            raise PydanticCustomError("criterion", "in is empty")
        if self.min is not None and self.max is not None:
            if self.min.dimension != self.max.dimension:
                raise PydanticCustomError("criterion", "min and max must have the same unit")
            if self.min.value > self.max.value:
                raise PydanticCustomError(
                    "criterion", "min is {low} and max is {high}; min must not be above max", {"low": str(self.min), "high": str(self.max)}
                )
        return self

    def _named(self) -> list[tuple[str, Plain]]:
        values: list[tuple[str, Plain]] = [("in", value) for value in self.in_ or ()]
        return values + ([("equals", self.equals)] if self.equals is not None else [])

    def mismatches(self, *, levels: tuple[str, ...], dimension: str) -> Iterator[tuple[str, str]]:
        """What does not fit the covariate, as (key, sentence)."""
        numeric = all(_is_index(level, place) for place, level in enumerate(levels))
        for field, bound in (("min", self.min), ("max", self.max)):
            if bound is None:
                continue
            if levels and not numeric:
                yield field, f'"{self.covariate}" has levels ({", ".join(levels)}), not a scale; use in or equals'
            elif (reason := _unit_mismatch(bound, dimension)) is not None:
                yield field, f'{bound} does not fit "{self.covariate}", {reason}'
        for field, given in self._named():
            if levels:
                if _level(given, levels) is None:
                    yield field, f'"{given}" is not a level of "{self.covariate}"{did_you_mean(str(given), levels)}'
                continue
            try:
                reason = _unit_mismatch(Quantity.parse(given), dimension)
            except PydanticCustomError:
                reason = "which has no levels"
            if reason is not None:
                yield field, f'"{given}" does not fit "{self.covariate}", {reason}'

    def admits(self, cohort: Cohort) -> Bool[Tensor, "replicate patient"]:
        """Whether each patient passes this criterion (an exclusion criterion is passed when it does not hold)."""
        column = cohort.columns[self.covariate]
        levels = cohort.levels.get(self.covariate, ())
        holds = torch.ones_like(column, dtype=torch.bool)
        if self.min is not None:
            holds &= column >= self.min.value
        if self.max is not None:
            holds &= column <= self.max.value
        for values in (self.in_, None if self.equals is None else (self.equals,)):
            if values is not None:
                numbers = [_number(value, levels) for value in values]
                holds &= torch.isin(column, torch.tensor(numbers, dtype=column.dtype, device=column.device))
        known = ~torch.isnan(column)
        return (holds if self.category == "inclusion" else ~holds) & known


Eligibility = Mapping[str, Criterion]
"""Criterion id → criterion: the section `population.eligibility`."""


def _is_index(level: str, place: int) -> bool:
    return level == str(place)


def _level(given: Any, levels: tuple[str, ...]) -> int | None:
    text = str(int(given)) if isinstance(given, bool | float) and float(given).is_integer() else str(given)
    return levels.index(text) if text in levels else None


def _number(given: Plain, levels: tuple[str, ...]) -> float:
    if levels:
        place = _level(given, levels)
        return -1.0 if place is None else float(place)
    return Quantity.parse(given).value


def _unit_mismatch(given: Quantity, dimension: str) -> str | None:
    if given.dimension == dimension or (given.dimension == "" and dimension not in ("time", "rate")):
        return None
    return {"": "which is a bare number", "time": "which is a time; write for example 18 years"}.get(dimension, f"which is in {dimension}")


def check_criteria(eligibility: Eligibility, model: CohortModel) -> None:
    """Raises ProtocolError naming every criterion that does not fit the model's covariates."""
    problems = []
    for key, criterion in eligibility.items():
        path = f"population.eligibility.{key}"
        if criterion.covariate not in model.names:
            options = did_you_mean(criterion.covariate, model.names)
            problems.append(Problem(f'"{criterion.covariate}" is not a covariate of the cohort{options}', path=f"{path}.covariate"))
            continue
        found = criterion.mismatches(levels=model.levels.get(criterion.covariate, ()), dimension=model.units.get(criterion.covariate, ""))
        problems += [Problem(message, path=f"{path}.{field}") for field, message in found]
    if problems:
        raise ProtocolError(problems)


def eligible(eligibility: Eligibility, cohort: Cohort) -> Bool[Tensor, "replicate patient"]:
    """Whether each patient passes every criterion; there must be at least one."""
    return torch.stack([criterion.admits(cohort) for criterion in eligibility.values()]).all(0)


def acceptance_rate(model: CohortModel, eligibility: Eligibility, streams: Streams) -> float:
    """The share of drawn patients who are eligible, over 100,000 draws at fixed addresses."""
    if not eligibility:
        return 1.0
    block, n = _PROBE
    return eligible(eligibility, model.sample(streams, block, n)).double().mean().item()


def check_acceptance(model: CohortModel, eligibility: Eligibility, streams: Streams) -> float:
    """The acceptance rate; raises ProtocolError when it is below 0.1 %, of those that `draw_cohort` draws."""
    narrow, share = _narrowed(model, eligibility)
    return share * _check_rate(narrow, eligibility, streams, share)


def _check_rate(model: CohortModel, eligibility: Eligibility, streams: Streams, share: float) -> float:
    rate = acceptance_rate(model, eligibility, streams)
    if rate < LEAST_ACCEPTANCE:
        drawn = _PROBE[0].size * _PROBE[1]
        among = f" of the {share:.2g} of patients who meet the rarest criterion" if share < 1 else ""
        raise ProtocolError(
            Problem(
                f"{round(rate * drawn)} of {drawn:,} drawn patients are eligible (acceptance rate {rate:.3%}{among}); at least 0.1 % is needed",
                path="population.eligibility",
            )
        )
    return rate


def _narrowed(model: CohortModel, eligibility: Eligibility) -> tuple[CohortModel, float]:
    """The model given its rarest criterion, where few meet it and it can be: see `fitted.conditional`."""
    if not eligibility or not hasattr(model, "dependence"):
        return model, 1.0
    from trialsim.cohort.fitted.conditional import narrowed

    return narrowed(model, eligibility)


def draw_cohort(model: CohortModel, eligibility: Eligibility, streams: Streams, block: Block, n: int) -> Cohort:
    """A cohort of eligible patients: slot i of a replicate holds the first eligible one of its attempts 0, 1, 2, …

    Attempt k of a slot is the model's patient at index k of that slot's address, so a slot's patient depends neither on
    the block nor on the other slots. Replicates whose slots are all filled are not drawn again. Where the criteria on one
    or two columns of a copula are met by less than 5 % of patients, every attempt is a patient who meets the rarest.

    Raises ProtocolError when fewer than 0.1 % of attempts are eligible (measured on 100,000 fixed draws, once slots are
    still empty after 32 attempts; `check_acceptance` does it up front).
    """
    model, share = _narrowed(model, eligibility)
    cohort = model.sample(streams, block, n)
    if not eligibility:
        return cohort
    columns = {name: column.clone() for name, column in cohort.columns.items()}
    waiting = ~eligible(eligibility, cohort)
    attempt = 0
    while bool(waiting.any()):
        attempt += 1
        if attempt == 32:
            _check_rate(model, eligibility, streams, share)
        last = int(torch.nonzero(waiting.any(0))[-1]) + 1
        for first, size in _runs(waiting.any(1).cpu().numpy()):
            rows = slice(first, first + size)
            tried = model.sample(streams, Block(block.first + first, size), last, attempt=attempt)
            filled = waiting[rows, :last] & eligible(eligibility, tried)
            for name, column in columns.items():
                torch.where(filled, tried.columns[name], column[rows, :last], out=column[rows, :last])
            waiting[rows, :last] &= ~filled
    return Cohort(columns=columns, levels=cohort.levels)


def _runs(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """The runs (first, length) of consecutive True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], rows, [False])).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield int(start), int(stop - start)
