"""A count per patient that is more variable than Poisson."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.twins.process import OutcomeProcess
from trialsim.units import Number, Quantity


class NegativeBinomial(OutcomeProcess):
    """A gamma frailty g of mean 1 and variance k, and given it a Poisson count: variance mu + k * mu ** 2.

    With a bare `rate` the count has that mean, and is known when the visit is reached: y is the inverse Poisson distribution
    function at u, of mean g * rate * rate_ratio * exp(prognostic terms). With a rate per time the events of a patient come
    over time, as those of `recurrent` do: the count is of the events by the visit, the loss to follow-up or the cut, whichever
    is first, and its exposure is the time until then.

    **Source:** Greenwood & Yule 1920, JRSS 83:255, doi 10.2307/2341080; Lawless 1987, Can J Stat 15:209, doi 10.2307/3314912.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio",)

    dist: Literal["negative_binomial"] = Field("negative_binomial", description="A count with variance mu + dispersion * mu ** 2.")
    rate: Quantity = Field(description="The mean number of events per unit of time, or the mean count.", examples=["0.8 / year", 2.5])
    dispersion: Number = Field(ge=0, le=1e4, description="k in mu + k * mu ** 2.")

    @model_validator(mode="after")
    def _a_rate(self) -> Self:
        if self.rate.dimension not in ("", "rate"):
            raise PydanticCustomError("rate", "{text}", {"text": f"{self.rate} is not a rate; write a mean count, or a number per day, week, month or year"})
        if not 0 <= self.rate.value <= 1e8:
            raise PydanticCustomError("rate", "{text}", {"text": f"a rate lies between 0 and 1e8; {self.rate} given"})
        return self

    @property
    def over_time(self) -> bool:
        """Whether events come over time, so that follow-up matters."""
        return self.rate.dimension == "rate"
