"""The Cochran-Mantel-Haenszel test of a binary endpoint over strata, with the common effect of Mantel and Haenszel.

In stratum k a of n1 and c of n0 respond, m = a + c of N in all:

    z = Σ (a - n1 m/N) / √Σ n1 n0 m (N - m) / (N² (N - 1)),   with `correct` |Σ| - ½ (as R: where |Σ| is at least ½).

The estimate is the common odds ratio ΣR/ΣS, R = a (n0 - c)/N, S = (n1 - a) c/N, with Robins, Breslow and Greenland's variance
of its log; or the common ratio (Greenland and Robins) or difference (Sato) of risks. Without `stratify_by` there is one
stratum. Strata with one arm, or where all patients are alike, add nothing. Fails where none adds something (no variance).
Where the common ratio is infinite the test stands.

**Source:** Mantel & Haenszel 1959 (doi 10.1093/jnci/22.4.719); Robins, Breslow & Greenland 1986 (doi 10.2307/2531052);
Greenland & Robins 1985 (doi 10.2307/2530643); Sato 1989 (doi 10.2307/2531765).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.analysis import two_by_two
from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.failures import NO_PATIENTS, NO_VARIANCE, fail
from trialsim.analysis.two_by_two import Measure
from trialsim.records import Estimates, ValueData


class Cmh(Analysis):
    """Cochran-Mantel-Haenszel test over strata; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("binary",)
    takes = ValueData
    takes_strata: ClassVar[bool] = True

    method: Literal["cmh"] = Field(description="Cochran-Mantel-Haenszel test.")
    measure: Literal["odds_ratio", "ratio", "difference"] = Field(default="odds_ratio", description="Which common effect is estimated.")
    correct: bool = Field(default=False, description="Continuity correction.")

    @property
    def scale(self) -> str:  # type: ignore[override]
        """The natural scale of the estimate."""
        return {"difference": "difference", "ratio": "risk_ratio", "odds_ratio": "odds_ratio"}[self.measure]

    @property
    def std_error_scale(self) -> str:  # type: ignore[override]
        """The scale of inference."""
        return self.scale if self.measure == "difference" else f"log_{self.scale}"

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """The common effect and the test; see `Analysis.estimate`."""
        a, n1, c, n0 = _tables(data)
        n, m = n1 + n0, a + c
        both = (n1 > 0) & (n0 > 0)
        per = torch.where(both, 1.0 / n, 0.0)
        difference = _over_strata(torch.where(both, a - n1 * m * per, 0.0))
        variance = _over_strata(n1 * n0 * m * (n - m) * per * per / (n - 1.0).clamp(min=1.0))
        if self.correct:
            size = difference.abs()
            difference = torch.sign(difference) * torch.where(size >= 0.5, size - 0.5, size)
        statistic = favours * difference * variance.rsqrt()
        estimate, squared = _common(a, n1, c, n0, per, self.measure)
        failure = torch.zeros(len(statistic), dtype=torch.int8, device=statistic.device)
        failure = torch.where(variance > 0, failure, NO_VARIANCE)
        failure = torch.where((_over_strata(n1) == 0) | (_over_strata(n0) == 0), NO_PATIENTS, failure)
        std_error = torch.where(torch.isinf(estimate), torch.inf, squared.sqrt())
        statistic, estimate, std_error = fail(failure, statistic, estimate, std_error)
        return Estimates(statistic=statistic, n=_over_strata(n).to(torch.int64), failure=failure, estimate=estimate, std_error=std_error)


def _tables(data: ValueData) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Responders and patients of the test arm, then of the reference, `[stratum, replicate]`."""
    if data.stratum is None or data.n_strata == 1:
        tables = [two_by_two.counted(data.value, data.group)[0]]
    else:
        tables = [two_by_two.counted(data.value.masked_fill(data.stratum != level, torch.nan), data.group)[0] for level in range(data.n_strata)]
    x1, n1, x0, n0 = (torch.stack([getattr(table, name) for table in tables]) for name in ("x1", "n1", "x0", "n0"))
    return x1, n1, x0, n0


def _over_strata(values: Float[Tensor, "stratum replicate"]) -> Float[Tensor, "replicate"]:
    """Summed in the order of the strata."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _common(a: Tensor, n1: Tensor, c: Tensor, n0: Tensor, per: Tensor, measure: Measure) -> tuple[Tensor, Tensor]:
    """The common effect on the scale of inference and its variance."""
    if measure == "odds_ratio":
        b, d = n1 - a, n0 - c
        r, s, p, q = a * d * per, b * c * per, (a + d) * per, (b + c) * per
        sum_r, sum_s = _over_strata(r), _over_strata(s)
        squared = (
            _over_strata(p * r) / (2.0 * sum_r * sum_r) + _over_strata(p * s + q * r) / (2.0 * sum_r * sum_s) + _over_strata(q * s) / (2.0 * sum_s * sum_s)
        )
        return torch.log(sum_r) - torch.log(sum_s), squared
    if measure == "ratio":
        r, s = _over_strata(a * n0 * per), _over_strata(c * n1 * per)
        return torch.log(r) - torch.log(s), _over_strata((n1 * n0 * (a + c) - a * c * (n1 + n0)) * per * per) / (r * s)
    weight = _over_strata(n1 * n0 * per)
    difference = _over_strata((a * n0 - c * n1) * per) / weight
    p = _over_strata((n1 * n1 * c - n0 * n0 * a + n1 * n0 * (n0 - n1) * 0.5) * per * per)
    q = _over_strata((a * (n0 - c) + c * (n1 - a)) * 0.5 * per)
    return difference, (difference * p + q) / (weight * weight)
