"""Whether a protocol's events can happen and its patients can be found, in expectation.

A look that waits for more events than are expected when every planned patient is followed to event or loss to follow-up
is refused under any scenario but a null one, with the expected number. So is an eligibility that leaves (almost) nobody.
Populations from a data source are not looked at here: only a run reads the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath

import numpy as np

from trialsim.cohort import CohortModel, Population, draw_cohort
from trialsim.conduct.expectation import expected_course_of_twins
from trialsim.conduct.looks import AnyTrigger, EventsTrigger
from trialsim.errors import NotSupportedError, ProtocolError
from trialsim.parts import walk
from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.spec.looks import counted_endpoint, final_target
from trialsim.spec.nodes import Found, Path
from trialsim.spec.protocol import Protocol
from trialsim.spec.rules.endpoints import EVENT_PROCESSES
from trialsim.spec.rules.looks import triggers
from trialsim.spec.rules.truth import split
from trialsim.twins import TwinModel

SAMPLE = 512  # patients whose event probability is averaged


def event_targets(protocol: Protocol) -> Iterator[tuple[Path, str, float]]:
    """(path, endpoint, events) of every look that waits for events."""
    interims = protocol.interims
    if interims is not None and interims.timing.information == "events":
        endpoint, final = counted_endpoint(protocol, interims), final_target(protocol, interims)
        if endpoint is not None and final is not None:
            key: Path = ("final",) if interims.timing.final is not None else ("at", len(interims.timing.at or ()) - 1)
            yield ("interims", "timing", *key), endpoint, final
    for name, look in protocol.looks.items():
        if isinstance(look.when, AnyTrigger):
            continue
        for path, trigger in triggers(look.when, ("looks", name, "when")):
            endpoint = trigger.endpoint or (next(iter(protocol.endpoints)) if protocol.endpoints else None) if isinstance(trigger, EventsTrigger) else None
            if isinstance(trigger, EventsTrigger) and endpoint is not None:
                yield (*path, "events"), endpoint, trigger.events


@dataclass(slots=True)
class Reach:
    """Looks at the cells of one protocol. Cells that differ in size only share their calculation."""

    _events_per_patient: dict[str, float] = field(default_factory=dict)
    _eligible: dict[str, Cohort | list[Found]] = field(default_factory=dict)

    def beyond(self, protocol: Protocol) -> Iterator[tuple[Found, float]]:
        """What cannot be reached, each with the expected number it falls short of (the worst cell has the smallest)."""
        population, truth = protocol.population, protocol.truth
        if population is None or population.source is not None:
            return
        try:
            model = population.cohort_model(FilePath()) if population.covariates else None
        except ProtocolError as error:
            yield from ((found, 0.0) for found in _found(error, population))
            return
        cohort = self._cohort(population, model, protocol.simulation.seed or 0) if model is not None else None
        if isinstance(cohort, list):
            yield from ((found, 0.0) for found in cohort)
            return
        targets = list(event_targets(protocol))
        if truth is None or not targets or any(True for _, part in walk(truth) for _ in part.unsupported()):
            return
        ratio = (protocol.randomization.ratio if protocol.randomization is not None else None) or {}
        share = [float(ratio.get(arm, 1)) for arm in protocol.arms]
        visits = {name: visit.at or 0.0 for name, visit in protocol.visits.items()}
        cell = f"{truth.model_dump_json()}{population.model_dump_json(exclude={'planned_enrollment'})}{share}"
        twins: TwinModel | None = None
        for path, name, target in targets:
            endpoint = protocol.endpoints.get(name)
            outcomes = endpoint.components if endpoint is not None else ()
            if not outcomes or not all(isinstance(truth.outcomes.get(outcome), EVENT_PROCESSES) for outcome in outcomes):
                continue
            key = f"{cell}{outcomes}"
            if key not in self._events_per_patient:
                try:
                    if twins is None:
                        twins = TwinModel(truth, arms=tuple(protocol.arms), visits=visits, cohort=model)
                        twins.calibrate_curves(lambda *_: cohort or Cohort(columns={}))
                except NotSupportedError:
                    return
                self._events_per_patient[key] = events_per_patient(twins, outcomes, share, cohort)
            expected = population.planned_enrollment * self._events_per_patient[key]
            if target > expected * (1 + 1e-6):  # the expectation is an integral, right to about 1e-8
                yield Found(path, f"{target:g} events of {name} cannot be expected; about {expected:.0f} are, by the end of follow-up"), expected

    def _cohort(self, population: Population, model: CohortModel, seed: int) -> Cohort | list[Found]:
        """A sample of eligible patients, or what is wrong with the criteria."""
        key = f"{seed}{population.model_dump_json(exclude={'planned_enrollment'})}"
        if key not in self._eligible:
            try:
                self._eligible[key] = draw_cohort(model, population.eligibility, Streams(seed), Block(0, 1), SAMPLE)
            except ProtocolError as error:
                self._eligible[key] = _found(error, population)
        return self._eligible[key]


def _found(error: ProtocolError, population: Population) -> list[Found]:
    written = {"population": population.model_dump(by_alias=True)}
    return [Found(split(problem.path, written), problem.message) for problem in error.problems]


def events_per_patient(twins: TwinModel, outcomes: Sequence[str], share: Sequence[float], cohort: Cohort | None) -> float:
    """The probability that a patient is seen to have the event when followed until event or loss to follow-up."""
    return expected_course_of_twins(twins=twins, outcomes=outcomes, entry_time=np.zeros(1), share=share, cohort=cohort).total_events()
