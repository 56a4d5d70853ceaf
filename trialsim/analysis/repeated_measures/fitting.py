"""Fits of repeated measures by restricted or full maximum likelihood, many replicates at a time.

`fit_repeated_measures(data, covariance="unstructured", reml=True)` is what other parts build on:

    fit.beta             [replicate, column]            coefficients, named by `fit.design.names`
    fit.beta_covariance  [replicate, column, column]    model-based, Φ
    fit.sigma            [replicate, visit, visit]
    fit.failure          [replicate]                    a key of records.FAILURES; numbers are NaN where it is not 0
    fit.mean()           [replicate, patient, visit]    of every patient at every visit, seen or not; `mean(group=…)` in another arm

With these and the patient's values the conditional mean of missing visits is  mean_m + Σ_mo Σ_oo^-1 (y_o - mean_o).
`weight` [replicate, patient] leaves patients out, and `leave_one_out(fit)` refits without each patient in turn from
the sums alone, starting at the fit: [replicate * patient] fits, replicate by replicate.

Newton's method in the parameters of `covariance`, halving steps that lose likelihood, and scoring where the curvature is not
positive; each replicate stops at its own convergence. It starts at the regressions of each visit on the factors and the earlier
visits among patients seen at all of them, which is the maximum for monotone missingness but for the restriction.

**Source:** Lindstrom & Bates 1988 (doi 10.1080/01621459.1988.10478693).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trialsim.analysis.failures import DID_NOT_CONVERGE, NO_PATIENTS, NO_VALUES_AT_VISIT, NO_VARIANCE, SINGULAR
from trialsim.analysis.repeated_measures.covariance import Structure
from trialsim.analysis.repeated_measures.design import Design, repeated_measures_design
from trialsim.analysis.repeated_measures.likelihood import Point, evaluate, expected_hessian, log_likelihood
from trialsim.analysis.repeated_measures.small_matrices import add_up, apply, invert, outer_sum
from trialsim.analysis.repeated_measures.sums import Sums, patterns_of, standardise, sum_up
from trialsim.records import VisitData

LARGEST_BLOCK = 256
WORK_PER_BLOCK = 1_000_000  # numbers in the largest array
MAX_EVALUATIONS = 100
SMALL_DECREMENT = 1e-16  # g' H^-1 g of the deviance: the step left is 1e-8 standard errors
AT_REST = 1e-9  # the same at the end, with the exact hessian
EXACT_FIT = 1e-12  # residual variance at a visit relative to the values' own


@dataclass(frozen=True, slots=True)
class Fit:
    """A fit of every replicate; see the module. The tensors of `point` have the replicate last and standardised factors."""

    design: Design
    sums: Sums
    structure: Structure
    reml: bool
    theta: Float[Tensor, "parameter replicate"]
    point: Point
    theta_covariance: Float[Tensor, "parameter parameter replicate"]
    """Twice the inverse of the deviance's hessian."""
    kept: Float[Tensor, "column replicate"]
    failure: Int[Tensor, "replicate"]

    @property
    def beta(self) -> Float[Tensor, "replicate column"]:
        """Coefficients; 0 where one cannot be estimated."""
        return self._masked(self.sums.unstandardised(self.point.beta).T)

    @property
    def beta_covariance(self) -> Float[Tensor, "replicate column column"]:
        """Model-based covariance matrix of the coefficients."""
        return self._masked(self.sums.unstandardise_covariance(self.point.phi).movedim(-1, 0))

    @property
    def sigma(self) -> Float[Tensor, "replicate visit visit"]:
        """Covariance matrix of a patient's visits."""
        return self._masked(self.point.covariance.sigma.movedim(-1, 0))

    @property
    def log_likelihood(self) -> Float[Tensor, "replicate"]:
        """Restricted or full log-likelihood at its maximum."""
        return self._masked(log_likelihood(self.point, self.sums, self.kept, reml=self.reml))

    def mean(self, group: Int[Tensor, "replicate patient"] | int | None = None) -> Float[Tensor, "replicate patient visit"]:
        """Means of every patient at every visit, in the patient's own arm or in another."""
        x = self.design.x
        if group is not None:
            arm = torch.as_tensor(group, device=x.device)
            first = len(x) - self.design.n_groups + 1
            x = torch.cat([x[:first], torch.stack([(arm == g).to(x.dtype).expand(x.shape[1:]) for g in range(1, self.design.n_groups)])])
        full = self.sums.spread(self.beta.T)  # factor visit replicate
        return torch.stack([add_up(x * full[:, visit, :, None]) for visit in range(self.design.n_visits)], dim=-1)

    def _masked(self, numbers: Tensor) -> Tensor:
        return torch.where((self.failure != 0).reshape(-1, *([1] * (numbers.ndim - 1))), torch.nan, numbers)


