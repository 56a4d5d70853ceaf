"""The posterior of an event outcome by NUTS, to hold against the Laplace guide; and joint draws from that guide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort.fitted.columns import Array
from trialsim.cohort.fitted.features import prior_sd
from trialsim.cohort.fitted.inference import Posterior, isolated
from trialsim.cohort.fitted.outcomes.events import FittedEvent
from trialsim.errors import UsageError
from trialsim.rng import Block, Streams

HAZARD_SD = EFFECT_SD = 2.0  # priors, as `fit_event` states them


@dataclass(frozen=True, slots=True)
class NutsCheck:
    """One parameter of the posterior, by NUTS and by the Laplace guide.

    `sd_mcse` is the Monte Carlo standard error of NUTS's SD, `mean_mcse` of its mean; `ess` the effective number of
    draws; `r_hat` the split potential scale reduction (1 where halves of the chain agree); `n_divergent` transitions of the
    whole chain whose energy diverged (0 in a chain to be trusted).
    """

    mean: float
    sd: float
    mean_mcse: float
    sd_mcse: float
    ess: float
    r_hat: float
    n_divergent: int
    laplace_mean: float
    laplace_sd: float

    @property
    def agrees(self) -> bool:
        """Whether both SDs are within 3 Monte Carlo standard errors and 5 %, and both means within as much of an SD."""
        near_sd = abs(self.sd - self.laplace_sd) <= 3 * self.sd_mcse + 0.05 * self.sd
        near_mean = abs(self.mean - self.laplace_mean) <= 3 * self.mean_mcse + 0.05 * self.sd
        return near_sd and near_mean and self.n_divergent == 0 and self.r_hat < 1.05


def log_joint(fitted: FittedEvent, *, time: Array, event: Array, arm: NDArray[np.int64], design: Float[Tensor, "patient term"], arms: tuple[str, ...]) -> Any:
    """The log joint density of (log hazards, log HRs, weights), as a function of that vector; written from the formula alone.

        log p = Σ_i [ δ_i log h_i(t_i) − H_i(t_i) ] + log Normal(η; η_crude, 2) + log Normal(γ; 0, 2) + log Normal(β; 0, s · s_term)

    with h_i(t) = exp(η_j(t) + γ_a(i) + x_i β) and H its integral. It shares breaks, terms and prior scale with the
    fit, and no code: what it confirms includes the likelihood. Arguments as for `fit_event`; rows without time or
    event are left out.
    """
    seen = ~np.isnan(time) & ~np.isnan(event)
    t, d = torch.from_numpy(time[seen]), torch.from_numpy(event[seen])
    x = design[torch.from_numpy(seen)]
    starts = torch.tensor([0.0, *fitted.breaks], dtype=torch.float64)
    widths = torch.tensor([*fitted.breaks, float("inf")], dtype=torch.float64) - starts
    days = torch.minimum((t[:, None] - starts).clamp(min=0.0), widths)
    piece = (t[:, None] > starts[1:]).sum(1)
    others = [name for name in arms if name != fitted.reference] if len(arms) > 1 else []
    treated = torch.stack([torch.from_numpy((arm[seen] == arms.index(name)).astype(np.float64)) for name in others], 1) if others else torch.zeros(len(t), 0)
    sizes = [len(starts), len(others), len(fitted.terms)]
    happened = torch.stack([(d * (piece == j)).sum() for j in range(len(starts))])
    centre = torch.cat((torch.log((happened + 0.5) / (days.sum(0) + 1e-9)), torch.zeros(sizes[1] + sizes[2], dtype=torch.float64)))
    effect = torch.full((sizes[1],), EFFECT_SD, dtype=torch.float64)
    sd = torch.cat((torch.full((sizes[0],), HAZARD_SD, dtype=torch.float64), effect, prior_sd(fitted.terms) * fitted.prior_scale))

    def density(theta: Float[Tensor, "parameter"]) -> Tensor:
        eta, gamma, beta = theta.split(sizes)
        log_ratio = x @ beta + treated.double() @ gamma
        log_hazard = eta[piece] + log_ratio
        hazard_so_far = torch.exp(log_ratio) * (days @ torch.exp(eta))
        return (d * log_hazard - hazard_so_far).sum() - 0.5 * (((theta - centre) / sd) ** 2).sum()

    return density


def nuts_check(
    fitted: FittedEvent,
    *,
    time: Array,
    event: Array,
    arm: NDArray[np.int64],
    design: Float[Tensor, "patient term"],
    arms: tuple[str, ...],
    of: str,
    draws: int = 1000,
    warmup: int = 300,
    seed: int = 1,
) -> NutsCheck:
    """The log HR of the arm `of` by Pyro's No-U-Turn Sampler, against the Laplace guide of the fit.

    One chain, in the coordinates that the Laplace covariance makes round (an affine change of variables, which leaves
    the posterior as it is). Deterministic. A quarter of a minute for 2,000 patients and 30 terms: a check, not a way to fit.
    UsageError where `of` is no arm with an effect.

    **Source:** Hoffman & Gelman 2014, JMLR 15:1593; Vehtari et al. 2021, Bayesian Analysis 16:667, doi 10.1214/20-BA1221.
    """
    import pyro
    import pyro.distributions as dist
    from pyro.infer import MCMC, NUTS
    from pyro.infer.autoguide.initialization import init_to_value
    from pyro.ops.stats import effective_sample_size, split_gelman_rubin

    others = [name for name in arms if name != fitted.reference]
    if of not in fitted.log_hr_sd:
        raise UsageError(f'"{of}" has no log HR here; those that have: {", ".join(fitted.log_hr_sd) or "none"}')
    density = log_joint(fitted, time=time, event=event, arm=arm, design=design, arms=arms)
    centre = torch.cat([value.reshape(-1) for value in fitted.posterior.mode.values()])
    root = torch.linalg.cholesky(fitted.posterior.covariance)
    flat = dist.Normal(torch.zeros_like(centre), 1.0).to_event(1).mask(False)

    def model() -> None:
        away = pyro.sample("away", flat)
        pyro.factor("density", density(centre + root @ away))

    with isolated(seed), pyro.get_param_store().scope():
        kernel = NUTS(model, init_strategy=init_to_value(values={"away": torch.zeros_like(centre)}))
        chain = MCMC(kernel, num_samples=draws, warmup_steps=warmup, disable_progbar=True)
        chain.run()
        place = len(fitted.hazards) + others.index(of)
        found = float(centre[place]) + chain.get_samples()["away"] @ root[place]
        n_divergent = sum(len(rows) for rows in chain.diagnostics()["divergences"].values())
    mean, sd = float(found.mean()), float(found.std())
    square = (found - mean) ** 2
    ess, ess_square = (float(effective_sample_size(column[None], chain_dim=0, sample_dim=1)) for column in (found, square))
    return NutsCheck(
        mean=mean,
        sd=sd,
        mean_mcse=sd / ess**0.5,
        sd_mcse=float(square.std()) / ess_square**0.5 / (2 * sd),
        ess=ess,
        r_hat=float(split_gelman_rubin(found[None], chain_dim=0, sample_dim=1)),
        n_divergent=n_divergent,
        laplace_mean=float(centre[place]),
        laplace_sd=float(fitted.posterior.covariance[place, place].sqrt()),
    )


def draw_effects(posterior: Posterior, n: int, *, seed: int | str, first: int = 0) -> Mapping[str, Float[Tensor, "draw *shape"]]:
    """Draws `first` … `first + n − 1` of every site of a posterior, jointly, from the full covariance of its Laplace guide.

    θ = mode + L ε with L the Cholesky factor of the covariance and ε from the stream `posterior`, draw r at replicate r: a draw
    depends on nothing but (seed, r). Effects keep their correlation with baseline hazards and weights, without which
    assurance would be overconfident. Normal tails: see `nuts_check` for how near that is.

    **Source:** O'Hagan, Stevens & Campbell 2005, Pharmaceutical Statistics 4:187, doi 10.1002/pst.175 (assurance).
    """
    size = len(posterior.covariance)
    noise = Streams(seed)("posterior").normal(Block(first, n), size)
    root = torch.linalg.cholesky(posterior.covariance)
    drawn = torch.stack([(noise[:, : row + 1] * root[row, : row + 1]).sum(-1) for row in range(size)], dim=1)
    out: dict[str, Tensor] = {}
    start = 0
    for site, mode in posterior.mode.items():
        out[site] = mode + drawn[:, start : start + mode.numel()].reshape(n, *mode.shape)
        start += mode.numel()
    return out
