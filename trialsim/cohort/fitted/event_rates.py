"""Synthetic patients have the data's rate of every event in every arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from trialsim.records import Cohort
from trialsim.rng import LANE, Block, Streams

if TYPE_CHECKING:
    from trialsim.cohort.fitted.cohort import FittedCohort

Array = NDArray[np.float64]

PATIENTS, ROUNDS, FEWEST = 320_000, 2, 20


def with_event_rates(model: FittedCohort, events: Mapping[str, tuple[Array, Array]], arm: NDArray[np.int64], *, patients: int = PATIENTS) -> FittedCohort:
    """The model with each arm's hazards moved, in synthetic tables, until events per time at risk are those of the data.

    A regression's effect holds given the baseline. The effect that a table shows also has the chance imbalance of its arms in
    it, which a model of the baseline keeps only in part, so that hazard ratios of whole arms would come out as another
    number. `events` are (time, event 0/1) `[patient]` and `arm` each patient's place in the arms; `patients` are drawn,
    with the model's own baselines, at fixed addresses. The standard error of a log rate is 1 / √(events drawn). Arms with fewer than 20 events are left.
    Trials do not see the change: they have declared or fitted effects given the baseline.
    """
    outcomes = model.outcomes
    if outcomes is None or not events:
        return model
    streams, block = Streams("event rates"), Block(0, max(1, patients // LANE))
    columns, levels = model.draw(streams, block, LANE)
    place = None if model.form is None else model.form.arm
    whom = levels[place].to(torch.int64) if place in levels else torch.zeros(block.size, LANE, dtype=torch.int64)
    companions = {column.name: levels[column.name].to(torch.int64) for column in model.columns if column.part == "companion"}
    cohort = Cohort({name: columns[name] for name in model.names}, model.levels)
    for _ in range(ROUNDS):
        drawn = outcomes.synthesise(cohort, whom, streams, block, companions)
        moved = dict(outcomes.events)
        for name, (time, event) in events.items():
            synthetic = drawn[name, "time"].numpy().reshape(-1), drawn[name, "event"].numpy().reshape(-1)
            hazards = dict(moved[name].varied.hazards)
            for index, label in enumerate(outcomes.names):
                factor = _ratio((time, event), arm == index, synthetic, whom.numpy().reshape(-1) == index)
                hazards[label] = tuple(hazard * factor for hazard in hazards[label])
            moved[name] = replace(moved[name], varied=replace(moved[name].varied, hazards=hazards))
        outcomes = replace(outcomes, events=moved)
    return replace(model, outcomes=outcomes)


def _ratio(real: tuple[Array, Array], ours: NDArray[np.bool_], synthetic: tuple[Array, Array], theirs: NDArray[np.bool_]) -> float:
    """The rate of the data over that of the model, in one arm; 1 where either has too few events."""
    rates = []
    for (time, event), rows in ((real, ours), (synthetic, theirs)):
        known = rows & ~np.isnan(time) & ~np.isnan(event)
        n_events, at_risk = float(event[known].sum()), float(time[known].sum())
        if n_events < FEWEST or at_risk <= 0:
            return 1.0
        rates.append(n_events / at_risk)
    return rates[0] / rates[1]
