"""The joint model of a table's covariates, arm and missing cells: margins, links, dependence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from trialsim.cohort.fitted.cohort import FittedColumn
from trialsim.cohort.fitted.columns import Covariate
from trialsim.cohort.fitted.dependence import DEPENDENCES, Dependence, GaussianFactors
from trialsim.cohort.fitted.links import Baseline, calibrated, correlation_errors
from trialsim.cohort.fitted.margins import Scores
from trialsim.errors import NotSupportedError

CALIBRATION_DRAWS = 200_000


@dataclass(frozen=True, slots=True)
class FittedBaseline:
    """Columns, their dependence, the scores they were fitted to, and the largest error of a pairwise correlation."""

    columns: tuple[FittedColumn, ...]
    dependence: Dependence
    scores: list[Scores]
    error: float


def fit_baseline(
    covariates: tuple[Covariate, ...], *, model: str, arm: str | None = None, alone: Collection[str] = (), like: Dependence | None = None
) -> FittedBaseline:
    """Margins, then links between discrete columns where a Gaussian copula needs them, then the dependence of the kind `model`.

    Columns `alone` are independent of all others. `like` is where the fit starts.
    """
    kind = DEPENDENCES.get(model)
    if kind is None:
        raise NotSupportedError(f"population.source.model {model}")
    baseline = Baseline(covariates, arm=arm, alone=alone)
    if kind is GaussianFactors:
        baseline.find_links()
    start = like if isinstance(like, kind) else None
    dependence = kind.fit(baseline.scores, linked=baseline.held_uncorrelated(), like=start)
    columns = calibrated(baseline.columns(), dependence, n=CALIBRATION_DRAWS)
    return FittedBaseline(columns, dependence, baseline.scores, _largest_error(covariates, columns, dependence))


def _largest_error(covariates: Sequence[Covariate], columns: Sequence[FittedColumn], dependence: Dependence) -> float:
    """The largest error of a pairwise correlation among the covariates, of pairs that no rule binds."""
    error = correlation_errors(covariates, columns, dependence)
    for first, one in enumerate(covariates):
        for second, two in enumerate(covariates):
            bound = one.rule is not None and two.rule is not None and one.rule.source == two.rule.source
            if bound or one.hidden or two.hidden or (one.rule is not None and one.rule.source == two.name):
                error[first, second] = error[second, first] = 0.0
    return float(error.max())
