"""Several endpoints of the same real patients, for pairwise comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trialsim.analysis.real_data.events import event_data
from trialsim.analysis.real_data.question import Question
from trialsim.analysis.real_data.values import value_data
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem
from trialsim.records import EventData, HierarchyData, ValueData


@dataclass(frozen=True, slots=True)
class Tier:
    """One endpoint of a hierarchy: its question, its type, which way is good, the difference that must be exceeded to win."""

    endpoint: str
    question: Question
    kind: str
    favours: int
    threshold: float = 0.0


def hierarchy_data(table: PatientTable, tiers: tuple[Tier, ...]) -> HierarchyData:
    """The parts of the hierarchy, in the same patients. Raises DataError."""
    parts: list[EventData | ValueData] = []
    for tier in tiers:
        if tier.kind in ("time_to_event", "composite"):
            parts.append(event_data(table, tier.question))
        else:
            parts.append(value_data(table, tier.question, kind=tier.kind))
        if parts[-1].group.shape != parts[0].group.shape or not np.array_equal(parts[-1].group.numpy(), parts[0].group.numpy()):
            raise DataError(
                Problem(f'"{tier.endpoint}" and "{tiers[0].endpoint}" are not known for the same rows; give the hierarchy one row per patient', file=table.file)
            )
    return HierarchyData(parts=tuple(parts), favours=tuple(tier.favours for tier in tiers), thresholds=tuple(tier.threshold for tier in tiers))
