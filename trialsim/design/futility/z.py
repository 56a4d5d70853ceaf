"""Futility below a stated z."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from trialsim.design.futility.rule import FutilityRule, check_interim_values
from trialsim.units import Number


class FutilityZ(FutilityRule):
    """Stop at interim look k when the statistic is below z_k (positive favours the test arm)."""

    key = "z"
    z: tuple[Number | None, ...] = Field(min_length=1, description="The lower bound of each interim look; null for none.")

    def check_looks(self, n_looks: int) -> Iterator[str]:
        yield from check_interim_values("z", len(self.z), n_looks)
