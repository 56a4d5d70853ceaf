"""Which true value belongs to an analysis, and how it is found: the summary measure of its estimand, else what its method estimates.

    hazard_ratio                     the Cox limit up to the cell's median cut (`truth`)
    subdistribution_hazard_ratio     the same with patients kept at risk after a competing event (Fine & Gray 1999)
    difference                       of means at the visit; of probabilities
    odds_ratio                       of the population's probabilities; without an estimand a regression's own, given its covariates
                                     or strata (`true_regressions`); the common one of an ordinal outcome
    risk_ratio, rate_ratio           of the population's probabilities, or expected counts by the visit (else by the median cut)
    cumulative_incidence_difference  of one cause by the method's `at`
    average_hazard_ratio             the odds that of two patients the test patient has the event first, by the method's tau
    rmst_*, milestone_*, median_*    of survival, free of any of the endpoint's events, up to or at the method's time
    win_ratio, net_benefit, win_odds of independent pairs (`true_pairs`)

Where the two arms do the same the value is exactly 0, whatever is estimated. Undefined values, and those of times that depend
on the data (an `at` or `tau` left out), are None.

**Source:** ICH E9(R1) 2019 (summary measures); Fine & Gray 1999, doi 10.1080/01621459.1999.10474144.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trialsim.conduct.comparison import PlannedAnalysis
from trialsim.evaluation.true_contrasts import Contrast, contrast_over, true_median_contrast
from trialsim.evaluation.true_pairs import true_median_of_differences, true_win_measure
from trialsim.evaluation.true_regressions import common_log_odds_ratio, conditional_log_odds_ratio, proportional_log_odds_ratio
from trialsim.evaluation.truth import N_TWINS, TrueValue, TwinSampler, sampled_log_hazard_ratio, true_log_hazard_ratio, true_mean_difference
from trialsim.records import AnalysisData, Cohort, HierarchyData, ValueData
from trialsim.rng import Block
from trialsim.twins import TwinModel

Floats = npt.NDArray[np.float64]

SUMMARIES = {
    "difference_in_means": "difference",
    "difference_in_proportions": "difference",
    "risk_ratio": "risk_ratio",
}
"""Summary measures that methods call by another name; the others have the same."""
LOG_SCALES: dict[str, Contrast] = {"risk_ratio": "ratio", "rate_ratio": "ratio", "odds_ratio": "odds_ratio", "difference": "difference"}


ESTIMATE_NOTHING = {"logrank": "hazard_ratio", "maxcombo": "hazard_ratio", "gray": "subdistribution_hazard_ratio"}
"""What tells whether the null hypothesis of a test without an estimate is true."""


@dataclass(frozen=True, slots=True)
class TrueQuestion:
    """What is asked of the twins.

    `kind` is the endpoint's type. `outcomes` (the first counts), `visit` and `cause` (index of the outcome of interest) as in
    the analysis; `visits` those over which its one effect is an average; `conditional`: the estimate is given the analysis's covariates or strata; `common`: pairs are compared over
    their common follow-up; `time` is the method's restriction time, milestone or `at` in days. `covariates` and `strata` give the
    analysis's columns for a block of twins where its model is conditional on them. `weights` are the arms' allocation (test,
    reference), `cut_time` the calendar time (days) at which the cell's trials stop, at the median.
    """

    measure: str
    kind: str
    outcomes: tuple[str, ...]
    test: int
    reference: int
    cut_time: float
    weights: tuple[float, float] = (1.0, 1.0)
    visit: str | None = None
    visits: tuple[str, ...] = ()
    cause: int | None = None
    time: float | None = None
    conditional: bool = False
    common: bool = False
    covariates: Callable[[Block, Cohort], Tensor] | None = None
    strata: Callable[[Cohort], Tensor] | None = None


def benefit_of(plan: PlannedAnalysis) -> int:
    """+1 where a larger estimate is better for patients of the test arm. Survival and time without an event are good where events are bad."""
    of_survival = (plan.method.scale or "").startswith(("rmst", "milestone", "median_d"))
    return -plan.favours if of_survival else plan.favours


def question_of(plan: PlannedAnalysis, outcomes: tuple[str, ...], *, cut_time: float, weights: tuple[float, float]) -> TrueQuestion:
    """The question that an analysis answers: its estimand's where its method estimates that summary measure, else the method's own."""
    method: Any = plan.method
    name = getattr(method, "method", "")
    own = method.scale or ESTIMATE_NOTHING.get(name, "")
    asked = SUMMARIES.get(plan.summary or "", plan.summary or "")
    times = (getattr(method, option, None) for option in ("tau", "at", "horizon"))
    return TrueQuestion(
        measure="median_of_differences" if name == "wilcoxon" else own or asked,
        kind=plan.kind,
        outcomes=outcomes,
        test=plan.test,
        reference=plan.reference,
        cut_time=cut_time,
        weights=weights,
        visit=None if plan.tiers else plan.visit,
        visits=plan.visits if name == "gee" else (),
        cause=None if plan.cause is None else outcomes.index(plan.cause),
        time=next((time for time in times if isinstance(time, float)), None),
        conditional=own == "odds_ratio" and asked != own and not getattr(method, "marginal", False),
        common=getattr(method, "follow_up", "own") == "common",
    )


def true_of_pairs(model: TwinModel, question: TrueQuestion, pairs: Callable[[], Iterator[AnalysisData]]) -> TrueValue | None:
    """The true value of what compares pairs of independent patients; `pairs` yields blocks in which the arms alternate, the test arm first."""
    if _identical(model, question):
        return TrueValue(0.0)
    if question.measure != "median_of_differences":
        blocks = (data for data in pairs() if isinstance(data, HierarchyData))
        return true_win_measure(blocks, question.measure, common=question.common, horizon=question.time)
    if question.kind != "continuous":
        return None  # a median difference of 0 would not mean that the arms are alike
    shift = model.constant_mean_difference(question.outcomes[0], question.visit, question.test, question.reference)
    if shift is not None:
        return TrueValue(shift)  # the arms' values differ by a constant in law
    test, reference = [], []
    for data in pairs():
        assert isinstance(data, ValueData)
        even = data.value.shape[-1] // 2 * 2
        test.append(data.value[:, 0:even:2])
        reference.append(data.value[:, 1:even:2])
    return true_median_of_differences(torch.cat(test), torch.cat(reference))


def _identical(model: TwinModel, question: TrueQuestion) -> bool:
    visits = question.visits or (question.visit,)
    return all(model.effect_is_identity(outcome, question.test, question.reference, visit) for outcome in question.outcomes for visit in visits)


def true_summary(model: TwinModel, question: TrueQuestion, sampler: TwinSampler, n_twins: int = N_TWINS) -> TrueValue | None:
    """The true value of a question on the scale of inference; see the module."""
    if _identical(model, question):
        return TrueValue(0.0)
    if len(question.visits) > 1:
        return _over_visits(question, [true_summary(model, replace(question, visit=visit, visits=()), sampler, n_twins) for visit in question.visits])
    if question.kind in ("time_to_event", "composite") and question.measure != "rate_ratio":
        return _of_times(model, question, sampler, n_twins)
    if question.kind == "continuous":
        if question.measure != "difference":
            return None
        arms: dict[str, Any] = {"test": question.test, "reference": question.reference}
        return true_mean_difference(model, question.outcomes[0], question.visit, **arms, sampler=sampler, n_twins=n_twins)
    if question.measure == "rate_ratio":
        return _rate_ratio(model, question, sampler, n_twins)
    if question.kind == "ordinal":
        return _ordinal(model, question, sampler, n_twins) if question.measure == "odds_ratio" else None
    if question.kind == "binary" and question.measure == "odds_ratio" and (question.covariates is not None or question.strata is not None):
        return _conditional_odds_ratio(model, question, sampler, n_twins)
    contrast = LOG_SCALES.get(question.measure)
    return None if contrast is None else contrast_over(_expected(model, question, sampler, n_twins), contrast)


def _over_visits(question: TrueQuestion, found: Sequence[TrueValue | None]) -> TrueValue | None:
    """One effect common to all visits: the average of differences in means; on other scales only where it is the same at each.

    Its MCSE is bounded by the average of theirs, as the visits share their twins.
    """
    known = [each for each in found if each is not None]
    values = [each.value for each in known]
    if len(known) < len(found) or (question.kind != "continuous" and max(values) - min(values) > 1e-9):
        return None
    return TrueValue(sum(values) / len(values), sum(each.mcse for each in known) / len(known), max(each.n for each in known))


def _expected(model: TwinModel, question: TrueQuestion, sampler: TwinSampler, n_twins: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The expected value of every twin under both arms."""
    outcome = question.outcomes[0]
    for block in sampler.blocks(n_twins):
        cohort = sampler.cohort(block)
        test, reference = (model.mean(outcome, question.visit, cohort, arm) for arm in (question.test, question.reference))
        yield test, reference


