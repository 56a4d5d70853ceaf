"""Distances of margins against SciPy, their standard errors against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trialsim.cohort.fidelity.margins import kolmogorov_smirnov, total_variation, wasserstein


@pytest.mark.parametrize("ties", [False, True])
def test_distances_are_scipys(ties):
    rng = np.random.default_rng(1)
    real, synthetic = rng.gamma(2.0, 3.0, 217), rng.gamma(2.5, 3.0, 1031)
    if ties:
        real, synthetic = np.round(real), np.round(synthetic)
    assert kolmogorov_smirnov(real, synthetic).estimate == pytest.approx(stats.ks_2samp(real, synthetic).statistic, abs=1e-12)
    expected = stats.wasserstein_distance(real, synthetic) / real.std(ddof=1)
    assert wasserstein(real, synthetic).estimate == pytest.approx(expected, rel=1e-12)


def test_total_variation_is_half_the_sum_of_differences():
    real, synthetic = np.repeat([0.0, 1.0, 2.0], [50, 30, 20]), np.repeat([0.0, 1.0, 3.0], [40, 40, 20])
    assert total_variation(real, synthetic, 4).estimate == pytest.approx(0.3)


def test_standard_errors_are_those_of_repeated_samples():
    """Two laws that differ, 2,000 pairs of samples: the SD of the estimate is known to 1.6 %, the mean of its se better."""
    rng = np.random.default_rng(2)
    n, m, draws = 300, 500, 2000
    found: dict[str, list[tuple[float, float]]] = {"ks": [], "w": [], "tv": []}
    for _ in range(draws):
        real, synthetic = rng.normal(0, 1, n), rng.normal(0.8, 1.3, m)
        a, b = rng.choice(3, n, p=(0.5, 0.3, 0.2)).astype(float), rng.choice(3, m, p=(0.3, 0.15, 0.55)).astype(float)
        for name, measured in (("ks", kolmogorov_smirnov(real, synthetic)), ("w", wasserstein(real, synthetic)), ("tv", total_variation(a, b, 3))):
            found[name].append((measured.estimate, measured.se))
    for name, values in found.items():
        estimates, errors = np.array(values).T
        # the SD that divides a Wasserstein distance is itself estimated, and the point of the KS distance is chosen: second-order terms
        assert np.median(errors) == pytest.approx(estimates.std(), rel={"ks": 0.12, "w": 0.12, "tv": 0.06}[name]), name


def test_columns_without_values_or_without_variation():
    none, some = np.empty(0), np.array([1.0, 2.0, 3.0])
    assert kolmogorov_smirnov(none, some).estimate == 1.0
    assert total_variation(some, none, 5).estimate == 1.0
    constant = np.ones(5)
    assert wasserstein(constant, constant).estimate == 0.0
    assert wasserstein(constant, some).estimate == np.inf
    assert np.isnan(wasserstein(none, some).estimate)
    assert kolmogorov_smirnov(some, some).estimate == 0.0
