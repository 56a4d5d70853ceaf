"""Values that are not observed although the patient comes to the visit.

Of the values at every visit after day 0 a share `rate` is missing over the arms together, patient by patient with

    log odds(missing) = a_visit + log_odds_per_unit * x

mcar: without x. mar: x is a covariate, or the patient's last *observed* value before the visit (`previous_value`; the baseline
at first). mnar: x is the value itself (`current_value`). Missing in between is possible: a patient who misses a visit may be
seen at the next. The intercepts are found on a sample of twins, the same for all seeds. One uniform per visit and patient,
purpose `missing/<outcome>`, addressed by the visit's day; an unknown x counts as the sample's mean.

**Source:** Rubin 1976, Biometrika 63:581, doi 10.1093/biomet/63.3.581 (the mechanisms).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Self

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from trialsim.parts import Part
from trialsim.records import Cohort
from trialsim.rng import Block, Stream
from trialsim.twins.visit_value import noise_index
from trialsim.units import Number, Probability

PREVIOUS, CURRENT = "previous_value", "current_value"


class MissingData(Part):
    """How values of an outcome go missing; see the module."""

    mechanism: Literal["mcar", "mar", "mnar"] = Field(description="What missingness depends on: nothing, what was observed, or the value itself.")
    rate: Probability = Field(description="The share missing at each visit after day 0, over the arms together.")
    depends_on: str | None = Field(
        None, description="What the odds of being missing depend on: a covariate, previous_value (default of mar) or current_value (default of mnar)."
    )
    log_odds_per_unit: Number | None = Field(None, description="Log odds of being missing per unit of `depends_on`; absent: 0, so that nothing depends on it.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mechanism == "mcar" and (self.depends_on is not None or self.log_odds_per_unit is not None):
            raise PydanticCustomError("missing_data", "mcar depends on nothing; leave depends_on and log_odds_per_unit out, or write mar or mnar")
        if self.mechanism == "mar" and self.depends_on == CURRENT:
            raise PydanticCustomError("missing_data", "what depends on the current value is mnar")
        if self.mechanism == "mnar" and self.depends_on not in (None, CURRENT):
            raise PydanticCustomError("missing_data", "{text}", {"text": f"mnar depends on current_value; what depends on {self.depends_on} is mar"})
        return self

    @property
    def driver(self) -> str | None:
        """What the odds depend on."""
        return None if self.mechanism == "mcar" else self.depends_on or (CURRENT if self.mechanism == "mnar" else PREVIOUS)


class MissingValues:
    """Which values of an outcome are missing. `days` by visit; `intercepts` are (a, mean of x) by visit, once calibrated."""

    def __init__(self, part: MissingData, days: Mapping[str, float]):
        self.part = part
        self.days = {visit: day for visit, day in sorted(days.items(), key=lambda item: item[1]) if day > 0}
        self.intercepts: dict[str, tuple[float, float]] = {}

    def masks(
        self,
        values: Mapping[str, Float[Tensor, "replicate patient"]],
        baseline: Tensor | None,
        cohort: Cohort | None,
        *,
        stream: Stream,
        block: Block,
        n: int,
        calibrate: bool = False,
    ) -> dict[str, Bool[Tensor, "replicate patient"]]:
        """By visit of `values`, whose value is missing there. With `calibrate` the intercepts are first found on these values."""
        part, found = self.part, dict[str, Tensor]()
        last = baseline
        for visit, day in self.days.items():
            if visit not in values:
                continue
            x = self._driver(values[visit], last, cohort)
            if calibrate:
                self.intercepts[visit] = intercept(x, part.rate, part.log_odds_per_unit or 0.0)
            u = stream.uniform(block, n, index=noise_index(day))
            if x is None:
                missing = u < part.rate
            else:
                a, centre = self.intercepts[visit]
                missing = u < torch.sigmoid(torch.nan_to_num(x - centre) * (part.log_odds_per_unit or 0.0) + a)
            found[visit] = missing
            last = values[visit] if last is None else torch.where(missing, last, values[visit])
        return found

    def _driver(self, current: Tensor, last: Tensor | None, cohort: Cohort | None) -> Tensor | None:
        driver = self.part.driver
        if driver is None or self.part.rate in (0.0, 1.0):
            return None
        if driver in (CURRENT, PREVIOUS):
            return current if driver == CURRENT else last
        assert cohort is not None
        return cohort.columns[driver]


def intercept(x: Tensor | None, rate: float, slope: float) -> tuple[float, float]:
    """(a, m): with m the mean of x, a mean of sigmoid(a + slope * (x - m)) of `rate`. By bisection: the mean rises in a."""
    if x is None:
        return math.log(rate) - math.log1p(-rate) if 0.0 < rate < 1.0 else 0.0, 0.0
    known = x[~torch.isnan(x)].reshape(-1)
    centre = float(known.mean())
    logits = (known - centre) * slope
    low, high = -60.0 - float(logits.max()), 60.0 - float(logits.min())
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if float(torch.sigmoid(logits + middle).mean()) < rate else (low, middle)
    return 0.5 * (low + high), centre
