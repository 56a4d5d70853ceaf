"""Proportional hazards regression by partial likelihood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from trialsim.analysis.analysis import Analysis, EndpointType


class Cox(Analysis):
    """Cox regression of the arm, covariates beside it, strata with their own baseline hazard."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event",)
    scale: ClassVar[str | None] = "hazard_ratio"
    std_error_scale: ClassVar[str | None] = "log_hazard_ratio"
    takes_covariates: ClassVar[bool] = True
    takes_strata: ClassVar[bool] = True

    method: Literal["cox"] = Field(description="Cox proportional hazards regression.")
    ties: Literal["efron", "breslow", "exact"] = Field(default="efron", description="How tied event times enter the partial likelihood.")
    robust: bool = Field(default=False, description="Sandwich variance.")
    test: Literal["wald", "score", "likelihood_ratio"] = Field(default="wald", description="Which test of the arm is reported.")

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.ties == "exact":
            yield "ties: exact of cox"
        if self.robust:
            yield "robust: true of cox"
