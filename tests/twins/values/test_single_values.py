"""Binary, ordinal and count outcomes against SciPy's laws, and against formulas written without reading the kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.rng import Block
from trialsim.twins import Truth
from trialsim.twins.count_value import frailty, poisson_quantile

BLOCK, N = Block(0, 20), 150
WIDE = Block(0, 400)
MORE = {"ecog": {"or": 2.5, "level": "1"}}
RATE = {"age": {"rate_ratio": 1.3, "per": "10 years", "center": "60 years"}}
OUTCOMES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bernoulli": ({"dist": "bernoulli", "p": 0.3, "prognostic": MORE}, {"experimental": {"or": 1.8}, "third": {"p": 0.1}}),
    "ordinal": ({"dist": "ordinal", "probs": {"a": 0.2, "b": 0.5, "c": 0.3}, "prognostic": MORE}, {"experimental": {"or": 1.8}}),
    "poisson": ({"dist": "poisson", "mean": 3.0, "prognostic": RATE}, {"experimental": {"rate_ratio": 0.6}}),
    "negative_binomial": ({"dist": "negative_binomial", "rate": 3.0, "dispersion": 0.7, "prognostic": RATE}, {"experimental": {"rate_ratio": 0.6}}),
    "over_time": ({"dist": "negative_binomial", "rate": "8 / year", "dispersion": 0.7, "prognostic": RATE}, {"experimental": {"rate_ratio": 0.6}}),
    "linear_mixed": (
        {
            "model": "linear_mixed",
            "baseline": 10.0,
            "slope": "3 / year",
            "slope_sd": "2 / year",
            "residual": {"sd": 1.5, "corr": {"ar1": 0.4}},
            "prognosis_correlation": 0.5,
        },
        {"experimental": {"percent_slowing": "30 %", "onset": "6 weeks"}, "third": {"difference": {"w24": -2.0}}},
    ),
}


@pytest.mark.parametrize("case", list(OUTCOMES))
def test_assigned_values_are_the_counterfactual_ones_bit_for_bit_at_any_block_size(twins: Any, case: str) -> None:
    world = twins(*OUTCOMES[case])
    each = torch.stack([world.values("w24", arm) for arm in range(3)])
    whole = world.values("w24")
    assert torch.equal(whole, each.gather(0, world.assigned(BLOCK, N).long()[None])[0])
    for size in (1, 7):
        assert torch.equal(torch.cat([world.values("w24", block=Block(first, min(size, 20 - first))) for first in range(0, 20, size)]), whole)


@pytest.mark.parametrize("case", ["bernoulli", "ordinal", "poisson", "negative_binomial", "over_time"])
def test_a_larger_effect_moves_no_patient_the_other_way(twins: Any, case: str) -> None:
    """The noise is the patient's own and the inverse distribution function rises in it."""
    outcome, _ = OUTCOMES[case]
    kind = "or" if case in ("bernoulli", "ordinal") else "rate_ratio"
    weak, strong = (twins(outcome, {"experimental": {kind: size}}).values("w24", 0, block=WIDE) for size in (1.1, 1.7))
    none = twins(outcome).values("w24", 0, block=WIDE)
    assert (none <= weak).all()
    assert (weak <= strong).all()
    assert (none < strong).any()


def within(estimate: float, expected: float, sd: float, n: int, mcses: float = 4.0) -> bool:
    return abs(estimate - expected) < mcses * sd / math.sqrt(n)


@pytest.mark.parametrize(
    ("effect", "p"), [({"or": 1.8}, 0.3 * 1.8 / (0.7 + 0.3 * 1.8)), ({"p": 0.1}, 0.1), ({"difference": 0.25}, 0.55), ({"ratio": 0.5}, 0.15)]
)
def test_every_way_to_state_a_binary_effect(twins: Any, effect: dict[str, Any], p: float) -> None:
    """At the reference level the arm's probability is as declared; elsewhere the odds are multiplied by the covariate's odds ratio."""
    world = twins({"dist": "bernoulli", "p": 0.3, "prognostic": MORE}, {"experimental": effect})
    value, cohort = world.values("w12", 0, block=WIDE), world.cohort(WIDE, N)
    for level, chance in ((0.0, p), (1.0, 2.5 * p / (1 - p + 2.5 * p))):
        member = cohort.columns["ecog"] == level
        n = int(member.sum())
        assert within(float(value[member].mean()), chance, math.sqrt(chance * (1 - chance)), n)
        assert float(world.model.mean("y", "w12", cohort, 0).expand(member.shape)[member][0]) == pytest.approx(chance, rel=1e-12)
    assert torch.equal(value, (world.streams("outcome/y").uniform(WIDE, N) > 1 - world.model.mean("y", "w12", cohort, 0)).double())


def test_probabilities_of_zero_and_one_are_certain(twins: Any) -> None:
    world = twins({"dist": "bernoulli", "p": 0.0}, {"experimental": {"p": 1.0}, "third": {"difference": 0.4}})
    assert (world.values("w12", 1) == 0).all()
    assert (world.values("w12", 0) == 1).all()
    assert within(float(world.values("w12", 2, block=WIDE).mean()), 0.4, 0.49, 400 * N)