# Counts ---------------------------------------------------------------------------------------------------------------------


def _rate_ratio(model: TwinModel, question: TrueQuestion, sampler: TwinSampler, n_twins: int) -> TrueValue | None:
    """Ratios of rates collapse over covariates and frailties, so a constant one is exact; else the ratio of the expected counts."""
    outcome = question.outcomes[0]
    constant = model.constant_log_rate_ratio(outcome, question.visit, question.test, question.reference)
    if constant is not None:
        return TrueValue(constant)
    if question.visit is not None:
        return contrast_over(_expected(model, question, sampler, n_twins), "ratio")

    def by_the_cut() -> Iterator[tuple[Tensor, Tensor]]:
        for block in sampler.blocks(n_twins):
            cohort, followed = sampler.cohort(block), (question.cut_time - sampler.entry_times(block)).clamp(min=0.0)
            shape = (block.size, sampler.n)
            yield tuple(model.expected_events(outcome, arm, followed, cohort).expand(shape) for arm in (question.test, question.reference))  # type: ignore[misc]

    return contrast_over(by_the_cut(), "ratio")


# Binary and ordinal -----------------------------------------------------------------------------------------------------------


def _conditional_odds_ratio(model: TwinModel, question: TrueQuestion, sampler: TwinSampler, n_twins: int) -> TrueValue | None:
    test: list[Tensor] = []
    reference: list[Tensor] = []
    covariates, strata = [], []
    for block in sampler.blocks(n_twins):
        cohort, shape = sampler.cohort(block), (block.size, sampler.n)
        for arm, store in ((question.test, test), (question.reference, reference)):
            store.append(model.mean(question.outcomes[0], question.visit, cohort, arm).expand(shape).reshape(-1))
        if question.covariates is not None:
            columns = question.covariates(block, cohort or Cohort({}))
            covariates.append(columns.expand(*shape, columns.shape[-1]).reshape(-1, columns.shape[-1]))
        elif question.strata is not None:
            strata.append(question.strata(cohort or Cohort({})).expand(shape).reshape(-1))
    p1, p0 = (torch.cat(parts).numpy() for parts in (test, reference))
    if strata:
        return common_log_odds_ratio(p1, p0, torch.cat(strata).numpy().astype(np.int64), weights=question.weights)
    x = torch.cat(covariates).numpy()
    known = np.isfinite(x).all(axis=1)
    return conditional_log_odds_ratio(p1[known], p0[known], x[known], weights=question.weights)


