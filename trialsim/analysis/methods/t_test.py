"""The two-sample t-test of a difference in means.

Welch: se² = s1²/n1 + s0²/n0 with Satterthwaite's df = se⁴ / (s1⁴/(n1²(n1 - 1)) + s0⁴/(n0²(n0 - 1))). Pooled: se² =
s²(1/n1 + 1/n0) with n1 + n0 - 2 df. Patients with a missing value are left out. Fails where an arm is empty, or where
there is no variance to be had (one patient in an arm under Welch, all values of both arms equal).

**Source:** Welch 1947 (doi 10.1093/biomet/34.1-2.28); Satterthwaite 1946 (doi 10.2307/3002019).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.failures import NO_PATIENTS, NO_VARIANCE, fail
from trialsim.records import Estimates, ValueData

ROUNDING = 1e-26  # of the mean square: a variance below this is that of equal values


class TTest(Analysis):
    """Difference in means, Welch or pooled; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("continuous",)
    takes = ValueData
    imputable: ClassVar[bool] = True
    scale: ClassVar[str | None] = "difference"
    std_error_scale: ClassVar[str | None] = "difference"

    method: Literal["t_test"] = Field(description="Two-sample t-test.")
    variance: Literal["welch", "pooled"] = Field(default="welch", description="A variance per arm (Satterthwaite df), or one for both.")

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Difference in means, test minus reference; see `Analysis.estimate`."""
        present = ~torch.isnan(data.value)
        value = torch.where(present, data.value, 0.0)
        n, mean, squares = [], [], []
        for arm in (0, 1):
            weight = (present & (data.group == arm)).to(torch.float64)
            n.append(weight.sum(-1))
            mean.append((weight * value).sum(-1) / n[arm])
            deviation = weight * (value - mean[arm][:, None])
            squares.append((deviation * deviation).sum(-1))
        if self.variance == "pooled":
            df = n[0] + n[1] - 2.0
            squared = (squares[0] + squares[1]) / df * (1.0 / n[0] + 1.0 / n[1])
        else:
            each = [squares[arm] / (n[arm] - 1.0) / n[arm] for arm in (0, 1)]
            squared = each[0] + each[1]
            df = squared * squared / (each[0] * each[0] / (n[0] - 1.0) + each[1] * each[1] / (n[1] - 1.0))
        failure = torch.zeros(len(value), dtype=torch.int8, device=value.device)
        failure = torch.where(squared > ROUNDING * (value * value).sum(-1) / (n[0] + n[1]) ** 2, failure, NO_VARIANCE)
        failure = torch.where((n[0] == 0) | (n[1] == 0), NO_PATIENTS, failure)
        difference, std_error, df = fail(failure, mean[1] - mean[0], squared.sqrt(), df)
        return Estimates(statistic=favours * difference / std_error, n=present.sum(-1), failure=failure, df=df, estimate=difference, std_error=std_error)
