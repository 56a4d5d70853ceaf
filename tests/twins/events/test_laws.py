"""Every law of event times against SciPy, quadrature, or a step-by-step calculation written without reading the code."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from typing import Annotated, Any, get_args

import numpy as np
import pytest
import torch
from pydantic import Field, TypeAdapter, ValidationError
from scipy import integrate, optimize, stats

import trialsim.twins.events as events
from trialsim.rng import Block, Stream
from trialsim.twins.events import EventProcess, EventTimeLaw
from trialsim.twins.process import EventLaw, OutcomeProcess

LAW = TypeAdapter(Annotated[EventTimeLaw, Field(discriminator="dist")])
MONTH = 30.4375

# keys of the law -> an independent distribution with sf and ppf, in days
SCIPY: list[tuple[dict[str, Any], Any]] = [
    ({"dist": "exponential", "rate": "0.05 / month"}, stats.expon(scale=20 * MONTH)),
    ({"dist": "exponential", "mean": "20 months"}, stats.expon(scale=20 * MONTH)),
    ({"dist": "exponential", "median": "12 months"}, stats.expon(scale=365.25 / math.log(2))),
    ({"dist": "exponential", "cumulative": "30 %", "by": "2 years"}, stats.expon(scale=-730.5 / math.log(0.7))),
    ({"dist": "weibull", "shape": 1.4, "scale": "10 months"}, stats.weibull_min(1.4, scale=304.375)),
    ({"dist": "weibull", "shape": 0.7, "median": "10 months"}, stats.weibull_min(0.7, scale=304.375 / math.log(2) ** (1 / 0.7))),
    ({"dist": "weibull", "shape": 2, "cumulative": 0.3, "by": "1 year"}, stats.weibull_min(2, scale=365.25 / math.sqrt(-math.log(0.7)))),
    ({"dist": "gompertz", "shape": "0.5 / year", "rate": "0.1 / year"}, stats.gompertz(0.2, scale=2 * 365.25)),
    ({"dist": "gompertz", "shape": "0 / year", "rate": "0.1 / year"}, stats.expon(scale=3652.5)),
    ({"dist": "lognormal", "median": "12 months", "sd_log": 0.8}, stats.lognorm(0.8, scale=365.25)),
    ({"dist": "loglogistic", "median": "12 months", "shape": 1.7}, stats.fisk(1.7, scale=365.25)),
    ({"dist": "gamma", "shape": 2.5, "rate": "0.2 / month"}, stats.gamma(2.5, scale=5 * MONTH)),
    ({"dist": "gamma", "shape": 0.6, "mean": "6 months"}, stats.gamma(0.6, scale=10 * MONTH)),
]
OTHERS: list[dict[str, Any]] = [
    {"dist": "gompertz", "shape": "-0.5 / year", "rate": "0.4 / year"},
    {
        "dist": "piecewise_exponential",
        "pieces": [
            {"until": "3 months", "rate": "0.02 / month"},
            {"until": "3 months", "rate": "9 / day"},
            {"until": "1 year", "rate": "0.1 / month"},
            {"rate": "0.05 / month"},
        ],
    },
    {
        "dist": "piecewise_exponential",
        "pieces": [{"until": "3 months", "rate": "0.02 / month"}, {"until": "6 months", "rate": "0 / month"}, {"rate": "0.05 / month"}],
    },
    {"dist": "piecewise_exponential", "pieces": [{"until": "0 months", "rate": "1 / month"}, {"rate": "0.05 / month"}]},
    {"dist": "cure_mixture", "cured": "25 %", "uncured": {"dist": "weibull", "shape": 1.3, "median": "8 months"}},
]
ALL = [keys for keys, _ in SCIPY] + OTHERS


def law_of(keys: dict[str, Any]) -> EventLaw:
    law = LAW.validate_python(keys)
    assert isinstance(law, EventLaw)
    return law


def tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, dtype=float))


def name(value: Any) -> str | None:
    return "-".join([str(value["dist"]), *(key for key in value if key != "dist")]) if isinstance(value, dict) else "scipy"


@pytest.mark.parametrize(("keys", "witness"), SCIPY, ids=name)
def test_cumulative_hazard_and_quantiles_are_scipys(keys: dict[str, Any], witness: Any) -> None:
    law = law_of(keys)
    p = np.array([1e-6, 1e-3, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
    times = witness.ppf(p)
    np.testing.assert_allclose(law.inverse_cumulative_hazard(tensor(-np.log1p(-p))).numpy(), times, rtol=1e-9)
    np.testing.assert_allclose(law.cumulative_hazard(tensor(times)).numpy(), -witness.logsf(times), rtol=1e-9)
    assert law.median_time() == pytest.approx(witness.median(), rel=1e-12)


@pytest.mark.parametrize("keys", ALL, ids=name)
def test_inverse_undoes_the_cumulative_hazard(keys: dict[str, Any]) -> None:
    law = law_of(keys)
    h = tensor([1e-8, 1e-4, 0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 20.0])
    times = law.inverse_cumulative_hazard(h.clone())
    reached = torch.isfinite(times)
    assert reached[:4].all()
    torch.testing.assert_close(law.cumulative_hazard(times[reached]), h[reached], rtol=1e-9, atol=0)
    assert (times[:-1] <= times[1:]).all()
    assert float(law.cumulative_hazard(tensor([0.0]))[0]) == 0.0


@pytest.mark.parametrize(("keys", "witness"), SCIPY, ids=name)
def test_drawn_times_follow_the_law(keys: dict[str, Any], witness: Any) -> None:
    """Kolmogorov-Smirnov at n = 6,400 and a fixed seed; p above 0.001 (13 tests: a right law fails one time in 77)."""
    noise = Stream(11, "outcome/x").exponential(Block(0, 100), 64)
    times = law_of(keys).inverse_cumulative_hazard(noise).numpy().ravel()
    assert stats.kstest(times, witness.cdf).pvalue > 0.001


def test_decaying_gompertz_is_the_integral_of_its_hazard_and_leaves_survivors() -> None:
    shape, rate = -0.5 / 365.25, 0.4 / 365.25
    law = law_of(OTHERS[0])
    area, _ = integrate.quad(lambda t: rate * math.exp(shape * t), 0, 1000)
    assert float(law.cumulative_hazard(tensor([1000.0]))[0]) == pytest.approx(area, rel=1e-10)
    ceiling = rate / -shape
    assert torch.isinf(law.inverse_cumulative_hazard(tensor([ceiling, ceiling * 1.01]))).all()
    assert torch.isfinite(law.inverse_cumulative_hazard(tensor([ceiling * 0.99]))).all()


@pytest.mark.parametrize("keys", [keys for keys in OTHERS if keys["dist"] == "piecewise_exponential"], ids=lambda keys: str(len(keys["pieces"])))
def test_piecewise_exponential_is_a_walk_through_its_pieces(keys: dict[str, Any]) -> None:
    law = law_of(keys)

    def walk(h: float) -> float:
        start = 0.0
        for piece in law.pieces:  # type: ignore[attr-defined]
            end = math.inf if piece.until is None else piece.until
            if piece.rate > 0 and h <= piece.rate * (end - start):
                return start + h / piece.rate
            if end > start:
                h, start = h - piece.rate * (end - start), end
        return math.inf

    h = np.concatenate([np.linspace(1e-5, 0.3, 500), [1.0, 3.0, 10.0]])
    np.testing.assert_allclose(law.inverse_cumulative_hazard(tensor(h)).numpy(), [walk(x) for x in h], rtol=1e-11)


def test_a_last_rate_of_zero_is_never() -> None:
    law = law_of({"dist": "piecewise_exponential", "pieces": [{"until": "10 days", "rate": "0.01 / day"}, {"rate": "0 / day"}]})
    times = law.inverse_cumulative_hazard(tensor([0.05, 0.11]))
    assert times.tolist() == [pytest.approx(5.0), math.inf]
    assert law.cumulative_hazard(tensor([5.0, 10.0, 1e6])).tolist() == pytest.approx([0.05, 0.1, 0.1])


def test_cure_mixture_has_the_mixture_survival() -> None:
    law = law_of(OTHERS[-1])
    uncured = stats.weibull_min(1.3, scale=8 * MONTH / math.log(2) ** (1 / 1.3))
    times = np.array([10.0, 100.0, 400.0, 2000.0])
    survival = 0.25 + 0.75 * uncured.sf(times)
    np.testing.assert_allclose(torch.exp(-law.cumulative_hazard(tensor(times))).numpy(), survival, rtol=1e-12)
    assert torch.isinf(law.inverse_cumulative_hazard(tensor([-math.log(0.25), 5.0]))).all()
    median = optimize.brentq(lambda t: 0.25 + 0.75 * uncured.sf(t) - 0.5, 1, 5000)
    assert law.median_time() == pytest.approx(median, rel=1e-9)


def test_no_hazard_is_never() -> None:
    for keys in ({"dist": "exponential", "rate": "0 / month"}, {"dist": "exponential", "cumulative": "0 %", "by": "1 year"}):
        assert law_of(keys).inverse_cumulative_hazard(tensor([0.1, 3.0])).tolist() == [math.inf, math.inf]
        assert law_of(keys).cumulative_hazard(tensor([0.0, 1e9])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"dist": "exponential"}, "exponential needs exactly one of rate, mean, median or cumulative + by; none given"),
        (
            {"dist": "exponential", "rate": "1 / month", "median": "2 months"},
            "exponential needs exactly one of rate, mean, median or cumulative + by; rate and median given",
        ),
        ({"dist": "exponential", "cumulative": 0.3}, "exponential needs exactly one of rate, mean, median or cumulative + by; cumulative given"),
        (
            {"dist": "weibull", "shape": 1.0, "scale": "1 year", "by": "1 year"},
            "weibull needs exactly one of scale, median or cumulative + by; scale and by given",
        ),
        ({"dist": "gamma", "shape": 1.0}, "gamma needs exactly one of rate or mean; none given"),
        ({"dist": "exponential", "rate": "-1 / month"}, "Input should be greater than or equal to 0"),
        ({"dist": "exponential", "rate": 0.1}, "0.1 needs a unit (per time, for example 0.1 / month)"),
        ({"dist": "piecewise_exponential", "pieces": []}, "piecewise_exponential needs at least one piece"),
        (
            {"dist": "piecewise_exponential", "pieces": [{"until": "1 day", "rate": "1 / day"}]},
            "the last piece of piecewise_exponential must have no until: it continues for ever",
        ),
        (
            {"dist": "piecewise_exponential", "pieces": [{"rate": "1 / day"}, {"rate": "1 / day"}]},
            "every piece of piecewise_exponential but the last needs until",
        ),
        (
            {"dist": "piecewise_exponential", "pieces": [{"until": "3 days", "rate": "1 / day"}, {"until": "2 days", "rate": "1 / day"}, {"rate": "1 / day"}]},
            "the pieces of piecewise_exponential must be in order of time; until 2 days follows until 3 days",
        ),
        (
            {"dist": "cure_mixture", "cured": 0.2, "uncured": {"dist": "exponential", "rate": "1 / day", "prognostic": {"x": {"hr": 2}}}},
            "prognostic, time_trend and dependence belong to the cure_mixture, not to its uncured law",
        ),
    ],
)
def test_a_wrong_law_is_one_clear_sentence(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LAW.validate_python(keys)
    assert [error["msg"] for error in caught.value.errors()] == [message]


def test_every_process_in_the_folder_is_in_the_union() -> None:
    members = set(get_args(EventProcess))
    for module in pkgutil.iter_modules(events.__path__):
        found = {
            kind
            for _, kind in inspect.getmembers(importlib.import_module(f"trialsim.twins.events.{module.name}"), inspect.isclass)
            if issubclass(kind, OutcomeProcess) and kind.__module__.endswith(f".events.{module.name}")
        }
        assert found, module.name
        assert found <= members, module.name
    names = [kind.model_fields["dist"].default for kind in members]
    assert len(set(names)) == len(names)


def test_every_law_is_exercised_here() -> None:
    assert {type(law_of(keys)) for keys in ALL} == set(get_args(EventTimeLaw))
    assert all(law.supported for law in get_args(EventTimeLaw))
