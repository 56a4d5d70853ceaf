"""Effects that are not alike in all patients or at all times, where the evidence asks for them: what synthetic patients have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trialsim.cohort.fitted.outcomes.companions import Effects, effects_as_json, effects_from_json


@dataclass(frozen=True, slots=True)
class VariedHazard:
    """Hazards per day of every arm on each piece, at the average patient; log hazards change by x·β and in an arm by x·ω too.

    `weights` β and `modifiers` ω go with the event's terms. `modifier_scale` and `step_scale` are the prior SDs of ω and
    of the steps of a log hazard ratio from piece to piece that the evidence chose; where both are 0, effects are alike.
    `companions` are log hazards that the levels of companions add within their arm, `level_scale` the prior SD of those.
    """

    hazards: Mapping[str, tuple[float, ...]]
    weights: tuple[float, ...]
    modifiers: Mapping[str, tuple[float, ...]]
    modifier_scale: float
    step_scale: float
    companions: Effects
    level_scale: float

    def store(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "hazards": [[arm, list(row)] for arm, row in self.hazards.items()],
            "weights": list(self.weights),
            "modifiers": [[arm, list(row)] for arm, row in self.modifiers.items()],
            "modifier_scale": self.modifier_scale,
            "step_scale": self.step_scale,
            "companions": effects_as_json(self.companions),
            "level_scale": self.level_scale,
        }

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> VariedHazard:
        """What `store` wrote."""
        return cls(
            hazards={arm: tuple(row) for arm, row in given["hazards"]},
            weights=tuple(given["weights"]),
            modifiers={arm: tuple(row) for arm, row in given["modifiers"]},
            modifier_scale=given["modifier_scale"],
            step_scale=given["step_scale"],
            companions=effects_from_json(given["companions"]),
            level_scale=given["level_scale"],
        )


@dataclass(frozen=True, slots=True)
class VariedMean:
    """The mean of every arm at the average patient, which changes by x·β and in an arm by x·ω too; see `VariedHazard`."""

    means: Mapping[str, float]
    weights: tuple[float, ...]
    modifiers: Mapping[str, tuple[float, ...]]
    modifier_scale: float
    companions: Effects
    level_scale: float

    def store(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "means": [[arm, mean] for arm, mean in self.means.items()],
            "weights": list(self.weights),
            "modifiers": [[arm, list(row)] for arm, row in self.modifiers.items()],
            "modifier_scale": self.modifier_scale,
            "companions": effects_as_json(self.companions),
            "level_scale": self.level_scale,
        }

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> VariedMean:
        """What `store` wrote."""
        return cls(
            means=dict(given["means"]),
            weights=tuple(given["weights"]),
            modifiers={arm: tuple(row) for arm, row in given["modifiers"]},
            modifier_scale=given["modifier_scale"],
            companions=effects_from_json(given["companions"]),
            level_scale=given["level_scale"],
        )
