"""A normalising flow: dependence of any shape, for data of 10,000 patients or more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trialsim.cohort.fitted.margins import Scores
from trialsim.tensors import resident

CHUNK = 8192  # patients worked on at a time
REACH = 8.25  # no normal of a stream is further out
POINTS = 4097
HIGHEST = 6.0  # of a hidden unit: max(0, min(x, 6))
_MANTISSA = 52


@dataclass(frozen=True, slots=True)
class Layer:
    """One affine coupling: columns `first` are shifted and scaled by constants, columns `second` by what a network makes of `first`.

    Towards the data: x_A = (z_A − a) / s, then x_B = (z_B − m(x_A)) / exp(l(x_A)). The network has two hidden layers
    of units in [0, 6]; `weights` `[output, input]` and `biases` are those of its three matrices, the shifts m before the
    log scales l.
    """

    first: Int[Tensor, "half"]
    second: Int[Tensor, "other"]
    shift: Float[Tensor, "half"]
    scale: Float[Tensor, "half"]
    weights: tuple[Tensor, Tensor, Tensor]
    biases: tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Flow:
    """Scores are what layers of affine couplings make of independent normals, put on the scale of a standard normal.

    A column's score is a tabulated increasing function of what the layers give, its own distribution among 2¹⁹ drawn patients
    (`tables` `[column, point]` over `low` … `high`): standard normal by itself to within the error of such an empirical
    distribution, 0.002 of a probability; beyond ±4 the function goes on in a straight line.

    A patient's bits are their own although matrices are multiplied: inputs and weights are rounded to such powers of two
    that every product and every sum is exact in float64, in whatever order and on whatever machine it is made.
    """

    kind: ClassVar[str] = "flow"
    layers: tuple[Layer, ...]
    low: Float[Tensor, "column"]
    high: Float[Tensor, "column"]
    tables: Float[Tensor, "column point"]

    @property
    def n_factors(self) -> int:
        """None: a normal for each column is all it takes."""
        return 0

    @cached_property
    def _exact(self) -> list[tuple[Layer, list[tuple[Tensor, float, float]]]]:
        """Each layer with its matrices rounded, the rounding of their inputs, and the bound of these."""
        return [(layer, [rounded(weight, REACH * 2 if place == 0 else HIGHEST) for place, weight in enumerate(layer.weights)]) for layer in self.layers]

    @cached_property
    def _rows(self) -> list[tuple[float, float, Tensor]]:
        steps = (POINTS - 1) / (self.high - self.low)
        return [(float(low), float(step), table.contiguous()) for low, step, table in zip(self.low, steps, self.tables, strict=True)]

    def mix(self, own: Sequence[Float[Tensor, "*shape"]], factors: Sequence[Float[Tensor, "*shape"]]) -> None:
        """Turns the columns' own normals into scores, in place."""
        n = own[0].numel()
        flat = [score.reshape(-1) for score in own]
        done = [torch.empty_like(score) for score in flat]
        for start in range(0, n, CHUNK):
            x = torch.stack([score[start : start + CHUNK] for score in flat])
            self.towards_data(x)
            for column, (low, step, table) in enumerate(self._rows):
                place = x[column].sub(low).mul_(step).clamp_(0.0, POINTS - 1.000001)
                index = place.to(torch.int32)
                place -= index
                left = resident(table, place.device).index_select(0, index)
                index += 1
                done[column][start : start + CHUNK] = place.mul_(resident(table, place.device).index_select(0, index).sub_(left)).add_(left)
        for score, new in zip(own, done, strict=True):
            score.copy_(new.view(score.shape))

    def towards_data(self, x: Float[Tensor, "column patient"]) -> None:
        """The couplings, last layer first, in place."""
        for layer, matrices in reversed(self._exact):
            first, second = resident(layer.first, x.device), resident(layer.second, x.device)
            base = (x.index_select(0, first) - resident(layer.shift, x.device)[:, None]) / resident(layer.scale, x.device)[:, None]
            x[first] = base
            hidden = base
            for place, ((weight, quantum, bound), bias) in enumerate(zip(matrices, layer.biases, strict=True)):
                lowest = -bound if place == 0 else 0.0
                hidden = hidden.clamp(lowest, bound).mul_(1.0 / quantum).round_().mul_(quantum)
                hidden = (resident(weight, x.device) @ hidden).add_(resident(bias, x.device)[:, None])
            shift, log_scale = hidden[: len(second)], hidden[len(second) :]
            x[second] = (x.index_select(0, second) - shift) * torch.exp(log_scale / -(1.0 + (log_scale / _LOG_SLOPE).abs()))

    def tensors(self) -> Mapping[str, Tensor]:
        """The layers and the tables."""
        out = {"low": self.low, "high": self.high, "tables": self.tables}
        for place, layer in enumerate(self.layers):
            out |= {f"{place}.{name}": getattr(layer, name) for name in ("first", "second", "shift", "scale")}
            out |= {f"{place}.weight.{depth}": weight for depth, weight in enumerate(layer.weights)}
            out |= {f"{place}.bias.{depth}": bias for depth, bias in enumerate(layer.biases)}
        return out

    def options(self) -> Mapping[str, Any]:
        """How many layers there are."""
        return {"layers": len(self.layers)}

    @classmethod
    def fit(cls, columns: Sequence[Scores], *, linked: Collection[tuple[int, int]] = (), like: Flow | None = None) -> Flow:
        """See `flow_training.train_flow`; `like` saves nothing, every flow starts afresh."""
        from trialsim.cohort.fitted.dependence.flow_training import train_flow

        return train_flow(columns, linked=linked)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> Flow:
        """The flow with these layers."""
        layers = tuple(
            Layer(
                first=tensors[f"{place}.first"],
                second=tensors[f"{place}.second"],
                shift=tensors[f"{place}.shift"],
                scale=tensors[f"{place}.scale"],
                weights=(tensors[f"{place}.weight.0"], tensors[f"{place}.weight.1"], tensors[f"{place}.weight.2"]),
                biases=(tensors[f"{place}.bias.0"], tensors[f"{place}.bias.1"], tensors[f"{place}.bias.2"]),
            )
            for place in range(options["layers"])
        )
        return cls(layers, tensors["low"], tensors["high"], tensors["tables"])


_LOG_SLOPE = float(torch.log(torch.tensor(1e-3, dtype=torch.float64)))  # zuko's bound of a log scale


def rounded(weight: Float[Tensor, "output input"], bound: float) -> tuple[Float[Tensor, "output input"], float, float]:
    """The matrix rounded, the quantum of it and of its inputs, and the bound of these: so that products with it are exact.

    With |x| ≤ bound and both rounded to multiples of q = 2⁻ᵏ, a sum of products is a multiple of q² below
    bound · max |w| · inputs: exact in float64 where that is less than 2⁵² q².
    """
    size = torch.tensor(bound * max(float(weight.abs().max()), 1e-3) * 1.01 * weight.shape[1], dtype=torch.float64)
    quantum = 2.0 ** -int(torch.floor((_MANTISSA - torch.log2(size)) / 2))
    return torch.round(weight / quantum) * quantum, quantum, bound
