"""Published targets of a population, as a Table 1 prints them, and what they ask of patients' columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.cohort.laws.law import by_share
from trialsim.errors import did_you_mean
from trialsim.parts import Part
from trialsim.records import Cohort
from trialsim.units import Probability, Quantity

Array = NDArray[np.float64]
Level = Annotated[str, BeforeValidator(lambda given: str(int(given)) if isinstance(given, bool | float) and float(given).is_integer() else str(given))]
Share = Annotated[float, Field(gt=0, lt=1)]


def _once(given: Any) -> Any:
    """A map of levels as it is; an error where two of its keys are one level (1 and "1"), of which one would be lost."""
    if isinstance(given, dict):
        levels = [str(int(key)) if isinstance(key, bool | float) and float(key).is_integer() else str(key) for key in given]
        if len(set(levels)) < len(levels):
            raise PydanticCustomError("target", "a level is given twice")
    return given


class Target(Part):
    """What a paper says of one covariate: a mean, an SD, quantiles, or shares of its levels."""

    mean: Quantity | None = Field(None, description="The mean, with its unit.")
    sd: Quantity | None = Field(None, description="The standard deviation, with its unit; it needs a mean.")
    median: Quantity | None = Field(None, description="The median; the same as quantiles: {0.5: …}.")
    quantiles: Annotated[dict[Share, Quantity], BeforeValidator(by_share)] = Field(
        {}, description="Probability -> the value below which that share of the patients lies.", examples=[{"0.25": 52}]
    )
    proportions: Annotated[dict[Level, Probability], BeforeValidator(_once)] = Field(
        {}, description="Level (or value) -> its share. Levels that are not named share the rest."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        def wrong(message: str) -> PydanticCustomError:
            return PydanticCustomError("target", "{message}", {"message": message})

        if self.mean is None and self.sd is None and self.median is None and not self.quantiles and not self.proportions:
            raise wrong("a target is a mean, sd, median, quantiles or proportions")
        if self.sd is not None and self.mean is None:
            raise wrong("sd needs the mean beside it")
        if self.sd is not None and self.sd.value <= 0:
            raise wrong("an sd is above 0")
        if self.median is not None and 0.5 in self.quantiles:
            raise wrong("the median is given twice")
        if sum(self.proportions.values()) > 1 + 1e-9:
            raise wrong(f"the proportions add up to {sum(self.proportions.values()):g}")
        at = sorted(self.below.items())
        if any(later.value <= earlier.value for (_, earlier), (_, later) in pairwise(at)):
            raise wrong("quantiles must grow with their probability")
        return self

    @property
    def below(self) -> Mapping[float, Quantity]:
        """The quantiles, the median among them."""
        return {**self.quantiles, **({} if self.median is None else {0.5: self.median})}

    def numbers(self) -> Iterator[tuple[str, Quantity]]:
        """Every number of the target that has a unit, with its place."""
        for name in ("mean", "sd", "median"):
            if (given := getattr(self, name)) is not None:
                yield name, given
        yield from ((f"quantiles.{share:g}", given) for share, given in self.quantiles.items())


Targets = Mapping[str, Target]


def mismatches(targets: Targets, *, levels_of: Mapping[str, tuple[str, ...]], units: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(place below `calibrate_to`, message) of everything in the targets that does not fit the covariates: `units` has one entry for each."""
    for name, target in targets.items():
        if name not in units:
            yield name, f'"{name}" is not a covariate{did_you_mean(name, units)}'
            continue
        levels, dimension = levels_of.get(name, ()), units[name]
        if levels and any(True for _ in target.numbers()):
            yield name, f'"{name}" is a category ({", ".join(levels)}); its target is proportions'
        for place, given in target.numbers():
            if not levels and given.dimension != dimension and (given.dimension or dimension in ("time", "rate")):
                unit = {"": "a bare number", "time": "a time"}.get(dimension, f"in {dimension}")
                yield f"{name}.{place}", f'"{name}" is {unit}, which {given} is not'
        for level in target.proportions:
            if levels and level not in levels:
                yield f"{name}.proportions", f'"{level}" is not a level of "{name}"{did_you_mean(level, levels)}'
            elif not levels and not _is_number(level):
                yield f"{name}.proportions", f'"{name}" is a number, which "{level}" is not'


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def constraints(targets: Targets, cohort: Cohort) -> tuple[list[str], Array, Array]:
    """(what each is, columns `[patient, constraint]`, wanted means `[constraint]`) such that weighted means are the targets.

    A standard deviation is a mean of squares about the target's mean; a quantile is the mean of an indicator (a value at the quantile itself
    counts half); a proportion that of another. A missing cell counts for no target: its indicator is 0 and its number the target.
    """
    names: list[str] = []
    columns: list[Array] = []
    wanted: list[float] = []

    def ask(name: str, column: Any, value: float) -> None:
        names.append(name)
        columns.append(np.asarray(column, dtype=np.float64))
        wanted.append(value)

    for name, target in targets.items():
        x = cohort.columns[name].cpu().numpy().ravel()
        known = ~np.isnan(x)
        if target.mean is not None:
            mean = target.mean.value
            ask(f"the mean of {name}", np.where(known, x, mean), mean)
            if target.sd is not None:
                ask(f"the SD of {name}", np.where(known, (x - mean) ** 2, target.sd.value**2), target.sd.value**2)
        for share, at in sorted(target.below.items()):
            ask(f"the share of {name} below {at}", np.where(known, (x < at.value) + 0.5 * (x == at.value), share), share)
        levels = cohort.levels.get(name, ())
        for level, share in target.proportions.items():
            code = float(levels.index(level)) if levels else float(level)
            ask(f"the share of {name} {level}", x == code, share)
    return names, np.stack(columns, axis=1), np.array(wanted)