def _ordinal(model: TwinModel, question: TrueQuestion, sampler: TwinSampler, n_twins: int) -> TrueValue | None:
    """The declared odds ratio, where it is one number and no covariate moves the outcome; else the limit of the fit to the arm alone."""
    outcome = question.outcomes[0]
    constant = model.constant_log_odds_ratio(outcome, question.visit, question.test, question.reference)
    if constant is not None and (not model.covariates_move(outcome) or question.covariates is not None):
        return TrueValue(constant)
    chances: tuple[list[Tensor], list[Tensor]] = ([], [])
    for block in sampler.blocks(n_twins):
        cohort, shape = sampler.cohort(block), (block.size, sampler.n)
        for arm, store in zip((question.test, question.reference), chances, strict=True):
            above = model.chances_above(outcome, question.visit, cohort, arm)
            store.append(torch.stack([chance.expand(shape).reshape(-1) for chance in above], dim=-1))
    p1, p0 = (torch.cat(parts).numpy() for parts in chances)
    return proportional_log_odds_ratio(p1, p0, weights=question.weights)


# Times to event ---------------------------------------------------------------------------------------------------------------


def _of_times(model: TwinModel, question: TrueQuestion, sampler: TwinSampler, n_twins: int) -> TrueValue | None:
    measure, time = question.measure, question.time
    arms: dict[str, Any] = {"test": question.test, "reference": question.reference, "sampler": sampler, "n_twins": n_twins}
    if measure == "hazard_ratio":
        return true_log_hazard_ratio(model, question.outcomes, cut_time=question.cut_time, weights=question.weights, **arms)
    if measure == "subdistribution_hazard_ratio":
        cause = question.cause or 0
        return sampled_log_hazard_ratio(model, question.outcomes, cause=cause, cut_time=question.cut_time, weights=question.weights, **arms)
    if not model.all_are_followed(question.outcomes):
        return None  # survival free of an event that death prevents is not defined
    if measure.startswith("median"):
        test, reference = (np.concatenate(parts) for parts in zip(*(_flat(pair) for pair in _times(model, question, sampler, n_twins)), strict=True))
        return true_median_contrast(test, reference, _contrast(measure))
    if time is None:
        return None
    if measure == "average_hazard_ratio":
        return _average_hazard_ratio(_times(model, question, sampler, n_twins), time)
    if measure == "cumulative_incidence_difference":
        return contrast_over(_by(_causes(model, question, sampler, n_twins), lambda times: (times <= time).double()), "difference")
    if measure.startswith("rmst"):
        return contrast_over(_by(_times(model, question, sampler, n_twins), lambda times: times.clamp(max=time)), _contrast(measure))
    if measure.startswith(("milestone", "survival")):
        return contrast_over(_by(_times(model, question, sampler, n_twins), lambda times: (times > time).double()), _contrast(measure))
    return None