def fit_repeated_measures(
    data: VisitData,
    *,
    covariance: str = "unstructured",
    reml: bool = True,
    covariate_by_visit: bool = False,
    constrained: bool = False,
    weight: Float[Tensor, "replicate patient"] | None = None,
) -> Fit:
    """The maximum of the (restricted) likelihood in every replicate.

    `covariance` names a structure of `covariance.FAMILIES`; the other arguments are those of `repeated_measures_design`.
    """
    design = repeated_measures_design(data, covariate_by_visit=covariate_by_visit, constrained=constrained, weight=weight)
    sums = sum_up(design, patterns_of(design.observed) or [1])
    return fit_sums(design, sums, Structure(covariance, design.n_visits), reml=reml, failure=_data_failures(design))


def leave_one_out(fit: Fit) -> Fit:
    """The fit without patient 0, 1, … of replicate 0, then of replicate 1, …: [replicate * patient].

    A patient who is not in the analysis leaves it as it is. `design` stays that of `fit`.
    """
    design, sums = fit.design, fit.sums
    n = design.value.shape[1]
    x, y, *_ = standardise(design)
    z = torch.cat([x, y])
    m = len(x)
    code = torch.zeros(design.there.shape, dtype=torch.int64, device=z.device)
    for visit in range(design.n_visits):
        code = code + (design.observed[..., visit].to(torch.int64) << visit)
    mine = torch.stack([code == sum(1 << v for v in range(design.n_visits) if sums.seen[v, o] > 0) for o in range(sums.seen.shape[1])]).to(z.dtype)
    own = (z[:, None] * z[None])[:, :, None] * mine  # k k pattern replicate patient
    parts = {"xx": own[:m, :m], "xy": own[:m, m:], "yy": own[m:, m:]}
    less = {name: (getattr(sums, name)[..., None] - part).flatten(-2) for name, part in parts.items()}
    same = {name: getattr(sums, name).repeat_interleave(n, dim=-1) for name in ("shift", "centre", "scale")}
    each = dataclasses.replace(sums, **less, **same)
    start = fit.theta.repeat_interleave(n, dim=-1)
    return fit_sums(design, each, fit.structure, reml=fit.reml, failure=fit.failure.repeat_interleave(n), start=start)


def fit_sums(
    design: Design,
    sums: Sums,
    structure: Structure,
    *,
    reml: bool,
    failure: Int[Tensor, "replicate"],
    start: Float[Tensor, "parameter replicate"] | None = None,
) -> Fit:
    """The fit of given sums; `failure` marks replicates already known to fail. Some replicates at a time, as the cache allows."""
    size = replicates_at_once(sums.n_visits, design.n_columns)
    slices = [slice(first, first + size) for first in range(0, sums.n_replicates, size)]
    parts = [
        _fit_block(design, sums.rows(rows), structure, reml=reml, failure=failure[rows], start=None if start is None else start[:, rows]) for rows in slices
    ]  # fmt: skip
    if len(parts) == 1:
        return dataclasses.replace(parts[0], sums=sums)

    def joined(name: str, of: str = "") -> Tensor:
        return torch.cat([getattr(getattr(part, of) if of else part, name) for part in parts], dim=-1)

    theta = joined("theta")
    numbers = {name: joined(name, "point") for name in ("deviance", "gradient", "hessian", "beta", "phi", "inverse", "jacobian")}
    point = Point(**numbers, covariance=structure.at(theta))
    others = {name: joined(name) for name in ("theta_covariance", "kept", "failure")}
    return Fit(design=design, sums=sums, structure=structure, reml=reml, theta=theta, point=point, **others)


