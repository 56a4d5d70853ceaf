"""Monte Carlo standard errors against the spread of the estimates over repeated experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trialsim.evaluation.mcse import empirical_se_mcse, mean_mcse, proportion_mcse, quantile_mcse, quantile_ranks, rmse_mcse

EXPERIMENTS, N = 4000, 400
# The relative Monte Carlo error of an SD over 4,000 experiments is 1 / sqrt(8000) = 1.1 %; four of them, and the averaging of the estimated MCSEs.
TOLERANCE = 0.05


def test_proportion_at_the_edges_uses_one_pseudo_success_and_failure():
    assert proportion_mcse(30, 100) == pytest.approx(math.sqrt(0.3 * 0.7 / 100))
    assert proportion_mcse(0, 98) == pytest.approx(math.sqrt(0.01 * 0.99 / 98))
    assert proportion_mcse(98, 98) == pytest.approx(proportion_mcse(0, 98))
    assert proportion_mcse(0, 0) is None


def test_undefined_below_two_replicates():
    assert mean_mcse(0.0, 1) is empirical_se_mcse(0.0, 1) is quantile_mcse(1.0, 1.0, 0.5, 1) is None


@pytest.fixture(scope="module")
def experiments():
    return np.random.default_rng(20).normal(0.3, 2.0, (EXPERIMENTS, N))


def test_mean_and_empirical_se(experiments):
    sd = experiments.std(axis=1, ddof=1)
    assert np.mean([mean_mcse(x, N) for x in sd]) == pytest.approx(experiments.mean(axis=1).std(), rel=TOLERANCE)
    assert np.mean([empirical_se_mcse(x, N) for x in sd]) == pytest.approx(sd.std(), rel=TOLERANCE)


def test_rmse_with_a_true_value_that_is_itself_estimated(experiments):
    true_mcse = 0.3
    truths = np.random.default_rng(21).normal(-1.0, true_mcse, EXPERIMENTS)
    squared = (experiments - truths[:, None]) ** 2
    rmse = np.sqrt(squared.mean(axis=1))
    stated = [
        rmse_mcse(r, s / math.sqrt(N), b, true_mcse) for r, s, b in zip(rmse, squared.std(axis=1, ddof=1), experiments.mean(axis=1) - truths, strict=True)
    ]
    assert np.mean(stated) == pytest.approx(rmse.std(), rel=TOLERANCE)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_quantile(experiments, p):
    low, high = quantile_ranks(p, N)
    ordered = np.sort(experiments, axis=1)
    stated = [quantile_mcse(a, b, p, N) for a, b in zip(ordered[:, low - 1], ordered[:, high - 1], strict=True)]
    assert np.mean(stated) == pytest.approx(np.quantile(experiments, p, axis=1).std(), rel=TOLERANCE)


def test_ranks_stay_inside_the_sample():
    assert quantile_ranks(0.1, 2) == (1, 2)
    assert quantile_ranks(0.9, 3)[1] == 3
