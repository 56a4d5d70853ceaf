"""Kaplan-Meier curves of every arm, many replicates at a time: survival, its variance, quantiles and intervals.

With d events among n at risk at each distinct time t_i (in one arm),

    S(t) = Π_{t_i <= t} (1 - d/n),   Var log S(t) = G(t) = Σ_{t_i <= t} d / (n (n - d)),   Var S(t) = S(t)² G(t)

(Greenwood). The q-quantile is the first time at which S(t) <= 1 - q; where S is exactly 1 - q over a stretch, its middle.
Intervals of S are symmetric on the scale of `transform` (plain, log, log_log); those of a quantile hold the times whose
interval of S includes 1 - q (Brookmeyer-Crowley). All as `survival::survfit`, ties included: at the same time events come
before censorings.

A limit that is not reached is infinite. After the last patient of an arm is censored S keeps its value here; a method
that looks beyond asks `ends`.

**Source:** Kaplan & Meier 1958 (doi 10.1080/01621459.1958.10501452); Brookmeyer & Crowley 1982 (doi 10.2307/2530286);
Kalbfleisch & Prentice 2002, section 1.4 (doi 10.1002/9781118032985).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.analysis.cause_table import CauseTable, cause_table
from trialsim.records import EventData

Transform = Literal["log_log", "log", "plain"]
SAME = math.sqrt(torch.finfo(torch.float64).eps)
"""Survival this close to a level counts as on it, as in survfit."""
SMALLEST = 1e-300


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves at all patients' times, in rising order; each arm steps at its own. Ranks of patients not in the analysis: infinite time.

    `survival` is S at the time, `before` just before it; `steps` are d / (n (n - d)), 0 where S falls to 0.
    """

    time: Float[Tensor, "replicate rank"]
    at_risk: Float[Tensor, "group replicate rank"]
    events: Float[Tensor, "group replicate rank"]
    survival: Float[Tensor, "group replicate rank"]
    before: Float[Tensor, "group replicate rank"]
    steps: Float[Tensor, "group replicate rank"]
    last_time: Float[Tensor, "group replicate"]

    @property
    def greenwood(self) -> Float[Tensor, "group replicate rank"]:
        """G at the time (where S is 0, G before it)."""
        return self.steps.cumsum(-1)

    def ends(self, at: Float[Tensor, "replicate"]) -> Bool[Tensor, "group replicate"]:
        """Whether follow-up ends before a time with patients still event-free, so that the curve is not known there."""
        return (self.last_time < at) & (self.survival[..., -1] > 0)


def kaplan_meier(data: EventData) -> Curves:
    """The curves of all arms of `data`. An event of another cause ends follow-up like a censoring. Strata and covariates are not looked at."""
    table: CauseTable = cause_table(EventData(data.time, data.event & (data.time >= 0), data.group, n_groups=data.n_groups))
    at_risk = table.at_risk.clamp(min=1.0)
    hazard = table.cause / at_risk
    left = 1.0 - hazard
    survival = left.cumprod(-1)
    return Curves(
        time=table.time,
        at_risk=table.at_risk,
        events=table.cause,
        survival=survival,
        before=torch.cat([torch.ones_like(survival[..., :1]), survival[..., :-1]], dim=-1),
        steps=hazard / (at_risk * left).clamp(min=SMALLEST) * (left > 0),
        last_time=table.last_time(),
    )


@dataclass(frozen=True, slots=True)
class SurvivalAt:
    """Survival of every arm at one time, the standard error of its logarithm (√G), and how many are at risk then."""

    survival: Float[Tensor, "group replicate"]
    log_std_error: Float[Tensor, "group replicate"]
    at_risk: Float[Tensor, "group replicate"]

    @property
    def std_error(self) -> Float[Tensor, "group replicate"]:
        """Greenwood's standard error."""
        return self.survival * self.log_std_error


def survival_at(curves: Curves, at: Float[Tensor, "replicate"]) -> SurvivalAt:
    """Survival at a time of each replicate (days)."""
    n_groups = len(curves.survival)
    passed = (curves.time <= at[:, None]).sum(-1)
    first_later = (curves.time < at[:, None]).sum(-1)
    last = (passed - 1).clamp(min=0)[None, :, None].expand(n_groups, -1, 1)
    reached = first_later.clamp(max=curves.time.shape[-1] - 1)[None, :, None].expand(n_groups, -1, 1)
    started = passed > 0
    return SurvivalAt(
        survival=torch.where(started, curves.survival.gather(-1, last)[..., 0], 1.0),
        log_std_error=torch.where(started, curves.greenwood.gather(-1, last)[..., 0], 0.0).sqrt(),
        at_risk=torch.where(first_later < curves.time.shape[-1], curves.at_risk.gather(-1, reached)[..., 0], 0.0),
    )


def survival_interval(
    survival: Float[Tensor, "*any"], log_std_error: Float[Tensor, "*any"], *, transform: Transform, quantile: float
) -> tuple[Float[Tensor, "*any"], Float[Tensor, "*any"]]:
    """Limits of S: symmetric at `quantile` standard errors on the scale of the transform, within 0 and 1.

    NaN where the scale has no value: at S = 0, and for log_log at S = 1.
    """
    half = quantile * log_std_error
    if transform == "plain":
        low, high = survival - half * survival, survival + half * survival
    elif transform == "log":
        low, high = survival * torch.exp(-half), survival * torch.exp(half)
    else:
        log_survival = torch.log(survival)
        spread = half / log_survival
        low, high = torch.exp(log_survival * torch.exp(-spread)), torch.exp(log_survival * torch.exp(spread))
        known = survival < 1
        low, high = torch.where(known, low, torch.nan), torch.where(known, high, torch.nan)
    known = survival > 0
    return torch.where(known, low.clamp(0.0, 1.0), torch.nan), torch.where(known, high.clamp(0.0, 1.0), torch.nan)


def quantile_time(curves: Curves, q: float = 0.5) -> Float[Tensor, "group replicate"]:
    """The q-quantile of every arm (days); infinite where S does not fall to 1 - q."""
    return first_time_below(curves.time, curves.survival, torch.full_like(curves.last_time, 1.0 - q))


def quantile_interval(
    curves: Curves, *, transform: Transform, quantile: float, q: float = 0.5
) -> tuple[Float[Tensor, "group replicate"], Float[Tensor, "group replicate"]]:
    """The times at which the limits of S fall to 1 - q (days)."""
    low, high = survival_interval(curves.survival, curves.greenwood.sqrt(), transform=transform, quantile=quantile)
    level = torch.full_like(curves.last_time, 1.0 - q)
    return first_time_below(curves.time, low, level), first_time_below(curves.time, high, level)


def first_time_below(
    time: Float[Tensor, "replicate rank"], curve: Float[Tensor, "group replicate rank"], level: Float[Tensor, "group replicate"]
) -> Float[Tensor, "group replicate"]:
    """The first time a curve is at or below a level, the middle of the stretch where it is on it; infinite if never. NaN is not below."""
    below = curve < level[..., None] + SAME
    first = below.to(torch.int8).argmax(-1, keepdim=True)
    value = curve.gather(-1, first)
    lower = below & (curve < value)
    second = lower.to(torch.int8).argmax(-1, keepdim=True)
    times = time.expand_as(curve)
    start, end = times.gather(-1, first)[..., 0], times.gather(-1, second)[..., 0]
    flat = ((value[..., 0] - level).abs() < SAME) & lower.any(-1)
    return torch.where(below.any(-1), torch.where(flat, 0.5 * (start + end), start), torch.inf)
