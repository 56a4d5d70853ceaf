"""Latent classes: the likelihood against SciPy, known classes found again, scores standard normal, bits of one's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.cohort.fitted.dependence import DEPENDENCES, GaussianFactors, LatentClasses, mixture
from trialsim.cohort.fitted.dependence.mixture import MaskedScores, class_log_likelihoods, fit_mixture, n_parameters
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.margins import Scores, fit_smooth, fit_stepped
from trialsim.rng import Block, Streams


def _classes(k: int = 3, n_exact: int = 3, n_discrete: int = 2, seed: int = 1) -> LatentClasses:
    rng = np.random.default_rng(seed)
    p = n_exact + n_discrete
    loadings = np.zeros((k, p, 2))
    loadings[:, :n_exact] = rng.normal(size=(k, n_exact, 2)) * 0.5
    shares = rng.dirichlet(np.full(k, 5.0))
    centre, unique = rng.normal(size=(k, p)), rng.uniform(0.3, 1.0, (k, p))
    return LatentClasses(*(torch.from_numpy(array) for array in (shares, centre, loadings, unique)))


def _drawn(model: LatentClasses, n: int, seed: int = 1) -> np.ndarray:
    streams, block = Streams(seed), Block(0, 1)
    own = [streams(f"own/{column}").normal(block, n)[0] for column in range(model.centre.shape[1])]
    model.mix(own, [streams(f"factor/{m}").normal(block, n)[0] for m in range(model.n_factors)])
    return torch.stack(own).numpy()


def test_the_likelihood_of_a_class_is_scipys_with_missing_cells_left_out():
    rng = np.random.default_rng(3)
    n, k, rank = 40, 2, 3
    exact = rng.normal(size=(n, 4))
    exact[rng.random((n, 4)) < 0.3] = np.nan
    exact[0] = np.nan
    ends = np.array([[-np.inf, -0.4], [-0.4, 1.1], [1.1, np.inf]])
    interval = rng.integers(-1, 3, n)
    columns = [Scores(exact[:, 0], np.full(n, -1), np.empty((0, 2))), Scores(np.full(n, np.nan), interval, ends)]
    columns += [Scores(exact[:, j], np.full(n, -1), np.empty((0, 2))) for j in (1, 2, 3)]
    centre, log_unique, loadings = rng.normal(size=(k, 5)), rng.normal(size=(k, 5)) * 0.3, rng.normal(size=(k, 4, rank))
    parameters = {"centre": torch.from_numpy(centre), "log_unique": torch.from_numpy(log_unique), "loadings": torch.from_numpy(loadings)}
    ours = class_log_likelihoods(MaskedScores(columns), parameters).numpy()
    for member in range(k):
        covariance = loadings[member] @ loadings[member].T + np.diag(np.exp(2 * log_unique[member, :4]))
        for row in range(n):
            seen = ~np.isnan(exact[row])
            expected = stats.multivariate_normal(centre[member, :4][seen], covariance[np.ix_(seen, seen)]).logpdf(exact[row, seen]) if seen.any() else 0.0
            if interval[row] >= 0:
                law = stats.norm(centre[member, 4], np.exp(log_unique[member, 4]))
                expected += math.log(law.cdf(ends[interval[row], 1]) - law.cdf(ends[interval[row], 0]))
            assert ours[row, member] == pytest.approx(expected, abs=1e-9)


def test_scores_are_standard_normal_by_themselves():
    """KS of 200,000 scores against its 1 % point, 1.63 / √n; 5 columns, so one in twenty seeds would fail and this one is fixed."""
    scores = _drawn(_classes(), 200_000)
    assert all(stats.kstest(column, "norm").statistic < 1.63 / math.sqrt(200_000) for column in scores)


def test_scores_are_the_mixtures_own_distribution_function():
    """The tabulated map is within 0.001 of Φ⁻¹(F(y)), for a class as narrow as a twentieth too."""
    model = LatentClasses(
        torch.tensor([0.6, 0.4], dtype=torch.float64),
        torch.tensor([[0.0], [1.0]], dtype=torch.float64),
        torch.zeros(2, 1, 0, dtype=torch.float64),
        torch.tensor([[1.0], [0.05]], dtype=torch.float64),
    )
    e = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    for member, factor in ((0, -2.0), (1, 2.0)):
        score = e.clone()
        model.mix([score], [torch.full_like(e, factor)])
        y = float(model.centre[member, 0]) + float(model.unique[member, 0]) * e.numpy()
        witness = stats.norm.ppf(0.6 * stats.norm.cdf(y) + 0.4 * stats.norm.cdf((y - 1.0) / 0.05))
        np.testing.assert_allclose(score.numpy(), witness, atol=1e-3)


def test_a_patients_bits_are_their_own():
    model = _classes()
    whole = _drawn(model, 1000)
    own = [torch.from_numpy(row.copy()) for row in np.random.default_rng(1).normal(size=(5, 4, 300))]
    factors = [torch.from_numpy(row.copy()) for row in np.random.default_rng(2).normal(size=(3, 4, 300))]
    together = [row.clone() for row in own]
    model.mix(together, factors)
    for rows, patients in ((slice(0, 1), slice(0, 300)), (slice(1, 4), slice(7, 20)), (slice(2, 3), slice(299, 300))):
        part = [row[rows, patients].clone() for row in own]
        model.mix(part, [row[rows, patients] for row in factors])
        assert all(torch.equal(one, both[rows, patients]) for one, both in zip(part, together, strict=True))
    assert (whole[:, :10] == _drawn(model, 10)).all()


CENTRES = np.array([[0.0, 0.0], [2.5, 1.5], [-2.5, 2.0]])
SHARES = np.array([0.5, 0.3, 0.2])


def _mixed(n: int, missing: float = 0.0, seed: int = 1) -> list[Scores]:
    """Three classes, seen by two numbers (normal within each, as they are), one of three levels and two binary ones."""
    rng = np.random.default_rng(seed)
    member = rng.choice(3, n, p=SHARES)
    x = CENTRES[member] + rng.normal(size=(n, 2)) @ np.array([[0.7, 0.3], [0.0, 0.6]])
    levels = (rng.random(n)[:, None] > np.array([[0.1, 0.4], [0.6, 0.9], [0.3, 0.6]])[member]).sum(1)
    yes = rng.random((n, 2)) < np.array([[0.1, 0.5], [0.9, 0.5], [0.5, 0.95]])[member]
    columns = [x[:, 0].copy(), x[:, 1].copy(), levels.astype(float), yes[:, 0].astype(float), yes[:, 1].astype(float)]
    for column in columns:
        column[rng.random(n) < missing] = np.nan
    scores = [Scores(column, np.full(n, -1), np.empty((0, 2))) for column in columns[:2]]
    return scores + [fit_stepped(column, np.arange(size))[1] for column, size in zip(columns[2:], (3.0, 2.0, 2.0), strict=True)]


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_known_classes_are_found_again_with_and_without_missing_cells(missing, monkeypatch):
    monkeypatch.setattr(mixture, "MOST_CLASSES", 5)
    n = 2000
    with isolated(1):
        model = LatentClasses.fit(_mixed(n, missing))
    assert model.n_classes == 3
    # classes overlap little: shares and centres have the standard errors of counts and means
    seen = n * (1 - missing)
    np.testing.assert_allclose(model.shares.numpy(), SHARES, atol=4 * 0.5 / math.sqrt(seen))
    np.testing.assert_allclose(model.centre[:, :2].numpy(), CENTRES, atol=4 * 0.7 / math.sqrt(0.2 * seen))
    covariance = model.loadings[:, :2] @ model.loadings[:, :2].mT + torch.diag_embed(model.unique[:, :2] ** 2)
    # the standard error of a variance v among m patients is v √(2 / m); shrinkage by the priors is below 0.03 here
    np.testing.assert_allclose(covariance[0].numpy(), [[0.49, 0.21], [0.21, 0.45]], atol=4 * 0.49 * math.sqrt(2 / (0.5 * seen)) + 0.03)
    # P(first binary column = 1 | class), at the threshold that the whole share gives
    cut = float(_mixed(n, missing)[3].ends[1, 0])
    yes = stats.norm.sf(cut, model.centre[:, 3].numpy(), model.unique[:, 3].numpy())
    np.testing.assert_allclose(yes, [0.1, 0.9, 0.5], atol=4 * 0.5 / math.sqrt(0.2 * seen))


def test_it_holds_a_dependence_that_no_gaussian_copula_can(monkeypatch):
    """One column is an indicator that another is near its middle: uncorrelated, and far from independent."""
    monkeypatch.setattr(mixture, "MOST_CLASSES", 4)
    rng = np.random.default_rng(2)
    x = rng.normal(size=3000)
    near = (np.abs(x) < 0.6).astype(float)
    scores = [fit_smooth(x)[1], fit_stepped(near, np.arange(2.0))[1]]
    cut = scores[1].ends[1, 0]
    with isolated(1):
        classes, copula = LatentClasses.fit(scores), GaussianFactors.fit(scores)
    z = _drawn(classes, 100_000)
    middle = np.abs(z[0]) < 0.3
    assert (z[1] > cut)[middle].mean() > 0.9
    assert (z[1] > cut)[np.abs(z[0]) > 1.2].mean() < 0.05
    assert abs(float(copula.correlation()[0, 1])) < 0.1


def test_one_class_is_the_factor_model_that_scipy_knows(monkeypatch):
    """With one class, its covariance is the sample's to within the standard error of a covariance (the priors are weak)."""
    monkeypatch.setattr(mixture, "MOST_CLASSES", 2)
    n = 3000
    r = np.array([[1.0, 0.6, -0.3, 0.2], [0.6, 1.0, -0.2, 0.4], [-0.3, -0.2, 1.0, 0.1], [0.2, 0.4, 0.1, 1.0]])
    z = np.random.default_rng(5).multivariate_normal(np.zeros(4), r, n)
    scores = [fit_smooth(column)[1] for column in z.T]
    with isolated(1):
        found = fit_mixture(scores)
    assert len(found["shares"]) == 1
    covariance = found["loadings"][0] @ found["loadings"][0].T + torch.diag(found["unique"][0] ** 2)
    np.testing.assert_allclose(covariance.numpy(), np.cov(np.stack([column.exact for column in scores])), atol=0.02)


