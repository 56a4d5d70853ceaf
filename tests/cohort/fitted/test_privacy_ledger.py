"""The account of privacy: against the definition by numerical integration, zero-concentrated privacy, and a second implementation."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, norm

from trialsim.cohort.fitted.privacy_ledger import Accountant, Ledger, Noise, Release, delta_of, epsilon_of, mu_for


@pytest.mark.parametrize(("mu", "epsilon"), [(0.2, 0.1), (0.5, 1.0), (1.0, 3.0), (3.0, 5.0)])
def test_delta_is_the_integral_that_defines_it(mu: float, epsilon: float):
    """δ = ∫ max(0, p(x) − e^ε q(x)) dx of N(μ, 1) against N(0, 1)."""
    from_where = mu / 2 + epsilon / mu  # where p = e^ε q
    found, error = quad(lambda x: norm.pdf(x - mu) - math.exp(epsilon) * norm.pdf(x), from_where, from_where + 40, epsabs=1e-14)
    assert delta_of(mu, epsilon) == pytest.approx(found, abs=max(1e-12, 10 * error))


def test_a_second_accountant_finds_the_same_total():
    """Sum of squared sensitivity over σ, then the formula at 40 digits, by bisection; and the bound of zCDP lies above."""
    ledger = Ledger(
        (Release("a", 3, 2.0, 11.0), Release("b", 7, 1.5, 4.0), Release("c", 1, 1.0, 9.0)),
        1e-6,
    )
    with mpmath.workdps(40):
        mu = mpmath.sqrt(sum((mpmath.mpf(s) / mpmath.mpf(sd)) ** 2 for s, sd in ((2, 11), (1.5, 4), (1, 9))))

        def delta(epsilon):
            return mpmath.ncdf(mu / 2 - epsilon / mu) - mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)

        low, high = mpmath.mpf(0), mpmath.mpf(50)
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if delta(middle) > mpmath.mpf("1e-6") else (low, middle)
    assert ledger.epsilon == pytest.approx(float(low), rel=1e-9)
    rho = float(mu) ** 2 / 2
    assert ledger.epsilon < rho + 2 * math.sqrt(rho * math.log(1e6))  # Bun & Steinke 2016, proposition 1.3
    assert ledger.largest_auc == pytest.approx(norm.cdf(float(mu) / math.sqrt(2)))
    assert ledger.as_json()["epsilon"] == ledger.epsilon
    assert sum(row["epsilon"] for row in ledger.as_json()["releases"]) > ledger.epsilon


@pytest.mark.parametrize(("epsilon", "delta"), [(0.1, 1e-9), (1.0, 1e-6), (10.0, 1e-5), (100.0, 1e-6)])
def test_mu_and_epsilon_are_inverse(epsilon: float, delta: float):
    mu = mu_for(epsilon, delta)
    assert epsilon_of(mu, delta) == pytest.approx(epsilon, rel=1e-8)
    assert delta_of(mu, epsilon) == pytest.approx(delta, rel=1e-6)
    assert epsilon_of(mu, 0.999999) == 0.0 or mu > 1


def test_a_budget_is_spent_once_and_in_full():
    accountant = Accountant(2.0, 1e-6, Noise(1))
    for purpose, share in (("a", 0.25), ("b", 0.75)):
        accountant.release(purpose, np.zeros(5), sensitivity=3.0, share=share)
    assert accountant.ledger().epsilon == pytest.approx(2.0, rel=1e-9)
    with pytest.raises(ValueError, match='the budget does not hold "c"'):
        accountant.release("c", np.zeros(1), sensitivity=1.0, share=0.01)


def test_noise_is_normal_with_the_sd_stated_and_from_no_seed():
    """SD of 20,000 numbers within 4 MCSE, σ / √(2 · 20,000); Kolmogorov–Smirnov at 0.1 %; two sources without a seed never agree."""
    values = np.full(20_000, 1234.5)
    for noise in (Noise(), Noise(7)):
        found = noise.add(values, 8.0) - values
        assert abs(found.std() - 8.0) < 4 * 8.0 / math.sqrt(2 * 20_000)
        assert abs(found.mean()) < 4 * 8.0 / math.sqrt(20_000)
        assert kstest(found / 8.0, "norm").pvalue > 0.001
    assert not np.array_equal(Noise().normal((4,)), Noise().normal((4,)))
    assert np.array_equal(Noise(7).normal((4,)), Noise(7).normal((4,)))
    steps = Noise().add(values[:100], 8.0) / (8.0 * 2.0**-20)
    np.testing.assert_array_equal(steps, np.rint(steps))
