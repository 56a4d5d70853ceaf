"""The statistic of an exact test: the z whose p-value is the test's, so that every later stage can treat it as a z."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

LARGEST = 37.5  # beyond, a tail of the normal law is below the smallest float


def from_tails(at_least_as_good: Float[Tensor, "replicate"], worse: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
    """Φ⁻¹(1 - p) of a one-sided p-value and of 1 - p, each with its own digits."""
    small = torch.minimum(at_least_as_good, worse)
    z = -torch.special.ndtri(small)
    return torch.where(at_least_as_good <= worse, z, -z).clamp(-LARGEST, LARGEST)


def from_two_sided(p: Float[Tensor, "replicate"], sign: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
    """sign Φ⁻¹(1 - p/2) of a two-sided p-value."""
    return sign * -torch.special.ndtri(0.5 * p.clamp(max=1.0)).clamp(-LARGEST, LARGEST)
