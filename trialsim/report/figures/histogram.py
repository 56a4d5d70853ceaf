"""One column twice, small: the real patients as bars, the synthetic ones as an outline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from trialsim.report.figures.chart import label

Array = NDArray[np.float64]

WIDTH, HEIGHT, BOTTOM, TOP = 240, 120, 20, 6
BINS = 24


@dataclass(frozen=True)
class Histogram:
    """Shares of the real and the synthetic patients in the same bins (`edges`, one more than shares) or levels (`levels`)."""

    title: str
    real: Sequence[float]
    synthetic: Sequence[float]
    edges: Sequence[float] = ()
    levels: Sequence[str] = ()

    def svg(self, *, id: str) -> str:
        """The drawing, with a title for those who cannot see it."""
        top = max([*self.real, *self.synthetic, 1e-9])
        n, base = len(self.real), HEIGHT - BOTTOM
        width = WIDTH / n

        def y(share: float) -> float:
            return base - share / top * (base - TOP)

        parts = [
            f'<svg class="chart small" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{id}-title" xmlns="http://www.w3.org/2000/svg">',
            f'<title id="{id}-title">{escape(self.title)}</title>',
        ]
        gap = 0.16 * width if self.levels else 0.0
        for place, share in enumerate(self.real):
            x = place * width + gap
            parts.append(f'<rect class="bars series-1" x="{x:.2f}" y="{y(share):.2f}" width="{width - 2 * gap:.2f}" height="{base - y(share):.2f}"/>')
        if self.levels:
            for place, share in enumerate(self.synthetic):
                x, at = place * width + 0.5 * gap, y(share)
                parts.append(f'<path class="line series-2" d="M{x:.2f} {at:.2f}H{x + width - gap:.2f}"/>')
        else:
            outline = "".join(f"H{place * width:.2f}V{y(share):.2f}H{(place + 1) * width:.2f}" for place, share in enumerate(self.synthetic))
            parts.append(f'<path class="line series-2" d="M0 {base}{outline}V{base}"/>')
        parts.append(f'<line class="axis" x1="0" x2="{WIDTH}" y1="{base}" y2="{base}"/>')
        for x, anchor, text in self._marks(width):
            parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 3}" text-anchor="{anchor}">{escape(text)}</text>')
        parts.append("</svg>")
        return "\n".join(parts)

    def _marks(self, width: float) -> list[tuple[float, str, str]]:
        if self.levels:
            room = max(2, int(width / 7))
            return [((place + 0.5) * width, "middle", name if len(name) <= room else f"{name[: room - 1]}…") for place, name in enumerate(self.levels)]
        return [(0.0, "start", label(self.edges[0])), (WIDTH, "end", label(self.edges[-1]))]


def of_numbers(title: str, real: Array, synthetic: Array) -> Histogram:
    """A histogram between round ends near the 0.5th and the 99.5th percentile of both; what lies beyond is in the end bins."""
    both = np.concatenate((np.quantile(real, (0.005, 0.995)), np.quantile(synthetic, (0.005, 0.995))))
    low, high = float(both.min()), float(both.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    unit = 10.0 ** math.floor(math.log10(high - low)) / 10
    low, high = math.floor(low / unit) * unit, math.ceil(high / unit) * unit
    edges = np.linspace(low, high, BINS + 1)
    shares = [np.bincount(np.clip(np.searchsorted(edges, x, side="right") - 1, 0, BINS - 1), minlength=BINS) / len(x) for x in (real, synthetic)]
    return Histogram(title, shares[0].tolist(), shares[1].tolist(), edges=[round(low, 10), round(high, 10)])


def of_levels(title: str, real: Array, synthetic: Array, levels: Sequence[str]) -> Histogram:
    """Bars of the shares of levels (places in `levels`)."""
    shares = [np.bincount(x.astype(np.int64), minlength=len(levels)) / max(len(x), 1) for x in (real, synthetic)]
    return Histogram(title, shares[0].tolist(), shares[1].tolist(), levels=levels)
