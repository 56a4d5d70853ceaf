"""Laws in words: every number of every law is said."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from trialsim.cohort import LAWS, AnyLaw
from trialsim.report.sentences.passage import law, pieces
from trialsim.report.sentences.population import _covariate
from trialsim.report.wording import NB
from trialsim.twins.events import EventProcess

COVARIATES: list[tuple[dict[str, Any], str]] = [
    ({"dist": "normal", "mean": 3, "sd": 2}, "follows a normal distribution with mean 3 and standard deviation 2"),
    (
        {"dist": "truncated_normal", "mean": "63 years", "sd": "9 years", "high": "90 years"},
        "with mean 63 years, standard deviation 9 years and upper limit 90 years",
    ),
    ({"dist": "uniform", "low": 1, "high": 4}, "follows a uniform distribution with lower limit 1 and upper limit 4"),
    ({"dist": "lognormal", "median": 5, "sd_log": 0.4}, "a log-normal distribution with median 5 and standard deviation of the logarithm 0.4"),
    ({"dist": "beta", "alpha": 2, "beta": 5}, "a beta distribution with alpha 2 and beta 5"),
    ({"dist": "gamma", "shape": 2, "mean": 7}, "a gamma distribution with shape 2 and mean 7"),
    ({"dist": "weibull", "shape": 1.5, "cumulative": 0.4, "by": 8}, "a Weibull distribution with shape 1.5 such that 40 % are at or below 8"),
    ({"dist": "exponential", "mean": 12}, "an exponential distribution with mean 12"),
    ({"dist": "gompertz", "shape": 0.1, "rate": 0.2}, "a Gompertz distribution with shape 0.1 and rate 0.2"),
    ({"dist": "loglogistic", "median": 3, "shape": 2}, "a log-logistic distribution with median 3 and shape 2"),
    ({"dist": "poisson", "mean": 4}, "a Poisson distribution with mean 4"),
    ({"dist": "negative_binomial", "rate": 2.5, "dispersion": 0.3}, "a negative binomial distribution with rate 2.5 and dispersion 0.3"),
    ({"dist": "bernoulli", "p": 0.3}, "is 1 with probability 0.3 and 0 otherwise"),
    ({"dist": "categorical", "probs": {"a": 0.25, "b": 0.75}}, "is one of a (25 %) and b (75 %)"),
]

EVENTS: list[tuple[dict[str, Any], str]] = [
    ({"dist": "exponential", "rate": "0.01 / month"}, "an exponential distribution with hazard 0.01 per month"),
    ({"dist": "exponential", "cumulative": "2 %", "by": "78 weeks"}, "an exponential distribution such that 2 % have the event by 78 weeks"),
    ({"dist": "weibull", "shape": 1.1, "median": "12 months"}, "a Weibull distribution with shape 1.1 and median 12 months"),
    ({"dist": "gompertz", "shape": "0.05 / year", "rate": "0.1 / year"}, "a Gompertz distribution with shape 0.05 per year and hazard 0.1 per year"),
    ({"dist": "lognormal", "median": "9 months", "sd_log": 0.8}, "a log-normal distribution with median 9 months and standard deviation of the logarithm 0.8"),
    ({"dist": "gamma", "shape": 2, "mean": "10 months"}, "a gamma distribution with shape 2 and mean 10 months"),
    (
        {
            "dist": "piecewise_exponential",
            "pieces": [{"until": "0 months", "rate": "9 / month"}, {"until": "4 months", "rate": "0.08 / month"}, {"rate": "0.06 / month"}],
        },
        "a piecewise exponential distribution with hazard 0.08 per month until 4 months after randomisation and 0.06 per month thereafter",
    ),
    (
        {"dist": "cure_mixture", "cured": "30 %", "uncured": {"dist": "exponential", "median": "6 months"}},
        "a cure mixture with 30 % of patients who never have the event and for the others an exponential distribution with median 6 months",
    ),
]


def plain(text: str) -> str:
    return text.replace(NB, " ")


@pytest.mark.parametrize(("given", "words"), COVARIATES, ids=lambda item: item["dist"] if isinstance(item, dict) else None)
def test_laws_of_covariates(given: dict[str, Any], words: str) -> None:
    assert words in plain(_covariate(TypeAdapter(AnyLaw).validate_python(given)))


def test_every_law_of_a_covariate_is_tried() -> None:
    assert {given["dist"] for given, _ in COVARIATES} == {str(law_.model_fields["dist"].annotation.__args__[0]) for law_ in LAWS}  # type: ignore[union-attr]


@pytest.mark.parametrize(("given", "words"), EVENTS, ids=lambda item: item["dist"] if isinstance(item, dict) else None)
def test_laws_of_event_times(given: dict[str, Any], words: str) -> None:
    assert plain(law(TypeAdapter(EventProcess).validate_python(given), hazard=True, what="have the event")) == words


def test_pieces_of_no_length_say_nothing() -> None:
    assert pieces([("0 days", "1"), (None, "0.7")]) == "0.7"
    assert (
        plain(pieces([("91.3125 days", "1"), ("182.625 days", "0.8"), (None, "0.7")]))
        == "1 until 3 months after randomisation, 0.8 until 6 months and 0.7 thereafter"
    )
