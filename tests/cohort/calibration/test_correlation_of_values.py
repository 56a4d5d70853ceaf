"""Correlations of values against closed forms, SciPy's double integrals and simulated patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import integrate, stats

from trialsim.cohort import Correlation, DeclaredCohort, Population
from trialsim.cohort.calibration.correlation_of_values import NoCorrelationError, correlation_of_scores, correlation_of_values, solve_pair, standardised
from trialsim.cohort.laws import LAWS, AnyLaw
from trialsim.rng import Block, Streams

LAW = {
    "normal": {"dist": "normal", "mean": 3, "sd": 2},
    "truncated_normal": {"dist": "truncated_normal", "truncated_mean": 25, "truncated_sd": 3, "low": 18},
    "lognormal": {"dist": "lognormal", "mean": 5, "sd": 4},
    "uniform": {"dist": "uniform", "low": -1, "high": 4},
    "beta": {"dist": "beta", "alpha": 0.4, "beta": 0.7},
    "gamma": {"dist": "gamma", "shape": 0.5, "mean": 1},
    "exponential": {"dist": "exponential", "mean": 4},
    "weibull": {"dist": "weibull", "shape": 1.3, "scale": 2},
    "gompertz": {"dist": "gompertz", "shape": 0.5, "rate": 0.1},
    "loglogistic": {"dist": "loglogistic", "median": 3, "shape": 6},
    "bernoulli": {"dist": "bernoulli", "p": 0.2},
    "categorical": {"dist": "categorical", "probs": {"I": 0.2, "II": 0.5, "III": 0.3}},
    "poisson": {"dist": "poisson", "mean": 3.3},
    "negative_binomial": {"dist": "negative_binomial", "rate": 4, "dispersion": 0.5},
}
RHOS = (-1.0, -0.95, -0.3, 0.0, 0.5, 0.99, 1.0)


def law(name_or_given):
    return TypeAdapter(AnyLaw).validate_python(LAW.get(name_or_given, name_or_given) if isinstance(name_or_given, str) else name_or_given)


def values(one, two, rho):
    return correlation_of_values(standardised(law(one)), standardised(law(two)), rho)


def test_every_law_is_tried():
    assert {type(law(name)) for name in LAW} == set(LAWS)


@pytest.mark.parametrize("rho", RHOS)
def test_closed_forms(rho):
    s = math.sqrt(math.log1p((4 / 5) ** 2))
    assert values("normal", "normal", rho) == pytest.approx(rho, abs=1e-12)
    assert values("lognormal", "lognormal", rho) == pytest.approx(math.expm1(rho * s * s) / math.expm1(s * s), abs=1e-9)
    assert values("normal", "lognormal", rho) == pytest.approx(rho * s / math.sqrt(math.expm1(s * s)), abs=1e-9)
    assert values("uniform", "uniform", rho) == pytest.approx(6 / math.pi * math.asin(rho / 2), abs=1e-12)
    assert values("normal", "bernoulli", rho) == pytest.approx(rho * stats.norm.pdf(stats.norm.ppf(0.8)) / math.sqrt(0.16), abs=1e-12)
    half = {"dist": "bernoulli", "p": 0.5}
    assert values(half, half, rho) == pytest.approx(2 / math.pi * math.asin(rho), abs=1e-12)


@pytest.mark.parametrize("rho", [-0.95, -0.3, 0.5, 0.99])
def test_steps_are_scipys_bivariate_normal(rho):
    """Σ Σ Δx Δy (P(Z₁ ≤ s, Z₂ ≤ t) − P(Z₁ ≤ s) P(Z₂ ≤ t)) with SciPy's distribution function."""
    joint = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]])
    s, t = stats.norm.ppf([0.2, 0.7]), stats.norm.ppf(stats.poisson(3.3).cdf(np.arange(16)))
    covariance = sum(joint.cdf([a, b]) - stats.norm.cdf(a) * stats.norm.cdf(b) for a in s for b in t)
    assert values("categorical", "poisson", rho) == pytest.approx(covariance / math.sqrt(0.49 * 3.3), abs=3e-5)  # SciPy's own error


def test_the_antithetic_limit_of_exponentials():
    assert values("exponential", "exponential", -1.0) == pytest.approx(1 - math.pi**2 / 6, abs=1e-8)


