"""Fitting a Pyro model: the posterior mode and its full covariance, without touching the process's random state."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Posterior:
    """A normal approximation: the mode of each site, and the covariance of all of them in the model's order.

    `log_evidence` approximates the log of the model's marginal likelihood: log p(y, θ̂) + ½ log |2π Σ|.
    """

    mode: Mapping[str, Tensor]
    covariance: Float[Tensor, "parameter parameter"]
    log_evidence: float = float("nan")

    def sd(self, site: str) -> Tensor:
        """The posterior SD of each element of a site."""
        start = 0
        for name, value in self.mode.items():
            if name == site:
                return self.covariance.diagonal()[start : start + value.numel()].sqrt().reshape(value.shape)
            start += value.numel()
        raise KeyError(site)


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Pyro with a fixed seed and one thread; everything is as before afterwards (each fit has its own parameter store)."""
    import pyro

    threads, python_state, numpy_state = torch.get_num_threads(), random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        try:
            torch.set_num_threads(1)  # the order of sums, hence the last bits, must not depend on the machine
            pyro.set_rng_seed(seed)
            yield
        finally:
            torch.set_num_threads(threads)
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def fit_laplace(model: Callable[[], Any], start: Mapping[str, Tensor]) -> Posterior:
    """The Laplace approximation of a model without data arguments, whose sites are real vectors.

    Pyro's `AutoLaplaceApproximation`: a point estimate of all sites jointly by maximising the log joint density (here
    with L-BFGS, because the objective is deterministic), then a multivariate normal whose precision is the negative
    Hessian there. The covariance is full: a mean-field guide would understate the SD of a treatment effect that is
    correlated with the baseline hazard.

    **Source:** Tierney & Kadane 1986, JASA 81:82, doi 10.1080/01621459.1986.10478240; Bingham et al. 2019 (Pyro), JMLR 20:28.
    """
    import pyro
    from pyro.infer.autoguide import AutoLaplaceApproximation, init_to_value

    with pyro.get_param_store().scope():
        guide = AutoLaplaceApproximation(model, init_loc_fn=init_to_value(values=dict(start)))
        height = _climb(model, guide)
        normal = guide.laplace_approximation()
        covariance = normal.get_posterior().covariance_matrix
        mode = {name: value.detach().clone() for name, value in normal.median().items()}
    evidence = height + 0.5 * float(torch.logdet(2.0 * torch.pi * covariance))
    return Posterior(mode={name: mode[name] for name in start}, covariance=covariance.detach().clone(), log_evidence=evidence)


def fit_best(model_of: Callable[[float], Callable[[], Any]], start: Mapping[str, Tensor], scales: Sequence[float]) -> tuple[Posterior, float]:
    """The Laplace approximation under the prior scale with the largest evidence, and that scale (empirical Bayes).

    `model_of(scale)` is the model; the scales are tried in order, each from where the last one ended.

    **Source:** MacKay 1992, Neural Computation 4:415, doi 10.1162/neco.1992.4.3.415.
    """
    best: tuple[Posterior, float] | None = None
    for scale in scales:
        posterior = fit_laplace(model_of(scale), start)
        start = posterior.mode
        if best is None or posterior.log_evidence > best[0].log_evidence:
            best = posterior, scale
    assert best is not None
    return best


def fit_mode(model: Callable[[], Any], start: Mapping[str, Tensor], *, steps: int = 200, tolerance: float = 1e-8) -> Mapping[str, Tensor]:
    """The posterior mode alone (`AutoDelta`), up to a `tolerance` of the log density."""
    import pyro
    from pyro.infer.autoguide import AutoDelta, init_to_value

    with pyro.get_param_store().scope():
        guide = AutoDelta(model, init_loc_fn=init_to_value(values=dict(start)))
        _climb(model, guide, steps=steps, tolerance=tolerance)
        return {name: value.detach().clone() for name, value in guide.median().items()}


def _climb(model: Callable[[], Any], guide: Any, *, steps: int = 200, tolerance: float = 1e-8) -> float:
    """Maximises the ELBO of a guide that draws nothing, which is the log joint density, by L-BFGS; returns the maximum."""
    from pyro.infer import Trace_ELBO

    elbo = Trace_ELBO()
    guide()
    parameters = [parameter for parameter in guide.parameters() if parameter.requires_grad]
    optimiser = torch.optim.LBFGS(parameters, max_iter=steps, tolerance_grad=1e-7, tolerance_change=tolerance, history_size=30, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimiser.zero_grad()
        loss = elbo.differentiable_loss(model, guide)
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        return -float(elbo.differentiable_loss(model, guide))
