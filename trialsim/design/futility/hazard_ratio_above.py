"""Futility when the estimated hazard ratio is too high."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pydantic import Field

from trialsim.design.futility.rule import FutilityRule, check_interim_values
from trialsim.units import PositiveNumber


class HazardRatioAbove(FutilityRule):
    """Stop at interim look k when the estimated hazard ratio (test against reference) exceeds c_k.

    On the z scale this is about z < −log(c) √(d r (1 − r)), with d events and a share r randomised to the test arm.

    **Source**: Schoenfeld 1981, doi 10.1093/biomet/68.1.316 (the variance of the log hazard ratio).
    """

    key = "hazard_ratio_above"
    hazard_ratio_above: tuple[PositiveNumber | None, ...] = Field(
        min_length=1, description="The hazard ratio of each interim look above which the trial stops; null for none."
    )

    def check_looks(self, n_looks: int) -> Iterator[str]:
        yield from check_interim_values("hazard_ratio_above", len(self.hazard_ratio_above), n_looks)

    def approximate_z(self, events: Sequence[float], test_share: float) -> list[float]:
        """The lower bounds on the z scale at interim looks with `events` events; NaN where there is none."""
        return [
            math.nan if c is None else -math.log(c) * math.sqrt(d * test_share * (1.0 - test_share))
            for c, d in zip(self.hazard_ratio_above, events, strict=False)
        ]
