"""True contrasts of two means over twins: differences, ratios, odds ratios, of whatever is averaged under both arms.

With m_1, m_0 the means over n twins of something under the test and the reference arm of the same twin, variances v and
covariance c over twins,

    difference   m_1 - m_0                       MCSE^2 = (v_1 + v_0 - 2 c) / n
    ratio        log m_1 - log m_0               by the delta method, gradients 1 / m
    odds ratio   log odds m_1 - log odds m_0     gradients 1 / (m (1 - m))

What is averaged is an expected value given the baseline where that is known (then only the baseline is sampled), else the
outcome itself. A contrast that is undefined (the log of 0) is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trialsim.evaluation.truth import TrueValue

Floats = npt.NDArray[np.float64]
Contrast = Literal["difference", "ratio", "odds_ratio"]


@dataclass(slots=True)
class PairedMeans:
    """Sums over twins of two numbers per twin, exact over blocks."""

    _sums: list[tuple[float, float, float, float, float]] = field(default_factory=list)
    n: int = 0

    def add(self, test: Tensor, reference: Tensor) -> None:
        """The numbers of a block of twins under both arms."""
        a, b = (part.reshape(-1) for part in torch.broadcast_tensors(test, reference))
        self._sums.append((float(a.sum()), float(b.sum()), float((a * a).sum()), float((b * b).sum()), float((a * b).sum())))
        self.n += a.numel()

    def contrast(self, kind: Contrast, *, exact: bool = False) -> TrueValue | None:
        """The contrast of the means; `exact`: what was averaged is the same for every twin."""
        test, reference, test_square, reference_square, product = (math.fsum(parts) / self.n for parts in zip(*self._sums, strict=True))
        found = contrast_of(test, reference, kind)
        if found is None:
            return None
        value, by_test, by_reference = found
        if exact:
            return TrueValue(value)
        variance = (
            by_test**2 * (test_square - test**2)
            + by_reference**2 * (reference_square - reference**2)
            + 2.0 * by_test * by_reference * (product - test * reference)
        )
        return TrueValue(value, math.sqrt(max(variance, 0.0) / self.n), self.n)


def contrast_of(test: float, reference: float, kind: Contrast) -> tuple[float, float, float] | None:
    """The contrast and its derivatives in the two means; None where undefined."""
    if kind == "difference":
        return test - reference, 1.0, -1.0
    if test <= 0.0 or reference <= 0.0:
        return None
    if kind == "ratio":
        return math.log(test) - math.log(reference), 1.0 / test, -1.0 / reference
    if test >= 1.0 or reference >= 1.0:
        return None
    odds = [math.log(p) - math.log1p(-p) for p in (test, reference)]
    return odds[0] - odds[1], 1.0 / (test * (1.0 - test)), -1.0 / (reference * (1.0 - reference))


def contrast_over(blocks: Iterable[tuple[Tensor, Tensor]], kind: Contrast) -> TrueValue | None:
    """The contrast of what the blocks hold under (test, reference); exact where a block is one number for everyone."""
    means = PairedMeans()
    for test, reference in blocks:
        means.add(test, reference)
        if test.numel() == 1 and reference.numel() == 1:
            return means.contrast(kind, exact=True)
    return means.contrast(kind)


def true_median_contrast(test: Floats, reference: Floats, kind: Contrast) -> TrueValue | None:
    """The contrast of the medians of times under both arms of the same twins; None where fewer than half of an arm have the event.

    MCSE from the influence of a twin on each median, (1/2 - 1[t <= median]) / density, with the density by a difference of the
    distribution function over n ** (-1/5) of the range between the quartiles.
    """
    medians, influence, n = [], [], len(test)
    for times in (test, reference):
        ordered = np.sort(times)
        median = float(ordered[(n - 1) // 2])
        if not math.isfinite(median):
            return None
        upper = ordered[min(int(0.75 * n), n - 1)]
        width = n**-0.2 * float((upper if math.isfinite(upper) else median * 2.0) - ordered[n // 4])
        inside = np.searchsorted(ordered, [median - width, median + width], side="right")
        density = float(inside[1] - inside[0]) / n / (2.0 * width)
        medians.append(median)
        influence.append((0.5 - (times <= median)) / density)
    found = contrast_of(medians[0], medians[1], kind)
    if found is None:
        return None
    value, by_test, by_reference = found
    moved = by_test * influence[0] + by_reference * influence[1]
    return TrueValue(value, float(moved.std() / math.sqrt(n)), n)