def _average_hazard_ratio(pairs: Iterator[tuple[Tensor, Tensor]], tau: float) -> TrueValue | None:
    """The log odds, over disjoint pairs of twins, that the test patient has the event first and by tau."""
    first = last = n = 0
    for test, reference in pairs:
        even = test.shape[-1] // 2 * 2
        a, b = test[:, 0:even:2], reference[:, 1:even:2]
        first, last, n = first + int(((a < b) & (a <= tau)).sum()), last + int(((b < a) & (b <= tau)).sum()), n + a.numel()
    return TrueValue(math.log(first) - math.log(last), math.sqrt(1.0 / first + 1.0 / last), n) if first and last else None


def _contrast(measure: str) -> Contrast:
    return "ratio" if measure.endswith("ratio") else "difference"


def _by(pairs: Iterator[tuple[Tensor, Tensor]], of: Callable[[Tensor], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    return ((of(test), of(reference)) for test, reference in pairs)


def _flat(pair: tuple[Tensor, Tensor]) -> tuple[Floats, Floats]:
    test, reference = (part.reshape(-1).numpy() for part in pair)
    return test, reference


def _times(model: TwinModel, question: TrueQuestion, sampler: TwinSampler, n_twins: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The time to the first of the outcomes under both arms of the same twins."""
    for times in _all_times(model, question, sampler, n_twins):
        test, reference = (torch.stack(list(of_arm)).amin(0) for of_arm in times)
        yield test, reference


def _causes(model: TwinModel, question: TrueQuestion, sampler: TwinSampler, n_twins: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The time to the outcome of interest where it is the first, else infinity."""
    cause = question.cause or 0
    for times in _all_times(model, question, sampler, n_twins):
        test, reference = (of_arm[cause].masked_fill(of_arm[cause] > torch.stack(list(of_arm)).amin(0), torch.inf) for of_arm in times)
        yield test, reference


def _all_times(model: TwinModel, question: TrueQuestion, sampler: TwinSampler, n_twins: int) -> Iterator[tuple[Sequence[Tensor], Sequence[Tensor]]]:
    for block in sampler.blocks(n_twins):
        who: dict[str, Any] = {"streams": sampler.streams, "block": block, "n": sampler.n, "cohort": sampler.cohort(block)}
        test, reference = (model.event_times(question.outcomes, **who, arm=arm) for arm in (question.test, question.reference))
        yield test, reference
