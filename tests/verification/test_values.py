"""Type I error and coverage of analyses of values: 20,000 null trials, one-sided 0.025 and 95 % intervals, 3 MCSE (0.0033 and 0.0046).

Where normal theory needs more patients than 400, or a test is conservative by construction, the departure is here, by sample size.
One-sided levels at 50, 100, 200 and 400 patients (two arms, response 40 %, counts of mean 0.7 with dispersion 0.5, 4 visits):

    proportions, pooled or Miettinen-Nurminen      .029  .026  .025  .025     cmh, 3 strata                .024  .025  .025  .025
    proportions, unpooled difference               .030  .027  .026  .025     unpooled odds ratio          .025  .026  .025  .025
    fisher                                         .014  .016  .018           (exact: never above .025 by its law)
    logistic, 2 covariates                         .026  .023  .026  .026     its marginal difference      .035  .027  .028  .026
    poisson, 1 covariate                           .021  .024  .024  .025     robust, overdispersed        .037  .032  .028  .026
    negative_binomial, 1 covariate                 .031  .030  .027  .024     with dispersion: reml        .027  .027  .025  .024
    proportional_odds, 1 covariate                 .027  .026  .026  .027     wilcoxon, five levels        .022  .024  .024
    wilcoxon, no ties                              .024  .026  .026           ancova, with interactions    .024  .023  .025  .025
    gee, poisson, exchangeable                     .036  .031  .028           gee, gaussian, ar1           .030  .029  .026

Sandwich variances (marginal effects, robust Poisson, GEE) are too small in small trials, the interval covers 93 % at 50 patients; the
maximum likelihood dispersion likewise (reml mends it). The rank-sum interval of a value with five levels covers always.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from tests.analysis.methods.conftest import OUTCOMES, _simulated, _simulated_visits
from trialsim.analysis import METHODS, Analysis, confidence_interval, p_value

TRIALS, BLOCK, ALPHA = 20_000, 500, 0.025
BY_NAME = {kind.model_fields["method"].annotation.__args__[0]: kind for kind in METHODS}


def _method(name: str, **options: object) -> Analysis:
    question = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}, "alpha": ALPHA, "sides": 1}
    return BY_NAME[name].model_validate({**question, "method": name, **options})


def _of(outcome: str, n: int = 400, **options: object) -> Callable:
    return lambda seed: _simulated(OUTCOMES[outcome], replicates=BLOCK, n=n, seed=seed, **options)


def _rates(method: Analysis, simulate: Callable, *, truth: float = 0.0) -> tuple[float, float]:
    """How often the test rejects, and how often the interval holds the truth."""
    rejected, covered = 0.0, 0.0
    for block in range(TRIALS // BLOCK):
        found = method.answer(simulate(1_000 + block), favours=1)
        low, high = confidence_interval(found, alpha_one_sided=ALPHA)
        rejected += (p_value(found, sides=1) < ALPHA).double().mean().item()
        covered += ((low <= truth) & (truth <= high)).double().mean().item()
    return rejected * BLOCK / TRIALS, covered * BLOCK / TRIALS


CASES = {
    "proportions": (_method("proportions"), _of("binary")),
    "miettinen_nurminen": (_method("proportions", test="miettinen_nurminen"), _of("binary")),
    "odds ratio": (_method("proportions", measure="odds_ratio", test="unpooled"), _of("binary")),
    "cmh": (_method("cmh"), _of("binary", strata=3)),
    "logistic": (_method("logistic"), _of("binary", columns=2)),
    "logistic, marginal": (_method("logistic", marginal=True), _of("binary", columns=2)),
    "poisson": (_method("poisson"), _of("poisson", columns=1, exposed=True)),
    "negative_binomial": (_method("negative_binomial"), _of("count", columns=1, exposed=True)),
    "negative_binomial, reml": (_method("negative_binomial", dispersion="reml"), _of("count", n=200, columns=1, exposed=True)),
    "proportional_odds": (_method("proportional_odds"), _of("ordinal", columns=1)),
    "wilcoxon": (_method("wilcoxon"), _of("normal", n=200)),
    "ancova": (_method("ancova"), _of("normal", n=100, columns=2)),
    "ancova, interactions": (_method("ancova", interaction=True), _of("normal", n=100, columns=2)),
    "ancova, three arms": (_method("ancova"), _of("normal", n=60, columns=1, groups=3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_type_one_error_and_coverage(name: str) -> None:
    level, coverage = _rates(*CASES[name])
    assert abs(level - ALPHA) < 3 * math.sqrt(ALPHA * (1 - ALPHA) / TRIALS)
    assert abs(coverage - (1 - 2 * ALPHA)) < 3 * math.sqrt(2 * ALPHA * (1 - 2 * ALPHA) / TRIALS)


DEPARTURES = {
    "fisher, 100": (_method("fisher"), _of("binary", n=100), 0.016, 0.969),
    "poisson, robust, 50": (_method("poisson", robust=True), _of("count", n=50, columns=1, exposed=True), 0.037, 0.927),
    "logistic, marginal, 50": (_method("logistic", marginal=True), _of("binary", n=50, columns=2), 0.035, 0.932),
    "gee, 50": (
        _method("gee", family="poisson", correlation="exchangeable"),
        lambda seed: _simulated_visits("poisson", replicates=BLOCK, n=50, effect=0.0, missing=0.1, seed=seed),
        0.036,
        0.928,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DEPARTURES)
def test_departures_are_as_large_as_they_are_said_to_be(name: str) -> None:
    method, simulate, level, coverage = DEPARTURES[name]
    found = _rates(method, simulate)
    assert found == pytest.approx((level, coverage), abs=0.003)


NON_INFERIOR = {"type": "non_inferiority", "sides": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "outcome", "n", "effect"),
    [
        (_method("ancova", margin=0.4, **NON_INFERIOR), "normal", 100, -0.4),
        (_method("wilcoxon", margin=0.4, **NON_INFERIOR), "normal", 200, -0.4),
        (_method("logistic", margin=1.6, **NON_INFERIOR), "binary", 400, -math.log(1.6)),
        (_method("proportions", measure="odds_ratio", test="farrington_manning", margin=1.6, **NON_INFERIOR), "binary", 400, -math.log(1.6)),
    ],
    ids=["ancova", "wilcoxon", "logistic", "farrington_manning"],
)
def test_at_the_margin_non_inferiority_is_shown_by_error_alone(method: Analysis, outcome: str, n: int, effect: float) -> None:
    level, _ = _rates(method, _of(outcome, n=n, effect=effect))
    assert abs(level - ALPHA) < 3 * math.sqrt(ALPHA * (1 - ALPHA) / TRIALS)
