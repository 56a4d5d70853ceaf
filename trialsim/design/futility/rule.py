"""What every futility rule has."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from trialsim.design.choice import Rule


class FutilityRule(Rule):
    """When a look may stop for futility.

    A binding rule must be obeyed, and the efficacy bounds are lowered for it; a non-binding one may be overruled, and
    the efficacy bounds ignore it.
    """

    binding: bool = Field(default=False, description="Whether stopping is obligatory; efficacy bounds take account of binding rules only.")

    def check_looks(self, n_looks: int) -> Iterator[str]:
        """What is wrong with this rule for a trial of `n_looks` looks, the final one included."""
        yield from ()


def check_interim_values(key: str, given: int, n_looks: int) -> Iterator[str]:
    """Rules with one value for each interim look."""
    if given != n_looks - 1:
        yield f"{key}: {given} given; {n_looks - 1} interim {'look needs' if n_looks == 2 else 'looks need'} {n_looks - 1} (none for the final look)"