def test_a_probability_out_of_range_is_a_problem_of_the_effect() -> None:
    from trialsim.twins import problems

    truth = Truth.model_validate({"outcomes": {"y": {"dist": "bernoulli", "p": 0.8}}, "effects": {"a": {"y": {"ratio": 1.5}}}})
    (problem,) = problems(truth, arms=("a", "b"), visits={})
    assert str(problem) == "truth.effects.a.y.ratio: ratio 1.5 makes the probability 1.2; it must lie between 0 and 1 (the reference arm's is 0.8)"


def test_ordinal_categories_have_proportional_odds(twins: Any) -> None:
    world = twins({"dist": "ordinal", "probs": {"a": 0.2, "b": 0.5, "c": 0.3}}, {"experimental": {"or": 1.8}})
    above = np.array([0.8, 0.3])
    shifted = 1.8 * above / (1 - above + 1.8 * above)
    expected = -np.diff(np.concatenate([[1.0], shifted, [0.0]]))
    for arm, probs in ((1, np.array([0.2, 0.5, 0.3])), (0, expected)):
        value = world.values("w12", arm, block=WIDE)
        counts = np.bincount(value.long().numpy().ravel(), minlength=3)
        assert stats.chisquare(counts, probs * counts.sum()).pvalue > 1e-4
    chances = world.model.chances_above("y", "w12", None, 0)
    assert [float(chance) for chance in chances] == pytest.approx(list(shifted), rel=1e-12)


def test_poisson_quantiles_are_scipys(twins: Any) -> None:
    rng = np.random.default_rng(4)
    mean = np.concatenate([rng.uniform(0, 5, 4000), rng.uniform(5, 64, 4000), rng.uniform(64, 5000, 2000), [0.0, 1e-12, 64.0]])
    u = np.concatenate([rng.uniform(size=10_000), [0.5, 0.5, 0.5]])
    u[:6], u[6:9] = 2.0**-54, 1.0 - 2.0**-53
    found = poisson_quantile(torch.from_numpy(u), torch.from_numpy(mean)).numpy()
    expected = stats.poisson.ppf(u, mean)
    near = u < 1 - 1e-12
    assert (found[near] == expected[near]).all()
    assert (np.abs(found[~near] - expected[~near]) <= 3).all()  # the sum of the terms rounds in the far tail


def test_frailties_are_gamma_with_mean_one() -> None:
    u = torch.linspace(1e-6, 1 - 1e-6, 2001, dtype=torch.float64)
    for k in (0.2, 0.7, 3.0):
        np.testing.assert_allclose(frailty(u, k).numpy(), stats.gamma(1 / k, scale=k).ppf(u.numpy()), rtol=1e-8, atol=1e-300)
    assert (frailty(u, 0.0) == 1).all()


@pytest.mark.parametrize("rate", [3.0, "8 / year"])
def test_negative_binomial_counts_have_their_law(twins: Any, rate: Any) -> None:
    """SciPy's law with size 1/k and success probability 1 / (1 + k mu), over one count, and over the events of 24 weeks."""
    k = 0.7
    world = twins({"dist": "negative_binomial", "rate": rate, "dispersion": k}, {"experimental": {"rate_ratio": 0.6}})
    for arm, ratio in ((1, 1.0), (0, 0.6)):
        mean = ratio * (3.0 if rate == 3.0 else 8 * 168 / 365.25)
        law = stats.nbinom(1 / k, 1 / (1 + k * mean))
        counts = np.bincount(world.values("w24", arm, block=WIDE).long().numpy().ravel())
        n, edge = counts.sum(), int(law.ppf(0.999))
        expected = np.append(law.pmf(np.arange(edge)), law.sf(edge - 1)) * n
        observed = np.append(np.append(counts, np.zeros(edge))[:edge], counts[edge:].sum())
        assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4
        assert float(world.model.mean("y", "w24", None, arm)) == pytest.approx(mean, rel=1e-12)


def test_poisson_counts_have_mean_and_variance_of_their_covariates(twins: Any) -> None:
    world = twins({"dist": "poisson", "mean": 3.0, "prognostic": RATE}, {"experimental": {"rate_ratio": 0.6}})
    value, age = world.values("w12", 0, block=WIDE), world.cohort(WIDE, N).columns["age"] / 365.25
    mean = 1.8 * 1.3 ** ((age - 60) / 10)
    z = ((value - mean) / mean.sqrt()).ravel()
    assert within(float(z.mean()), 0.0, 1.0, len(z))
    assert abs(float((z**2).mean()) - 1.0) < 4 * math.sqrt(2.6 / len(z))
    torch.testing.assert_close(world.model.prognosis("y", "w12", world.cohort(WIDE, N)), math.log(3.0) + (age - 60) / 10 * math.log(1.3))