@pytest.mark.parametrize("one, two, rho", [("gamma", "beta", 0.6), ("exponential", "weibull", -0.8), ("loglogistic", "uniform", 0.4)])
def test_gauss_legendre_over_scipys_laws(one, two, rho):
    witness = {
        "gamma": stats.gamma(0.5, scale=2),
        "beta": stats.beta(0.4, 0.7),
        "exponential": stats.expon(scale=4),
        "weibull": stats.weibull_min(1.3, scale=2),
    }
    witness |= {"loglogistic": stats.fisk(6, scale=3), "uniform": stats.uniform(-1, 5)}
    a, b = witness[one], witness[two]

    def value(frozen, z):
        return (frozen.ppf(np.minimum(stats.norm.cdf(z), 1 - 2**-53)) - frozen.mean()) / frozen.std()

    nodes, weights = np.polynomial.legendre.leggauss(120)
    z, e = 7.5 * nodes[:, None], 7.5 * nodes[None, :]
    table = value(a, z) * value(b, rho * z + math.sqrt(1 - rho * rho) * e) * np.exp(-0.5 * (z * z + e * e)) / (2 * math.pi)
    witnessed = 7.5**2 * weights @ table @ weights
    assert values(one, two, rho) == pytest.approx(witnessed, abs=2e-6)


def test_a_smooth_law_with_steps_against_quad():
    """E[(X − μ) (Y − ν)] given the steps of Y, by SciPy's quad."""
    rho, gamma, count = 0.7, stats.gamma(0.5, scale=2), stats.nbinom(2, 2 / 6)

    def given(z):
        cuts = stats.norm.ppf(count.cdf(np.arange(120)))
        mean = stats.norm.sf((cuts - rho * z) / math.sqrt(1 - rho * rho)).sum()
        return (gamma.ppf(stats.norm.cdf(z)) - gamma.mean()) * mean * stats.norm.pdf(z)

    witnessed = integrate.quad(given, -8, 8, epsabs=1e-11, limit=200)[0] / (gamma.std() * count.std())
    assert values("gamma", "negative_binomial", rho) == pytest.approx(witnessed, abs=1e-8)


@pytest.mark.parametrize("name", LAW)
def test_a_law_is_one_with_itself_and_none_without_correlation(name):
    assert values(name, name, 1.0) == pytest.approx(1.0, abs=1e-8)
    assert values(name, "lognormal", 0.0) == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("one", LAW)
@pytest.mark.parametrize("two", ["lognormal", "bernoulli", "negative_binomial"])
def test_it_never_falls_and_the_order_does_not_matter(one, two):
    found = [values(one, two, rho) for rho in RHOS]
    assert np.all(np.diff(found) > 0)
    assert [values(two, one, rho) for rho in RHOS] == pytest.approx(found, abs=1e-7)


@pytest.mark.parametrize("one", LAW)
@pytest.mark.parametrize("two", ["gamma", "bernoulli", "poisson"])
@pytest.mark.parametrize("wanted", [-0.2, 0.0, 0.35])
def test_the_root_gives_the_correlation_back(one, two, wanted):
    a, b = standardised(law(one)), standardised(law(two))
    rho, least, greatest = correlation_of_scores(a, b, wanted)
    assert rho is not None
    assert least < wanted < greatest
    assert correlation_of_values(a, b, rho) == pytest.approx(wanted, abs=1e-10)


def test_counts_of_many_steps_are_pooled():
    """Poisson(40,000) is normal to the last digit that matters; a long-tailed count has a correlation of 1 with itself."""
    many = {"dist": "poisson", "mean": 40_000}
    assert len(standardised(law(many)).values) <= 550
    for rho in (-0.9, 0.5):
        assert values(many, "lognormal", rho) == pytest.approx(values("normal", "lognormal", rho), abs=3e-3)
        assert values(many, "normal", rho) == pytest.approx(rho, abs=1e-4)
    long = {"dist": "negative_binomial", "rate": 300, "dispersion": 2}
    assert values(long, long, 1.0) == pytest.approx(1.0, abs=1e-4)


