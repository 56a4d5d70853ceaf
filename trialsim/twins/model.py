"""Twins: everything that would happen to the patients of a cohort, under every arm.

A twin's outcome under an arm is a pure function of (baseline, named noise, parameters). The arm moves the outcome and never
the noise: `event_time(arm=0)`, `event_time(arm=1)` and `event_time(arm=assigned)` see the same twins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.cohort import CohortModel
from trialsim.cohort.calibration.marginal_hazard import baseline_hazards
from trialsim.cohort.calibration.published_curve import PublishedCurve
from trialsim.errors import NotSupportedError, Problem, ProtocolError, did_you_mean
from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.twins.arm_table import Arm
from trialsim.twins.build import NO_VISIT, BaselineValue, EventKernel, ValueKernel, dropout_laws, event_times, recurrences, visit_values
from trialsim.twins.count_value import CountValue
from trialsim.twins.dropout import Dropout
from trialsim.twins.event_time import EventTime
from trialsim.twins.events import FittedEventTime, FromCurve
from trialsim.twins.illness_death_times import Course as IllnessDeathCourse
from trialsim.twins.illness_death_times import IllnessDeathEvent
from trialsim.twins.missing_values import MissingValues
from trialsim.twins.problems import problems
from trialsim.twins.recurrence import Course, FirstEvent, Recurrence
from trialsim.twins.step_hazard import StepHazard
from trialsim.twins.trajectory import TrajectoryValue
from trialsim.twins.truth import Truth
from trialsim.twins.values.bernoulli import BinaryValue
from trialsim.twins.values.ordinal import OrdinalValue
from trialsim.twins.visit_value import VisitValue

CALIBRATION = 20_000  # twins per arm on whom the odds of missing values are found


class TwinModel:
    """What would happen to the patients of a cohort model, by the truth of one scenario.

    `arms` are in protocol order and an arm's index is its place there; `visits` gives each visit's time in days since
    randomisation. Tensors are `[replicate, patient]`; `cohort` is the block's cohort, None where the population declares no
    covariates. Outcomes the engine cannot run raise NotSupportedError when asked for.

    Raises ProtocolError, with every problem found, where the truth refers to something that does not exist.
    """

    def __init__(self, truth: Truth, *, arms: tuple[str, ...], visits: Mapping[str, float] | None = None, cohort: CohortModel | None = None):
        self.arms, self.visits = tuple(arms), dict(visits or {})
        names, levels, units = ((), {}, {}) if cohort is None else (cohort.names, cohort.levels, cohort.units)
        found: list[Problem] = list(problems(truth, arms=self.arms, visits=self.visits, covariates=tuple(names), levels=levels, units=units))
        if found:
            raise ProtocolError(found)
        self.outcomes = tuple(dict.fromkeys(target for name, process in truth.outcomes.items() for target in process.targets(name)))
        self._events: dict[str, EventKernel] = event_times(truth, self.arms, cohort, levels)
        self._recurrences: dict[str, Recurrence] = recurrences(truth, self.arms, levels)
        self._values: dict[str, dict[str, ValueKernel | BaselineValue]] = visit_values(truth, self.arms, self.visits, cohort, levels)
        self._dropout: Dropout | None = dropout_laws(truth, self.arms, levels)
        declared = {name: getattr(process, "baseline", None) for name, process in truth.outcomes.items()}
        self._baselines = {name: baseline for name, baseline in declared.items() if isinstance(baseline, str)}
        self._curves: dict[str, PublishedCurve] = {
            name: process for name, process in truth.outcomes.items() if isinstance(process, FromCurve) and process.of == "population"
        }
        self._curves |= {
            name: process.calibrate_to for name, process in truth.outcomes.items() if isinstance(process, FittedEventTime) and process.calibrate_to is not None
        }
        self._missing_values = {outcome: MissingValues(part, self.visits) for outcome, part in truth.missing_data.items()}

    # What happens -------------------------------------------------------------------------------------------------------

    def event_time(self, outcome: str, *, streams: Streams, block: Block, n: int, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """Days from randomisation to the event; infinity: never. `arm` is one index for all, or each patient's assigned arm."""
        return self.event_times((outcome,), streams=streams, block=block, n=n, cohort=cohort, arm=arm)[0]

    def event_times(
        self, outcomes: Sequence[str], *, streams: Streams, block: Block, n: int, cohort: Cohort | None, arm: Arm
    ) -> list[Float[Tensor, "replicate patient"]]:
        """The times of several events of the same twins, as `event_time` gives each; events of one process are drawn once."""
        courses: dict[str, IllnessDeathCourse] = {}
        found = []
        for outcome in outcomes:
            process = self._event(outcome)
            if isinstance(process, EventTime):
                found.append(process.times(streams(f"outcome/{outcome}").exponential(block, n), cohort=cohort, arm=arm))
            elif isinstance(process, FirstEvent):
                found.append(process.draw(streams(f"outcome/{outcome}"), block, n, cohort=cohort, arm=arm))
            else:
                of = process.process.outcome
                if of not in courses:
                    courses[of] = process.process.course(streams(f"outcome/{of}"), block, n, cohort=cohort, arm=arm)
                found.append(courses[of].time_of(process.transition))
        return found

    def end_of_follow_up(
        self, outcomes: Sequence[str], *, streams: Streams, block: Block, n: int, cohort: Cohort | None, arm: Arm
    ) -> Float[Tensor, "replicate patient"] | None:
        """When death ends the follow-up of events that only the living can have and which are all of `outcomes`; None where nothing does."""
        kernels = [self._event(outcome) for outcome in outcomes]
        mortal = {kernel.process.outcome: kernel.process for kernel in kernels if isinstance(kernel, IllnessDeathEvent)}
        deadly = {kernel.process.outcome for kernel in kernels if isinstance(kernel, IllnessDeathEvent) and kernel.transition == "death"}
        ends: Tensor | None = None
        for name, process in mortal.items():
            if name not in deadly:
                death = process.course(streams(f"outcome/{name}"), block, n, cohort=cohort, arm=arm).death
                ends = death if ends is None else torch.minimum(ends, death)
        return ends

    def recurrent_events(self, outcome: str, *, streams: Streams, block: Block, n: int, cohort: Cohort | None, arm: Arm) -> Course:
        """All events of an outcome whose events come again."""
        if outcome not in self._recurrences:
            raise self._missing(outcome, "one whose events come again")
        return self._recurrences[outcome].course(streams(f"outcome/{outcome}"), block, n, cohort=cohort, arm=arm)

    def value(self, outcome: str, visit: str, *, streams: Streams, block: Block, n: int, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The outcome at a visit, in its own unit; at the baseline visit, the baseline covariate. A single value may be asked for without a visit."""
        process = self._value(outcome, visit)
        if isinstance(process, BaselineValue):
            return process(cohort)
        stream = streams(f"outcome/{outcome}")
        if isinstance(process, VisitValue):
            return process.values(stream.normal(block, n, index=process.index), cohort=cohort, arm=arm)
        return process.draw(stream, block, n, cohort=cohort, arm=arm)

    def values(
        self, outcome: str, visits: Sequence[str], *, streams: Streams, block: Block, n: int, cohort: Cohort | None, arm: Arm
    ) -> dict[str, Float[Tensor, "replicate patient"]]:
        """The outcome at several visits, as `value` gives each; what the visits of a trajectory share is drawn once."""
        found: dict[str, Tensor] = {}
        lines = [(visit, process) for visit in visits if isinstance(process := self._value(outcome, visit), TrajectoryValue)]
        if len(lines) > 1:
            named = [visit for visit, _ in lines]
            drawn = lines[0][1].trajectory.draw(named, streams(f"outcome/{outcome}"), block, n, cohort=cohort, arm=arm)
            found = dict(zip(named, drawn, strict=True))
        return {
            visit: found[visit] if visit in found else self.value(outcome, visit, streams=streams, block=block, n=n, cohort=cohort, arm=arm) for visit in visits
        }

    def dropout_time(self, *, streams: Streams, block: Block, n: int, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"] | None:
        """Days from randomisation to loss to follow-up; infinity: never. None where the protocol declares no dropout."""
        return None if self._dropout is None else self._dropout.times(streams("dropout").exponential(block, n), cohort=cohort, arm=arm)

    def missing_values(
        self,
        outcome: str,
        values: Mapping[str, Float[Tensor, "replicate patient"]],
        baseline: Float[Tensor, "replicate patient"] | None,
        *,
        streams: Streams,
        block: Block,
        n: int,
        cohort: Cohort | None,
    ) -> dict[str, Bool[Tensor, "replicate patient"]]:
        """By visit, whose value is missing though they came; `values` are those of all visits at which the outcome is measured."""
        process = self._missing_values.get(outcome)
        return {} if process is None else process.masks(values, baseline, cohort, stream=streams(f"missing/{outcome}"), block=block, n=n)

    def has_missing_values(self, outcome: str) -> bool:
        """Whether values of the outcome go missing though the patient comes to the visit."""
        return outcome in self._missing_values

    def calibrate_curves(self, cohort: Callable[[Streams, Block, int], Cohort]) -> None:
        """Moves the hazards of outcomes that follow the published curve of a population; `cohort` draws eligible patients."""
        for outcome, curve in self._curves.items():
            process = self._events[outcome]
            assert isinstance(process, EventTime)
            expected = None if process.predictor is None else process.predictor(cohort(Streams("curve"), Block(0, 1), CALIBRATION))
            log_hr = np.zeros(1) if expected is None else expected.cpu().numpy().ravel()
            hazards = baseline_hazards(np.array(curve.breaks), np.array(curve.hazards), log_hr)
            self._events[outcome] = EventTime(StepHazard(curve.breaks, hazards.tolist()), process.predictor, process.effects)

    def calibrate_missing_values(self, visits: Mapping[str, Sequence[str]], cohort: Callable[[Streams, Block, int], Cohort]) -> None:
        """Find how likely values have to be missing for the declared rates. `visits` at which each outcome is measured; `cohort` draws eligible patients."""
        for outcome, process in self._missing_values.items():
            if outcome not in visits or process.part.driver is None:
                continue
            streams, block, n = Streams("missing_data"), Block(0, len(self.arms)), CALIBRATION
            drawn = cohort(streams, block, n)
            arm = torch.arange(len(self.arms), dtype=torch.int8, device="cpu")[:, None].expand(block.size, n).contiguous()
            where: dict[str, Any] = {"streams": streams, "block": block, "n": n, "cohort": drawn, "arm": arm}
            values = self.values(outcome, visits[outcome], **where)
            baseline = self.start(outcome, drawn)
            process.masks(values, baseline, drawn, stream=streams(f"missing/{outcome}"), block=block, n=n, calibrate=True)

    def start(self, outcome: str, cohort: Cohort | None) -> Float[Tensor, "replicate patient"] | None:
        """The covariate that is the outcome's value at baseline, None where there is none."""
        name = self.baseline(outcome)
        return None if name is None or cohort is None else cohort.columns[name]

    # What is expected ---------------------------------------------------------------------------------------------------

    def prognosis(
        self, outcome: str, visit: str | None, cohort: Cohort | None, *, streams: Streams | None = None, block: Block | None = None, n: int = 0
    ) -> Float[Tensor, "replicate patient"]:
        """What the twin predicts under the reference process, given the baseline alone.

        The expected value of a continuous outcome at the visit; the log odds of a binary or ordinal one; the log of the mean of
        a count (its log rate ratio, where events come over time); the log hazard ratio of an event time, at any visit. With `streams` (of the trial,
        with block and n), a trajectory's prognosis also knows what `prognosis_correlation` says of the patient's own slope. Where no covariate matters it is one number for everyone, of shape [1, 1], on the CPU.
        """
        if outcome in self._events and (visit is None or outcome not in self._values):
            process = self._event(outcome)
            predictor = process.predictor if isinstance(process, EventTime | FirstEvent) else process.prognosis
            expected = None if predictor is None else predictor(cohort)
        else:
            value = self._value(outcome, visit)
            expected = value(cohort) if isinstance(value, BaselineValue) else value.expected(cohort)
            if isinstance(value, TrajectoryValue) and streams is not None and block is not None:
                known = value.trajectory.known_slope(streams(f"outcome/{outcome}"), block, n)
                expected = expected if known is None or expected is None else known * value.trajectory.days[value.visit] + expected.to(known.device)
        return torch.zeros((1, 1), dtype=torch.float64, device="cpu") if expected is None else expected

    def survival(self, outcome: str, arm: int, t: float | Float[Tensor, "..."], cohort: Cohort | None = None) -> Float[Tensor, "..."]:
        """P(event time > t | baseline) under an arm, at finite t >= 0 that broadcasts against [replicate, patient]."""
        time = torch.as_tensor(t, dtype=torch.float64)
        return self._event(outcome).cumulative_hazard(time, cohort=cohort, arm=arm).neg().exp()

    def hazard_of_first(self, outcomes: Sequence[str], arm: int, t: Float[Tensor, "..."], cohort: Cohort | None = None) -> Float[Tensor, "..."]:
        """-log P(none of the events by t | baseline) under an arm: independent, but for the events of one process."""
        kernels = {outcome: self._event(outcome) for outcome in dict.fromkeys(outcomes)}
        total: Tensor | float = 0.0
        done: set[str] = set()
        for outcome, kernel in kernels.items():
            if isinstance(kernel, IllnessDeathEvent) and {"progression", "death"} <= set(kernels):
                # One of them is always the first, and death after progression never is.
                if kernel.process.outcome not in done:
                    done.add(kernel.process.outcome)
                    total = total + kernel.process.first_hazard(t, cohort=cohort, arm=arm)
            elif not (isinstance(kernel, IllnessDeathEvent) and kernel.transition == "death_after_progression" and {"progression", "death"} & set(kernels)):
                total = total + self._event(outcome).cumulative_hazard(t, cohort=cohort, arm=arm)
        assert isinstance(total, Tensor)
        return total

    def hazards_of_first(
        self, outcomes: Sequence[str], arm: int, t: Float[Tensor, "..."], cohort: Cohort | None = None
    ) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."] | float]:
        """The cumulative hazard of the first of the events, and of a death that ends the wait for it, as independent times given the baseline."""
        kernel = self._event(outcomes[0])
        if list(dict.fromkeys(outcomes)) == ["progression"] and isinstance(kernel, IllnessDeathEvent):
            ill, dead = (kernel.process.transitions[name].cumulative_hazard(t, cohort=cohort, arm=arm) for name in ("progression", "death"))
            return ill, dead
        return self.hazard_of_first(outcomes, arm, t, cohort), 0.0

    def dropout_survival(self, arm: int, t: float | Float[Tensor, "..."], cohort: Cohort | None = None) -> Float[Tensor, "..."]:
        """P(not lost to follow-up by t | baseline) under an arm; 1 where the protocol declares no dropout."""
        time = torch.as_tensor(t, dtype=torch.float64)
        return torch.ones_like(time) if self._dropout is None else self._dropout.cumulative_hazard(time, cohort=cohort, arm=arm).neg().exp()

    def mean_difference(self, outcome: str, visit: str | None, cohort: Cohort | None, arm: int, reference: int) -> float | Float[Tensor, "replicate patient"]:
        """Expected value under `arm` minus under `reference`, given the baseline; a number where it is the same for everyone."""
        process = self._value(outcome, visit)
        if isinstance(process, BaselineValue):
            return 0.0
        if isinstance(process, VisitValue | TrajectoryValue):
            return process.mean_difference(cohort, arm, reference)
        if process.same(arm, reference):
            return 0.0
        difference = process.mean(cohort, arm) - process.mean(cohort, reference)
        return float(difference) if difference.numel() == 1 else difference

    def constant_mean_difference(self, outcome: str, visit: str | None, arm: int, reference: int) -> float | None:
        """The difference of two arms' values where these differ by a constant in every patient, else None."""
        process = self._value(outcome, visit)
        if isinstance(process, BaselineValue):
            return 0.0
        if isinstance(process, VisitValue):
            test, control = process.differences[arm], process.differences[reference]
            return test.value - control.value if test.by == control.by else None
        return process.constant_difference(arm, reference) if isinstance(process, TrajectoryValue) else None

    def mean(self, outcome: str, visit: str | None, cohort: Cohort | None, arm: int) -> Float[Tensor, "replicate patient"]:
        """Expected value (the probability of a binary outcome) under `arm` given the baseline; of shape [1, 1] where it is the same for everyone."""
        process = self._value(outcome, visit)
        if isinstance(process, BaselineValue):
            return process(cohort)
        if isinstance(process, VisitValue):
            raise ProtocolError(f'outcome "{outcome}" is asked for its mean; only differences of it are needed')
        return process.mean(cohort, arm)

    def chances_above(self, outcome: str, visit: str | None, cohort: Cohort | None, arm: int) -> tuple[Float[Tensor, "replicate patient"], ...]:
        """P(category above j) of an ordinal outcome under `arm`, given the baseline, for every category but the highest."""
        process = self._value(outcome, visit)
        if not isinstance(process, OrdinalValue):
            raise ProtocolError(f'outcome "{outcome}" is not ordinal')
        return process.chances_above(cohort, arm)

    def constant_log_hr(self, outcome: str, arm: int, reference: int) -> float | None:
        """The log hazard ratio of two arms where it is the same for all times and patients, else None."""
        process = self._event(outcome)
        if isinstance(process, IllnessDeathEvent):
            # The hazard of progression is a law's own; that of death is a mixture over those who progressed.
            if process.effects[arm] == process.effects[reference]:
                return 0.0
            if process.transition != "progression":
                return None
            process = process.process.transitions["progression"]
        elif isinstance(process, FirstEvent):
            process = process.recurrence.waits
        test, control = process.effects[arm], process.effects[reference]
        if test == control:
            return 0.0
        if test.breaks or control.breaks or test.by is not None or control.by is not None:
            return None
        return math.log(test.ratios[0]) - math.log(control.ratios[0])

    # What is known exactly ----------------------------------------------------------------------------------------------

    def is_event(self, outcome: str) -> bool:
        """Whether the outcome is an event time."""
        return outcome in self._events

    def has_prognosis(self, outcome: str) -> bool:
        """Whether baseline covariates move the event time, so that conditional and marginal hazard ratios differ."""
        process = self._event(outcome)
        return process.predictor is not None or (isinstance(process, FirstEvent) and process.recurrence.dispersion > 0.0)

    def constant_log_rate_ratio(self, outcome: str, visit: str | None, arm: int, reference: int) -> float | None:
        """The log rate ratio of a count under two arms where it is the same for all times and patients, else None."""
        if outcome in self._recurrences:
            test, control = (self._recurrences[outcome].waits.effects[each] for each in (arm, reference))
            varies = test.breaks or control.breaks or test.by is not None or control.by is not None
            return 0.0 if test == control else None if varies else math.log(test.ratios[0]) - math.log(control.ratios[0])
        process = self._value(outcome, visit)
        return process.shift.constant(arm, reference) if isinstance(process, CountValue) else None

    def constant_log_odds_ratio(self, outcome: str, visit: str | None, arm: int, reference: int) -> float | None:
        """The log odds ratio of a binary or ordinal outcome under two arms, given the covariates, where it is the same for all patients, else None."""
        process = self._value(outcome, visit)
        return process.shift.constant(arm, reference) if isinstance(process, BinaryValue | OrdinalValue) else None

    def covariates_move(self, outcome: str) -> bool:
        """Whether baseline covariates move a single-valued outcome under the reference process."""
        return any(bool(process.predictor) for process in self._values[outcome].values() if isinstance(process, BinaryValue | OrdinalValue | CountValue))

    def expected_events(self, outcome: str, arm: int, t: Float[Tensor, "..."], cohort: Cohort | None) -> Float[Tensor, "..."]:
        """The expected number of events that come again by t under an arm, given the baseline."""
        return self._recurrences[outcome].waits.cumulative_hazard(t, cohort=cohort, arm=arm)

    def all_are_followed(self, outcomes: Sequence[str]) -> bool:
        """Whether nothing but loss to follow-up ends the wait for the first of these events: no death that is not one of them."""
        kernels = [kernel for kernel in map(self._event, outcomes) if isinstance(kernel, IllnessDeathEvent)]
        return {kernel.process.outcome for kernel in kernels} == {kernel.process.outcome for kernel in kernels if kernel.transition == "death"}

    def recurs(self, outcome: str) -> bool:
        """Whether the outcome's events come again, so that a count is of the events so far."""
        return outcome in self._recurrences

    def baseline(self, outcome: str) -> str | None:
        """The covariate that is the outcome's value at baseline, None where there is none."""
        if outcome in self._baselines:
            return self._baselines[outcome]
        return next((process.covariate for process in self._values.get(outcome, {}).values() if isinstance(process, BaselineValue)), None)

    def effect_is_identity(self, outcome: str, arm: int, reference: int, visit: str | None = None) -> bool:
        """Whether two arms do exactly the same to the outcome (to its value at `visit`; None: at every visit)."""
        if outcome in self._events:
            effects = self._events[outcome].effects
            return effects[arm] == effects[reference]
        if outcome not in self._values:
            raise self._missing(outcome, "an outcome with an effect")
        processes = self._values[outcome].values() if visit is None else [self._value(outcome, visit)]
        return all(isinstance(process, BaselineValue) or process.same(arm, reference) for process in processes)

    def _event(self, outcome: str) -> EventKernel:
        if outcome in self._events:
            return self._events[outcome]
        raise self._missing(outcome, "an event time")

    def _value(self, outcome: str, visit: str | None) -> ValueKernel | BaselineValue:
        visit = NO_VISIT if visit is None else visit
        at_visits = self._values.get(outcome)
        if at_visits is None:
            raise self._missing(outcome, "a value at visits")
        if visit not in at_visits:
            raise ProtocolError(f'outcome "{outcome}" has no value at visit "{visit}"{did_you_mean(visit, at_visits) if at_visits else ""}')
        return at_visits[visit]

    def _missing(self, outcome: str, wanted: str) -> Exception:
        if outcome not in self.outcomes:
            return ProtocolError(f'"{outcome}" is not an outcome{did_you_mean(outcome, self.outcomes) if self.outcomes else ""}')
        if outcome in self._events or outcome in self._values:
            return ProtocolError(f'outcome "{outcome}" is not {wanted}')
        return NotSupportedError(f'outcome "{outcome}"')
