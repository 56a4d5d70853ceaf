"""Flows: the couplings against zuko's own, exact arithmetic, scores standard normal, dependence that is not monotone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.cohort.fitted.dependence import DEPENDENCES, Flow, flow_training
from trialsim.cohort.fitted.dependence.flow import rounded
from trialsim.cohort.fitted.dependence.flow_training import Completed, log_density, train_flow
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.margins import Scores, fit_smooth, fit_stepped
from trialsim.errors import DataError

N = 10_000


def _columns(missing: float = 0.0, n: int = N) -> tuple[list[Scores], np.ndarray]:
    """y bends with x, a level hangs on |x|, a binary column on y and one number on nothing; and the values."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=n)
    y = x**2 + 0.5 * rng.normal(size=n)
    level = np.searchsorted([0.5, 1.2], np.abs(x) + 0.2 * rng.normal(size=n)).astype(float)
    yes = (y + 0.5 * rng.normal(size=n) > 1).astype(float)
    values = np.stack([x, y, level, yes, rng.normal(size=n)])
    seen = values.copy()
    seen[rng.random(seen.shape) < missing] = np.nan
    return [
        fit_smooth(seen[0])[1],
        fit_smooth(seen[1])[1],
        fit_stepped(seen[2], np.arange(3.0))[1],
        fit_stepped(seen[3], np.arange(2.0))[1],
        fit_smooth(seen[4])[1],
    ], values


