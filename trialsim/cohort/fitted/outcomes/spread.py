"""How far values lie from their mean: an SD that follows the mean and the arm, and the shape of what is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import ndtri
from torch import Tensor

from trialsim.cohort.fitted.margins import EDGE, POINTS, Scores, SmoothMargin, fit_smooth
from trialsim.cohort.fitted.outcomes.newton import Array, find_mode

_SLOPE_SD, _ARM_SD = 1.0, 0.25  # priors: a power of about the mean, arms within a quarter on the log scale
_REACH = 3.0
_NONE = 1e-9  # of the mean: an SD below this is rounding


@dataclass(frozen=True, slots=True)
class Spread:
    """log σ = level + slope · u(μ) + offset of the arm.

    With u(μ) = log(max(μ, least) / centre) for a quantity that is never negative, so that σ is a power of the mean, and
    u(μ) = (μ − centre) / scale within ±3 otherwise. `shape` is the quantile function of the residual in SDs, of mean 0
    and SD 1 at a standard normal score: its skewness and tails.
    """

    level: float
    slope: float
    offsets: Mapping[str, float]
    centre: float
    scale: float
    least: float | None
    shape: SmoothMargin

    def sd(self, mean: Float[Tensor, "*shape"], offset: Float[Tensor, "*shape"] | float) -> Float[Tensor, "*shape"]:
        """The residual SD where the expected value is `mean` and the arm's offset is `offset`."""
        return self.along(mean).mul_(self.slope).add_(self.level).add_(offset).exp_()

    def along(self, mean: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """u(μ)."""
        if self.least is not None:
            return mean.clamp(min=self.least).mul_(1.0 / self.centre).log_()
        return mean.sub(self.centre).mul_(1.0 / self.scale).clamp_(-_REACH, _REACH)

    def store(self, key: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """The spread as JSON; its table goes to `tensors`."""
        tensors[f"{key}.shape"] = self.shape.table
        numbers = {"level": self.level, "slope": self.slope, "centre": self.centre, "scale": self.scale, "least": self.least}
        return {"key": key, "offsets": dict(self.offsets), **numbers}

    @classmethod
    def read(cls, given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Spread:
        """The spread that `store` wrote."""
        numbers = {name: given[name] for name in ("level", "slope", "centre", "scale", "least")}
        return cls(offsets=dict(given["offsets"]), shape=SmoothMargin(tensors[f"{given['key']}.shape"]), **numbers)


def fit_spread(residual: Array, mean: Array, treated: Array, others: tuple[str, ...], *, positive: bool) -> tuple[Spread, Scores]:
    """The spread of residuals `[patient]` (NaN missing) around means, and the residuals' normal scores.

    log σ by the likelihood of normal residuals given their means (pseudo-likelihood), with the slope Normal(0, 1) and
    the arms' offsets Normal(0, 0.25); then a smooth margin of residual / σ. The mean is not fitted again, so that each
    arm's mean is the data's.

    **Source:** Carroll & Ruppert 1988, Transformation and Weighting in Regression, chapter 3, doi 10.1201/9780203735268.
    """
    seen = ~np.isnan(residual)
    r, mu = residual[seen], mean[seen]
    if r.std() <= _NONE * max(float(np.abs(mu).max()), 1e-300):
        return _nothing_left(len(residual), float(mu.mean()))
    centre, scale = float(mu.mean()), float(mu.std()) or 1.0
    positive = positive and centre > 0
    least = 0.2 * centre if positive else None
    spread = Spread(0.0, 0.0, {}, centre, scale, least, SmoothMargin(torch.zeros(POINTS, dtype=torch.float64)))
    u = spread.along(torch.from_numpy(mu)).numpy()
    columns = np.column_stack((np.ones(len(r)), u, treated[seen]))
    overall = float(np.log(max(r.std(), 1e-300)))

    def log_likelihood(theta: Array) -> tuple[float, Array, Array]:
        log_sd = columns @ theta
        square = r**2 * np.exp(-2.0 * log_sd)
        return float(-log_sd.sum() - 0.5 * square.sum()), columns.T @ (square - 1.0), (columns * (2.0 * square)[:, None]).T @ columns

    start = np.concatenate(([overall], np.zeros(columns.shape[1] - 1)))
    sd = np.concatenate(([2.0, _SLOPE_SD], np.full(len(others), _ARM_SD)))
    level, slope, *offsets = find_mode(log_likelihood, start, centre=start, sd=sd).place.tolist()
    standard = np.full(len(residual), np.nan)
    standard[seen] = r * np.exp(-(columns @ np.array([level, slope, *offsets])))
    margin, scores = fit_smooth(standard)
    centre_of_shape, sd_of_shape = _moments(margin.table)
    shape = SmoothMargin((margin.table - centre_of_shape) / sd_of_shape)
    level += float(np.log(sd_of_shape))
    return Spread(level, slope, dict(zip(others, offsets, strict=True)), centre, scale, least, shape), scores


def _nothing_left(n: int, centre: float) -> tuple[Spread, Scores]:
    """The spread of a value that the baseline and the arm determine: none, and nobody has a score."""
    table = torch.linspace(-EDGE, EDGE, POINTS, dtype=torch.float64)
    unknown = Scores(exact=np.full(n, np.nan), interval=np.full(n, -1, dtype=np.int64), ends=np.empty((0, 2)))
    return Spread(-1e3, 0.0, {}, centre, 1.0, None, SmoothMargin(table)), unknown


def _moments(table: Tensor) -> tuple[float, float]:
    """The mean and SD of Q(z) for a standard normal z."""
    z = torch.from_numpy(ndtri((np.arange(200_000) + 0.5) / 200_000))
    place = ((z + EDGE) * ((POINTS - 1) / (2 * EDGE))).clamp(0.0, POINTS - 1.000001)
    index = place.to(torch.int64)
    values = table[index] + (place - index) * (table[index + 1] - table[index])
    return float(values.mean()), float(values.std(correction=0))
