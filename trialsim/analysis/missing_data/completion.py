"""Completed values: what is missing drawn from its law given what was seen, under a strategy.

Values missing from some visit on are drawn visit by visit, around the mean that the strategy says and given the earlier
values. A patient's values missing *before* the last one seen (holes) are drawn at random given all the others by a
Gibbs sampler that alternates with the parameters (monotone data augmentation, Schafer 1997, section 6.5.4): chains of at
most 50 imputations, each after 20 cycles, three cycles apart. Where there are no holes the draws are exact and independent.

What is not handled: a reference-based mean for holes (they are missing at random under the patient's own arm), covariances that differ between arms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.analysis.failures import complete_cases
from trialsim.analysis.missing_data.strategies import Strategy, expected
from trialsim.analysis.missing_data.visit_regressions import Parameters, Regression, draw, regress
from trialsim.records import Noise, VisitData

BURN_IN, THINNING, PER_CHAIN = 20, 3, 50
COEFFICIENTS, VARIANCE, CHAIN = 1 << 10, 1 << 11, 1 << 12
"""Where in a replicate's noise (index k) each kind of draw begins; residuals begin at 0, one index per visit."""
CELLS = 1 << 19
"""Values drawn at once: what fits the cache and the memory."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Values at visits, who is in the analysis, and where each patient's values end."""

    value: list[Float[Tensor, "row patient"]]
    columns: list[Float[Tensor, "row patient"]]
    own: list[Float[Tensor, "row patient"]]
    reference: list[Float[Tensor, "row patient"]]
    included: Bool[Tensor, "row patient"]
    leaves: Int[Tensor, "row patient"]
    holes: list[Bool[Tensor, "row patient"]]

    @property
    def has_holes(self) -> Bool[Tensor, "row"]:
        """Whether anyone of a replicate misses a visit and comes back."""
        return torch.stack([hole.any(-1) for hole in self.holes]).any(0)

    def fits(self, value: list[Float[Tensor, "row patient"]] | None = None) -> list[Regression]:
        """The regression of each visit on the earlier ones, among patients still seen at it."""
        value = value or self.value
        return [regress(y, [*self.columns, *value[:t]], self.included & (self.leaves > t)) for t, y in enumerate(value)]


def incomplete(data: VisitData) -> Incomplete:
    """The data as they are, patients without a covariate left out; holes are filled with the last value seen (or the next)."""
    n_visits = data.value.shape[-1]
    seen = ~torch.isnan(data.value)
    included = seen.any(-1) if data.included is None else data.included
    complete = complete_cases(data.covariates)
    if complete is not None:
        included = included & complete
    order = torch.arange(1, n_visits + 1, device=data.value.device)
    leaves = (seen * order).amax(-1)
    holes = [included & ~seen[..., t] & (leaves > t) for t in range(n_visits)]
    arms = [(data.group == level).to(torch.float64) for level in range(1, data.n_groups)]
    one = torch.ones_like(data.value[..., 0])
    covariates = [] if data.covariates is None else list(torch.where(included[..., None], data.covariates, 0.0).unbind(-1))
    own = [one, *arms, *covariates]
    reference = [one, *(torch.zeros_like(arm) for arm in arms), *covariates]
    value = list(torch.where(seen & included[..., None], data.value, 0.0).unbind(-1))
    for t in range(n_visits):
        if t:
            value[t] = torch.where(holes[t], value[t - 1], value[t])
    for t in reversed(range(n_visits - 1)):
        before_first = holes[t] & ~seen[..., : t + 1].any(-1)
        value[t] = torch.where(before_first, value[t + 1], value[t])
    return Incomplete(value=value, columns=own, own=own, reference=reference, included=included, leaves=leaves, holes=holes)


