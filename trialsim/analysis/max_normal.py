"""How likely the largest of several correlated standard normals is to reach z: by quadrature, many replicates at a time.

Whichever of the Z_k is the largest crosses z as some t >= z, so

    P(max_k Z_k >= z) = Σ_k ∫_z^∞ φ(t) P(Z_j <= t for all j != k | Z_k = t) dt

and likewise for max |Z_k|, with |Z_j| <= t and twice the sum. Given Z_k = t the others, standardised, lie between limits
that are proportional to t. The probability B(t) of such a box, lo_j t <= W_j <= hi_j t, is 0 at t = 0 and has the derivative

    B'(t) = Σ_j hi_j φ(hi_j t) B_hi,j(t) - lo_j φ(lo_j t) B_lo,j(t),

where B_hi,j is the box of the others given W_j = hi_j t: again one proportional to t. So every level is one running
integral on a common grid of t, down to one dimension, where B = Φ(hi t) - Φ(lo t). (Without lower limits B(0) is an orthant probability, known
for up to three.) The grid is composite Gauss-Legendre,
its panels shrinking towards 0, which resolves correlations close to 1 (a singular matrix included: the
correlation of Fleming-Harrington tests (0, 0), (0, 1) and (1, 0) is one). Correlations of 1 and singular
matrices are limits. The error is below 2e-6, and below 2e-6 of the
tail for z >= 0 and correlations that are not negative; nothing is random.

The work grows as k! 2^k: 4 normals cost 96 boxes of one dimension in a two-sided test (24 in a one-sided one), 6 cost
11,520.

**Source:** the differential of a homogeneous normal probability: Plackett 1954 (doi 10.1093/biomet/41.3-4.351); Genz & Bretz
2009, chapter 2 (doi 10.1007/978-3-642-01689-9).
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

NODES = 10
SHRINK, SHRINK_FAR = 7, 13
"""Panels below z, each a quarter of the next; more where B starts from an orthant or from correlations of 1 and so moves at once."""
CLOSE = 1.0 - 1e-8
BEYOND, REACH = 5, 7.0
"""Panels between z and z + 7, in geometric progression; what lies beyond is less than 1e-11 of the tail."""
MOST_ORTHANT = 3
FAR = 12.0
"""Where a lower limit that is not there is put beyond three dimensions: 12 standard deviations away at z and farther beyond."""
SMALL = 1e-12
"""The least 1 - r² of two of them; correlations are multiplied by 1 - SMALL / 2, which makes any matrix of them definite."""
SMALLEST_Z = 1e-6


def tail_of_maximum(
    z: Float[Tensor, "replicate"], correlation: Float[Tensor, "k k replicate"]
) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """P(max Z >= z) and P(max Z < z), the smaller one with its relative accuracy."""
    size = z.abs().clamp(min=SMALLEST_Z)
    sign = torch.where(z >= 0, 1.0, -1.0)
    # Below 0 the probability that all lie below z is summed over which of them is the largest there: the mirror image.
    found = _face_sum(size, correlation, highest=sign, absolute=False, shrink=SHRINK if len(correlation) > MOST_ORTHANT + 1 else SHRINK_FAR)
    return torch.where(z >= 0, found, 1.0 - found), torch.where(z >= 0, 1.0 - found, found)


def tail_of_absolute_maximum(z: Float[Tensor, "replicate"], correlation: Float[Tensor, "k k replicate"]) -> Float[Tensor, "replicate"]:
    """P(max |Z| >= z), z not negative."""
    z = z.clamp(min=SMALLEST_Z)
    k = len(correlation)
    closest = torch.stack([correlation[i, j].abs() for i in range(k) for j in range(i)]).amax(0) if k > 1 else torch.zeros_like(z)
    found = torch.empty_like(z)
    for rows, shrink in ((closest <= CLOSE, SHRINK), (closest > CLOSE, SHRINK_FAR)):
        if rows.any():
            found[rows] = 2.0 * _face_sum(z[rows], correlation[..., rows], highest=torch.ones_like(z[rows]), absolute=True, shrink=shrink)
    return found


def _face_sum(z: Tensor, correlation: Tensor, *, highest: Tensor, absolute: bool, shrink: int) -> Float[Tensor, "replicate"]:
    """Σ_k ∫_z^∞ φ(t) P(lo_j t <= W_j <= hi_j t | Z_k = t) dt."""
    k = len(correlation)
    if k == 1:
        return 0.5 * torch.erfc(z / math.sqrt(2.0))
    from_orthant = not absolute and k <= MOST_ORTHANT + 1
    grid = _Grid(z, shrink)
    r = [[correlation[i, j][:, None] * (1.0 - 0.5 * SMALL) for j in range(k)] for i in range(k)]
    far = (FAR / z + 2.0)[:, None]
    total = torch.zeros_like(z)
    for face in range(k):
        others = [j for j in range(k) if j != face]
        q = {j: (1.0 - r[face][j] * r[face][j]).clamp(min=SMALL).sqrt() for j in others}
        hi = [highest[:, None] * (1.0 - r[face][j]).clamp(min=0.0) / q[j] for j in others]
        lo = [-(1.0 + r[face][j]) / q[j] for j in others] if absolute else None if from_orthant else [-far for _ in others]
        box = _box(lo, hi, _given(r, face, others, q), grid)
        total = total + grid.beyond(box)
    return total


def _given(r: list[list[Tensor]], one: int, others: list[int], q: dict[int, Tensor]) -> list[list[Tensor]]:
    """The correlations of the others given one, whose 1 - r² with them is q²."""
    limit = 1.0 - 0.5 * SMALL
    return [[((r[i][j] - r[i][one] * r[j][one]) / (q[i] * q[j])).clamp(-limit, limit) for j in others] for i in others]


def _box(lo: list[Tensor] | None, hi: list[Tensor], r: list[list[Tensor]], grid: _Grid) -> Float[Tensor, "replicate node"]:
    """P(lo_j s <= W_j <= hi_j s for all j) at every node s of the grid; `lo` None: no lower limits."""
    n = len(hi)
    if n == 1:
        return 0.5 * (torch.erf(hi[0] * grid.scaled) - (-1.0 if lo is None else torch.erf(lo[0] * grid.scaled)))
    slope = torch.zeros_like(grid.s)
    for j in range(n):
        others = [i for i in range(n) if i != j]
        q = {i: (1.0 - r[i][j] * r[i][j]).clamp(min=SMALL).sqrt() for i in others}
        inner = _given(r, j, others, q)
        for side, limit in ((1.0, hi[j]),) if lo is None else ((1.0, hi[j]), (-1.0, lo[j])):
            high = [(hi[i] - r[i][j] * limit) / q[i] for i in others]
            low = None if lo is None else [(lo[i] - r[i][j] * limit) / q[i] for i in others]
            at = limit * grid.scaled
            slope = slope + (side / math.sqrt(2.0 * math.pi)) * limit * torch.exp(-at * at) * _box(low, high, inner, grid)
    return grid.running(slope) + (_orthant(r) if lo is None else 0.0)


def _orthant(r: list[list[Tensor]]) -> Tensor:
    """P(all W_j <= 0), of two or three."""
    angles = torch.asin(r[0][1])
    if len(r) == 2:
        return 0.25 + angles / (2.0 * math.pi)
    return 0.125 + (angles + torch.asin(r[0][2]) + torch.asin(r[1][2])) / (4.0 * math.pi)


@functools.cache
def _rule() -> tuple[list[float], list[float], list[list[float]]]:
    """Gauss-Legendre nodes and weights on [-1, 1], and for each node the weights of the integral from -1 to it."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    # Row i: the integrals from -1 to x_i of the Lagrange polynomials, through their Legendre series.
    series = np.linalg.inv(np.polynomial.legendre.legvander(x, NODES - 1))
    part = np.stack([np.polynomial.legendre.legval(x, np.polynomial.legendre.legint(series[:, j], lbnd=-1)) for j in range(NODES)], axis=1)
    return x.tolist(), w.tolist(), part.tolist()


