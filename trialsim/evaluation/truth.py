"""True estimand values of a scenario, from counterfactual twins: both arms of the same twins.

The true hazard ratio is the unstratified Cox limit when both arms of all twins are followed, without dropout, each from its
own entry to a calendar cut, arms weighted by the randomisation ratio. With Y_a(t) the weighted number of arm a at risk and
N_a its weighted events, the log hazard ratio beta solves

    sum over events of [ z - E(t) ] = 0,   E(t) = Y_1(t) e^beta / (Y_1(t) e^beta + Y_0(t))

Under a constant hazard ratio and no covariate that moves the hazard the limit is the declared one, and under equal effects
it is 0: those are exact. Otherwise the Monte Carlo standard error is the sandwich of the score over twins (both arms of a
twin are one cluster). Twins should come from a stream of their own, not the trials' noise.

**Source:** Struthers & Kalbfleisch 1986, Biometrika 73:363, doi 10.1093/biomet/73.2.363 (the limit under misspecification);
Lin & Wei 1989, JASA 84:1074, doi 10.1080/01621459.1989.10478874 (the sandwich).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.twins import TwinModel

Floats = npt.NDArray[np.float64]

N_TWINS = 1_000_000
CLEAR_OF_NULL = 3.0  # MCSEs between a Monte Carlo true value and the edge of the null hypothesis


@dataclass(frozen=True, slots=True)
class TrueValue:
    """An estimand's value on the scale of inference, its MCSE (0: exact) and the number of twins (0: closed form)."""

    value: float
    mcse: float = 0.0
    n: int = 0


