"""What an analysis decides at its looks: efficacy, futility, and what futility has hidden; on the CPU, wherever patients are."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.analysis.arm_hazard_ratio import score_at_log_hr
from trialsim.analysis.inference import normal_statistic
from trialsim.conduct.comparison import PlannedAnalysis
from trialsim.design import HazardRatioAbove
from trialsim.records import AnalysisData, AnalysisRecord, Estimates, EventData
from trialsim.tensors import on_cpu


@dataclass(frozen=True, slots=True)
class Seen:
    """What an analysis has said of some trials at one look: its estimates, z, and the data they are from.

    `own` is the look's place among the analysis's own; `last`: the analysis has no look after it.
    """

    found: Estimates
    z: Float[Tensor, "row"]
    data: AnalysisData
    own: int
    last: Bool[Tensor, "row"]


class Decisions:
    """What one analysis has found and decided so far, filled look by look."""

    def __init__(self, n: int, n_looks: int, plan: PlannedAnalysis):
        def empty() -> Tensor:
            return torch.full((n, n_looks), torch.nan, dtype=torch.float64)

        def no() -> Tensor:
            return torch.zeros((n, n_looks), dtype=torch.bool)

        self.plan = plan
        self.z, self.efficacy_z, self.futility_z = empty(), empty(), empty()
        self.estimate, self.std_error, self.df = empty(), empty(), empty()
        self.ci_low, self.ci_high = empty(), empty()
        self.n, self.n_events = torch.zeros((n, n_looks), dtype=torch.int64), torch.zeros((n, n_looks), dtype=torch.int64)
        self.information = torch.zeros((n, max(len(plan.looks), 1)), dtype=torch.float64)
        self.failure = torch.zeros((n, n_looks), dtype=torch.int8)
        self.reject, self.wrong, self.futile = no(), no(), no()
        self.closed = torch.zeros(n, dtype=torch.bool)
        self.only_futile = torch.zeros(n, dtype=torch.bool)
        self.ever = torch.zeros(n, dtype=torch.bool)
        self.has: set[str] = set()

    def due(self, look: int, rows: Int[Tensor, "row"], final: Bool[Tensor, "row"]) -> Bool[Tensor, "row"]:
        """Which of these trials make the analysis at this look: its own looks, or the last cut of a trial that ends before them.

        Closed analyses are not made again, unless futility has hidden whether efficacy would still be shown.
        """
        looks = self.plan.looks
        if look > looks[-1]:
            return torch.zeros_like(final)
        wanted = ~self.closed[rows] | self.only_futile[rows] if self.plan.ignore_futility else ~self.closed[rows]
        return wanted if look in looks else final & wanted

    def decide(
        self,
        look: int,
        rows: Int[Tensor, "row"],
        *,
        live: Bool[Tensor, "row"],
        final: Bool[Tensor, "row"],
        reached: Bool[Tensor, "row"],
        data: AnalysisData,
        counted: Int[Tensor, "row"] | None = None,
    ) -> None:
        """Analyse and compare with the bounds.

        `final`: the trial ends here; `reached`: the look's target was reached; `counted`: the information so far, where it is
        not that of the two compared arms alone. Rows that are not live only count for what would have happened without futility.
        """
        seen = self.analyse(look, rows, final=final, reached=reached, data=data, counted=counted)
        monitoring = self.plan.monitoring
        efficacy, futility = monitoring.at(seen.own, self.information[rows, : seen.own + 1], seen.last)
        reject = seen.z >= efficacy
        wrong = (seen.z <= -efficacy) if monitoring.sides == 2 else torch.zeros_like(reject)
        self.settle(look, rows, live=live, seen=seen, efficacy=efficacy, futility=futility, reject=reject, wrong=wrong, ever=reject)

    def analyse(
        self,
        look: int,
        rows: Int[Tensor, "row"],
        *,
        final: Bool[Tensor, "row"],
        reached: Bool[Tensor, "row"],
        data: AnalysisData,
        counted: Int[Tensor, "row"] | None = None,
    ) -> Seen:
        """What the analysis says, before anything is decided; its information is noted."""
        plan = self.plan
        found = on_cpu(plan.method.answer(data, favours=plan.favours))
        own = bisect_left(plan.looks, look)
        last = final | (own == len(plan.looks) - 1)
        observed = counted if counted is not None else found.n if found.n_events is None or not plan.is_event else found.n_events
        self.information[rows, own] = plan.monitoring.information(own, observed, reached & (look in plan.looks))
        return Seen(found, normal_statistic(found), data, own, last)

    def settle(
        self,
        look: int,
        rows: Int[Tensor, "row"],
        *,
        live: Bool[Tensor, "row"],
        seen: Seen,
        efficacy: Float[Tensor, "row"],
        futility: Float[Tensor, "row"],
        reject: Bool[Tensor, "row"],
        wrong: Bool[Tensor, "row"],
        ever: Bool[Tensor, "row"],
    ) -> None:
        """Enter what was decided; `ever`: efficacy would have been shown by now without futility rules."""
        own, last = seen.own, seen.last
        # The last look has no futility rule left to obey: what is not rejected is over.
        futile = (seen.z < futility) & ~last & ~reject & ~wrong
        rule = self.plan.monitoring.futility
        limit = rule.hazard_ratio_above[own] if isinstance(rule, HazardRatioAbove) and own < len(rule.hazard_ratio_above) else None
        if limit is not None:
            # The Cox estimate lies above the limit exactly when the score there is positive.
            assert isinstance(seen.data, EventData)
            futile = (on_cpu(score_at_log_hr(seen.data, math.log(limit))) > 0) & ~last & ~reject & ~wrong
        self.ever[rows] |= ever
        still_open = live & ~self.closed[rows]
        self._write(look, rows, seen.found, seen.z, efficacy, futility, still_open)
        self.reject[rows, look] = reject & still_open
        self.wrong[rows, look] = wrong & still_open
        self.futile[rows, look] = futile & still_open
        self.only_futile[rows] |= futile & still_open
        self.closed[rows] |= reject | wrong | futile | last
        self.only_futile[rows] &= ~self.ever[rows] & ~last

    def decide_at_end(self, stop: Int[Tensor, "replicate"], data: AnalysisData) -> None:
        """The one decision of an analysis without looks, entered at the look where each trial stopped."""
        seen = self.analyse_at_end(data)
        bound = self.plan.monitoring.at_end_only
        reject = seen.z >= bound
        wrong = seen.z <= -bound if self.plan.monitoring.sides == 2 else torch.zeros_like(reject)
        self.settle_at_end(stop, seen, reject=reject, wrong=wrong, efficacy=torch.full_like(seen.z, bound))

    def analyse_at_end(self, data: AnalysisData) -> Seen:
        """What the analysis says where the trials have stopped."""
        found = on_cpu(self.plan.method.answer(data, favours=self.plan.favours))
        return Seen(found, normal_statistic(found), data, 0, torch.ones(len(found.n), dtype=torch.bool))

    def settle_at_end(
        self,
        stop: Int[Tensor, "replicate"],
        seen: Seen,
        *,
        reject: Bool[Tensor, "replicate"],
        wrong: Bool[Tensor, "replicate"],
        efficacy: Float[Tensor, "replicate"] | None = None,
    ) -> None:
        """Enter what was decided there."""
        rows, none = torch.arange(len(stop)), torch.full_like(seen.z, torch.nan)
        self._write(stop, rows, seen.found, seen.z, none if efficacy is None else efficacy, none)
        self.reject[rows, stop] = reject
        self.wrong[rows, stop] = wrong

    def _write(self, look: int | Tensor, rows: Tensor, found: Estimates, z: Tensor, efficacy: Tensor, futility: Tensor, live: Tensor | None = None) -> None:
        keep = None if live is None or bool(live.all()) else live
        at = rows if keep is None else rows[keep]
        for name, value in (
            ("z", z),
            ("efficacy_z", efficacy),
            ("futility_z", futility),
            ("n", found.n),
            ("failure", found.failure),
            ("estimate", found.estimate),
            ("std_error", found.std_error),
            ("df", found.df),
            ("n_events", found.n_events),
            ("ci_low", found.ci_low),
            ("ci_high", found.ci_high),
        ):
            if value is not None:
                self.has.add(name)
                column = getattr(self, name)
                column[at, look] = (value if keep is None else value[keep]).to(column.dtype)

    def record(self) -> AnalysisRecord:
        def kept(name: str) -> Tensor | None:
            return getattr(self, name) if name in self.has else None

        return AnalysisRecord(
            z=self.z,
            estimate=kept("estimate"),
            std_error=kept("std_error"),
            df=kept("df"),
            n=self.n,
            n_events=kept("n_events"),
            efficacy_z=self.efficacy_z,
            futility_z=self.futility_z,
            reject=self.reject,
            reject_wrong_direction=self.wrong,
            futile=self.futile,
            ignoring_futility=self.ever if self.plan.ignore_futility else None,
            failure=self.failure,
            ci_low=kept("ci_low"),
            ci_high=kept("ci_high"),
        )