def _drawn(flow: Flow, n: int, seed: int = 3) -> np.ndarray:
    own = torch.randn(flow.tables.shape[0], n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    flow.mix(list(own), [])
    return own.numpy()


@pytest.fixture(scope="module")
def flow() -> Flow:
    """Trained on data of which a tenth of the cells are missing, for 12 epochs at most."""
    with pytest.MonkeyPatch.context() as patch, isolated(1):
        patch.setattr(flow_training, "MOST_EPOCHS", 12)
        patch.setattr(flow_training, "DRAWS", 2**17)
        return Flow.fit(_columns(0.1)[0])


def test_few_patients_are_refused_in_one_line():
    with pytest.raises(DataError) as caught:
        Flow.fit(_columns(n=2139)[0])
    assert str(caught.value) == "a flow is fitted to 10,000 patients or more, and there are 2,139; use the model copula or latent_class"


def test_a_product_has_the_same_bits_in_any_order():
    """Rounded to a power of two, sums of products are exact: here in Python's whole numbers."""
    rng = np.random.default_rng(1)
    weight, quantum, bound = rounded(torch.from_numpy(rng.normal(size=(7, 50)) * 3), 16.5)
    x = torch.from_numpy(rng.normal(size=(50, 33)) * 5).clamp(-bound, bound).div(quantum).round() * quantum
    product = weight @ x
    whole = [[sum(int(a / quantum) * int(b / quantum) for a, b in zip(row, column, strict=True)) for column in x.T.tolist()] for row in weight.tolist()]
    assert [[int(cell / quantum**2) for cell in row] for row in product.tolist()] == whole
    order = rng.permutation(50)
    assert torch.equal(weight[:, order] @ x[order], product)
    assert quantum < 1e-5


def test_the_couplings_are_zukos():
    """The layers taken out of a trained flow give zuko's densities and, up to the rounding of inputs, its draws."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(flow_training, "MOST_EPOCHS", 1)
        torch.manual_seed(1)
        rng = np.random.default_rng(1)
        trained = flow_training._train(Completed([_columns()[0][0], _columns()[0][1], _columns()[0][4]], (), rng), rng)
    trained = trained.double()
    layers = tuple(flow_training._layer(transform) for transform in trained.transform.transforms)
    z = torch.from_numpy(np.random.default_rng(2).normal(size=(200, 3)))
    with torch.no_grad():
        witness = trained().transform.inv(z)
        density = trained().log_prob(witness)
    ours = z.T.clone()
    Flow(layers, torch.zeros(3), torch.zeros(3), torch.zeros(3, 2)).towards_data(ours)
    np.testing.assert_allclose(ours.T.numpy(), witness.numpy(), atol=1e-4)
    np.testing.assert_allclose(log_density(layers, witness).numpy(), density.numpy(), atol=1e-6)


def test_gaps_are_filled_from_their_conditional_law():
    """Bivariate normal: a missing cell is Normal(r z, 1 − r²), and a level's score the truncated normal; 4 standard errors."""
    n, r = 20_000, 0.6
    z = np.random.default_rng(1).multivariate_normal([0, 0], [[1, r], [r, 1]], n).T
    gone = z[1].copy()
    gone[: n // 2] = np.nan
    columns = [Scores(z[0], np.full(n, -1), np.empty((0, 2))), Scores(gone, np.full(n, -1), np.empty((0, 2)))]
    with isolated(1):
        filled = Completed(columns, (), np.random.default_rng(2)).draw()[: n // 2]
    slope, rest = np.polyfit(z[0, : n // 2], filled[:, 1], 1)[0], filled[:, 1] - r * z[0, : n // 2]
    assert abs(slope - r) < 4 * math.sqrt((1 - r**2) / (n / 2) + (1 - r**2) / (n / 2))  # the draw's error and the fit's
    assert abs(rest.std() - math.sqrt(1 - r**2)) < 4 * 0.8 / math.sqrt(n)
    ends = np.array([[-np.inf, 0.0], [0.0, np.inf]])
    columns = [columns[0], Scores(np.full(n, np.nan), (z[1] > 0).astype(np.int64), ends)]
    with isolated(1):
        filled = Completed(columns, (), np.random.default_rng(2)).draw()
    assert ((filled[:, 1] > 0) == (z[1] > 0)).all()
    assert stats.kstest(filled[:, 1], "norm").statistic < 1.63 / math.sqrt(n)
    assert abs(np.corrcoef(filled.T)[0, 1] - r) < 4 * 1.6 * (1 - r**2) / math.sqrt(n)


def test_scores_are_standard_normal_by_themselves(flow):
    """KS at 1 % of 100,000 scores and of the 131,072 that made the tables."""
    n = 100_000
    assert all(stats.kstest(column, "norm").statistic < 1.63 * math.sqrt(1 / n + 2**-17) for column in _drawn(flow, n))


def test_it_holds_dependence_that_no_gaussian_copula_can(flow):
    scores, values = _columns()
    drawn = _drawn(flow, 100_000)
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.1
    for edge in (-1.5, 1.5):  # y is high at both ends of x
        near = np.abs(drawn[0] - edge) < 0.1
        assert abs(drawn[1, near].mean() - scores[1].exact[np.abs(values[0] - edge) < 0.1].mean()) < 0.15
    # shares of the highest level and of yes, in the middle and outside
    for row, cut, truth in ((2, scores[2].ends[2, 0], values[2] == 2), (3, scores[3].ends[1, 0], values[3] == 1)):
        for low, high in ((0.0, 0.4), (1.5, 4.0)):
            modelled = (drawn[row] > cut)[(np.abs(drawn[0]) > low) & (np.abs(drawn[0]) < high)].mean()
            assert abs(modelled - truth[(np.abs(values[0]) > low) & (np.abs(values[0]) < high)].mean()) < 0.08
    assert np.abs(np.corrcoef(drawn)[4, :4]).max() < 0.05


def test_a_patients_bits_are_their_own(flow):
    own = torch.randn(5, 3, 4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together = own.clone()
    flow.mix(list(together), [])
    for rows, patients in ((slice(1, 2), slice(0, 4000)), (slice(0, 3), slice(17, 18)), (slice(2, 3), slice(3900, 4000))):
        part = own[:, rows, patients].clone()
        flow.mix(list(part), [])
        assert torch.equal(part, together[:, rows, patients])


def test_it_is_read_back(flow):
    assert DEPENDENCES["flow"] is Flow
    again = Flow.of({name: tensor.clone() for name, tensor in flow.tensors().items()}, flow.options())
    assert (_drawn(again, 50) == _drawn(flow, 50)).all()


def test_a_flow_is_the_same_again_and_leaves_no_trace(monkeypatch):
    monkeypatch.setattr(flow_training, "MOST_EPOCHS", 1)
    monkeypatch.setattr(flow_training, "DRAWS", 2**13)
    columns = _columns()[0][:2]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = train_flow(columns).tensors()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second = train_flow(columns).tensors()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_one_column_needs_no_layers():
    flow = train_flow(_columns()[0][:1])
    assert flow.layers == ()
    assert stats.kstest(_drawn(flow, 50_000)[0], "norm").statistic < 1.63 / math.sqrt(50_000)
