"""Fisher's noncentral hypergeometric law: responders of the test arm given all margins, at an odds ratio ψ.

    P(X = v) ∝ C(n1, v) C(n0, m - v) ψ^v,   max(0, m - n0) ≤ v ≤ min(n1, m),

from which follow exact tests, the conditional maximum likelihood estimate (E_ψ X = x) and exact limits of ψ.

**Source:** Fisher 1935 (doi 10.2307/2342435); Cornfield 1956 (limits); two-sided p-values as R's `fisher.test`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.analysis.two_by_two import Table

WIDTH = 64  # of the sums, so that they do not depend on the largest table of a block
SAME = 1.0 + 1e-7  # two probabilities closer than this are equal
FAR = 40.0
BISECTIONS = 62


@dataclass(frozen=True, slots=True)
class Support:
    """The tables with the observed margins. `offset` counts from the smallest possible value."""

    offset: Float[Tensor, "value"]
    lowest: Float[Tensor, "replicate"]
    highest: Float[Tensor, "replicate"]
    observed: Float[Tensor, "replicate"]
    log_weight: Float[Tensor, "replicate value"]

    @staticmethod
    def of(table: Table) -> Support:
        """Of the observed tables."""
        m = table.x1 + table.x0
        lowest, highest = (m - table.n0).clamp(min=0.0), torch.minimum(table.n1, m)
        size = int((highest - lowest).max()) + 1
        offset = torch.arange(size + -size % WIDTH, dtype=torch.float64, device=m.device)
        value = lowest[:, None] + offset
        possible = value <= highest[:, None]
        value = torch.where(possible, value, lowest[:, None])
        others = m[:, None] - value
        pieces = (value, table.n1[:, None] - value, others, table.n0[:, None] - others)
        log_weight = -sum(torch.lgamma(piece + 1.0) for piece in pieces)
        return Support(offset, lowest, highest, table.x1, torch.where(possible, log_weight, -torch.inf))

    def _weights(self, log_odds_ratio: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate value"]:
        log_weight = self.log_weight + self.offset * log_odds_ratio[:, None]
        return torch.exp(log_weight - log_weight.amax(-1, keepdim=True))

    def at_least(self, log_odds_ratio: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
        """P(X ≥ x)."""
        return self._share(log_odds_ratio, self.offset >= (self.observed - self.lowest)[:, None])

    def at_most(self, log_odds_ratio: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
        """P(X ≤ x)."""
        return self._share(log_odds_ratio, self.offset <= (self.observed - self.lowest)[:, None])

    def above(self, log_odds_ratio: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
        """P(X > x)."""
        return self._share(log_odds_ratio, self.offset > (self.observed - self.lowest)[:, None])

    def below(self, log_odds_ratio: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
        """P(X < x)."""
        return self._share(log_odds_ratio, self.offset < (self.observed - self.lowest)[:, None])

    def _share(self, log_odds_ratio: Tensor, of: Bool[Tensor, "replicate value"]) -> Tensor:
        weight = self._weights(log_odds_ratio)
        return total(weight * of) / total(weight)

    def as_unlikely(self) -> Float[Tensor, "replicate"]:
        """The probability, without effect, of all tables that are no likelier than the observed one."""
        weight = self._weights(torch.zeros_like(self.lowest))
        mine = weight.gather(-1, (self.observed - self.lowest).to(torch.int64)[:, None])
        return total(weight * (weight <= mine * SAME)) / total(weight)

    def moments(self, log_odds_ratio: Float[Tensor, "replicate"]) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
        """Mean and variance of X."""
        weight = self._weights(log_odds_ratio)
        mass = total(weight)
        mean = total(weight * self.offset) / mass
        away = self.offset - mean[:, None]
        return self.lowest + mean, total(weight * away * away) / mass

    def estimate(self) -> Float[Tensor, "replicate"]:
        """The log odds ratio at which the observed number is expected; infinite at the ends of the support."""
        found = _crossing(lambda at: self.observed - self.moments(at)[0], self.lowest)
        found = torch.where(self.observed == self.lowest, -torch.inf, found)
        found = torch.where(self.observed == self.highest, torch.inf, found)
        return torch.where(self.lowest == self.highest, torch.nan, found)

    def limits(self, alpha_one_sided: float) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
        """The log odds ratios at which the tail beyond the observed number has probability `alpha_one_sided`."""
        low = _crossing(lambda at: alpha_one_sided - self.at_least(at), self.lowest)
        high = _crossing(lambda at: self.at_most(at) - alpha_one_sided, self.lowest)
        low = torch.where(self.observed == self.lowest, -torch.inf, low)
        return low, torch.where(self.observed == self.highest, torch.inf, high)


def total(weight: Float[Tensor, "replicate value"]) -> Float[Tensor, "replicate"]:
    """Sums of WIDTH columns at a time: columns of zeros at the end change no bit."""
    found = torch.zeros(len(weight), dtype=weight.dtype, device=weight.device)
    for first in range(0, weight.shape[-1], WIDTH):
        found = found + weight[:, first : first + WIDTH].contiguous().sum(-1)
    return found


def _crossing(falling: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Where a falling function passes zero."""
    low, high = torch.full_like(like, -FAR), torch.full_like(like, FAR)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        positive = falling(middle) > 0
        low, high = torch.where(positive, middle, low), torch.where(positive, high, middle)
    return 0.5 * (low + high)
