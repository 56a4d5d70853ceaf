"""MaxCombo: the most favourable of several Fleming-Harrington log-rank tests, at the price that asking several has.

With z_k = U_k / √V_kk of each weight pair (rho, gamma) and R their correlation V_kl / √(V_kk V_ll) under the null hypothesis
(`weighted_logrank`), Z is taken as normal with mean 0 and correlation R:

    sides 1:  p = P(max_k Z_k >= max_k z_k),   z signed so that positive favours the test arm;
    sides 2:  p = P(max_k |Z_k| >= max_k |z_k|),   on the side of the z_k that is largest in size.

p is computed by quadrature (`max_normal`), not sampled. `statistic` is the z-equivalent of p, so that its p-value is p.
Strata are summed within each weight, each with its own pooled survival estimate. Nothing is estimated.

Ties as in `logrank`. Fails like it; also where one of the statistics has no variance (a late weight with all events at one time).

**Source:** Lin et al. 2020 (doi 10.1080/19466315.2019.1697738); Karrison 2016 (doi 10.1177/1536867X1601600308).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.event_weights import FlemingHarrington
from trialsim.analysis.failures import NO_EVENTS, NO_PATIENTS, NO_VARIANCE, fail
from trialsim.analysis.max_normal import tail_of_absolute_maximum, tail_of_maximum
from trialsim.analysis.weighted_logrank import weighted_scores
from trialsim.records import Estimates, EventData
from trialsim.units import Number

Power = Annotated[Number, Field(ge=0)]
MOST = 6


class MaxCombo(Analysis):
    """The largest of several weighted log-rank statistics; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "composite")
    takes_strata: ClassVar[bool] = True

    method: Literal["maxcombo"] = Field(description="Maximum of weighted log-rank tests.")
    weights: tuple[tuple[Power, Power], ...] = Field(
        default=((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)),
        min_length=1,
        max_length=MOST,
        description="Fleming-Harrington (rho, gamma) of each test.",
    )

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.weights)) < len(self.weights):
            raise ValueError("weights names a pair twice")
        return self

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """The z-equivalent of the joint p-value; see `Analysis.estimate`."""
        z, correlation = statistics(data, self.weights)
        there = data.time >= 0
        n, n_events = there.sum(-1), (data.event & there).sum(-1)
        n_test = (there & (data.group == 1)).sum(-1)
        failure = torch.where(torch.isfinite(z).all(0), 0, NO_VARIANCE)
        failure = torch.where(n_events == 0, NO_EVENTS, failure)
        failure = torch.where((n_test == 0) | (n_test == n), NO_PATIENTS, failure)
        sound = failure == 0
        z = torch.where(sound, favours * z, 0.0)
        correlation = torch.where(sound, correlation, torch.eye(len(z), dtype=z.dtype, device=z.device)[..., None])
        if self.sides == 1:
            statistic = _from_tails(*tail_of_maximum(z.amax(0), correlation))
        else:
            size = z.abs().amax(0)
            sign = torch.where(z.amax(0) >= size, 1.0, -1.0)
            statistic = -sign * torch.special.ndtri(0.5 * tail_of_absolute_maximum(size, correlation))
        (statistic,) = fail(failure, statistic)
        return Estimates(statistic=statistic, n=n, failure=failure, n_events=n_events)


def statistics(data: EventData, weights: tuple[tuple[float, float], ...]) -> tuple[Float[Tensor, "weight replicate"], Float[Tensor, "weight weight replicate"]]:
    """U/√V of every weight pair, negative where the test arm has fewer events than expected, and their correlation under the null."""
    found = weighted_scores(data, [FlemingHarrington(rho=rho, gamma=gamma) for rho, gamma in weights])
    scale = torch.stack([found.covariance[k, k].rsqrt() for k in range(len(weights))])
    return found.u * scale, found.covariance * scale[:, None] * scale[None]


def _from_tails(above: Float[Tensor, "replicate"], below: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
    """The z whose upper tail is `above`, from the smaller of the two tails."""
    return torch.where(above <= below, -torch.special.ndtri(above), torch.special.ndtri(below))
