"""A matrix of numbers between −1 and 1 as coloured squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from trialsim.report.wording import fixed

WIDTH, LABELS = 680, 118


@dataclass(frozen=True)
class HeatMap:
    """`values` `[row, column]`, NaN where there is none. Full colour is at ±`full`; negative and positive have a colour each."""

    title: str
    names: Sequence[str]
    values: NDArray[np.float64]
    full: float = 1.0

    def svg(self, *, id: str) -> str:
        """The drawing; each square says its pair and its value."""
        n = len(self.names)
        side = (WIDTH - LABELS) / max(n, 1)
        size = min(13.0, 0.85 * side)
        parts = [
            f'<svg class="chart matrix" viewBox="0 0 {WIDTH} {WIDTH}" role="img" aria-labelledby="{id}-title" xmlns="http://www.w3.org/2000/svg">',
            f'<title id="{id}-title">{escape(self.title)}</title>',
        ]
        for i, name in enumerate(self.names):
            middle = LABELS + (i + 0.5) * side
            shown = escape(name if len(name) <= 16 else f"{name[:15]}…")
            style = f'style="font-size:{size:.1f}px"'
            parts.append(f'<text {style} x="{LABELS - 6}" y="{middle:.1f}" text-anchor="end" dominant-baseline="central">{shown}</text>')
            parts.append(f'<text {style} transform="translate({middle:.1f} {LABELS - 6}) rotate(-90)" dominant-baseline="central">{shown}</text>')
        for i in range(n):
            for j in range(n):
                value = float(self.values[i, j])
                if i == j or math.isnan(value):
                    continue
                depth = min(1.0, abs(value) / self.full)
                parts.append(
                    f'<rect class="cell series-{1 if value >= 0 else 2}" x="{LABELS + j * side:.1f}" y="{LABELS + i * side:.1f}" width="{side - 0.8:.1f}" '
                    f'height="{side - 0.8:.1f}" fill-opacity="{depth:.2f}"><title>{escape(self.names[i])}, {escape(self.names[j])}: {fixed(value, 2)}</title></rect>'
                )
        parts.append("</svg>")
        return "\n".join(parts)
