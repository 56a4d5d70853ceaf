"""Training a flow with zuko: levels dequantised and missing cells imputed anew in every epoch, stopped by held-out patients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from trialsim.cohort.fitted.dependence.flow import POINTS, Flow, Layer
from trialsim.cohort.fitted.dependence.gaussian_factors import GaussianFactors
from trialsim.cohort.fitted.margins import Scores
from trialsim.errors import DataError

FEWEST = 10_000
LAYERS, HIDDEN = 6, 64
BATCH = 256
RATE = 3e-3
PATIENCE, DECAYS, MOST_EPOCHS = 4, 2, 60
HELD_OUT = 10  # one patient in so many
SEED = 1
DRAWS = 2**19
_EDGE = 1e-15
_WIDEST = 8.0
_PARTS = 2  # in which the gaps of a patient are renewed
_WARM = 2  # epochs before gaps are drawn from the flow
_FARTHEST = 4.0


Density = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""log p of rows `[patient, column]`."""


class Completed:
    """Patients' scores without gaps: a level at a point of its interval, a missing cell at some point, drawn anew for every epoch.

    Both are drawn at first from their conditional law given the patient's other cells under a Gaussian copula, which is fitted to
    the pairs of cells that are seen (20 Gibbs sweeps), and then from that of the flow learnt so far, by Metropolis steps
    that propose from the copula: Monte Carlo EM. A uniform point of an interval, never revised, would make the joint density of two
    levels a step, which a flow blurs; and cells filled by the copula alone would make what goes together more Gaussian than it is.

    **Source:** Wei & Tanner 1990, JASA 85:699, doi 10.1080/01621459.1990.10474930 (Monte Carlo EM); Tierney 1994,
    doi 10.1214/aos/1176325750 (Metropolis steps with another chain's moves as proposals).
    """

    def __init__(self, columns: Sequence[Scores], linked: Collection[tuple[int, int]], rng: np.random.Generator):
        self.rng = rng
        exact = np.stack([column.exact for column in columns], axis=1)
        self.gaps = np.isnan(exact)
        self.z = np.where(np.isnan(exact), 0.0, exact)
        self.ends = [np.concatenate((column.ends, [[-np.inf, np.inf]]))[column.interval] for column in columns]  # −1: missing
        self.precision: NDArray[np.float64] | None = None
        if np.isnan(exact).any():
            self.precision = np.linalg.inv(GaussianFactors.fit(columns, linked=linked).correlation().numpy())
            for _ in range(20):
                self.draw()

    def draw(self, density: Density | None = None) -> NDArray[np.float64]:
        """The scores `[patient, column]` at this epoch; `density` is the flow's so far."""
        if self.precision is None:
            return self.z
        if density is None:
            for place in range(self.z.shape[1]):
                self._renew(self.z, place, self.gaps[:, place])
            return self.z
        for part in np.array_split(self.rng.permutation(self.z.shape[1]), _PARTS):
            self._metropolis(part, density)
        return self.z

    def _metropolis(self, part: NDArray[np.int64], density: Density) -> None:
        """Proposes new values of the gaps in some columns, by a sweep and back (so that the proposal is reversible under the copula)."""
        rows = np.flatnonzero(self.gaps[:, part].any(1))
        if not len(rows):
            return
        proposed = self.z.copy()
        for place in (*part, *part[::-1]):
            self._renew(proposed, place, self.gaps[:, place])
        before, after = self.z[rows], proposed[rows]
        ratio = density(after) - density(before) + self._quadratic(after) - self._quadratic(before)
        taken = rows[np.log(self.rng.uniform(size=len(rows))) < ratio]
        self.z[taken] = proposed[taken]

    def _quadratic(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """½ zᵀ R⁻¹ z: minus the copula's log density, up to a constant."""
        assert self.precision is not None
        return np.asarray(0.5 * ((z @ self.precision) * z).sum(1))

    def _renew(self, z: NDArray[np.float64], place: int, which: NDArray[np.bool_]) -> None:
        """Draws a column's cells given the patient's others under the copula, in place."""
        assert self.precision is not None
        rows = np.flatnonzero(which)
        own = self.precision[place, place]
        sd = 1.0 / np.sqrt(own)
        mean = z[rows, place] - (z[rows] @ self.precision[:, place]) / own
        ends = self.ends[place][rows]
        low, high = (ends[:, 0] - mean) / sd, (ends[:, 1] - mean) / sd
        flipped = low > 0  # from the nearer tail
        low, high = np.where(flipped, -high, low), np.where(flipped, -low, high)
        below = ndtr(low)
        point = ndtri(np.clip(below + (ndtr(high) - below) * self.rng.uniform(size=len(rows)), _EDGE, 1 - _EDGE))
        point = np.clip(np.clip(point, low, high), -_WIDEST, _WIDEST)
        z[rows, place] = np.clip(mean + sd * np.where(flipped, -point, point), ends[:, 0], ends[:, 1])


def train_flow(columns: Sequence[Scores], *, linked: Collection[tuple[int, int]] = ()) -> Flow:
    """A masked autoregressive flow in coupling form (6 layers, 2 × 64 hidden units) of columns given as scores.

    Maximum likelihood by Adam on nine tenths of the patients, levels and missing cells completed anew in every epoch (see
    `Completed`); a rate is quartered after 4 epochs in which the held-out tenth is no better, and after the third time
    the best epoch is kept. The seed is fixed. DataError below 10,000 patients, whom a flow would learn by heart.

    Links need no care: they are in the intervals of their columns. Not handled: data missing in a way that depends on
    unseen values; sharp steps (a flow is smooth).

    **Source:** Papamakarios, Pavlakou & Murray 2017, Masked autoregressive flow for density estimation, arXiv:1705.07057;
    Dinh, Sohl-Dickstein & Bengio 2017, arXiv:1605.08803 (couplings); Rozet et al. 2022 (zuko), doi 10.5281/zenodo.7625672.
    """
    n = len(columns[0].exact)
    if n < FEWEST:
        raise DataError(f"a flow is fitted to {FEWEST:,} patients or more, and there are {n:,}; use the model copula or latent_class")
    if len(columns) < 2:
        return _standardised((), len(columns))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        rng = np.random.default_rng(SEED)
        trained = _train(Completed(columns, linked, rng), rng)
    return _standardised(tuple(_layer(transform) for transform in trained.transform.transforms), len(columns))


def _train(data: Completed, rng: np.random.Generator) -> Any:
    import zuko

    p = data.z.shape[1]
    flow = zuko.flows.MAF(p, transforms=LAYERS, hidden_features=(HIDDEN, HIDDEN), passes=2, randperm=True, activation=torch.nn.ReLU6)
    order = rng.permutation(len(data.z))
    held_out, learnt = order[: len(order) // HELD_OUT], order[len(order) // HELD_OUT :]
    optimiser = torch.optim.Adam(flow.parameters(), lr=RATE)
    best, best_state, waited, decays = float("inf"), {}, 0, 0

    def density(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        with torch.no_grad():
            return np.asarray(torch.cat([flow().log_prob(part) for part in torch.from_numpy(rows).float().split(2048)]).double().numpy())

    for epoch in range(MOST_EPOCHS):
        z = data.draw(density if epoch >= _WARM else None)
        x = torch.from_numpy(z[rng.permutation(learnt)]).float()
        for batch in x.split(BATCH):
            optimiser.zero_grad()
            (-flow().log_prob(batch).mean()).backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            optimiser.step()
        loss = -float(density(z[held_out]).mean())
        if loss < best - 1e-3:
            best, waited = loss, 0
            best_state = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
            continue
        waited += 1
        if waited == PATIENCE:
            if decays == DECAYS:
                break
            flow.load_state_dict(best_state)
            decays, waited = decays + 1, 0
            optimiser = torch.optim.Adam(flow.parameters(), lr=RATE / 4**decays)
    flow.load_state_dict(best_state)
    return flow


def _layer(transform: Any) -> Layer:
    """One of zuko's masked transforms, as its two halves and the network between them."""
    late = transform.order > 0
    first, second = torch.nonzero(~late).flatten(), torch.nonzero(late).flatten()
    linear = [module for module in transform.hyper if hasattr(module, "mask")]
    weights = [(module.weight * module.mask).detach().double() for module in linear]
    biases = [module.bias.detach().double() for module in linear]
    with torch.no_grad():
        constants = transform.hyper.double()(torch.zeros(transform.order.numel(), dtype=torch.float64)).view(-1, 2)[first]
    rows = torch.cat((2 * second, 2 * second + 1))  # zuko has each column's shift before its log scale
    scale = torch.exp(constants[:, 1] / (1 + (constants[:, 1] / np.log(1e-3)).abs()))
    return Layer(
        first=first,
        second=second,
        shift=constants[:, 0].clone(),
        scale=scale,
        weights=(weights[0][:, first].contiguous(), weights[1].contiguous(), weights[2][rows].contiguous()),
        biases=(biases[0], biases[1], biases[2][rows].contiguous()),
    )


def _standardised(layers: tuple[Layer, ...], p: int) -> Flow:
    """The flow with tables that make each column standard normal, by the quantiles of patients drawn from it."""
    flat = torch.zeros(p, dtype=torch.float64)
    flow = Flow(layers, flat, flat, torch.zeros(p, POINTS, dtype=torch.float64))
    generator = torch.Generator().manual_seed(SEED)
    drawn: list[Tensor] = []
    for _ in range(DRAWS // 8192):
        x = torch.randn(p, 8192, generator=generator, dtype=torch.float64)
        flow.towards_data(x)
        drawn.append(x)
    scores = np.linspace(-_FARTHEST, _FARTHEST, 161)
    lows, highs, tables = [], [], []
    for sample in torch.cat(drawn, dim=1).numpy():
        quantiles = np.quantile(sample, ndtr(scores))
        quantiles = np.maximum.accumulate(quantiles + 1e-9 * np.arange(len(quantiles)))
        below, above = (scores[10] - scores[0]) / (quantiles[10] - quantiles[0]), (scores[-1] - scores[-11]) / (quantiles[-1] - quantiles[-11])
        low, high = quantiles[0] - (8.25 - _FARTHEST) / below, quantiles[-1] + (8.25 - _FARTHEST) / above
        grid = np.linspace(low, high, POINTS)
        table = np.interp(grid, quantiles, scores)
        table = np.where(grid < quantiles[0], scores[0] - below * (quantiles[0] - grid), table)
        table = np.where(grid > quantiles[-1], scores[-1] + above * (grid - quantiles[-1]), table)
        lows.append(low)
        highs.append(high)
        tables.append(table)
    return Flow(layers, *(torch.from_numpy(np.array(array)) for array in (lows, highs, tables)))


def log_density(layers: Sequence[Layer], x: Float[Tensor, "patient column"]) -> Float[Tensor, "patient"]:
    """log p(x) of the layers before standardising, by running the couplings from the data: for tests and comparisons."""
    z = x.T.clone()
    total = torch.zeros(z.shape[1], dtype=torch.float64)
    for layer in layers:
        hidden = z[layer.first]
        for place, (weight, bias) in enumerate(zip(layer.weights, layer.biases, strict=True)):
            hidden = weight @ (hidden if place == 0 else hidden.clamp(0.0, 6.0)) + bias[:, None]
        shift, log_scale = hidden[: len(layer.second)], hidden[len(layer.second) :]
        log_scale = log_scale / (1 + (log_scale / np.log(1e-3)).abs())
        z[layer.second] = z[layer.second] * torch.exp(log_scale) + shift
        z[layer.first] = z[layer.first] * layer.scale[:, None] + layer.shift[:, None]
        total = total + log_scale.sum(0) + torch.log(layer.scale).sum()
    return total - 0.5 * (z**2 + np.log(2 * np.pi)).sum(0)
