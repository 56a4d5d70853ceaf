"""The two-sample t-test of a difference in means."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.analysis.analysis import Analysis, EndpointType


class TTest(Analysis):
    """Difference in means, Welch or pooled."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("continuous",)
    scale: ClassVar[str | None] = "difference"
    std_error_scale: ClassVar[str | None] = "difference"

    method: Literal["t_test"] = Field(description="Two-sample t-test.")
    variance: Literal["welch", "pooled"] = Field(default="welch", description="A variance per arm (Satterthwaite df), or one for both.")