def replicates_at_once(n_visits: int, n_columns: int) -> int:
    """How many replicates to work on together: their largest array fits the cache. Numbers do not depend on it."""
    largest = max(n_visits * (n_visits + 1) // 2 * n_columns**2, n_visits**4)
    return max(1, min(LARGEST_BLOCK, WORK_PER_BLOCK // largest))


def _fit_block(
    design: Design, sums: Sums, structure: Structure, *, reml: bool, failure: Int[Tensor, "replicate"], start: Float[Tensor, "parameter replicate"] | None
) -> Fit:
    kept = sums.kept()
    arms = slice(design.n_columns - (design.n_groups - 1) * (design.n_visits - design.factors[-1].from_visit), design.n_columns)
    first_arm = kept[arms][: design.n_visits - design.factors[-1].from_visit]
    failure = torch.where((failure == 0) & (first_arm == 0).any(0), SINGULAR, failure)
    crude, flat = _crude_covariance(sums)
    failure = torch.where((failure == 0) & flat, NO_VARIANCE, failure)
    # A replicate that fails takes an innocent matrix through the iterations.
    eye = torch.eye(structure.n_visits, dtype=crude.dtype, device=crude.device)[..., None]
    theta = structure.start(torch.where(failure == 0, crude, eye))
    if start is not None:
        theta = torch.where(torch.isfinite(start), start, theta)
    theta = _maximise(theta, sums, structure, kept, reml=reml, failed=failure != 0)
    point = evaluate(theta, sums, structure, kept, reml=reml, exact=True)
    inverse, pivots = invert(point.hessian)
    decrement = add_up(point.gradient * apply(inverse, point.gradient))
    sound = torch.isfinite(pivots).all(0) & (decrement < AT_REST)
    failure = torch.where((failure == 0) & ~sound, DID_NOT_CONVERGE, failure)
    return Fit(
        design=design, sums=sums, structure=structure, reml=reml, theta=theta, point=point, theta_covariance=2.0 * inverse, kept=kept, failure=failure
    )  # fmt: skip


def _data_failures(design: Design) -> Int[Tensor, "replicate"]:
    """0, or: an arm without patients, an arm that has patients but no value at a visit. Further arms may be empty."""
    failure = torch.zeros(len(design.there), dtype=torch.int8, device=design.there.device)
    for arm in range(design.n_groups):
        of_arm = (design.group == arm)[..., None] & design.observed
        counts = of_arm.sum(1)
        empty = (counts == 0).all(-1)
        failure = torch.where((failure == 0) & ~empty & (counts == 0).any(-1), NO_VALUES_AT_VISIT, failure)
        if arm < 2:
            failure = torch.where(empty, NO_PATIENTS, failure)
    return failure


def _crude_covariance(sums: Sums) -> tuple[Float[Tensor, "visit visit replicate"], Tensor]:
    """Each visit regressed on the factors and the earlier visits; and where a visit does not vary given the factors."""
    m, n_visits = len(sums.factors), sums.n_visits
    square = torch.cat([torch.cat([sums.xx, sums.xy], dim=1), torch.cat([sums.xy.transpose(0, 1), sums.yy], dim=1)])
    # For visit t: the patients seen at it, and those seen at it and at all visits before.
    square = outer_sum(square, torch.cat([sums.seen, sums.seen.cumprod(0)])[..., None])
    n = square[0, 0].clone()
    total = torch.stack([square[m + t, m + t, t] for t in range(n_visits)])
    sigma = torch.zeros((n_visits, n_visits, sums.n_replicates), dtype=n.dtype, device=n.device)
    for j in range(m):
        _sweep(square, j)
    alone = torch.stack([square[m + t, m + t, t] for t in range(n_visits)])
    flat = ~(alone > EXACT_FIT * total).all(0)
    alone = alone / (n[:n_visits] - m).clamp(min=1.0)
    sigma[0, 0] = alone[0]
    square = square[:, :, n_visits:].clone()
    for t in range(1, n_visits):
        _sweep(square, m + t - 1)
        left = square[m + t, m + t, t] / (n[n_visits + t] - m - t)
        enough = (n[n_visits + t] > m + t + 2) & (left > 1e-3 * alone[t])
        slopes = torch.where(enough, square[m : m + t, m + t, t], 0.0)
        sigma[t, :t] = sigma[:t, t] = apply(sigma[:t, :t], slopes)
        sigma[t, t] = torch.where(enough, left + add_up(slopes * sigma[:t, t]), alone[t])
    return sigma, flat


def _sweep(a: Tensor, j: int) -> None:
    """One step of regression: column j is taken out of the others, in place; one that nothing is left of is passed over."""
    pivot = a[j, j]
    inverse = torch.where(pivot > 1e-10, 1.0 / pivot, 0.0)
    row = a[j] * inverse
    a -= a[:, j, None] * row
    a[j] = row
    a[:, j] = row


def _maximise(theta: Tensor, sums: Sums, structure: Structure, kept: Tensor, *, reml: bool, failed: Tensor) -> Tensor:
    """θ where the likelihood of each replicate is largest; where it is not found, θ as far as it came."""
    found = theta.clone()
    live = torch.nonzero(~failed)[:, 0]
    if len(live) == 0:
        return found
    part, keep, trial = sums.rows(live), kept[:, live], theta[:, live]
    # Without correlation every structure is positive definite: the way back from a start that is not.
    at = torch.cat([trial[: structure.n_scales], torch.zeros_like(trial[structure.n_scales :])])
    deviance = torch.full_like(trial[0], torch.inf)
    step = torch.zeros_like(trial)
    for _ in range(MAX_EVALUATIONS):
        point = evaluate(trial, part, structure, keep, reml=reml, exact=False)
        better = point.deviance <= deviance + 1e-11 * deviance.abs().clamp(max=1e300)
        at = torch.where(better, trial, at)
        deviance = torch.where(better, point.deviance, deviance)
        step = torch.where(better, _step(point, part, structure), step)
        decrement = torch.where(better, -add_up(point.gradient * step), torch.inf)
        trial = torch.where(better, at + step, 0.5 * (at + trial))
        done = better & ~(decrement >= SMALL_DECREMENT)
        found[:, live] = trial
        if done.any():
            rest = ~done
            if not rest.any():
                break
            live, part, keep = live[rest], part.rows(rest), keep[:, rest]
            at, trial, step, deviance = at[:, rest], trial[:, rest], step[:, rest], deviance[rest]
    return found


def _step(point: Point, sums: Sums, structure: Structure) -> Tensor:
    """Newton's step, or that of scoring where the hessian is not positive definite."""
    inverse, pivots = invert(point.hessian)
    bad = ~torch.isfinite(pivots).all(0)
    if bad.any():
        other, _ = invert(expected_hessian(point, sums, structure))
        inverse = torch.where(bad, other, inverse)
    return -apply(inverse, point.gradient)
