"""A single count per patient whose variance is its mean."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.twins.process import OutcomeProcess
from trialsim.units import Number


class Poisson(OutcomeProcess):
    """y is the inverse Poisson distribution function at u, of mean = mean * rate_ratio * exp(prognostic terms).

    Known when the visit is reached. For events that come over time, so that follow-up matters, see `recurrent`.

    **Source:** Johnson, Kemp & Kotz 2005, Univariate Discrete Distributions, ch. 4, ISBN 0471272469.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio",)

    dist: Literal["poisson"] = Field("poisson", description="A count with its mean as variance.")
    mean: Number = Field(ge=0, le=1e8, description="The mean count.")
