"""Margins: increasing, close to the data, and holding no patient's value."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.cohort.fitted.margins import EDGE, fit_smooth, fit_stepped, parent_cell
from trialsim.data import PatientTable

Z = torch.randn(200_000, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def _quantile(margin, z=Z) -> np.ndarray:
    return margin.quantile(z.clone()).numpy()


@pytest.mark.parametrize("witness", [stats.norm(3, 2), stats.lognorm(0.6, scale=10), stats.gamma(2), stats.uniform(1, 5), stats.t(4)])
def test_a_known_distribution_is_recovered(witness):
    x = witness.rvs(3000, random_state=np.random.default_rng(1))
    margin, scores = fit_smooth(x)
    drawn = _quantile(margin)
    assert (np.diff(margin.table.numpy()) > 0).all()
    # the Kolmogorov distance of 3,000 observations to their law is about 0.016; the smooth margin must not add to it
    assert stats.kstest(drawn, witness.cdf).statistic < 1.63 / math.sqrt(3000)
    assert abs(drawn.mean() - x.mean()) < 0.02 * x.std()
    assert abs(drawn.std() / x.std() - 1) < 0.06
    np.testing.assert_allclose(scores.exact, stats.norm.ppf((stats.rankdata(x) - 0.5) / 3000))


@pytest.mark.parametrize("name", ["age", "wtkg", "cd40", "cd80"])
def test_the_margins_of_actg175(actg_table: PatientTable, name: str):
    x = actg_table.numbers(name)
    margin, _ = fit_smooth(x)
    table, drawn = margin.table.numpy(), _quantile(margin)
    assert (np.diff(table) > 0).all()
    assert not np.isin(table, x).any()
    written = np.round(drawn) if name == "age" else drawn  # ages are whole years
    assert stats.ks_2samp(written, x).statistic < 0.02
    assert abs(drawn.mean() - x.mean()) < 0.01 * x.std()
    assert abs(drawn.std() / x.std() - 1) < 0.02
    assert table[0] > max(0, x.min() - 0.1 * np.ptp(x))
    assert table[-1] < x.max() + 0.1 * np.ptp(x)


def test_scores_beyond_the_edge_have_the_value_of_the_edge():
    margin, _ = fit_smooth(np.random.default_rng(2).normal(size=500))
    far = margin.quantile(torch.tensor([-8.0, -EDGE, EDGE, 8.2], dtype=torch.float64))
    assert far[0] == far[1]
    assert far[2] == pytest.approx(far[3])


def test_atoms_and_missing_cells_are_not_part_of_the_curve():
    rng = np.random.default_rng(3)
    body = rng.lognormal(5, 0.5, 600)
    column = np.concatenate((np.zeros(400), body, np.full(100, np.nan)))
    margin, scores = fit_smooth(column, gate="g", atoms=(0.0, np.nan))
    alone, _ = fit_smooth(body)
    assert torch.equal(margin.table, alone.table)
    assert np.isnan(scores.exact[:400]).all()
    assert np.isnan(scores.exact[1000:]).all()
    assert (margin.table > 0).all()


def test_the_thresholds_of_a_stepped_margin_give_back_the_shares():
    column = np.repeat([0.0, 1.0, 2.0, np.nan], [300, 500, 200, 50])
    margin, scores = fit_stepped(column, np.array([70.0, 90.0, 100.0]))
    level = margin.level(Z)
    np.testing.assert_allclose(torch.bincount(level.long()).numpy() / len(Z), [0.3, 0.5, 0.2], atol=4 * 0.5 / math.sqrt(len(Z)))
    assert set(margin.value(level).unique().tolist()) == {70.0, 90.0, 100.0}
    np.testing.assert_allclose(scores.ends, [[-np.inf, stats.norm.ppf(0.3)], [stats.norm.ppf(0.3), stats.norm.ppf(0.8)], [stats.norm.ppf(0.8), np.inf]])
    assert (scores.interval[-50:] == -1).all()


def test_a_linked_margin_has_its_own_shares_at_every_level_of_its_parents():
    rng = np.random.default_rng(5)
    parent = rng.integers(0, 2, 4000).astype(float)
    other = rng.integers(0, 3, 4000).astype(float)
    child = (rng.random(4000) < 0.1 + 0.3 * parent + 0.2 * other).astype(float)
    margin, _ = fit_stepped(child, np.array([0.0, 1.0]), {"parent": (parent, 2), "other": (other, 3)})
    for p in range(2):
        for o in range(3):
            real = child[(parent == p) & (other == o)].mean()
            level = margin.level(Z, [torch.full_like(Z, float(p)), torch.full_like(Z, float(o))])
            assert abs(level.mean().item() - real) < 0.003 + 4 * 0.5 / math.sqrt(len(Z))


def test_the_last_parent_changes_fastest():
    first, second = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.0, 2.0, 0.0, 2.0])
    assert parent_cell([first, second], (2, 3)).tolist() == [0, 2, 3, 5]


def test_an_unseen_combination_has_the_overall_shares():
    child, parent = np.repeat([0.0, 1.0], [600, 400]), np.zeros(1000)
    margin, _ = fit_stepped(child, np.array([0.0, 1.0]), {"parent": (parent, 2)})
    assert margin.thresholds[1, 0].item() == pytest.approx(stats.norm.ppf(0.6))
