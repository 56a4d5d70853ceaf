"""Every covariate law against SciPy, and its errors."""

from __future__ import annotations

import math
import typing
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from scipy import stats

import trialsim.cohort.laws as laws
from trialsim.cohort.laws import LAWS, AnyLaw

ADAPTER = TypeAdapter(AnyLaw)
U = torch.tensor([1e-12, 1e-6, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999, 1 - 1e-6, 1 - 1e-12], dtype=torch.float64)

CONTINUOUS = [
    ({"dist": "normal", "mean": 3, "sd": 2}, stats.norm(3, 2)),
    ({"dist": "truncated_normal", "mean": 25, "sd": 2.5, "low": 20, "high": 30}, stats.truncnorm(-2, 2, 25, 2.5)),
    ({"dist": "truncated_normal", "mean": 63, "sd": 9, "low": 18}, stats.truncnorm(-5, np.inf, 63, 9)),
    ({"dist": "truncated_normal", "mean": 0, "sd": 1, "high": -6}, stats.truncnorm(-np.inf, -6, 0, 1)),
    ({"dist": "truncated_normal", "mean": 0, "sd": 1, "low": 6, "high": 12}, stats.truncnorm(6, 12, 0, 1)),
    ({"dist": "lognormal", "median": 5, "sd_log": 0.7}, stats.lognorm(0.7, scale=5)),
    ({"dist": "uniform", "low": -1, "high": 4}, stats.uniform(-1, 5)),
    ({"dist": "beta", "alpha": 2, "beta": 5}, stats.beta(2, 5)),
    ({"dist": "gamma", "shape": 2.5, "rate": 0.5}, stats.gamma(2.5, scale=2)),
    ({"dist": "gamma", "shape": 2.5, "mean": 5}, stats.gamma(2.5, scale=2)),
    ({"dist": "gamma", "mean": 5, "sd": 10**0.5}, stats.gamma(2.5, scale=2)),
    ({"dist": "gamma", "quantiles": {0.25: stats.gamma(2.5, scale=2).ppf(0.25), 0.9: stats.gamma(2.5, scale=2).ppf(0.9)}}, stats.gamma(2.5, scale=2)),
    ({"dist": "normal", "quantiles": {0.5: 3, "97.5 %": 3 + 2 * stats.norm.ppf(0.975)}}, stats.norm(3, 2)),
    ({"dist": "lognormal", "mean": math.exp(0.5), "sd": math.exp(0.5) * math.expm1(1) ** 0.5}, stats.lognorm(1)),
    ({"dist": "lognormal", "quantiles": {0.5: 5, 0.75: 5 * math.exp(0.7 * stats.norm.ppf(0.75))}}, stats.lognorm(0.7, scale=5)),
    ({"dist": "beta", "mean": 2 / 7, "sd": stats.beta(2, 5).std()}, stats.beta(2, 5)),
    (
        {"dist": "truncated_normal", "truncated_mean": 25, "truncated_sd": stats.truncnorm(-2, 2, 25, 2.5).std(), "low": 20, "high": 30},
        stats.truncnorm(-2, 2, 25, 2.5),
    ),
    ({"dist": "exponential", "rate": 0.25}, stats.expon(scale=4)),
    ({"dist": "exponential", "mean": 4}, stats.expon(scale=4)),
    ({"dist": "exponential", "median": 4 * math.log(2)}, stats.expon(scale=4)),
    ({"dist": "exponential", "cumulative": 0.5, "by": 4 * math.log(2)}, stats.expon(scale=4)),
    ({"dist": "weibull", "shape": 1.3, "scale": 2}, stats.weibull_min(1.3, scale=2)),
    ({"dist": "weibull", "shape": 1.3, "median": 2 * math.log(2) ** (1 / 1.3)}, stats.weibull_min(1.3, scale=2)),
    ({"dist": "weibull", "shape": 1.3, "cumulative": 1 - math.exp(-1), "by": 2}, stats.weibull_min(1.3, scale=2)),
    ({"dist": "gompertz", "shape": 0.5, "rate": 0.1}, stats.gompertz(0.2, scale=2)),
    ({"dist": "loglogistic", "median": 3, "shape": 2}, stats.fisk(2, scale=3)),
]
DISCRETE = [
    ({"dist": "bernoulli", "p": 0.3}, stats.bernoulli(0.3)),
    ({"dist": "poisson", "mean": 3.3}, stats.poisson(3.3)),
    ({"dist": "poisson", "mean": 40_000}, stats.poisson(40_000)),
    ({"dist": "negative_binomial", "rate": 4, "dispersion": 0.5}, stats.nbinom(2, 2 / 6)),
]


