"""The section `simulation`: how often, from which seed, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from trialsim.evaluation.precision import TARGETS
from trialsim.evaluation.results import ALL_MEASURES
from trialsim.parts import Part
from trialsim.units import Quantity

DEFAULT_REPLICATES = 10_000
PositiveInt = Annotated[int, Field(gt=0)]


class ReplicatesByRole(Part):
    """Replicates of the scenarios of each role."""

    default: PositiveInt = Field(default=DEFAULT_REPLICATES, description="Replicates of every role not named here.")
    null_hypothesis: PositiveInt | None = Field(default=None, description="Replicates of null scenarios.")
    alternative: PositiveInt | None = Field(default=None, description="Replicates of alternatives.")
    sensitivity: PositiveInt | None = Field(default=None, description="Replicates of sensitivity scenarios.")
    assurance: PositiveInt | None = Field(default=None, description="Replicates of assurance scenarios.")

    def of(self, role: str) -> int:
        """The number for a role."""
        return getattr(self, role) or self.default


class Keep(Part):
    """What is kept of single trials."""

    example_trials: int = Field(default=0, ge=0, description="Trials kept in full, as examples.")
    patient_level: int = Field(default=0, ge=0, description="Replicates whose patient-level data are kept.")


class Simulation(Part):
    """`replicates`, `target_mcse` and `keep` do not change what a replicate is, so they are not in the protocol's hash."""

    seed: int | None = Field(default=None, ge=0, description="The seed of every random number; required to run.", examples=[20261124])
    replicates: PositiveInt | ReplicatesByRole = Field(
        default=DEFAULT_REPLICATES, description="Simulated trials per cell: a number, or one per role. With target_mcse it is the most there may be."
    )
    target_mcse: dict[str, Quantity] = Field(
        default_factory=dict,
        description=(
            "Measure -> Monte Carlo standard error at which to stop: a number, or a time for durations. A cell is simulated in chunks of 4,096 replicates "
            "until every result of these measures (of the whole trial; every analysis, endpoint and arm) is at least that precise: at least one chunk, "
            "at most `replicates`. A cell that has no result of a measure is not held to it (of none of them: it goes to the most)."
        ),
        examples=[{"power": 0.005, "duration": "3 days"}],
    )
    keep: Keep = Field(default_factory=Keep, description="Which single trials are kept, and how much of them.")

    def replicates_of(self, role: str) -> int:
        """The replicates of a scenario's role."""
        return self.replicates if isinstance(self.replicates, int) else self.replicates.of(role)

    def unsupported(self) -> Iterator[str]:
        for measure in self.target_mcse:
            if measure in ALL_MEASURES and measure not in TARGETS:
                yield f"target_mcse of {measure}"

    def precision(self) -> dict[str, float]:
        """`target_mcse` in base units (days)."""
        return {measure: target.value for measure, target in self.target_mcse.items()}
