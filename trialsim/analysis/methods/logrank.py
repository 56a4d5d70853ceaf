"""The log-rank test, plain, stratified, weighted or for trend, with the Cox hazard ratio beside it on request.

At each distinct event time, with d events (d1 in the test arm) among n at risk (n1 in the test arm),

    U = Σ (d1 - d n1/n),   V = Σ d (n1/n) (1 - n1/n) (n - d)/(n - 1),   z = U / √V;

U and V are summed over strata. `weights` multiply each term of U by w and of V by w² (`event_weights`; strata have their own
pooled survival estimate and so their own weights). `trend` compares all arms at once: with score s_g of arm g the test is
that of U = Σ_g s_g (O_g - E_g), positive when the arms of higher score fare better; with two arms it is the plain test.
Several arms without an order: `several_arms`. The hazard ratio beside a weighted test is the unweighted Cox estimate.

Late weights (Fleming-Harrington 0, 1) are a little liberal in small trials: one-sided level 0.028 for 0.025 with 100 or 200
patients, within its Monte Carlo error with 400.

Ties: the hypergeometric variance, as `survival::survdiff`. An event and a censoring at the same time: the censored patient
is at risk. Without an event, without a patient in one of the arms, or without variance the test fails (see
`records.FAILURES`).

Source: Mantel 1966 (Cancer Chemother Rep 50:163); Peto & Peto 1972 (doi 10.2307/2344317); variance as in Kalbfleisch &
Prentice 2002, eq. 1.24 (doi 10.1002/9781118032985); trend: Tarone 1975 (doi 10.1093/biomet/62.3.679).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.arm_hazard_ratio import arm_counts, cox_arm_only
from trialsim.analysis.at_risk import at_risk, fits
from trialsim.analysis.event_weights import Weights
from trialsim.analysis.weighted_logrank import weighted_scores
from trialsim.records import Estimates, EventData
from trialsim.tensors import at_most, count_last, resident, sort_last, sort_longest_first
from trialsim.units import Number


class LogRank(Analysis):
    """The log-rank test; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event",)
    scale: ClassVar[str | None] = "hazard_ratio"
    std_error_scale: ClassVar[str | None] = "log_hazard_ratio"
    takes_strata: ClassVar[bool] = True

    method: Literal["logrank"] = Field(description="Log-rank test.")
    weights: Weights | None = Field(default=None, description="Weights over time; left out, all events count alike.")
    trend: dict[str, Number] | None = Field(default=None, description="Scores of the arms, for a test of trend.")
    estimate_by: Literal["cox"] | None = Field(default=None, alias="estimate", description="`cox` adds the hazard ratio of a Cox model with the test's strata.")

    @property
    def joint(self) -> bool:  # type: ignore[override]
        """A test of trend spans all its arms."""
        return self.trend is not None

    @model_validator(mode="after")
    def _a_trend_has_a_score_for_every_arm(self) -> Self:
        if self.trend is None:
            return self
        if self.treatment is not None:
            arms = (self.treatment.reference, *self.treatment.tests)
            if set(self.trend) < set(arms):
                raise ValueError(f"trend needs a score for each of {', '.join(arms)}")
        if len(set(self.trend.values())) < 2:
            raise ValueError("trend needs scores that differ")
        if self.estimate_by is not None:
            raise ValueError("a test of trend estimates no hazard ratio; leave out estimate")
        return self

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.trend is not None and self.treatment is None:
            yield "trend of logrank by an estimand (give endpoint and treatment)"
        elif self.trend is not None and self.treatment is not None and set(self.trend) != {self.treatment.reference, *self.treatment.tests}:
            yield "trend of logrank over arms that treatment does not name"
        if self.type != "superiority" and (self.weights is not None or self.trend is not None):
            yield f"type: {self.type} of logrank with {'weights' if self.trend is None else 'trend'}"

    def _scores(self) -> tuple[float, ...]:
        """The scores of the groups: the reference, then the test arms in the order of `treatment`."""
        if self.trend is None:
            return (0.0, 1.0)
        assert self.treatment is not None, "a trend needs the arms by name"
        return tuple(float(self.trend[arm]) for arm in (self.treatment.reference, *self.treatment.tests))

    def statistic_at(self, data: EventData, found: Estimates, value: float, *, favours: int) -> Float[Tensor, "replicate"]:  # type: ignore[override]
        """The score test of a log hazard ratio of `value` in the Cox model with the test's strata (Efron's handling of ties)."""
        score, information = arm_counts(data, ties="efron").score(torch.full_like(found.statistic, value))
        return favours * score * information.rsqrt()

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """z, and the hazard ratio where asked for; see `Analysis.estimate`."""
        score = logrank_score(data) if self.weights is None and self.trend is None else self._weighted_score(data)
        z = favours * score.u / score.variance.sqrt()
        failed = ~(score.variance > 0)
        failure = torch.zeros(len(z), dtype=torch.int8, device=z.device)
        if failed.any():
            failure[failed] = 3
            failure[failed & _an_arm_is_empty(data)] = 2
            failure[failed & (score.n_events == 0)] = 1
            z = torch.where(failed, torch.nan, z)
        hazard_ratio = cox_arm_only(data) if self.estimate_by == "cox" else None
        return Estimates(
            statistic=z,
            n=score.n,
            failure=failure,
            n_events=score.n_events,
            estimate=None if hazard_ratio is None else hazard_ratio.estimate,
            std_error=None if hazard_ratio is None else hazard_ratio.std_error,
        )

    def _weighted_score(self, data: EventData) -> Score:
        found = weighted_scores(data, (self.weights,), scores=self._scores())
        there = data.time >= 0
        return Score(u=found.u[0], variance=found.covariance[0, 0], n=there.sum(-1), n_events=(data.event & there).sum(-1))