def test_the_number_of_parameters():
    """Two numbers and a binary column in two classes: 1 share, and each 2 means, 2 variances, 1 covariance, 1 probit."""
    assert n_parameters(2, 2, [2]) == 1 + 2 * (2 + 2 + 2 + 1) - 0
    assert n_parameters(1, 4, [3]) == 4 * 5 - 3 + 2


def test_a_fit_is_the_same_again_and_leaves_no_trace():
    scores = _mixed(200, 0.1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with isolated(1):
        first = LatentClasses.fit(scores)
    assert torch.equal(torch.get_rng_state(), before)
    with isolated(1):
        second = LatentClasses.fit(scores)
        third = LatentClasses.fit(scores, like=first)
    assert all(torch.equal(first.tensors()[name], second.tensors()[name]) for name in first.tensors())
    assert third.n_classes == first.n_classes
    np.testing.assert_allclose(third.shares.numpy(), first.shares.numpy(), atol=0.02)


def test_it_is_read_back_and_reduced():
    model = _classes()
    assert DEPENDENCES["latent_class"] is LatentClasses
    again = LatentClasses.of(model.tensors(), model.options())
    whole = _drawn(model, 50)
    assert (_drawn(again, 50) == whole).all()
    streams, block = Streams(1), Block(0, 1)
    own = [streams(f"own/{column}").normal(block, 50)[0] for column in (3, 0)]
    model.marginal([3, 0]).mix(own, [streams(f"factor/{m}").normal(block, 50)[0] for m in range(model.n_factors)])
    assert (own[0].numpy() == whole[3]).all()
    assert (own[1].numpy() == whole[0]).all()


@pytest.mark.parametrize("which", ["one number", "one binary column", "only levels", "a patient and a column without values"])
def test_odd_tables(which):
    n = 200
    scores = _mixed(n)
    if which == "one number":
        columns = scores[:1]
    elif which == "one binary column":
        columns = scores[3:4]
    elif which == "only levels":
        columns = scores[2:]
    else:
        for column in scores:
            column.exact[0] = np.nan
            column.interval[0] = -1
        columns = [*scores, Scores(np.full(n, np.nan), np.full(n, -1), np.array([[-np.inf, 0.0], [0.0, np.inf]]))]
    with isolated(1):
        model = LatentClasses.fit(columns)
    drawn = _drawn(model, 20_000)
    assert np.isfinite(drawn).all()
    assert all(stats.kstest(column, "norm").statistic < 1.9 / math.sqrt(20_000) for column in drawn)
