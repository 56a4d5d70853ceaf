"""Gray's test: equal cumulative incidence of one cause among competing ones.

z is the score of the test arm (observed less expected events of the cause) over the root of its variance; see `gray_score`.
z² is cmprsk's statistic. With several test arms in the data the statistic is the normal equivalent of the chi-squared test of
equality of all arms at the analysis's sides; with two sides it has the sign of the first test arm's score. `stratify_by`: scores and
covariances are summed over strata. `at`: events after that time are not used. Nothing is estimated.

**Source:** Gray 1988 (doi 10.1214/aos/1176350951).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from trialsim.analysis.analysis import Analysis, Cause, EndpointType
from trialsim.analysis.failures import event_failures, fail
from trialsim.analysis.gray_score import gray_score
from trialsim.analysis.methods.fine_gray import restricted
from trialsim.records import Estimates, EventData
from trialsim.units import PositiveTime

NO_VARIANCE = 3


class Gray(Analysis):
    """Gray's test; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "composite")
    takes = EventData
    takes_strata: ClassVar[bool] = True

    method: Literal["gray"] = Field(description="Gray's test.")
    cause: Cause | None = Field(default=None, description="The outcome that is the cause of interest; in data, also its code.")
    at: PositiveTime | None = Field(default=None, description="Events after this time are not used.")

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """z; see `Analysis.estimate`."""
        data = restricted(data, None if self.at is None else float(self.at))
        found = gray_score(data)
        score, variance = found.score[0], found.covariance[0, 0]
        failure = event_failures(data)
        # One arm without an event does not keep the score from being compared with its variance.
        failure = torch.where((failure == 6) & (variance > 0), 0, failure).to(torch.int8)
        if data.n_groups > 2:
            chi_square, df = found.chi_square()
            failure = torch.where((failure == 0) & (df == 0), NO_VARIANCE, failure)
            z = self._normal(chi_square, df)
            if self.sides == 2:
                z = favours * torch.sign(score) * z
        else:
            failure = torch.where((failure == 0) & ~(variance > 0), NO_VARIANCE, failure)
            z = favours * score / variance.sqrt()
        (statistic,) = fail(failure, z)
        there = data.time >= 0
        return Estimates(statistic=statistic, n=there.sum(-1), failure=failure, n_events=(data.event & there).sum(-1))

    def _normal(self, chi_square: Tensor, df: Tensor) -> Tensor:
        """The size of a normal statistic with the p-value of the chi-squared test at the analysis's sides."""
        p = torch.special.gammaincc(0.5 * df.clamp(min=1.0), 0.5 * chi_square)
        return -torch.special.ndtri(p / self.sides)