@pytest.mark.parametrize("given, witness", CONTINUOUS, ids=lambda case: str(case) if isinstance(case, dict) else "")
def test_a_continuous_law_is_scipys_quantile_function(given, witness):
    law = ADAPTER.validate_python(given)
    rtol = (
        1e-4 if given["dist"] == "loglogistic" else 1e-7 if "quantiles" in given or "truncated_mean" in given else 1e-8
    )  # SciPy's own error at 1 - 1e-12: it forms 1 / u - 1
    np.testing.assert_allclose(law.quantile(U).numpy(), witness.ppf(U.numpy()), rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("given, witness", DISCRETE, ids=lambda case: str(case) if isinstance(case, dict) else "")
def test_a_count_is_scipys_quantile_function(given, witness):
    law = ADAPTER.validate_python(given)
    u = torch.linspace(0.0005, 0.9995, 2000, dtype=torch.float64)
    np.testing.assert_array_equal(law.quantile(u).numpy(), witness.ppf(u.numpy()))


@pytest.mark.parametrize("given", [given for given, _ in CONTINUOUS + DISCRETE], ids=str)
def test_the_normal_score_and_the_uniform_give_the_same_value(given):
    law = ADAPTER.validate_python(given)
    u = torch.linspace(0.0123, 0.9871, 501, dtype=torch.float64)
    np.testing.assert_allclose(law.from_normal_score(torch.special.ndtri(u)).numpy(), law.quantile(u).numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("given", [given for given, _ in CONTINUOUS + DISCRETE], ids=str)
def test_a_value_does_not_depend_on_its_place_in_the_tensor(given):
    law = ADAPTER.validate_python(given)
    u = torch.rand(203, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    alone = torch.cat([law.quantile(u[i : i + 1]) for i in range(len(u))])
    assert torch.equal(law.quantile(u), alone)


@pytest.mark.parametrize("given, witness", DISCRETE, ids=lambda case: str(case) if isinstance(case, dict) else "")
def test_steps_are_scipys_distribution_function(given, witness):
    values, cdf = ADAPTER.validate_python(given).steps()
    np.testing.assert_allclose(cdf, witness.cdf(values), atol=1e-12)


def test_only_discrete_laws_have_steps():
    assert [given["dist"] for given, _ in CONTINUOUS if ADAPTER.validate_python(given).steps() is not None] == []


def test_a_category_is_the_index_of_its_level():
    law = ADAPTER.validate_python({"dist": "categorical", "probs": {"low": 0.2, "mid": 0.5, "high": "30 %"}})
    assert law.levels == ("low", "mid", "high")
    assert law.quantile(torch.tensor([0.1, 0.2, 0.21, 0.7, 0.71, 0.999], dtype=torch.float64)).tolist() == [0, 0, 1, 1, 2, 2]


def test_levels_written_as_numbers_are_names():
    assert ADAPTER.validate_python({"dist": "categorical", "probs": {0: 0.4, 1: 0.6}}).levels == ("0", "1")


@pytest.mark.parametrize(
    "given, dimension",
    [
        ({"dist": "normal", "mean": "63 years", "sd": "9 years"}, "time"),
        ({"dist": "normal", "mean": 63, "sd": 9}, ""),
        ({"dist": "lognormal", "median": "10 mg/kg", "sd_log": 0.2}, "mg/kg"),
        ({"dist": "exponential", "rate": "0.1 / month"}, "time"),
        ({"dist": "gamma", "shape": 2, "mean": "3 months"}, "time"),
        ({"dist": "bernoulli", "p": 0.5}, ""),
    ],
)
def test_the_dimension_is_that_of_the_numbers(given, dimension):
    assert ADAPTER.validate_python(given).dimension == dimension


def test_times_are_in_days():
    law = ADAPTER.validate_python({"dist": "normal", "mean": "2 years", "sd": "1 week"})
    assert law.quantile(torch.tensor([0.5], dtype=torch.float64)).item() == pytest.approx(730.5)


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"dist": "normal", "mean": 1, "sd": -2}, "sd is -2; it must be positive"),
        ({"dist": "normal", "mean": "63 years", "sd": 9}, "mean is a time and sd is a bare number; all numbers of a law must have the same unit"),
        ({"dist": "uniform", "low": 2, "high": 2}, "low is 2 and high is 2; low must be below high"),
        ({"dist": "truncated_normal", "mean": 0, "sd": 1, "low": 3, "high": 1}, "low is 3 and high is 1; low must be below high"),
        ({"dist": "truncated_normal", "mean": 0, "sd": 1, "low": 50}, "low and high leave no probability under this mean and sd"),
        ({"dist": "categorical", "probs": {"a": 0.5, "b": 0.4}}, "probs sum to 0.9; they must sum to 1"),
        ({"dist": "categorical", "probs": {"a": 1.0}}, "probs needs at least two levels"),
        (
            {"dist": "gamma", "shape": 1, "rate": 1, "mean": 1},
            "give shape and rate, or shape and mean, or mean and sd, or quantiles; shape and rate and mean are given",
        ),
        ({"dist": "exponential"}, "give exactly one of rate, mean, median, cumulative; none is given"),
        ({"dist": "exponential", "cumulative": 0.5}, "cumulative and by go together"),
        ({"dist": "weibull", "shape": 1, "cumulative": 1, "by": 3}, "cumulative is 1; it must be between 0 and 1"),
        ({"dist": "exponential", "rate": "3 months"}, "rate is 91.3125 days; it must be a bare number or a number per time"),
        ({"dist": "normal", "mean": "3 / day", "sd": "1 / day"}, "mean is 3 / day; a covariate is not a rate"),
        ({"dist": "bernoulli", "p": 1.2}, "Input should be less than or equal to 1"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(given, sentence):
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(given)
    assert [error["msg"] for error in caught.value.errors()] == [sentence]


def test_probabilities_may_miss_1_by_rounding():
    ADAPTER.validate_python({"dist": "categorical", "probs": {"a": 1 / 3, "b": 1 / 3, "c": 0.3333333333}})


def test_every_file_of_the_folder_is_in_the_union():
    files = {path.stem for path in Path(laws.__file__).parent.glob("*.py")} - {"__init__", "law"}
    assert {law.__module__.rsplit(".", 1)[-1] for law in LAWS} == files
    assert set(typing.get_args(typing.get_args(AnyLaw)[0])) == set(LAWS)