def completed(data: VisitData, strategy: Strategy, imputations: int) -> Iterator[tuple[int, Float[Tensor, "row imputation patient"]]]:
    """The value at the visit of the contrast, imputed: (number of the first imputation, values), chunk by chunk.

    Either all replicates have holes or none has. A regression without enough patients gives NaN.
    """
    assert data.noise is not None, "imputation needs noise"
    state = incomplete(data)
    rows, n, n_visits = data.value.shape
    at_once = max(1, CELLS // (rows * n))
    if bool(state.has_holes.any()):
        yield from _by_chains(data, state, strategy, imputations)
        return
    fits = state.fits()
    for first in range(0, imputations, at_once):
        numbers = range(first, min(first + at_once, imputations))
        drawn = _parameters(fits, data.noise, list(numbers), offset=0)
        residual = [_stacked(data.noise.normal, n, t, numbers) for t in range(n_visits)]
        yield first, _complete(state, [y[:, None] for y in state.value], drawn, residual, strategy)[data.at]


def _stacked(law: Callable[..., Tensor], n: int, index: int, numbers: range | list[int]) -> Float[Tensor, "row draw n"]:
    return torch.stack([law(n, index=index, second=number) for number in numbers], dim=1)


def _parameters(fits: list[Regression], noise: Noise, numbers: list[int], *, offset: int) -> list[Parameters]:
    drawn = []
    for t, fit in enumerate(fits):
        normal = _stacked(noise.normal, fit.n_columns, offset + COEFFICIENTS + t, numbers)
        uniform = _stacked(noise.uniform, 1, offset + VARIANCE + t, numbers)[..., 0]
        drawn.append(draw(fit, normal, uniform))
    return drawn


def _means(of: list[Float[Tensor, "row patient"]], drawn: list[Parameters]) -> list[Float[Tensor, "row draw patient"]]:
    """The mean at every visit of patients with these columns, earlier visits at their own mean."""
    means: list[Tensor] = []
    for found in drawn:
        weights = [weight[..., None] for weight in found.coefficients]
        mean = weights[0] * of[0][:, None]
        for weight, column in zip(weights[1 : len(of)], of[1:], strict=True):
            mean = mean + weight * column[:, None]
        for weight, earlier in zip(weights[len(of) :], means, strict=True):
            mean = mean + weight * earlier
        means.append(mean)
    return means


def _complete(
    state: Incomplete,
    value: list[Float[Tensor, "row draw patient"]],
    drawn: list[Parameters],
    residual: list[Float[Tensor, "row draw patient"]],
    strategy: Strategy,
) -> list[Float[Tensor, "row draw patient"]]:
    """Every visit, what comes after the last value seen drawn around the strategy's mean given what came before."""
    own = _means(state.own, drawn)
    means = own if strategy in ("mar", "last_mean_carried_forward") else _means(state.reference, drawn)
    means = expected(strategy, own, means, state.leaves)
    n_columns = len(state.own)
    done: list[Tensor] = []
    for t, (mean, found) in enumerate(zip(means, drawn, strict=True)):
        guess = mean + found.sigma[..., None] * residual[t]
        for weight, earlier, expected_then in zip(found.coefficients[n_columns:], done, means, strict=False):
            guess = guess + weight[..., None] * (earlier - expected_then)
        done.append(torch.where((state.leaves <= t)[:, None], guess, value[t]))
    return done


def _by_chains(data: VisitData, state: Incomplete, strategy: Strategy, imputations: int) -> Iterator[tuple[int, Tensor]]:
    assert data.noise is not None
    rows, n, n_visits = data.value.shape
    chains = -(-imputations // PER_CHAIN)
    per_chain = -(-imputations // chains)
    wide = _repeated(state, chains)
    value = list(wide.value)
    made = 0
    for cycle in range(BURN_IN + (per_chain - 1) * THINNING + 1):
        numbers = [chain * 1_000_000 + cycle for chain in range(chains)]
        fits = wide.fits(value)
        drawn = [_row_draws(data.noise, fit, t, numbers, rows) for t, fit in enumerate(fits)]
        _fill_holes(wide, value, drawn, [_stacked(data.noise.normal, n, CHAIN + t, numbers).reshape(-1, n) for t in range(n_visits)])
        if cycle >= BURN_IN and (cycle - BURN_IN) % THINNING == 0:
            numbers = [made + chain for chain in range(min(chains, imputations - made))]
            residual = [_stacked(data.noise.normal, n, t, numbers) for t in range(n_visits)]
            by_row = [
                Parameters([c.reshape(rows, chains)[:, : len(numbers)] for c in found.coefficients], found.sigma.reshape(rows, chains)[:, : len(numbers)])
                for found in drawn
            ]
            seen = [y.reshape(rows, chains, n)[:, : len(numbers)] for y in value]
            yield made, _complete(state, seen, by_row, residual, strategy)[data.at]
            made += len(numbers)


def _repeated(state: Incomplete, chains: int) -> Incomplete:
    def wide(tensors: list[Tensor]) -> list[Tensor]:
        return [tensor.repeat_interleave(chains, 0) for tensor in tensors]

    return replace(
        state,
        value=wide(state.value),
        columns=wide(state.columns),
        included=state.included.repeat_interleave(chains, 0),
        leaves=state.leaves.repeat_interleave(chains, 0),
        holes=wide(state.holes),
    )


def _row_draws(noise: Noise, fit: Regression, t: int, numbers: list[int], rows: int) -> Parameters:
    """One draw for every chain of every replicate: rows are (replicate, chain)."""
    normal = _stacked(noise.normal, fit.n_columns, CHAIN + COEFFICIENTS + t, numbers).reshape(rows * len(numbers), 1, -1)
    uniform = _stacked(noise.uniform, 1, CHAIN + VARIANCE + t, numbers).reshape(rows * len(numbers), 1)
    return draw(fit, normal, uniform)


def _fill_holes(state: Incomplete, value: list[Tensor], drawn: list[Parameters], residual: list[Float[Tensor, "row patient"]]) -> None:
    """Draw every hole given all other values of its patient: normal with precision sum phi^2 / sigma^2."""
    n_columns = len(state.columns)

    def off(u: int) -> Tensor:
        guess = torch.zeros_like(value[u])
        for weight, column in zip(drawn[u].coefficients, [*state.columns, *value[:u]], strict=True):
            guess = guess + weight * column
        return value[u] - guess

    for t, hole in enumerate(state.holes):
        if not bool(hole.any()):
            continue
        precision = drawn[t].sigma ** -2
        pull = -off(t) * precision
        precision = precision.expand_as(pull)
        for u in range(t + 1, len(value)):
            still = (state.leaves > u).to(torch.float64)
            weight, at = drawn[u].coefficients[n_columns + t], drawn[u].sigma ** -2
            precision = precision + still * (weight * weight * at)
            pull = pull + still * (off(u) * (weight * at))
        value[t] = torch.where(hole, value[t] + pull / precision + residual[t] * precision.rsqrt(), value[t])
