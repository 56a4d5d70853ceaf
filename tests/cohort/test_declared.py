"""Declared cohorts: margins, correlations, and addressed noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.cohort import CohortModel, Correlation, DeclaredCohort, Population
from trialsim.rng import Block, Streams

COVARIATES = {
    "mmse": {"dist": "truncated_normal", "mean": 25, "sd": 2.5, "low": 20, "high": 30},
    "apoe4": {"dist": "bernoulli", "p": 0.6},
    "cdrsb": {"dist": "truncated_normal", "mean": 3.5, "sd": 1.6, "low": 0.5, "high": 10},
    "weight": {"dist": "gamma", "shape": 30, "mean": "75 kg"},
    "stage": {"dist": "categorical", "probs": {"I": 0.2, "II": 0.5, "III": 0.3}},
}
PAIRS = [["mmse", "cdrsb", -0.5], ["cdrsb", "weight", 0.3], ["stage", "mmse", -0.25]]


def _model(pairs=PAIRS) -> DeclaredCohort:
    population = Population.model_validate({"planned_enrollment": 10, "covariates": COVARIATES, "correlation": {"pairs": pairs} if pairs else None})
    return DeclaredCohort(population.covariates, population.correlation)


def test_it_is_a_cohort_model():
    model = _model()
    assert isinstance(model, CohortModel)
    assert model.names == tuple(COVARIATES)
    assert model.units == {"mmse": "", "apoe4": "", "cdrsb": "", "weight": "kg", "stage": ""}
    assert model.levels == {"apoe4": ("0", "1"), "stage": ("I", "II", "III")}


def test_margins_are_the_laws():
    cohort = _model().sample(Streams(5), Block(0, 100), 400)
    n = 40_000
    witnesses = {"mmse": stats.truncnorm(-2, 2, 25, 2.5), "cdrsb": stats.truncnorm(-1.875, 4.0625, 3.5, 1.6), "weight": stats.gamma(30, scale=2.5)}
    for name, witness in witnesses.items():
        column = cohort.columns[name].flatten().numpy()
        assert abs(column.mean() - witness.mean()) < 4 * witness.std() / math.sqrt(n)
        assert stats.kstest(column, witness.cdf).pvalue > 1e-4
    shares = torch.bincount(cohort.columns["stage"].flatten().long()).numpy() / n
    np.testing.assert_allclose(shares, [0.2, 0.5, 0.3], atol=4 * 0.5 / math.sqrt(n))


def test_correlations_of_normal_scores_are_those_declared():
    cohort = _model().sample(Streams(6), Block(0, 100), 400)
    n = 40_000

    def score(name: str, witness) -> np.ndarray:
        return stats.norm.ppf(witness.cdf(cohort.columns[name].flatten().numpy()))

    mmse = score("mmse", stats.truncnorm(-2, 2, 25, 2.5))
    cdrsb = score("cdrsb", stats.truncnorm(-1.875, 4.0625, 3.5, 1.6))
    weight = score("weight", stats.gamma(30, scale=2.5))
    for one, two, r in ((mmse, cdrsb, -0.5), (cdrsb, weight, 0.3), (mmse, weight, 0.0)):
        mcse = (1 - r * r) / math.sqrt(n)
        assert abs(np.corrcoef(one, two)[0, 1] - r) < 4 * mcse
    apoe4 = cohort.columns["apoe4"].flatten().numpy()
    assert abs(np.corrcoef(apoe4, mmse)[0, 1]) < 4 / math.sqrt(n)
    # a category's correlation: E[z | stage] of a bivariate normal
    cuts = stats.norm.ppf([0.2, 0.7])
    stage = cohort.columns["stage"].flatten().numpy()
    first = mmse[stage == 0]
    expected = -0.25 * -stats.norm.pdf(cuts[0]) / 0.2
    assert abs(first.mean() - expected) < 4 * first.std() / math.sqrt(len(first))


@pytest.mark.parametrize("pairs", [PAIRS, []])
def test_a_patient_does_not_depend_on_the_block(pairs):
    model = _model(pairs)
    whole = model.sample(Streams(7), Block(0, 64), 130, attempt=3)
    for first, size, n in ((0, 1, 130), (9, 7, 67), (63, 1, 1)):
        part = model.sample(Streams(7), Block(first, size), n, attempt=3)
        for name in model.names:
            assert torch.equal(part.columns[name], whole.columns[name][first : first + size, :n])


def test_attempts_and_covariates_have_their_own_noise():
    model = _model([])
    one, two = (model.sample(Streams(8), Block(0, 50), 200, attempt=k) for k in (0, 1))
    for name in ("mmse", "weight"):
        r = np.corrcoef(one.columns[name].flatten(), two.columns[name].flatten())[0, 1]
        assert abs(r) < 4 / math.sqrt(10_000)


def test_a_covariate_without_a_pair_is_the_same_with_and_without_correlation():
    with_pairs, without = _model().sample(Streams(9), Block(0, 3), 50), _model([]).sample(Streams(9), Block(0, 3), 50)
    assert torch.equal(with_pairs.columns["apoe4"], without.columns["apoe4"])
    assert not torch.equal(with_pairs.columns["cdrsb"], without.columns["cdrsb"])


def test_no_covariates_is_a_cohort_without_columns():
    assert DeclaredCohort({}).sample(Streams(1), Block(0, 2), 5).columns == {}


def test_a_second_correlation_is_a_partial_one():
    """Three covariates in a chain: the Cholesky factor must reproduce all three correlations."""
    covariates = {name: {"dist": "normal", "mean": 0, "sd": 1} for name in "abc"}
    population = Population.model_validate({"planned_enrollment": 1, "covariates": covariates})
    model = DeclaredCohort(population.covariates, Correlation(pairs=(("a", "b", 0.8), ("b", "c", 0.7), ("a", "c", 0.4))))
    columns = model.sample(Streams(10), Block(0, 100), 400).columns
    found = np.corrcoef(np.stack([columns[name].flatten().numpy() for name in "abc"]))
    expected = np.array([[1, 0.8, 0.4], [0.8, 1, 0.7], [0.4, 0.7, 1]])
    assert (np.abs(found - expected) <= 4 * (1 - expected**2) / 200 + 1e-12).all()
