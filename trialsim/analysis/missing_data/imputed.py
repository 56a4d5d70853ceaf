"""An analysis of imputed values: the method's own kernel on every completed data set, pooled.

The imputation model is normal over the visits: arm and the analysis's covariates at every visit with coefficients of their own,
an unstructured covariance common to the arms. `delta` is added to every value of the test arms that is imputed after the patient left.

**Source:** see `completion`, `strategies`, `pooling`; for the jackknife, `conditional_means`.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from trialsim.analysis.failures import NO_VALUES_AT_VISIT, NO_VARIANCE, fail
from trialsim.analysis.missing_data.completion import CELLS, completed, incomplete
from trialsim.analysis.missing_data.conditional_means import by_conditional_means
from trialsim.analysis.missing_data.imputation import Imputation
from trialsim.analysis.missing_data.pooling import rubin
from trialsim.analysis.replicates import blocks, joined
from trialsim.analysis.visits_seen import by_visits_seen
from trialsim.records import Estimates, ValueData, VisitData


class ValueMethod(Protocol):
    """A method for single values that has an estimate with its standard error."""

    @property
    def imputation(self) -> Imputation | None: ...

    def estimate(self, data: ValueData, *, favours: int) -> Estimates: ...


def estimate_imputed(method: ValueMethod, data: VisitData, *, favours: int) -> Estimates:
    """The method on the imputed values at the visit of the contrast; see `Analysis.estimate`."""
    return by_visits_seen(data, lambda seen: _of_seen(method, seen, favours=favours))


def _of_seen(method: ValueMethod, data: VisitData, *, favours: int) -> Estimates:
    imputation = method.imputation
    assert imputation is not None
    if imputation.variance == "jackknife":
        return by_conditional_means(method, data, imputation, favours=favours)
    # Holes take another sampler: a replicate's numbers must not depend on whether its neighbours have them.
    holes = incomplete(data).has_holes
    order, parts = [], []
    everyone = torch.arange(len(holes), device=holes.device)
    for rows in blocks(len(holes), CELLS // (8 * data.group.shape[-1])):
        for some in (everyone[rows][~holes[rows]], everyone[rows][holes[rows]]):
            if len(some):
                order.append(some)
                parts.append(_rubin(method, data.of(some), imputation, favours=favours))
    return joined(parts, torch.cat(order).argsort())


def _rubin(method: ValueMethod, data: VisitData, imputation: Imputation, *, favours: int) -> Estimates:
    rows, n = data.group.shape
    state = incomplete(data)
    shift = imputation.delta * ((data.group > 0) & (state.leaves <= data.at)).to(torch.float64)
    estimates, errors = [], []
    df: Tensor | None = None
    failure = torch.zeros(rows, dtype=torch.int8, device=data.value.device)
    for _, value in completed(data, imputation.method, imputation.imputations):
        made = value.shape[1]
        value = torch.where(state.included[:, None], value + shift[:, None], torch.nan).reshape(rows * made, n)
        covariates = None if data.covariates is None else data.covariates.repeat_interleave(made, 0)
        found = method.estimate(
            ValueData(value=value, group=data.group.repeat_interleave(made, 0), covariates=covariates, n_groups=data.n_groups), favours=favours
        )
        assert found.estimate is not None
        assert found.std_error is not None
        estimates.append(found.estimate.reshape(rows, made))
        errors.append(found.std_error.reshape(rows, made))
        failure = torch.maximum(failure, found.failure.reshape(rows, made).amax(-1))
        if found.df is not None:
            least = found.df.reshape(rows, made).amin(-1)
            df = least if df is None else torch.minimum(df, least)
    nobody = _an_arm_has_no_value(data, state.included)
    pooled = rubin(torch.cat(estimates, -1), torch.cat(errors, -1), df)
    failure = torch.where(nobody, NO_VALUES_AT_VISIT.to(failure.device), failure)
    failure = torch.where((failure == 0) & ~(pooled.std_error > 0), NO_VARIANCE.to(failure.device), failure)
    estimate, std_error, df, statistic = fail(failure, pooled.estimate, pooled.std_error, pooled.df, favours * pooled.estimate / pooled.std_error)
    return Estimates(statistic=statistic, n=state.included.sum(-1), failure=failure, df=df, estimate=estimate, std_error=std_error)


def _an_arm_has_no_value(data: VisitData, included: Tensor) -> Tensor:
    """Replicates in which an arm was never seen at some visit: its mean there cannot be learned."""
    seen = ~torch.isnan(data.value) & included[..., None]
    missing = torch.zeros(len(data.value), dtype=torch.bool, device=data.value.device)
    for level in range(data.n_groups):
        missing |= ~(seen & (data.group == level)[..., None]).any(1).all(-1)
    return missing
