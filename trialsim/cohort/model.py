"""What the rest of trialsim needs to know of any cohort model, declared or fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from trialsim.records import Cohort
from trialsim.rng import Block, Streams


@runtime_checkable
class CohortModel(Protocol):
    """A generator of patients' baselines.

    `names` are the covariates in order; `levels` has an entry for each categorical covariate (its column holds the index
    of the level); `units` gives each covariate's dimension as `units.Quantity` names it: "" for a bare number or a
    category, "time" (days), or the unit's own label.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def levels(self) -> Mapping[str, tuple[str, ...]]: ...

    @property
    def units(self) -> Mapping[str, str]: ...

    def sample(self, streams: Streams, block: Block, n: int, *, attempt: int = 0) -> Cohort:
        """The baselines of patients 0..n-1 of every replicate of the block.

        Patient i of replicate r is a pure function of (seed, r, i, attempt), from the streams `covariate/<id>`.
        """
        ...
