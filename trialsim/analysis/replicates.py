"""Some replicates at a time, where a method needs much memory for each; and their results put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from trialsim.records import Estimates


def blocks(n: int, at_once: int) -> list[slice]:
    """n replicates in blocks of at most `at_once` (at least one)."""
    size = max(1, at_once)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def joined(parts: Sequence[Estimates], order: Tensor | None = None) -> Estimates:
    """The estimates of all replicates; `order` says where in the parts each of them is (None: one part after the other)."""
    names = [each.name for each in fields(Estimates) if getattr(parts[0], each.name) is not None]
    whole = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return Estimates(**(whole if order is None else {name: value[order] for name, value in whole.items()}))
