"""Links between discrete columns: found where a Gaussian copula fails, and only there."""

from __future__ import annotations

import numpy as np
import torch

from trialsim.cohort.fitted.columns import Covariate, Rule
from trialsim.cohort.fitted.dependence.gaussian_factors import fit_copula
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.links import Baseline, calibrated, correlation_errors, nearest_correlation


def _binary(name: str, column: np.ndarray) -> Covariate:
    return Covariate(name=name, kind="stepped", column=column.astype(float), unit="", values=np.arange(2.0), levels=("0", "1"))


def _contradiction(n: int = 4000) -> list[Covariate]:
    """All of `one` and nearly all of `two` are `three`, and nobody of `one` is `two`: no correlation matrix says so."""
    rng = np.random.default_rng(1)
    one = rng.random(n) < 0.1
    two = ~one & (rng.random(n) < 0.7)
    three = one | (two & (rng.random(n) < 0.98)) | (rng.random(n) < 0.3)
    age = rng.normal(40, 10, n) + 3 * two
    return [
        Covariate(name="age", kind="smooth", column=age, unit="", values=np.empty(0), levels=()),
        _binary("one", one),
        _binary("two", two),
        _binary("three", three),
        _binary("other", rng.random(n) < 0.5),
    ]


def test_contradicting_columns_are_linked_and_then_fit():
    covariates = _contradiction()
    plain = Baseline(covariates)
    with isolated(1):
        before = correlation_errors(covariates, plain.columns(), fit_copula(plain.scores)).max()
        linked = Baseline(covariates)
        linked.find_links()
        copula = fit_copula(linked.scores, linked=linked.held_uncorrelated())
        after = correlation_errors(covariates, calibrated(linked.columns(), copula), copula).max()
    assert before > 0.05
    assert after < 0.045
    assert set(linked.links) <= {"two", "three"}
    assert linked.links


def test_columns_of_a_gaussian_copula_are_not_linked():
    rng = np.random.default_rng(2)
    z = rng.multivariate_normal(np.zeros(3), [[1, 0.5, -0.4], [0.5, 1, -0.3], [-0.4, -0.3, 1]], 4000)
    baseline = Baseline([_binary(name, z[:, index] > cut) for index, (name, cut) in enumerate((("a", 0.0), ("b", 0.8), ("c", -0.5)))])
    baseline.find_links()
    assert baseline.links == {}


def test_a_column_that_hangs_on_an_atom_is_linked_to_it():
    rng = np.random.default_rng(3)
    n = 4000
    days = np.where(rng.random(n) < 0.4, 0.0, rng.gamma(1.5, 300, n))
    recent = np.where(days > 0, rng.random(n) < 0.93, rng.random(n) < 0.01)
    rule = Rule(source="days", cuts=(0.5,), levels=(0, 1), values=(0.0, 1.0))
    covariates = [
        Covariate(name="days.atom", kind="stepped", column=(days > 0).astype(float), unit="", values=np.arange(2.0), levels=(), part="gate"),
        Covariate(name="days", kind="smooth", column=days, unit="time", values=np.empty(0), levels=(), gate="days.atom", atoms=(0.0, np.nan)),
        _binary("recent", recent),
        Covariate(name="treated", kind="stepped", column=(days > 0).astype(float), unit="", values=np.arange(2.0), levels=("0", "1"), rule=rule),
    ]
    baseline = Baseline(covariates)
    baseline.find_links()
    with isolated(1):
        copula = fit_copula(baseline.scores, linked=baseline.held_uncorrelated())
    assert correlation_errors(covariates, calibrated(baseline.columns(), copula), copula).max() < 0.03


def test_the_nearest_correlation_matrix():
    """Higham's 3 × 3 example (2002, section 4): the answer is known to four digits."""
    matrix = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
    found = nearest_correlation(matrix)
    known = torch.tensor([[1.0, 0.7607, 0.1573], [0.7607, 1.0, 0.7607], [0.1573, 0.7607, 1.0]], dtype=torch.float64)
    assert (found - known).abs().max() < 0.02  # eigenvalues are kept above 0.02 here, above 0 there
    assert torch.linalg.eigvalsh(found).min() > 0.01
    fine = torch.tensor([[1.0, 0.3], [0.3, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(nearest_correlation(fine), fine)
