"""The Wilcoxon-Mann-Whitney rank-sum test, with the shift of Hodges and Lehmann.

    z = (U - n1 n0/2 - c) / √Var U,

ties by mid-ranks and their variance; `correct` moves z by c = ½ towards no difference (one-sided: against the test arm), as
R's `wilcox.test`. `exact: true` uses the exact law of U where there are no ties and both arms have fewer than 50 patients, and
this approximation elsewhere; `statistic` is then the z whose p-value is the exact one.

The estimate is the median of the differences of all pairs; the limits are the differences at the ranks at which the test (with
the observed ties) would just reject a shift, and `std_error` their distance over twice the normal quantile. Patients with a
missing value are left out. Fails where an arm is empty or all values are equal. Under a margin the test arm is shifted by it.

**Source:** Wilcoxon 1945 (doi 10.2307/3001968); Hodges & Lehmann 1963 (doi 10.1214/aoms/1177704172); see `rank_sum`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from scipy.special import ndtri
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.exact_statistic import from_tails, from_two_sided
from trialsim.analysis.failures import NO_PATIENTS, NO_VARIANCE, fail
from trialsim.analysis.rank_sum import RankSum, exact_tails, pair_differences, rank_sum
from trialsim.records import Estimates, ValueData

SMALL = 50  # patients in an arm, from which on the normal law serves


class Wilcoxon(Analysis):
    """Rank-sum test; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("continuous", "ordinal", "count")
    takes = ValueData
    scale: ClassVar[str | None] = "difference"
    std_error_scale: ClassVar[str | None] = "difference"

    method: Literal["wilcoxon"] = Field(description="Wilcoxon-Mann-Whitney test.")
    correct: bool = Field(default=True, description="Continuity correction.")
    exact: bool = Field(default=False, description="The exact law where there are no ties and fewer than 50 patients in each arm.")

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Hodges-Lehmann shift, test minus reference, and the test; see `Analysis.estimate`."""
        ranks = rank_sum(data.value, data.group)
        statistic = self._statistic(ranks, favours, sides=self.sides)
        quantile = float(-ndtri(self.alpha_one_sided))
        n_pairs = ranks.n1 * ranks.n0
        edge = 0.5 * n_pairs - quantile * ranks.variance.sqrt()
        # The smallest number of pairs below a shift that is not rejected, as a rank.
        first = ((edge + 0.5).floor() if self.correct else edge.floor() + 1.0).clamp(min=1.0)
        wanted = torch.stack([first, 0.5 * (n_pairs + 1.0), n_pairs + 1.0 - first])
        low, estimate, high = pair_differences(data.value, data.group, wanted)
        std_error = (high - low) / (2.0 * quantile)
        failure = torch.zeros(len(estimate), dtype=torch.int8, device=estimate.device)
        failure = torch.where(ranks.variance > 0, failure, NO_VARIANCE)
        failure = torch.where(n_pairs == 0, NO_PATIENTS, failure)
        statistic, estimate, std_error, low, high = fail(failure, statistic, estimate, std_error, low, high)
        n = (ranks.n1 + ranks.n0).to(torch.int64)
        return Estimates(statistic=statistic, n=n, failure=failure, estimate=estimate, std_error=std_error, ci_low=low, ci_high=high)

    def statistic_at(self, data: ValueData, found: Estimates, value: float, *, favours: int) -> Float[Tensor, "replicate"]:  # type: ignore[override]
        """The one-sided test of a shift of `value`; see `Analysis.statistic_at`."""
        return self._statistic(rank_sum(torch.where(data.group == 1, data.value - value, data.value), data.group), favours, sides=1)

    def _statistic(self, ranks: RankSum, favours: int, *, sides: int) -> Float[Tensor, "replicate"]:
        away = favours * (ranks.u - ranks.expected)
        step = 0.5 * self.correct
        z = (away - (step if sides == 1 else step * torch.sign(away))) * ranks.variance.rsqrt()
        if not self.exact:
            return z
        small = ~ranks.tied & (ranks.n1 < SMALL) & (ranks.n0 < SMALL) & (ranks.n1 > 0) & (ranks.n0 > 0)
        at_least, at_most = exact_tails(ranks, small)
        better, worse = (at_least, at_most) if favours == 1 else (at_most, at_least)
        if sides == 2:
            p = (2.0 * torch.minimum(at_least, at_most)).clamp(max=1.0)
            exact = from_two_sided(p, torch.where(better < worse, 1.0, -1.0).to(torch.float64))
        else:
            exact = from_tails(better, 1.0 - better)
        return torch.where(small, exact, z)
