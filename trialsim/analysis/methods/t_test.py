"""The two-sample t-test of a difference in means.

Welch: se² = s1²/n1 + s0²/n0 with Satterthwaite's df = se⁴ / (s1⁴/(n1²(n1 - 1)) + s0⁴/(n0²(n0 - 1))). Pooled: se² =
s²(1/n1 + 1/n0) with n1 + n0 - 2 df. With `multiplicity: dunnett` s² is pooled over all arms of the analysis, with n minus the
number of arms df, whatever `variance` says. Patients with a missing value are left out. Fails where an arm is empty, or where
there is no variance to be had (one patient in an arm under Welch, all values of both arms equal).

**Source:** Welch 1947 (doi 10.1093/biomet/34.1-2.28); Satterthwaite 1946 (doi 10.2307/3002019).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.failures import NO_PATIENTS, NO_VARIANCE, fail
from trialsim.records import Estimates, ValueData

ROUNDING = 1e-26  # of the mean square: a variance below this is that of equal values
MOST_LOST = 1e-3  # share of all squares that an arm may keep within itself before subtraction is trusted with it


class TTest(Analysis):
    """Difference in means, Welch or pooled; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("continuous",)
    takes = ValueData
    imputable: ClassVar[bool] = True
    scale: ClassVar[str | None] = "difference"
    std_error_scale: ClassVar[str | None] = "difference"

    method: Literal["t_test"] = Field(description="Two-sample t-test.")
    variance: Literal["welch", "pooled"] = Field(default="welch", description="A variance per arm (Satterthwaite df), or one for both.")

    @property
    def joint(self) -> bool:  # type: ignore[override]
        """Dunnett's test has one variance for all its arms."""
        return self.multiplicity == "dunnett"

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Difference in means, test minus reference; see `Analysis.estimate`."""
        further = _further_arms(data)
        if further:
            data = replace(data, value=data.value.masked_fill(data.group > 1, torch.nan), n_groups=2)
        sums = _sums(data)
        (n0, n1), (squares0, squares1) = sums.n, sums.squares
        if self.variance == "pooled" or self.joint:
            df, squares = n0 + n1 - 2.0, squares0 + squares1
            for n_arm, squares_arm in further:
                df, squares = df + (n_arm - 1.0).clamp(min=0.0), squares + squares_arm
            squared = squares / df * (1.0 / n0 + 1.0 / n1)
        else:
            each0, each1 = squares0 / (n0 - 1.0) / n0, squares1 / (n1 - 1.0) / n1
            squared = each0 + each1
            df = squared * squared / (each0 * each0 / (n0 - 1.0) + each1 * each1 / (n1 - 1.0))
        n = n0 + n1
        failure = torch.zeros(n.shape, dtype=torch.int8, device=n.device)
        failure = torch.where(squared > ROUNDING * sums.squared_values / (n * n), failure, NO_VARIANCE)
        failure = torch.where((n0 == 0) | (n1 == 0), NO_PATIENTS, failure)
        difference, std_error, df = fail(failure, sums.difference, squared.sqrt(), df)
        return Estimates(statistic=favours * difference / std_error, n=n.to(torch.int64), failure=failure, df=df, estimate=difference, std_error=std_error)


def _further_arms(data: ValueData) -> list[tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]]:
    """Patients of every further arm, and their squares about its mean."""
    found = []
    for group in range(2, data.n_groups):
        there = (data.group == group) & ~data.value.isnan()
        value, n = torch.where(there, data.value, 0.0), there.sum(-1).to(torch.float64)
        deviation = torch.where(there, value - (value.sum(-1) / n.clamp(min=1.0))[:, None], 0.0)
        found.append((n, (deviation * deviation).sum(-1)))
    return found


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of both arms (reference first), per replicate: patients, and squares about the arm's mean. `squared_values` is about zero."""

    n: tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]
    difference: Float[Tensor, "replicate"]
    squares: tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]
    squared_values: Float[Tensor, "replicate"]


def _sums(data: ValueData) -> _Sums:
    """Sums over patients about the mean of both arms together, in few passes over them.

    Squares about an arm's own mean follow by subtraction; replicates in which that would cost more than three digits (arms
    many standard deviations apart, or of very different variance) are summed about their own means.
    """
    value, test, n = data.value, data.group.to(torch.float64), float(data.value.shape[-1])
    total = value.sum(-1)
    present = None
    if bool(total.isnan().any()):
        present = (value == value).to(torch.float64)
        value = value.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
        test = test * present
        total = value.sum(-1)
    n_test = test.sum(-1)
    n_both = torch.full_like(n_test, n) if present is None else present.sum(-1)
    n_reference = n_both - n_test
    centre = total / n_both

    deviation = value - centre[:, None]
    if present is not None:
        deviation.mul_(present)
    of_test = deviation * test
    sum_both, sum_test = deviation.sum(-1), of_test.sum(-1)
    squares_test = of_test.mul_(deviation).sum(-1)
    squares_both = deviation.mul_(deviation).sum(-1)
    mean_test, mean_reference = sum_test / n_test, (sum_both - sum_test) / n_reference
    within = [squares_both - squares_test - (sum_both - sum_test) * mean_reference, squares_test - sum_test * mean_test]
    lost = torch.minimum(within[0], within[1]) < MOST_LOST * squares_both
    if bool(lost.any()):
        rows = lost.nonzero()[:, 0]
        value, test = value[rows], test[rows]
        for arm, weight in enumerate(((1.0 if present is None else present[rows]) - test, test)):
            own = weight * (value - ((weight * value).sum(-1) / weight.sum(-1))[:, None])
            within[arm][rows] = (own * own).sum(-1)
    return _Sums((n_reference, n_test), mean_test - mean_reference, (within[0], within[1]), squares_both + n_both * centre * centre)