@dataclass(frozen=True, slots=True)
class TwinSampler:
    """Where twins come from: streams, patients per replicate, their entry times and baselines block by block."""

    streams: Streams
    n: int
    entry_times: Callable[[Block], Float[Tensor, "replicate_or_1 patient"]]
    cohort: Callable[[Block], Cohort | None]
    block_size: int = 64

    def blocks(self, n_twins: int) -> Iterator[Block]:
        """Blocks that hold at least `n_twins` twins together, from replicate 0."""
        replicates = -(-n_twins // self.n)
        for first in range(0, replicates, self.block_size):
            yield Block(first, min(self.block_size, replicates - first))


def true_log_hazard_ratio(
    model: TwinModel,
    outcomes: Sequence[str],
    *,
    test: int,
    reference: int,
    sampler: TwinSampler,
    cut_time: float,
    weights: tuple[float, float] = (1.0, 1.0),
    n_twins: int = N_TWINS,
) -> TrueValue | None:
    """The log of the true hazard ratio of arm `test` against `reference`, followed to calendar time `cut_time` (days).

    The event is the first of `outcomes`. `weights` are the allocation shares of (test, reference). None where an arm has no
    event before the cut. Exact where a closed form exists (see above; outcomes of one ratio keep it together).
    """
    if all(model.effect_is_identity(outcome, test, reference) for outcome in outcomes):
        return TrueValue(0.0)
    constants = {model.constant_log_hr(outcome, test, reference) for outcome in outcomes}
    constant = constants.pop() if len(constants) == 1 else None
    if constant is not None and not any(model.has_prognosis(outcome) for outcome in outcomes):
        return TrueValue(constant)
    return sampled_log_hazard_ratio(model, outcomes, test=test, reference=reference, sampler=sampler, cut_time=cut_time, weights=weights, n_twins=n_twins)


def sampled_log_hazard_ratio(
    model: TwinModel,
    outcomes: Sequence[str],
    *,
    test: int,
    reference: int,
    sampler: TwinSampler,
    cut_time: float,
    weights: tuple[float, float] = (1.0, 1.0),
    n_twins: int = N_TWINS,
    cause: int | None = None,
) -> TrueValue | None:
    """As `true_log_hazard_ratio`, always from twins. Holds about 200 bytes per twin, whatever the number of trials.

    With `cause` the event is outcome number `cause` where that is the first, and patients stay at risk after another: the
    subdistribution hazard ratio, with censoring known for everyone.
    """
    stores: dict[str, list[Tensor]] = {"test": [], "reference": [], "follow_up": [], "test_end": [], "reference_end": []}
    mortal = cause is None and not model.all_are_followed(outcomes)
    for block in sampler.blocks(n_twins):
        cohort = sampler.cohort(block)
        follow_up = (cut_time - sampler.entry_times(block)).expand(block.size, sampler.n)
        entered = follow_up >= 0
        stores["follow_up"].append(follow_up[entered])
        for arm, name in ((test, "test"), (reference, "reference")):
            who: dict[str, Any] = {"streams": sampler.streams, "block": block, "n": sampler.n, "cohort": cohort, "arm": arm}
            times = model.event_times(outcomes, **who)
            first = reduce(torch.minimum, times)
            stores[name].append((first if cause is None else times[cause].masked_fill(times[cause] > first, math.inf))[entered])
            if mortal:
                end = model.end_of_follow_up(outcomes, **who)
                assert end is not None
                stores[f"{name}_end"].append(torch.minimum(end, follow_up)[entered])
    joined = {name: torch.cat(parts).numpy() for name, parts in stores.items() if parts}
    ends = (joined["reference_end"], joined["test_end"]) if mortal else None
    return cox_limit(joined["test"], joined["reference"], joined["follow_up"], weights=weights, ends=ends)


def cox_limit(
    test_time: Floats,
    reference_time: Floats,
    follow_up: Floats,
    *,
    weights: tuple[float, float] = (1.0, 1.0),
    ends: tuple[Floats, Floats] | None = None,
) -> TrueValue | None:
    """The log hazard ratio that a Cox model fits to both arms of the same twins, with the MCSE clustered by twin.

    Arrays have one entry per twin, in days. `ends` are the ends of follow-up under (reference, test), where they differ.
    Breslow's handling of ties. None where an arm has no event.
    """
    weight = (weights[1], weights[0])  # by arm: 0 reference, 1 test
    arms = (reference_time, test_time)
    by_arm = ends or (follow_up, follow_up)
    observed = [np.minimum(time, end) for time, end in zip(arms, by_arm, strict=True)]
    happened = [time <= end for time, end in zip(arms, by_arm, strict=True)]
    if not all(event.any() for event in happened):
        return None
    by_time = [np.argsort(time) for time in observed]
    ordered = [time[order] for time, order in zip(observed, by_time, strict=True)]
    event_time = np.concatenate([observed[a][happened[a]] for a in (0, 1)])
    z = np.repeat((0.0, 1.0), [int(event.sum()) for event in happened])
    order = np.argsort(event_time)
    event_time, z = event_time[order], z[order]
    mass = np.where(z == 1.0, weight[1], weight[0])
    at_risk = [weight[a] * np.asarray(len(follow_up) - np.searchsorted(ordered[a], event_time, side="left"), dtype=np.float64) for a in (0, 1)]

    beta = _root(z, mass, at_risk)
    if beta is None:
        return None
    risk = math.exp(beta)
    total = at_risk[1] * risk + at_risk[0]
    expected = at_risk[1] * risk / total
    information = float((mass * expected * (1.0 - expected)).sum())
    # Influence of a twin: both of its records' score residuals, z - E at an event minus the compensator up to its time.
    hazard = np.concatenate([[0.0], np.cumsum(mass / total)])
    drift = np.concatenate([[0.0], np.cumsum(mass * expected / total)])
    influence = np.zeros(len(follow_up))
    for a in (0, 1):
        passed = np.empty(len(follow_up), dtype=np.int64)
        passed[by_time[a]] = np.searchsorted(event_time, ordered[a], side="right")  # sorted queries stay in the cache
        residual = -(risk if a else 1.0) * (a * hazard[passed] - drift[passed])
        residual[happened[a]] += a - expected[passed[happened[a]] - 1]
        influence += weight[a] * residual
    return TrueValue(beta, math.sqrt(float((influence**2).sum())) / information, len(follow_up))


def _root(z: Floats, mass: Floats, at_risk: Sequence[Floats]) -> float | None:
    """beta at which the weighted score is zero, by Newton's method (the score falls in beta, so the root is unique)."""
    beta, events = 0.0, float((mass * z).sum())
    for _ in range(50):
        expected = at_risk[1] * math.exp(beta)
        expected = expected / (expected + at_risk[0])
        information = float((mass * expected * (1.0 - expected)).sum())
        if information <= 0.0:
            return None
        step = (events - float((mass * expected).sum())) / information
        beta += max(-1.0, min(1.0, step))
        if abs(step) < 1e-12:
            return beta
    return beta if abs(step) < 1e-9 else None


def true_mean_difference(
    model: TwinModel, outcome: str, visit: str | None, *, test: int, reference: int, sampler: TwinSampler, n_twins: int = N_TWINS
) -> TrueValue:
    """The mean over twins of a value under arm `test` minus the same twin's under `reference`; exact where it is the same for all.

    A twin's noise is the same under both arms and cancels, so only differences that depend on the baseline need sampling.
    """
    blocks = sampler.blocks(n_twins)
    first = next(blocks)
    difference = model.mean_difference(outcome, visit, sampler.cohort(first), test, reference)
    if not isinstance(difference, Tensor):
        return TrueValue(float(difference))
    sums = [(difference.sum().item(), difference.square().sum().item())]
    n = difference.numel()
    for block in blocks:
        difference = model.mean_difference(outcome, visit, sampler.cohort(block), test, reference)
        assert isinstance(difference, Tensor)
        sums.append((difference.sum().item(), difference.square().sum().item()))
        n += difference.numel()
    mean = math.fsum(total for total, _ in sums) / n
    variance = max(math.fsum(square for _, square in sums) / n - mean * mean, 0.0)
    return TrueValue(mean, math.sqrt(variance / n), n)


def in_null_hypothesis(true: TrueValue, *, benefit: int, sides: int = 1, margin: float = 0.0) -> bool:
    """Whether the true value lies in the null hypothesis, so that a rejection is a type I error.

    On the scale of inference, with `benefit` +1 where higher favours the test arm and -1 where lower does, and `margin` the
    edge of the null hypothesis (0 for superiority). One-sided null: the value is at the edge or on the side of harm.
    Two-sided: it is at the edge. An exact value is taken as it is (to rounding); a Monte Carlo value must be on the side
    of harm by more than 3 MCSE, and is never exactly at the edge.
    """
    harm = -benefit * (true.value - margin)
    if sides == 2:
        return true.mcse == 0.0 and abs(harm) <= 1e-12
    return harm >= -1e-12 if true.mcse == 0.0 else harm > CLEAR_OF_NULL * true.mcse


def in_null_beyond(true: TrueValue, edges: Sequence[float], *, benefit: int, sides: int = 1) -> bool:
    """`in_null_hypothesis` with its edges: one, or for equivalence two, beyond either of which the arms are not equivalent."""
    worse = in_null_hypothesis(true, benefit=benefit, sides=sides, margin=edges[0])
    return worse or any(in_null_hypothesis(true, benefit=-benefit, sides=sides, margin=edge) for edge in edges[1:])
