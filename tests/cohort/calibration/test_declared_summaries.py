"""Laws stated by moments and quantiles: SciPy's laws give the same summaries back, and what cannot be is refused."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError
from scipy import stats

from trialsim.cohort.calibration.declared_summaries import (
    MISFIT,
    beta_of_moments,
    beta_of_quantiles,
    gamma_of_moments,
    gamma_of_quantiles,
    lognormal_of_moments,
    lognormal_of_quantiles,
    normal_of_quantiles,
    truncated_normal_moments,
    truncated_normal_of_moments,
    truncated_normal_of_quantiles,
)
from trialsim.cohort.laws import AnyLaw

INF = math.inf
ADAPTER = TypeAdapter(AnyLaw)


@pytest.mark.parametrize("mean, sd", [(5, 3), (1e-3, 5e-3), (80, 0.5), (1, 40)])
def test_moments_of_lognormal_and_gamma(mean, sd):
    median, sd_log = lognormal_of_moments(mean, sd)
    shape, rate = gamma_of_moments(mean, sd)
    for witness in (stats.lognorm(sd_log, scale=median), stats.gamma(shape, scale=1 / rate)):
        assert witness.mean() == pytest.approx(mean, rel=1e-12)
        assert witness.std() == pytest.approx(sd, rel=1e-9)


@pytest.mark.parametrize("mean, sd", [(0.3, 0.1), (0.01, 0.05), (0.5, 0.49), (0.9, 0.001)])
def test_moments_of_beta(mean, sd):
    witness = stats.beta(*beta_of_moments(mean, sd))
    assert (witness.mean(), witness.std()) == (pytest.approx(mean, rel=1e-12), pytest.approx(sd, rel=1e-9))


@pytest.mark.parametrize(
    "mean, sd, said",
    [(0.3, 0.46, "sd is 0.46; with a mean of 0.3 that of a share is below 0.4583"), (1.2, 0.1, "mean is 1.2; that of a share is between 0 and 1")],
)
def test_moments_that_no_share_has(mean, sd, said):
    with pytest.raises(PydanticCustomError) as caught:
        beta_of_moments(mean, sd)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "mu, sigma, low, high",
    [
        (25, 2.5, 20, 30),
        (63, 9, 18, INF),
        (0, 1, -INF, -6),
        (0, 1, 6, 12),
        (0, 1, 30, INF),
        (0, 100, -1, 1),
        (5, 0.01, 0, 10),
        (-40, 10, 0, 3),
        (1, 2, -INF, INF),
    ],
)
def test_moments_after_truncation_are_the_closed_form(mu, sigma, low, high):
    """μ + σ (φ(a) − φ(b)) / Z and its variance, with 800 digits so that nothing cancels."""
    with mpmath.workdps(800):
        a, b = ((mpmath.mpf(end) - mu) / sigma for end in (low, high))

        def density(z):
            return mpmath.mpf(0) if mpmath.isinf(z) else mpmath.npdf(z)

        def weighted(z):
            return mpmath.mpf(0) if mpmath.isinf(z) else z * mpmath.npdf(z)

        mass = (mpmath.erfc(a / mpmath.sqrt(2)) - mpmath.erfc(b / mpmath.sqrt(2))) / 2
        shift = (density(a) - density(b)) / mass
        mean = mu + sigma * shift
        sd = sigma * mpmath.sqrt(1 + (weighted(a) - weighted(b)) / mass - shift**2)
    found = truncated_normal_moments(mu, sigma, low, high)
    assert found == (pytest.approx(float(mean), abs=1e-11 * float(sd) + 1e-15 * abs(float(mean))), pytest.approx(float(sd), rel=1e-11))


@pytest.mark.parametrize("seed", range(8))
def test_a_normal_truncated_is_found_from_its_moments(seed):
    rng = np.random.default_rng(seed)
    mu, sigma, low = rng.normal(0, 3), math.exp(rng.normal()), rng.normal(0, 2)
    high = low + math.exp(rng.normal(0.5, 1))
    for ends in ((low, high), (low, INF), (-INF, high)):
        if max((ends[0] - mu) / sigma, (mu - ends[1]) / sigma) > 6:
            continue  # so close to exponential that the moments no longer tell mu and sigma
        witness = stats.truncnorm((ends[0] - mu) / sigma, (ends[1] - mu) / sigma, mu, sigma)
        mean, sd = truncated_normal_moments(*truncated_normal_of_moments(witness.mean(), witness.std(), *ends), *ends)
        assert (mean, sd) == (pytest.approx(witness.mean(), abs=1e-8 * sd), pytest.approx(witness.std(), rel=1e-7))


def test_without_ends_or_with_far_ones_nothing_changes():
    assert truncated_normal_of_moments(63, 9, -INF, INF) == (63, 9)
    assert truncated_normal_of_moments(63, 9, -1000, 1000) == (pytest.approx(63, rel=1e-12), pytest.approx(9, rel=1e-10))


@pytest.mark.parametrize("mean, low, high", [(25, 18, INF), (25, -INF, 30), (25, 20, 30), (22, 20, 30), (20.05, 20, 30)])
def test_the_limit_is_the_exponential_law(mean, low, high):
    """Just below the SD of the exponential (truncated where both ends are given) of that mean there is a solution, above none."""
    if INF in (high, -low):
        limit = min(mean - low, high - mean)
    else:
        with mpmath.workdps(30):
            rate = (
                0
                if mean == (low + high) / 2
                else mpmath.findroot(lambda r: 1 / r - (high - low) / mpmath.expm1(r * (high - low)) - (mean - low), 1 / mpmath.mpf(mean - low))
            )
            limit = (
                (high - low) / mpmath.sqrt(12)
                if rate == 0
                else mpmath.sqrt(1 / rate**2 - (high - low) ** 2 * mpmath.exp(rate * (high - low)) / mpmath.expm1(rate * (high - low)) ** 2)
            )
    limit = float(limit)
    mu, sigma = truncated_normal_of_moments(mean, 0.99 * limit, low, high)
    assert truncated_normal_moments(mu, sigma, low, high)[1] == pytest.approx(0.99 * limit, rel=1e-7)
    with pytest.raises(PydanticCustomError, match="that of a truncated normal is below"):
        truncated_normal_of_moments(mean, 1.001 * limit, low, high)


def test_a_mean_outside_of_the_ends():
    with pytest.raises(PydanticCustomError, match="truncated_mean is 17; it must lie between low and high"):
        truncated_normal_of_moments(17, 1, 18, INF)


TWO = ({0.25: 0.3, 0.75: 0.6}, {0.1: 0.01, 0.5: 0.02}, {0.5: 0.9, 0.975: 0.99})


@pytest.mark.parametrize("quantiles", TWO, ids=str)
def test_two_quantiles_are_met_exactly(quantiles):
    mean, sd = normal_of_quantiles(quantiles)
    median, sd_log = lognormal_of_quantiles(quantiles)
    shape, rate = gamma_of_quantiles(quantiles)
    alpha, beta = beta_of_quantiles(quantiles)
    for witness in (stats.norm(mean, sd), stats.lognorm(sd_log, scale=median), stats.gamma(shape, scale=1 / rate), stats.beta(alpha, beta)):
        for p, x in quantiles.items():
            assert witness.cdf(x) == pytest.approx(p, abs=1e-7)


@pytest.mark.parametrize("law, find", [("gamma", gamma_of_quantiles), ("beta", beta_of_quantiles)])
@pytest.mark.parametrize("seed", range(5))
def test_the_parameters_come_back_from_their_quantiles(law, find, seed):
    a, b = np.exp(np.random.default_rng(seed).normal(0.5, 0.8, 2))
    witness = stats.gamma(a, scale=1 / b) if law == "gamma" else stats.beta(a, b)
    for shares in ((0.25, 0.75), (0.25, 0.5, 0.75), (0.05, 0.5, 0.9, 0.95)):
        assert find({p: witness.ppf(p) for p in shares}) == pytest.approx((a, b), rel=1e-5)


@pytest.mark.parametrize("mu, sigma, low, high", [(63, 9, 18, INF), (25, 3, 20, 30), (0, 1, 2, INF), (0, 1, -INF, -3)])
def test_truncated_normals_from_their_quantiles(mu, sigma, low, high):
    witness = stats.truncnorm((low - mu) / sigma, (high - mu) / sigma, mu, sigma)
    found = truncated_normal_of_quantiles({p: witness.ppf(p) for p in (0.25, 0.5, 0.75)}, low, high)
    again = stats.truncnorm((low - found[0]) / found[1], (high - found[0]) / found[1], *found)
    assert again.ppf([0.25, 0.5, 0.75]) == pytest.approx(witness.ppf([0.25, 0.5, 0.75]), rel=1e-6)


def test_more_than_two_are_least_squares_of_the_scores():
    quantiles = {0.25: 40, 0.5: 52, 0.75: 63}
    mean, sd = normal_of_quantiles(quantiles)

    def loss(m, s):
        return sum(((x - m) / s - stats.norm.ppf(p)) ** 2 for p, x in quantiles.items())

    best = loss(mean, sd)
    assert all(best < loss(mean + dm, sd + ds) for dm, ds in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)))
    shape, rate = gamma_of_quantiles(quantiles)

    def gamma_loss(k, r):
        return sum((stats.norm.ppf(stats.gamma(k, scale=1 / r).cdf(x)) - stats.norm.ppf(p)) ** 2 for p, x in quantiles.items())

    assert all(gamma_loss(shape, rate) < gamma_loss(shape * a, rate * b) for a, b in ((1.01, 1), (0.99, 1), (1, 1.01), (1, 0.99)))


@pytest.mark.parametrize(
    "quantiles, said",
    [
        ({0.5: 3}, "quantiles needs at least two"),
        ({0.25: 40, 0.5: 60, 0.75: 52}, "quantiles: 0.5 is 60 and 0.75 is 52; they must rise with the probability"),
        ({0.25: 40, 0.5: 40}, "quantiles: 0.25 is 40 and 0.5 is 40; they must rise with the probability"),
        ({0: 1, 0.5: 2}, "quantiles: the probability 0 is not between 0 and 1"),
        ({0.25: 40, 0.5: 52, 0.75: 75}, "the quantiles contradict a normal law: the closest one has 44.6% at or below 52, where 0.5 is stated"),
    ],
)
def test_quantiles_that_contradict(quantiles, said):
    with pytest.raises(PydanticCustomError) as caught:
        normal_of_quantiles(quantiles)
    assert str(caught.value) == said


def test_the_tolerance_is_in_scores():
    """A middle quantile moved by just less than the tolerance passes, by more does not: three points leave 2/3 of a shift as error."""
    z = stats.norm.ppf(0.75)
    for shift, passes in ((1.45 * MISFIT, True), (1.6 * MISFIT, False)):
        quantiles = {0.25: -z, 0.5: shift, 0.75: z}
        if passes:
            normal_of_quantiles(quantiles)
        else:
            with pytest.raises(PydanticCustomError, match="contradict a normal law"):
                normal_of_quantiles(quantiles)


@pytest.mark.parametrize(
    "find, quantiles, said",
    [
        (gamma_of_quantiles, {0.2: -1, 0.5: 2}, "every value of this law lies above 0"),
        (beta_of_quantiles, {0.2: 0.5, 0.5: 1.5}, "every value of this law lies between 0 and 1"),
        (lambda q: truncated_normal_of_quantiles(q, 18, INF), {0.2: 17, 0.5: 20}, "every value of this law lies above 18"),
        (lambda q: truncated_normal_of_quantiles(q, -INF, 18), {0.2: 17, 0.5: 20}, "every value of this law lies below 18"),
        (lambda q: truncated_normal_of_quantiles(q, 0, 1), {0.25: 0.1, 0.75: 0.95}, "the quantiles contradict a truncated normal law"),
        (gamma_of_quantiles, {0.25: 1, 0.5: 2, 0.75: 100}, "the quantiles contradict a gamma law"),
        (beta_of_quantiles, {0.25: 0.1, 0.5: 0.101, 0.75: 0.9}, "the quantiles contradict a beta law"),
        (lognormal_of_quantiles, {0.25: 1, 0.5: 50, 0.75: 60}, "the quantiles contradict a lognormal law"),
    ],
)
def test_quantiles_that_a_law_cannot_have(find, quantiles, said):
    with pytest.raises(PydanticCustomError, match=said):
        find(quantiles)


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"dist": "lognormal", "mean": 3}, "give median and sd_log, or mean and sd, or quantiles; mean is given"),
        ({"dist": "lognormal"}, "give median and sd_log, or mean and sd, or quantiles; none is given"),
        ({"dist": "normal", "mean": 3, "sd": 1, "quantiles": {0.2: 1, 0.3: 2}}, "give mean and sd, or quantiles; mean and sd and quantiles are given"),
        (
            {"dist": "normal", "quantiles": {0.25: 3, 0.5: "4 years"}},
            "quantiles 0.25 is a bare number and quantiles 0.5 is a time; all numbers of a law must have the same unit",
        ),
        ({"dist": "gamma", "quantiles": {0.25: -3, 0.5: 4}}, "quantiles 0.25 is -3; it must be positive"),
        ({"dist": "normal", "quantiles": {0.25: 3, "25 %": 4}}, "0.25 is given twice"),
        ({"dist": "normal", "quantiles": {"x": 3}}, '"x" is not a quantity; write for example 30 %'),
        ({"dist": "normal", "quantiles": {0.1: "3 / day", 0.5: "4 / day"}}, "quantiles 0.1 is 3 / day; a covariate is not a rate"),
        ({"dist": "beta", "quantiles": {0.2: "3 kg", 0.3: "4 kg"}}, "quantiles 0.2 is 3 kg; a share has no unit"),
        (
            {"dist": "truncated_normal", "truncated_mean": 25, "truncated_sd": 9, "low": 18},
            "truncated_sd is 9; with this mean and these ends that of a truncated normal is below 7",
        ),
    ],
)
def test_what_a_law_says_of_its_summaries(given, sentence):
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(given)
    assert [error["msg"] for error in caught.value.errors()] == [sentence]


def test_a_law_of_quantiles_reads_back_what_it_writes():
    law = ADAPTER.validate_python({"dist": "normal", "quantiles": {0.25: "54 years", "50 %": "63 years", 0.75: "72 years"}})
    assert law.dimension == "time"
    assert ADAPTER.validate_json(ADAPTER.dump_json(law)) == law


@pytest.mark.parametrize("sd", [1e200, 1e-200])
def test_a_spread_that_numbers_cannot_hold_is_one_sentence(sd: float):
    with pytest.raises(PydanticCustomError, match="no lognormal is so spread out"):
        lognormal_of_moments(1.0, sd)


def test_quantiles_hundreds_of_decades_apart():
    shapes = beta_of_quantiles({0.25: 1e-300, 0.75: 0.9})
    np.testing.assert_allclose(stats.beta(*shapes).cdf([1e-300, 0.9]), [0.25, 0.75], rtol=1e-9)
    with pytest.raises(PydanticCustomError, match="the quantiles contradict a gamma law"):
        gamma_of_quantiles({0.25: 1e-300, 0.75: 0.9})
