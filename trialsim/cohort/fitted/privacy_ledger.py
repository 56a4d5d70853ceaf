"""The account of what differential privacy costs: every noisy release, and what all of them together may tell of one patient."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from math import exp, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

Array = NDArray[np.float64]

_GRAIN = 2.0**-20  # of σ: released numbers are rounded to this


@dataclass(frozen=True, slots=True)
class Release:
    """One release of the Gaussian mechanism: f(data) + N(0, σ²) on each of `numbers` numbers.

    `sensitivity` is the largest Euclidean distance of f between two data sets of which one has one patient more.
    """

    purpose: str
    numbers: int
    sensitivity: float
    sigma: float
    mechanism: str = "gaussian"

    @property
    def mu(self) -> float:
        """Δ / σ: telling two neighbours apart by this release is telling N(0, 1) from N(μ, 1)."""
        return self.sensitivity / self.sigma


@dataclass(frozen=True, slots=True)
class Ledger:
    """All releases of one model, and their total at `delta`.

    Gaussian mechanisms compose exactly, also where a later one was designed on what an earlier one released: together
    they are one with μ² = Σ μ_k². So the total ε at δ is tight, not a bound.

    **Source:** Dong, Roth & Su 2022, J R Stat Soc B 84:3, doi 10.1111/rssb.12454, corollary 3.3 and corollary 2.13.
    """

    releases: tuple[Release, ...]
    delta: float

    @property
    def mu(self) -> float:
        """√(Σ μ_k²)."""
        return sqrt(sum(release.mu**2 for release in self.releases))

    @property
    def epsilon(self) -> float:
        """The total ε at δ."""
        return epsilon_of(self.mu, self.delta)

    @property
    def largest_auc(self) -> float:
        """No membership attack on any one patient has a larger area under its ROC curve: Φ(μ / √2)."""
        return float(ndtr(self.mu / sqrt(2.0)))

    def as_json(self) -> dict[str, Any]:
        """The ledger for a card; each release with its own ε at δ, which do not add up to the total (they are larger)."""
        rows = [{**asdict(release), "epsilon": epsilon_of(release.mu, self.delta), "delta": self.delta} for release in self.releases]
        return {
            "neighbours": "two data sets of which one has one patient more",
            "epsilon": self.epsilon,
            "delta": self.delta,
            "mu": self.mu,
            "largest_membership_auc": self.largest_auc,
            "releases": rows,
        }


def delta_of(mu: float, epsilon: float) -> float:
    """The δ at which a Gaussian mechanism with Δ / σ = μ is (ε, δ)-differentially private.

        δ = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)

    **Source:** Balle & Wang 2018, ICML, PMLR 80:394, theorem 8 (the analytic Gaussian mechanism).
    """
    if mu <= 0:
        return 0.0
    return max(0.0, float(ndtr(mu / 2 - epsilon / mu) - exp(epsilon + float(log_ndtr(-mu / 2 - epsilon / mu)))))


def epsilon_of(mu: float, delta: float) -> float:
    """The smallest ε ≥ 0 at which it is (ε, δ)-differentially private."""
    if mu <= 0 or delta_of(mu, 0.0) <= delta:
        return 0.0
    high = mu * mu / 2 + mu * sqrt(2 * log(1 / delta)) + 1.0  # by zero-concentrated privacy this ε is enough
    return float(brentq(lambda epsilon: delta_of(mu, epsilon) - delta, 0.0, high, xtol=1e-12, rtol=1e-12))


def mu_for(epsilon: float, delta: float) -> float:
    """The largest μ that is (ε, δ)-differentially private."""
    high = 1.0
    while delta_of(high, epsilon) < delta:
        high *= 2
    return float(brentq(lambda mu: delta_of(mu, epsilon) - delta, 1e-9, high, xtol=1e-13, rtol=1e-12))


class Noise:
    """Standard normal noise from the operating system's cryptographic source.

    Not from a seeded generator: whoever learns or guesses a seed subtracts the noise and has the data. `seed` is for
    tests, and a model made with one says so and is not private. Released numbers are rounded to σ / 2²⁰, which takes
    the low bits of floating point with them; those can tell of the data where noise is added to a float.

    **Source:** Garfinkel & Leclerc 2020, WPES, doi 10.1145/3411497.3420211; Mironov 2012, CCS,
    doi 10.1145/2382196.2382264.
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed
        self._generator = None if seed is None else np.random.Generator(np.random.Philox(seed))

    def add(self, values: Array, sigma: float) -> Array:
        """The values with independent N(0, σ²) noise, on the grid."""
        grain = sigma * _GRAIN
        return np.asarray(np.rint((values + sigma * self.normal(values.shape)) / grain) * grain)

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Standard normals: Φ⁻¹ of 53 random bits."""
        count = int(np.prod(shape))
        if self._generator is not None:
            bits = self._generator.integers(0, 2**64, count, dtype=np.uint64)
        else:
            bits = np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
        return np.asarray(ndtri(((bits >> np.uint64(11)) + 0.5) * 2.0**-53)).reshape(shape)


class Accountant:
    """Spends a budget of μ² by shares, and enters every release."""

    def __init__(self, epsilon: float, delta: float, noise: Noise):
        self.delta, self.noise = delta, noise
        self.mu = mu_for(epsilon, delta)
        self.releases: list[Release] = []

    def release(self, purpose: str, values: Array, *, sensitivity: float, share: float) -> Array:
        """The values with noise that costs `share` of the budget: σ = Δ / (μ √share)."""
        spent = sum(release.mu**2 for release in self.releases)
        if share <= 0 or spent + share * self.mu**2 > self.mu**2 * (1 + 1e-9):
            raise ValueError(f'the budget does not hold "{purpose}"')
        sigma = sensitivity / (self.mu * sqrt(share))
        self.releases.append(Release(purpose, int(values.size), float(sensitivity), float(sigma)))
        return self.noise.add(values, sigma)

    def ledger(self) -> Ledger:
        """What was spent so far."""
        return Ledger(tuple(self.releases), self.delta)
