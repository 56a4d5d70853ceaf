"""Analysis of covariance by least squares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.units import Number


class Ancova(Analysis):
    """Difference in means adjusted for covariates."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("continuous",)
    scale: ClassVar[str | None] = "difference"
    std_error_scale: ClassVar[str | None] = "difference"
    takes_covariates: ClassVar[bool] = True

    method: Literal["ancova"] = Field(description="Analysis of covariance.")
    robust: Literal[False, "hc3", "hc2"] = Field(default=False, description="Classical standard errors, or heteroscedasticity-consistent ones.")
    interaction: bool = Field(default=False, description="Arm by covariate interactions, covariates centred.")
    contrast: dict[str, Number] | None = Field(default=None, description="Scores of the arms, for a contrast over doses.")

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.interaction:
            yield "interaction: true of ancova"
        if self.contrast is not None:
            yield "contrast of ancova"