class _Grid:
    """The nodes s of each replicate, and integrals over them."""

    def __init__(self, z: Float[Tensor, "replicate"], shrink: int) -> None:
        growth = torch.log1p(REACH / z)
        below = [0.0, *(4.0**-i for i in range(shrink, -1, -1))]
        edges = torch.stack([z * share for share in below] + [z * torch.exp(growth * (i / BEYOND)) for i in range(1, BEYOND + 1)], dim=-1)
        nodes, weights, part = _rule()
        self.half = 0.5 * (edges[:, 1:] - edges[:, :-1])
        middle = 0.5 * (edges[:, 1:] + edges[:, :-1])
        self.weights, self.part = torch.tensor(weights, dtype=z.dtype, device=z.device), torch.tensor(part, dtype=z.dtype, device=z.device)
        self.s = (middle[..., None] + self.half[..., None] * torch.tensor(nodes, dtype=z.dtype, device=z.device)).reshape(len(z), -1)
        self.scaled = self.s / math.sqrt(2.0)
        self.density = torch.exp(-self.scaled * self.scaled) / math.sqrt(2.0 * math.pi)

    def running(self, f: Float[Tensor, "replicate node"]) -> Float[Tensor, "replicate node"]:
        """∫ f from 0 to every node."""
        panels = f.view(*self.half.shape, NODES)
        whole = self.half * (panels * self.weights).sum(-1)
        before = whole.cumsum(-1) - whole
        return torch.stack([before + self.half * (panels * self.part[i]).sum(-1) for i in range(NODES)], dim=-1).view_as(f)

    def beyond(self, f: Float[Tensor, "replicate node"]) -> Float[Tensor, "replicate"]:
        """∫ φ f from z to infinity."""
        panels = (f * self.density).view(*self.half.shape, NODES)[:, -BEYOND:]
        return (self.half[:, -BEYOND:] * (panels * self.weights).sum(-1)).sum(-1)
