"""The unit of work. Apart from what it addresses, so that it can be named without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """The replicates first, first + 1, …, first + size - 1 of a cell: the unit of work."""

    first: int
    size: int