def test_a_simulated_cohort_has_the_correlations_of_the_paper():
    names = ("truncated_normal", "lognormal", "gamma", "bernoulli", "negative_binomial", "categorical")
    pairs = [
        ("truncated_normal", "lognormal", 0.45), ("lognormal", "gamma", 0.3), ("gamma", "bernoulli", -0.2), ("lognormal", "negative_binomial", 0.25),
        ("bernoulli", "categorical", 0.3), ("categorical", "truncated_normal", -0.35),
    ]  # fmt: skip
    given = {"planned_enrollment": 1, "covariates": {name: LAW[name] for name in names}, "correlation": {"scale": "values", "pairs": pairs}}
    population = Population.model_validate(given)
    assert population.correlation is not None
    columns = DeclaredCohort(population.covariates, population.correlation).sample(Streams(11), Block(0, 100), 4000).columns
    n = 400_000
    for one, two, wanted in pairs:
        x, y = (columns[name].flatten().numpy() for name in (one, two))
        product = (x - x.mean()) * (y - y.mean()) / (x.std() * y.std())
        # delta method: the influence of a patient on a correlation
        influence = product - 0.5 * wanted * (((x - x.mean()) / x.std()) ** 2 + ((y - y.mean()) / y.std()) ** 2)
        assert abs(np.corrcoef(x, y)[0, 1] - wanted) < 4 * influence.std() / math.sqrt(n), (one, two)


def _problems(correlation, **covariates):
    with pytest.raises(ValidationError) as caught:
        Population.model_validate({"planned_enrollment": 1, "covariates": covariates, "correlation": correlation})
    return [(error["loc"], error["msg"]) for error in caught.value.errors()]


def test_a_correlation_that_two_laws_cannot_have():
    found = _problems(
        {"scale": "values", "pairs": [["a", "b", 0.3], ["a", "c", 0.9], ["a", "d", -0.7]]},
        a=LAW["normal"],
        b=LAW["gamma"],
        c=LAW["bernoulli"],
        d=LAW["exponential"],
    )
    assert found == [
        (("correlation", "pairs", 1), "the values of a and c cannot have the correlation 0.9: with these laws it lies between -0.7 and 0.7"),
    ]
    found = _problems({"scale": "values", "pairs": [["d", "e", -0.7]]}, d=LAW["exponential"], e=LAW["exponential"])
    assert found == [(("correlation", "pairs", 0), "the values of d and e cannot have the correlation -0.7: with these laws it lies between -0.645 and 1")]


def test_correlations_that_contradict_each_other_on_the_scale_of_scores():
    """Possible pair by pair, and as a matrix of values; the normal scores it takes are not."""
    pairs = [["a", "b", -0.5], ["b", "c", -0.5], ["a", "c", -0.45]]
    ((place, said),) = _problems({"scale": "values", "pairs": pairs}, a=LAW["exponential"], b=LAW["exponential"], c=LAW["exponential"])
    assert place == ("correlation", "pairs")
    assert said.startswith("the correlations of a, b, c contradict each other: the matrix is not positive definite")
    Population.model_validate({"planned_enrollment": 1, "covariates": dict.fromkeys("abc", LAW["normal"]), "correlation": {"scale": "values", "pairs": pairs}})


@pytest.mark.parametrize(
    "given, why",
    [
        ({"dist": "bernoulli", "p": 0}, "one of them never varies"),
        ({"dist": "loglogistic", "median": 3, "shape": 1.5}, "one of them has a tail so heavy that its SD is not settled"),
        ({"dist": "lognormal", "median": 3, "sd_log": 3}, "one of them has a tail so heavy that its SD is not settled"),
    ],
)
def test_laws_without_an_sd(given, why):
    with pytest.raises(NoCorrelationError, match=why):
        standardised(law(given))
    found = _problems({"scale": "values", "pairs": [["a", "b", 0.1]]}, a=LAW["normal"], b=given)
    assert found == [(("correlation", "pairs", 0), f"a and b have no correlation of values to speak of: {why}; use scale: scores")]


def test_scores_stay_as_they_are():
    laws = {"a": law("gamma"), "b": law("bernoulli")}
    for scale in (None, "scores"):
        correlation = Correlation(scale=scale, pairs=(("a", "b", 0.95),))
        assert correlation.of_scores(laws) is correlation
        assert correlation.impossible(laws) == []


def test_normal_values_are_their_scores():
    laws = {"a": law("normal"), "b": law("normal")}
    ((_, _, rho),) = Correlation(scale="values", pairs=(("a", "b", 0.6),)).of_scores(laws).pairs
    assert rho == pytest.approx(0.6, abs=1e-12)


def test_a_pair_is_solved_once():
    one, two = law("gamma"), law("negative_binomial")
    assert solve_pair(one, two, 0.2) is solve_pair(law("gamma"), law("negative_binomial"), 0.2)
