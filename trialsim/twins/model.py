"""Twins: everything that would happen to the patients of a cohort, under every arm.

A twin's outcome under an arm is a pure function of (baseline, named noise, parameters). The arm moves the outcome and never
the noise: `event_time(arm=0)`, `event_time(arm=1)` and `event_time(arm=assigned)` see the same twins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort import CohortModel
from trialsim.errors import NotSupportedError, Problem, ProtocolError, did_you_mean
from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.twins.arm_table import Arm
from trialsim.twins.build import NO_VISIT, BaselineValue, dropout_laws, event_times, visit_values
from trialsim.twins.dropout import Dropout
from trialsim.twins.event_time import EventTime
from trialsim.twins.problems import problems
from trialsim.twins.truth import Truth
from trialsim.twins.visit_value import VisitValue


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
        self.outcomes = tuple(truth.outcomes)
        self._events: dict[str, EventTime] = event_times(truth, self.arms, cohort, levels)
        self._values: dict[str, dict[str, VisitValue | BaselineValue]] = visit_values(truth, self.arms, self.visits, cohort, levels)
        self._dropout: Dropout | None = dropout_laws(truth, self.arms, levels)

    # What happens -------------------------------------------------------------------------------------------------------

    def event_time(self, outcome: str, *, streams: Streams, block: Block, n: int, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """Days from randomisation to the event; infinity: never. `arm` is one index for all, or each patient's assigned arm."""
        return self._event(outcome).times(streams(f"outcome/{outcome}").exponential(block, n), cohort=cohort, arm=arm)

    def value(self, outcome: str, visit: str, *, streams: Streams, block: Block, n: int, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The outcome at a visit, in its own unit; at the baseline visit, the baseline covariate. A single value may be asked for without a visit."""
        process = self._value(outcome, visit)
        if isinstance(process, BaselineValue):
            return process(cohort)
        return process.values(streams(f"outcome/{outcome}").normal(block, n, index=process.index), cohort=cohort, arm=arm)

    def dropout_time(self, *, streams: Streams, block: Block, n: int, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"] | None:
        """Days from randomisation to loss to follow-up; infinity: never. None where the protocol declares no dropout."""
        return None if self._dropout is None else self._dropout.times(streams("dropout").exponential(block, n), cohort=cohort, arm=arm)

    # What is expected ---------------------------------------------------------------------------------------------------

    def prognosis(self, outcome: str, visit: str | None, cohort: Cohort | None) -> Float[Tensor, "replicate patient"]:
        """The expected value at the visit, or the linear predictor of an event time (at any visit), under the reference process.

        Given the baseline alone. Where no covariate matters it is one number for everyone, of shape [1, 1].
        """
        if outcome in self._events:
            predictor = self._event(outcome).predictor
            expected = None if predictor is None else predictor(cohort)
        else:
            process = self._value(outcome, visit)
            expected = process(cohort) if isinstance(process, BaselineValue) else process.expected(cohort)
        return torch.zeros((1, 1), dtype=torch.float64) if expected is None else expected

    def survival(self, outcome: str, arm: int, t: float | Float[Tensor, "..."], cohort: Cohort | None = None) -> Float[Tensor, "..."]:
        """P(event time > t | baseline) under an arm, at finite t >= 0 that broadcasts against [replicate, patient]."""
        time = torch.as_tensor(t, dtype=torch.float64)
        return self._event(outcome).cumulative_hazard(time, cohort=cohort, arm=arm).neg().exp()

    def dropout_survival(self, arm: int, t: float | Float[Tensor, "..."], cohort: Cohort | None = None) -> Float[Tensor, "..."]:
        """P(not lost to follow-up by t | baseline) under an arm; 1 where the protocol declares no dropout."""
        time = torch.as_tensor(t, dtype=torch.float64)
        return torch.ones_like(time) if self._dropout is None else self._dropout.cumulative_hazard(time, cohort=cohort, arm=arm).neg().exp()

    def mean_difference(self, outcome: str, visit: str | None, cohort: Cohort | None, arm: int, reference: int) -> float | Float[Tensor, "replicate patient"]:
        """Expected value under `arm` minus under `reference`, given the baseline; a number where it is the same for everyone."""
        process = self._value(outcome, visit)
        return 0.0 if isinstance(process, BaselineValue) else process.mean_difference(cohort, arm, reference)

    def constant_log_hr(self, outcome: str, arm: int, reference: int) -> float | None:
        """The log hazard ratio of two arms where it is the same for all times and patients, else None."""
        process = self._event(outcome)
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
        return self._event(outcome).predictor is not None

    def baseline(self, outcome: str) -> str | None:
        """The covariate that is the outcome's value at baseline, None where there is none."""
        return next((process.covariate for process in self._values.get(outcome, {}).values() if isinstance(process, BaselineValue)), None)

    def effect_is_identity(self, outcome: str, arm: int, reference: int, visit: str | None = None) -> bool:
        """Whether two arms do exactly the same to the outcome (to its value at `visit`; None: at every visit)."""
        if outcome in self._events:
            effects = self._events[outcome].effects
            return effects[arm] == effects[reference]
        if outcome not in self._values:
            raise self._missing(outcome, "an outcome with an effect")
        processes = self._values[outcome].values() if visit is None else [self._value(outcome, visit)]
        return all(isinstance(process, BaselineValue) or process.differences[arm] == process.differences[reference] for process in processes)

    def _event(self, outcome: str) -> EventTime:
        if outcome in self._events:
            return self._events[outcome]
        raise self._missing(outcome, "an event time")

    def _value(self, outcome: str, visit: str | None) -> VisitValue | BaselineValue:
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
