"""The map: every frozen record that passes between stages, with shapes.

The leading axis is `replicate`, then `patient`, then `look`. Float tensors are float64. Nobody mutates a record.

    Block ──► Cohort ──► (Twins) ──► Enrolment ──► AnalysisData ──► Estimates ──► TrialRecord

AnalysisData is one of EventData, ValueData, VisitData, RecurrentData, HierarchyData: what an analysis needs (`Analysis.record`).
In all of them `group` is 0 in the reference arm and 1 in the test arm of the comparison; 2, 3, … are the other test arms of
an analysis whose model spans all its arms (`Analysis.joint`, `n_groups` > 2), and never occur otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.rng import Block, Stream


@dataclass(frozen=True, slots=True)
class Cohort:
    """The baseline of every patient of a block.

    A categorical covariate holds the index of its level in `levels[name]`; every other column is a number in its own
    unit (times in days). NaN is a missing value.
    """

    columns: Mapping[str, Float[Tensor, "replicate patient"]]
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """When each patient was randomised (calendar days), to which arm (index in protocol order), in which stratum.

    `entry_time` has a replicate axis of length 1 when it is the same in every replicate. Patients are in arrival order:
    entry times do not decrease along the patient axis.
    """

    entry_time: Float[Tensor, "replicate_or_1 patient"]
    arm: Int[Tensor, "replicate patient"]
    stratum: Int[Tensor, "replicate patient"] | None
    n_strata: int


@dataclass(frozen=True, slots=True)
class EventData:
    """A time-to-event endpoint at one data cut, or in real data.

    `time` is follow-up in days; a *negative* time marks a patient who is not in the analysis (not yet randomised, or of
    a third arm); their `event` must be false and their other values mean nothing. `event` is false where censored. `group` is 1 in the test arm and 0
    in the reference arm. `stratum` counts from 0. `covariates` has one column per number (categories are indicators).
    `competing` is true where follow-up ended with an event of another cause (`event` is then false); None: no other causes.
    """

    time: Float[Tensor, "replicate patient"]
    event: Bool[Tensor, "replicate patient"]
    group: Int[Tensor, "replicate patient"]
    stratum: Int[Tensor, "replicate patient"] | None = None
    n_strata: int = 1
    covariates: Float[Tensor, "replicate patient covariate"] | None = None
    competing: Bool[Tensor, "replicate patient"] | None = None
    n_groups: int = 2


@dataclass(frozen=True, slots=True)
class ValueData:
    """A single-valued endpoint at one data cut, or in real data: continuous, binary (0 or 1), ordinal (0, 1, …), a count.

    `value` is NaN for a patient who is not in the analysis or whose value is missing. `exposure` is the time a count was
    observed (days; None: the same for all). The other fields are as in EventData.
    """

    value: Float[Tensor, "replicate patient"]
    group: Int[Tensor, "replicate patient"]
    stratum: Int[Tensor, "replicate patient"] | None = None
    n_strata: int = 1
    covariates: Float[Tensor, "replicate patient covariate"] | None = None
    exposure: Float[Tensor, "replicate patient"] | None = None
    n_groups: int = 2


@dataclass(frozen=True, slots=True)
class Noise:
    """The random numbers an analysis may use (imputation), addressed by replicate and patient like all others.

    They are those of a stream for the replicates `first + rows` (None: all) of a block.
    """

    stream: Stream
    block: Block
    rows: Int[Tensor, "row"] | None = None

    def normal(self, n: int, *, index: int, second: int = 0) -> Float[Tensor, "replicate n"]:
        """Standard normals, `n` per replicate."""
        drawn = self.stream.normal(self.block, n, index=index, second=second)
        return drawn if self.rows is None else drawn[self.rows]

    def uniform(self, n: int, *, index: int, second: int = 0) -> Float[Tensor, "replicate n"]:
        """Uniforms, `n` per replicate."""
        drawn = self.stream.uniform(self.block, n, index=index, second=second)
        return drawn if self.rows is None else drawn[self.rows]

    def of(self, rows: Int[Tensor, "row"] | slice) -> Noise:
        """The numbers of some of these replicates."""
        own = torch.arange(self.block.size, device=self.stream.device) if self.rows is None else self.rows
        return Noise(self.stream, self.block, own[rows])


@dataclass(frozen=True, slots=True)
class VisitData:
    """A continuous endpoint at several visits, at one data cut or in real data.

    `value` is NaN where a visit is missing (or after the cut); a patient without any value is not in the analysis. `at` is
    the index of the visit whose contrast is asked for. `baseline` is the value before treatment where the endpoint has one
    (what constrained longitudinal data analysis puts among the visits). `included` says who is in the analysis where missing
    values are imputed (None: everyone with a value); `noise` is what they are imputed with. The other fields are as in EventData.
    """

    value: Float[Tensor, "replicate patient visit"]
    group: Int[Tensor, "replicate patient"]
    at: int
    baseline: Float[Tensor, "replicate patient"] | None = None
    stratum: Int[Tensor, "replicate patient"] | None = None
    n_strata: int = 1
    covariates: Float[Tensor, "replicate patient covariate"] | None = None
    n_groups: int = 2
    included: Bool[Tensor, "replicate patient"] | None = None
    noise: Noise | None = None

    def of(self, rows: Int[Tensor, "row"] | slice) -> VisitData:
        """The data of some replicates."""
        cut: dict[str, Any] = {each.name: value[rows] for each in fields(self) if isinstance(value := getattr(self, each.name), Tensor)}
        return replace(self, **cut, noise=None if self.noise is None else self.noise.of(rows))


@dataclass(frozen=True, slots=True)
class RecurrentData:
    """Events that recur, at one data cut or in real data.

    `time` holds the times of a patient's events since randomisation (days), increasing, infinite where there are no more;
    all finite ones lie within `follow_up`. A negative `follow_up` marks a patient who is not in the analysis. The other fields
    are as in EventData.
    """

    time: Float[Tensor, "replicate patient event"]
    follow_up: Float[Tensor, "replicate patient"]
    group: Int[Tensor, "replicate patient"]
    stratum: Int[Tensor, "replicate patient"] | None = None
    n_strata: int = 1
    covariates: Float[Tensor, "replicate patient covariate"] | None = None
    n_groups: int = 2


@dataclass(frozen=True, slots=True)
class HierarchyData:
    """Several endpoints of the same patients, the most important first, for pairwise comparison.

    The parts agree in their patients, `group` and `stratum`. `favours` has +1 where a longer time or larger value wins, -1
    where a smaller one does; `thresholds` the difference that must be exceeded to win (0: any).
    """

    parts: tuple[EventData | ValueData, ...]
    favours: tuple[int, ...]
    thresholds: tuple[float, ...]


AnalysisData = EventData | ValueData | VisitData | RecurrentData | HierarchyData


def patients(data: AnalysisData) -> tuple[Int[Tensor, "replicate"], Int[Tensor, "replicate"]]:
    """How many patients of the reference and of the test arm are in the analysis."""
    if isinstance(data, HierarchyData):
        return patients(data.parts[0])
    if isinstance(data, EventData):
        there = data.time >= 0
    elif isinstance(data, RecurrentData):
        there = data.follow_up >= 0
    elif isinstance(data, ValueData):
        there = ~data.value.isnan()
    else:
        there = ~data.value.isnan().all(-1) if data.included is None else data.included
    return (there & (data.group == 0)).sum(-1), (there & (data.group == 1)).sum(-1)


# Why an analysis failed in a replicate. 0 is success; a failed analysis never rejects.
FAILURES = {
    0: "",
    1: "no events in the analysis",
    2: "no patients in an arm",
    3: "no variance",
    4: "singular design",
    5: "did not converge",
    6: "no events in an arm",
    7: "complete separation",
    8: "an arm has no value at a visit",
    9: "the follow-up of an arm ends before the restriction time",
    10: "not reached in an arm",
    11: "an arm wins no pair",
}


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a method says about test against reference, one number per replicate.

    `statistic` is positive when it favours the test arm; it is a z, or a t where `df` is given. `estimate` and
    `std_error` are on the scale of inference (log for ratios), None where the method estimates nothing; they are test
    minus reference, whatever direction is good. `failure` is a key of FAILURES; the other fields are then NaN.
    `ci_low` and `ci_high` only where the interval is not estimate -/+ quantile x std_error.
    """

    statistic: Float[Tensor, "replicate"]
    n: Int[Tensor, "replicate"]
    failure: Int[Tensor, "replicate"]
    n_events: Int[Tensor, "replicate"] | None = None
    df: Float[Tensor, "replicate"] | None = None
    estimate: Float[Tensor, "replicate"] | None = None
    std_error: Float[Tensor, "replicate"] | None = None
    ci_low: Float[Tensor, "replicate"] | None = None
    ci_high: Float[Tensor, "replicate"] | None = None


