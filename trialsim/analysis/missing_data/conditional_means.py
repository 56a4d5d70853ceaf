"""One imputation by conditional means, with a jackknife over patients.

Every missing value is replaced by its mean given what was seen, around the strategy's mean and with the restricted maximum
likelihood estimates of means and covariance. With theta the method's estimate of the completed data and theta_i the same
without patient i, model fit and imputation included,

    se^2 = (n - 1) / n  sum_i (theta_i - mean theta_i)^2,   z = theta / se.

Unlike Rubin's variance it is the variance of the estimate under reference-based assumptions too, which do not add the
information that Rubin's rules take to be there.

**Source:** Wolbers et al. 2022 (doi 10.1002/pst.2234). Covariances that differ between arms are not handled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.failures import NO_VARIANCE, fail
from trialsim.analysis.missing_data.completion import CELLS, incomplete
from trialsim.analysis.missing_data.imputation import Imputation
from trialsim.analysis.missing_data.strategies import expected
from trialsim.analysis.repeated_measures.fitting import Fit, fit_repeated_measures, leave_one_out
from trialsim.analysis.repeated_measures.small_matrices import apply, invert
from trialsim.analysis.replicates import blocks, joined
from trialsim.records import Estimates, ValueData, VisitData

if TYPE_CHECKING:
    from trialsim.analysis.missing_data.imputed import ValueMethod


def by_conditional_means(method: ValueMethod, data: VisitData, imputation: Imputation, *, favours: int) -> Estimates:
    """The method on conditional means, with the jackknife's standard error."""
    n = data.group.shape[-1]
    return joined([_jackknife(method, data.of(rows), imputation, favours=favours) for rows in blocks(len(data.group), CELLS // (n * n))])


def _jackknife(method: ValueMethod, data: VisitData, imputation: Imputation, *, favours: int) -> Estimates:
    rows, n = data.group.shape
    state = incomplete(data)
    fit = fit_repeated_measures(data, covariate_by_visit=True)
    whole = _analysed(method, data, conditional_means(data, fit, imputation), favours=favours)
    values = conditional_means(data, leave_one_out(fit), imputation)
    values = torch.where(torch.eye(n, dtype=torch.bool, device=values.device), torch.nan, values)
    without = _analysed(method, data, values, favours=favours)
    assert whole.estimate is not None
    assert without.estimate is not None
    weight = state.included.to(torch.float64)
    count = weight.sum(-1)
    each = torch.where(state.included, without.estimate.reshape(rows, n), 0.0)
    deviation = (each - (each.sum(-1) / count)[:, None]) * weight
    std_error = ((count - 1) / count * (deviation * deviation).sum(-1)).sqrt()
    failure = torch.maximum(fit.failure.to(torch.int8), whole.failure.to(torch.int8))
    of_parts = torch.where(state.included, without.failure.reshape(rows, n).to(torch.int8), 0).amax(-1)
    failure = torch.where(failure == 0, of_parts, failure)
    failure = torch.where((failure == 0) & ~(std_error > 0), NO_VARIANCE.to(failure.device), failure)
    estimate, std_error, statistic = fail(failure, whole.estimate, std_error, favours * whole.estimate / std_error)
    return Estimates(statistic=statistic, n=state.included.sum(-1), failure=failure, estimate=estimate, std_error=std_error)


def conditional_means(data: VisitData, fit: Fit, imputation: Imputation) -> Float[Tensor, "replicate fit patient"]:
    """The value at the visit of the contrast, imputed with every fit of a replicate (one, or one without each patient)."""
    state = incomplete(data)
    rows, _, n_visits = data.value.shape
    full = fit.sums.spread(fit.beta.T).reshape(-1, n_visits, rows, len(fit.failure) // rows)  # factor visit replicate fit
    sigma = torch.where((fit.failure == 0)[:, None, None], fit.sigma, torch.eye(n_visits, dtype=torch.float64, device=fit.sigma.device))
    own = _means(fit.design.x, full)
    x = fit.design.x.clone()
    x[len(x) - data.n_groups + 1 :] = 0.0
    mean = expected(imputation.method, own, _means(x, full), state.leaves)
    seen = ~torch.isnan(data.value)
    code = (seen * (1 << torch.arange(n_visits, device=seen.device))).sum(-1)
    guess = mean[data.at]
    for pattern in code[state.included & ~seen[..., data.at]].unique().tolist():
        visits = [t for t in range(n_visits) if pattern >> t & 1]
        if not visits:
            continue
        inverse, _ = invert(sigma[:, visits][:, :, visits].permute(1, 2, 0))
        weights = apply(inverse, sigma[:, visits, data.at].T).reshape(len(visits), rows, -1)
        off = torch.zeros_like(guess)
        for weight, t in zip(weights, visits, strict=True):
            off = off + weight[..., None] * (torch.where(seen[..., t], data.value[..., t], 0.0)[:, None] - mean[t])
        guess = torch.where((code == pattern)[:, None], mean[data.at] + off, guess)
    guess = guess + imputation.delta * ((data.group > 0) & (state.leaves <= data.at)).to(torch.float64)[:, None]
    there = seen[..., data.at][:, None]
    value = torch.where(there, torch.where(seen[..., data.at], data.value[..., data.at], 0.0)[:, None], guess)
    return torch.where(state.included[:, None], value, torch.nan)


def _means(x: Float[Tensor, "factor replicate patient"], full: Float[Tensor, "factor visit replicate fit"]) -> list[Float[Tensor, "replicate fit patient"]]:
    means = []
    for visit in range(full.shape[1]):
        mean = full[0, visit][..., None] * x[0][:, None]
        for factor in range(1, len(x)):
            mean = mean + full[factor, visit][..., None] * x[factor][:, None]
        means.append(mean)
    return means


def _analysed(method: ValueMethod, data: VisitData, value: Float[Tensor, "replicate fit patient"], *, favours: int) -> Estimates:
    made = value.shape[1]
    covariates = None if data.covariates is None else data.covariates.repeat_interleave(made, 0)
    return method.estimate(
        ValueData(value=value.flatten(0, 1), group=data.group.repeat_interleave(made, 0), covariates=covariates, n_groups=data.n_groups), favours=favours
    )
