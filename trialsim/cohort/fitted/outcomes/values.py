"""Values at a visit that a cohort model learned: a regression on the baseline and the arm, and a spread around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort.fitted.columns import Array
from trialsim.cohort.fitted.features import PRIOR_SCALES, Term, prior_sd, weigh
from trialsim.cohort.fitted.inference import Posterior, fit_laplace
from trialsim.cohort.fitted.outcomes.companions import LEVEL_SCALES, LevelDesign
from trialsim.cohort.fitted.outcomes.effects import MODIFIER_SCALES, ArmDesign
from trialsim.cohort.fitted.outcomes.newton import best_scale
from trialsim.cohort.fitted.outcomes.stored import read_posterior, store_posterior
from trialsim.cohort.fitted.outcomes.varied import VariedMean
from trialsim.records import Cohort

_FIXED_SD = 2.0
_LEAST_SD = 1e-4  # of the value's: where the baseline determines it, the SD stops here


@dataclass(frozen=True, slots=True)
class FittedValue:
    """A value at a visit: a mean given the baseline, and residuals of SD `sd` overall.

    `arm_difference` is against the reference arm, whose own is 0. `baseline` is the covariate that is the same quantity
    at baseline, where there is one. `varied` is the same outcome with effects that may differ between patients. How the
    residual SD follows the mean, and the residuals' shape, are in `FittedOutcomes.spreads`.
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
    varied: VariedMean

    @property
    def reference(self) -> str | None:
        """The arm whose difference is 0 (None: the data had one arm)."""
        return next((arm for arm in self.arm_difference if arm not in self.difference_sd), None)

    def mean(self, cohort: Cohort) -> Float[Tensor, "replicate patient"]:
        """The expected value of each patient under the reference arm."""
        return weigh(self.terms, self.weights, cohort).add_(self.intercept)

    def store(self, key: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """The value as JSON; its tensors go to `tensors` under names that start with `key`."""
        return {
            **store_posterior(self.posterior, key, tensors),
            "intercept": self.intercept,
            "sd": self.sd,
            "difference": list(self.arm_difference.items()),
            "difference_sd": dict(self.difference_sd),
            "baseline": self.baseline,
            "terms": [term.as_json() for term in self.terms],
            "weights": list(self.weights),
            "prior_scale": self.prior_scale,
            "varied": self.varied.store(),
        }

    @classmethod
    def read(cls, given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FittedValue:
        """The value that `store` wrote."""
        return cls(
            intercept=given["intercept"],
            sd=given["sd"],
            arm_difference=dict(given["difference"]),
            difference_sd=dict(given["difference_sd"]),
            baseline=given["baseline"],
            terms=tuple(Term.from_json(term) for term in given["terms"]),
            weights=tuple(given["weights"]),
            prior_scale=given["prior_scale"],
            posterior=read_posterior(given, tensors),
            varied=VariedMean.read(given["varied"]),
        )


def fit_value(
    value: Array,
    *,
    baseline: str | None,
    arms: tuple[str, ...],
    reference: int,
    arm: NDArray[np.int64],
    terms: tuple[Term, ...],
    design: Float[Tensor, "patient term"],
    prior_scales: Sequence[float] = PRIOR_SCALES,
    modifier_scales: Sequence[float] = MODIFIER_SCALES,
    levels: LevelDesign | None = None,
    level_scales: Sequence[float] = LEVEL_SCALES,
) -> FittedValue:
    """A normal regression on baseline terms and arm, in Pyro with a full-covariance Laplace guide.

        y_i = α + x_i β + δ_{a(i)} + σ ε_i

    `value` `[patient]` is NaN where missing (the row is masked). Priors, on the scale of SDs of y: α ~ Normal(0, 2),
    δ ~ Normal(0, 2), β as for events (but the weights of the quantity's own baseline have the scale 1: that it
    matters is known, and shrinking it would leave a bend in the residuals), log σ ~ Normal(0, 2). `varied`
    adds x_i ω_a and the levels of companions, as for events.
    σ is one number here, so that the arms' means are those of the data whatever the spread; `fit_spread` refines it.

    **Source:** Gelman et al. 2013, Bayesian Data Analysis, chapter 14, doi 10.1201/b16018.
    """
    seen = ~np.isnan(value)
    centre, spread = float(value[seen].mean()), float(value[seen].std())
    y = (value[seen] - centre) / spread
    x = design[torch.from_numpy(seen)]
    arm_design = ArmDesign.of(arms=arms, reference=reference, arm=arm[seen], terms=terms, design=x)
    n_arms, n_terms, n_modifiers = len(arm_design.others), len(terms), arm_design.modifiers.shape[1]
    levels = levels or LevelDesign.of(None, arms=arms, arm=arm)
    n_levels = levels.columns.shape[1]
    matrix = np.concatenate((np.ones((len(y), 1)), arm_design.treated, x.numpy(), arm_design.modifiers, levels.columns[seen]), axis=1)
    prior, own = prior_sd(terms).numpy(), np.array([term.column == baseline for term in terms], dtype=bool)
    gram, moment, total = matrix.T @ matrix, matrix.T @ y, float(y @ y)

    def sd_of(scale: float, modifier_scale: float = 0.0, level_scale: float = 0.0) -> Array:
        chosen = (prior * np.where(own, 1.0, scale), np.full(n_modifiers, modifier_scale), np.full(n_levels, level_scale))
        return np.concatenate((np.full(1 + n_arms, _FIXED_SD), *chosen, [_FIXED_SD]))

    def log_likelihood(theta: Array) -> tuple[float, Array, Array]:
        b, own = theta[:-1], float(np.exp(2.0 * theta[-1]))
        variance = own + _LEAST_SD**2
        lean = moment - gram @ b
        square = max(total - float(b @ (moment + lean)), 0.0)
        share = own / variance
        slope = np.concatenate((lean / variance, [share * (square / variance - len(y))]))
        information = np.zeros((len(theta), len(theta)))  # expected: b and log σ are orthogonal
        information[:-1, :-1], information[-1, -1] = gram / variance, 2.0 * len(y) * share**2
        return -0.5 * len(y) * float(np.log(variance)) - 0.5 * square / variance, slope, information

    start = np.zeros(matrix.shape[1] + 1)
    scales, modifier_scales = (prior_scales if terms else (1.0,)), (modifier_scales if n_modifiers else (0.0,))
    level_scales = level_scales if n_levels else (0.0,)
    alike, place = best_scale(log_likelihood, start, centre=start, sds=[sd_of(scale) for scale in scales])
    scale = scales[place]
    n_alike = 1 + n_arms + n_terms
    posterior = _posterior(matrix[:, :n_alike], y, sd_of(scale)[:n_alike], alike.place[:n_alike], float(alike.place[-1]))
    found, sd = posterior.mode["coefficients"] * spread, posterior.sd("coefficients") * spread
    difference = dict(zip(arm_design.others, found[1 : 1 + n_arms].tolist(), strict=True))
    mode, place = best_scale(log_likelihood, alike.place, centre=start, sds=[sd_of(scale, each) for each in modifier_scales])
    modifier_scale = modifier_scales[place]
    mode, place = best_scale(log_likelihood, mode.place, centre=start, sds=[sd_of(scale, modifier_scale, each) for each in level_scales])
    b = mode.place[:-1] * spread
    shift = dict(zip(arm_design.others, b[1 : 1 + n_arms].tolist(), strict=True))
    return FittedValue(
        intercept=float(found[0]) + centre,
        sd=float(torch.exp(2.0 * posterior.mode["log_sd"]) + _LEAST_SD**2) ** 0.5 * spread,
        arm_difference={name: difference.get(name, 0.0) for name in arms},
        difference_sd=dict(zip(arm_design.others, sd[1 : 1 + n_arms].tolist(), strict=True)),
        baseline=baseline,
        terms=terms,
        weights=tuple(found[1 + n_arms :].tolist()),
        prior_scale=scale,
        posterior=posterior,
        varied=VariedMean(
            means={name: float(b[0]) + centre + shift.get(name, 0.0) for name in arms},
            weights=tuple(b[1 + n_arms : n_alike].tolist()),
            modifiers=arm_design.by_arm(b[n_alike : n_alike + n_modifiers]),
            modifier_scale=modifier_scale,
            companions=levels.effects(b[n_alike + n_modifiers :]),
            level_scale=level_scales[place],
        ),
    )


def _posterior(matrix: Array, y: Array, prior_sd: Array, coefficients: Array, log_sd: float) -> Posterior:
    """The same model in Pyro, from its mode."""
    import pyro
    import pyro.distributions as dist

    x, seen, prior = torch.from_numpy(matrix), torch.from_numpy(y), torch.from_numpy(prior_sd)

    def model() -> None:
        weights = pyro.sample("coefficients", dist.Normal(torch.zeros_like(prior), prior).to_event(1))
        spread = pyro.sample("log_sd", dist.Normal(torch.zeros(1, dtype=torch.float64), _FIXED_SD).to_event(1))
        pyro.factor("values", dist.Normal(x @ weights, (torch.exp(2.0 * spread) + _LEAST_SD**2).sqrt()).log_prob(seen).sum())

    return fit_laplace(model, {"coefficients": torch.from_numpy(coefficients.copy()), "log_sd": torch.tensor([log_sd], dtype=torch.float64)})