@dataclass(frozen=True, slots=True)
class AnalysisRecord:
    """One analysis (one test arm against its reference) over the looks of a block of trials.

    Columns of looks at which the analysis is not made, and looks the trial did not reach, are NaN (floats), False
    (decisions) or 0 (counts). `z` is the statistic on the normal scale; `efficacy_z` and `futility_z` the bounds it met
    (NaN: none). `reject` is a crossing of the efficacy bound, `reject_wrong_direction` of its mirror image in a
    two-sided test, `futile` of the futility bound. `ignoring_futility` is whether efficacy would have been declared at or
    before this look had no futility rule existed (decided also in trials that futility stopped). `ci_low` and `ci_high` are the limits
    of methods whose interval is not estimate -/+ quantile x std_error.
    """

    z: Float[Tensor, "replicate look"]
    estimate: Float[Tensor, "replicate look"] | None
    std_error: Float[Tensor, "replicate look"] | None
    df: Float[Tensor, "replicate look"] | None
    n: Int[Tensor, "replicate look"]
    n_events: Int[Tensor, "replicate look"] | None
    efficacy_z: Float[Tensor, "replicate look"]
    futility_z: Float[Tensor, "replicate look"]
    reject: Bool[Tensor, "replicate look"]
    reject_wrong_direction: Bool[Tensor, "replicate look"]
    futile: Bool[Tensor, "replicate look"]
    ignoring_futility: Bool[Tensor, "replicate"] | None
    failure: Int[Tensor, "replicate look"]
    ci_low: Float[Tensor, "replicate look"] | None = None
    ci_high: Float[Tensor, "replicate look"] | None = None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One block of simulated trials of one cell.

    Looks are in calendar order, 1..K along the look axis; `stop_look` counts from 1. `reached` is true up to and including
    the look where the trial stopped. `cut_time` and `n_enrolled` are NaN and 0 at looks not reached. `n_events` has one
    entry per time-to-event endpoint (events of all arms in the cut).
    """

    block: Block
    looks: tuple[str, ...]
    cut_time: Float[Tensor, "replicate look"]
    n_enrolled: Int[Tensor, "replicate look"]
    reached: Bool[Tensor, "replicate look"]
    stop_look: Int[Tensor, "replicate"]
    target_not_reached: Bool[Tensor, "replicate"]
    n_events: Mapping[str, Int[Tensor, "replicate look"]]
    n_per_arm: Mapping[str, Int[Tensor, "replicate"]]
    analyses: Mapping[str, AnalysisRecord]
