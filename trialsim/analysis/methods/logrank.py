"""The log-rank test, plain or stratified, with the Cox hazard ratio beside it on request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.parts import Part
from trialsim.units import Number, PositiveTime


class FlemingHarrington(Part):
    """Weights S(t-)^rho (1 - S(t-))^gamma, S the pooled Kaplan-Meier estimate."""

    rho: Annotated[Number, Field(ge=0)] = Field(default=0.0, description="Positive: early differences count more.")
    gamma: Annotated[Number, Field(ge=0)] = Field(default=0.0, description="Positive: late differences count more.")


class FlemingHarringtonWeights(Part):
    fleming_harrington: FlemingHarrington = Field(description="S(t-)^rho (1 - S(t-))^gamma.")


class PetoPeto(Part):
    """Has no options."""


class PetoPetoWeights(Part):
    peto_peto: PetoPeto | None = Field(description="Weights of Peto and Peto: a modified pooled survival estimate.")


class MagirrBurman(Part):
    delay: PositiveTime = Field(description="Weights rise as 1 / S(t-) until this time and stay there (Magirr and Burman 2019, doi 10.1002/sim.8186).")


class MagirrBurmanWeights(Part):
    magirr_burman: MagirrBurman = Field(description="Modestly weighted: 1 / max(S(t-), S(delay)).")


def _named(given: Any) -> Any:
    return {given: None} if given == "peto_peto" else given


Weights = Annotated[FlemingHarringtonWeights | PetoPetoWeights | MagirrBurmanWeights, BeforeValidator(_named)]


class LogRank(Analysis):
    """The log-rank test; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event",)
    scale: ClassVar[str | None] = "hazard_ratio"
    std_error_scale: ClassVar[str | None] = "log_hazard_ratio"
    takes_strata: ClassVar[bool] = True

    method: Literal["logrank"] = Field(description="Log-rank test.")
    weights: Weights | None = Field(default=None, description="Weights over time; left out, all events count alike.")
    trend: dict[str, Number] | None = Field(default=None, description="Scores of the arms, for a test of trend.")
    estimate_by: Literal["cox"] | None = Field(default=None, alias="estimate", description="`cox` adds the hazard ratio of a Cox model with the test's strata.")

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.weights is not None:
            yield "weights of logrank"
        if self.trend is not None:
            yield "trend of logrank"