_ZERO = torch.zeros((1, 1), dtype=torch.float64, device="cpu")


@dataclass(frozen=True, slots=True)
class Score:
    """U = observed - expected events of the test arm, its null variance, and what they were counted from."""

    u: Float[Tensor, "replicate"]
    variance: Float[Tensor, "replicate"]
    n: Int[Tensor, "replicate"]
    n_events: Int[Tensor, "replicate"]


def logrank_score(data: EventData) -> Score:
    """The score of every replicate, summed over strata."""
    n = count_last(at_most(resident(_ZERO, data.time.device), data.time))
    if not fits(data):
        u, variance = _by_stratum(data)
        return Score(u=u, variance=variance, n=n, n_events=count_last(data.event))
    risk = at_risk(data)
    happened = risk.event.view(torch.int8).to(torch.float64)  # three times as fast as from bool
    share = risk.test / risk.n
    at_event = share * happened
    expected = at_event.sum(-1)
    variance = expected - at_event.mul_(share).sum(-1)
    u = count_last(risk.event & risk.group.view(torch.bool)) - expected
    if risk.tied.any():
        rows = risk.tied.nonzero()[:, 0]
        stratum = None if data.stratum is None else data.stratum[rows]
        u[rows], variance[rows] = _by_stratum(EventData(data.time[rows], data.event[rows], data.group[rows], stratum, data.n_strata))
    return Score(u=u, variance=variance, n=n, n_events=count_last(risk.event))


def _by_stratum(data: EventData) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """U and V with the hypergeometric variance, stratum by stratum: the slow path, for ties."""
    if data.stratum is None or data.n_strata == 1:
        return _with_ties(data.time, data.event, data.group)
    u = variance = torch.zeros(len(data.time), dtype=torch.float64, device=data.time.device)
    for level in range(data.n_strata):
        other = data.stratum != level
        more = _with_ties(data.time.masked_fill(other, -1.0), data.event & ~other, data.group)
        u, variance = u + more[0], variance + more[1]
    return u, variance


def _with_ties(
    time: Float[Tensor, "row patient"], event: Bool[Tensor, "row patient"], group: Int[Tensor, "row patient"]
) -> tuple[Float[Tensor, "row"], Float[Tensor, "row"]]:
    """U and V of one stratum with the hypergeometric variance."""
    event, group, _, _ = sort_longest_first(time, event, group)
    time = -sort_last(-time)
    near = time.view(torch.int64) >> 2  # equal as the sort saw them
    n_patients = time.shape[-1]
    rank = torch.arange(n_patients, device=time.device)
    ends = torch.ones_like(event)
    ends[:, :-1] = near[:, 1:] != near[:, :-1]
    # The last patient before this group of equal times, or -1: running maximum of the ends, shifted by one.
    before = torch.cat([torch.full((len(time), 1), -1, device=time.device), torch.where(ends, rank, -1)[:, :-1]], dim=-1).cummax(-1).values

    def within(mark: Tensor) -> Tensor:
        running = mark.cumsum(-1, dtype=torch.float64)
        return running - torch.where(before >= 0, running.gather(-1, before.clamp(min=0)), 0.0)

    d, d1 = within(event) * ends, within(event & (group == 1)) * ends
    n = (rank + 1).to(torch.float64)
    share = group.cumsum(-1, dtype=torch.float64) / n
    u = (d1 - d * share).sum(-1)
    variance = (d * share * (1 - share) * (n - d) / (n - 1).clamp(min=1)).sum(-1)
    return u, variance


def _an_arm_is_empty(data: EventData) -> Bool[Tensor, "replicate"]:
    there = data.time >= 0
    return ~((there & (data.group == 1)).any(-1) & (there & (data.group == 0)).any(-1))
