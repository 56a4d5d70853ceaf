"""Values at a visit that a cohort model learned: a normal regression on the baseline and the arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort.fitted.columns import Array
from trialsim.cohort.fitted.features import PRIOR_SCALES, Term, prior_sd, weigh
from trialsim.cohort.fitted.inference import Posterior, fit_best
from trialsim.records import Cohort


@dataclass(frozen=True, slots=True)
class FittedValue:
    """A value at a visit: normal with a mean given the baseline and a constant residual SD.

    `arm_difference` is against the reference arm, whose own is 0. `baseline` is the covariate that is the same quantity
    at baseline, where there is one.
    """

    intercept: float
    sd: float
    arm_difference: Mapping[str, float]
    difference_sd: Mapping[str, float]
    baseline: str | None
    terms: tuple[Term, ...]
    weights: tuple[float, ...]
    prior_scale: float
    posterior: Posterior

    @property
    def reference(self) -> str | None:
        """The arm whose difference is 0 (None: the data had one arm)."""
        return next((arm for arm in self.arm_difference if arm not in self.difference_sd), None)

    def mean(self, cohort: Cohort) -> Float[Tensor, "replicate patient"]:
        """The expected value of each patient under the reference arm."""
        return weigh(self.terms, self.weights, cohort).add_(self.intercept)


def fit_value(
    value: Array,
    *,
    baseline: str | None,
    arms: tuple[str, ...],
    reference: int,
    arm: NDArray[np.int64],
    terms: tuple[Term, ...],
    design: Float[Tensor, "patient term"],
) -> FittedValue:
    """A normal regression on baseline terms and arm, in Pyro with a full-covariance Laplace guide.

        y_i = α + x_i β + δ_{a(i)} + σ ε_i

    `value` `[patient]` is NaN where missing (the row is masked). Priors, on the scale of SDs of y: α ~ Normal(0, 2),
    δ ~ Normal(0, 2), β as for events, log σ ~ Normal(0, 2). The residual SD is one number: skewness and a spread that
    grows with the mean are not modelled.

    **Source:** Gelman et al. 2013, Bayesian Data Analysis, chapter 14, doi 10.1201/b16018.
    """
    import pyro
    import pyro.distributions as dist

    seen = ~np.isnan(value)
    centre, spread = float(value[seen].mean()), float(value[seen].std())
    y = torch.from_numpy((value[seen] - centre) / spread)
    x = design[torch.from_numpy(seen)]
    others = [place for place in range(len(arms)) if place != reference]
    treated = torch.from_numpy(np.stack([(arm[seen] == place).astype(np.float64) for place in others], axis=1) if others else np.zeros((int(seen.sum()), 0)))
    first = torch.full((1 + len(others),), 2.0, dtype=torch.float64)
    matrix = torch.cat((torch.ones(len(y), 1, dtype=torch.float64), treated, x), dim=1)

    def model(scale: float) -> None:
        prior = torch.cat((first, prior_sd(terms) * scale))
        coefficients = pyro.sample("coefficients", dist.Normal(torch.zeros_like(prior), prior).to_event(1))
        log_sd = pyro.sample("log_sd", dist.Normal(torch.zeros(1, dtype=torch.float64), 2.0).to_event(1))
        pyro.factor("values", dist.Normal(matrix @ coefficients, torch.exp(log_sd)).log_prob(y).sum())

    start = {"coefficients": torch.zeros(matrix.shape[1], dtype=torch.float64), "log_sd": torch.zeros(1, dtype=torch.float64)}
    posterior, prior_scale = fit_best(lambda scale: lambda: model(scale), start, PRIOR_SCALES if len(terms) else (1.0,))
    mode, sd = posterior.mode["coefficients"] * spread, posterior.sd("coefficients") * spread
    names = [arms[place] for place in others]
    difference = dict(zip(names, mode[1 : 1 + len(others)].tolist(), strict=True))
    return FittedValue(
        intercept=float(mode[0]) + centre,
        sd=float(torch.exp(posterior.mode["log_sd"])) * spread,
        arm_difference={name: difference.get(name, 0.0) for name in arms},
        difference_sd=dict(zip(names, sd[1 : 1 + len(others)].tolist(), strict=True)),
        baseline=baseline,
        terms=terms,
        weights=tuple(mode[1 + len(others) :].tolist()),
        prior_scale=prior_scale,
        posterior=posterior,
    )
