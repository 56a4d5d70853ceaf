"""The interval of a difference from the intervals of its two parts.

With estimates a and b and their limits (la, ua), (lb, ub),

    (a - b) - √((a - la)² + (ub - b)²)  to  (a - b) + √((ua - a)² + (b - lb)²):

each side recovers the variances where they matter, near its own limit, so that the interval inherits the skewness and
the bounds of its parts. An infinite limit of a part makes the side it enters infinite.

**Source:** Zou & Donner 2008 (doi 10.1002/sim.3095), after Newcombe 1998.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

Limits = tuple[Float[Tensor, "*any"], Float[Tensor, "*any"]]


def difference_limits(a: Float[Tensor, "*any"], a_limits: Limits, b: Float[Tensor, "*any"], b_limits: Limits) -> Limits:
    """The limits of a - b, the two independent."""
    (la, ua), (lb, ub) = a_limits, b_limits
    return (a - b) - ((a - la) ** 2 + (ub - b) ** 2).sqrt(), (a - b) + ((ua - a) ** 2 + (b - lb) ** 2).sqrt()
