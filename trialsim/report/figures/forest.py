"""A forest plot: one estimate per line with its interval, and a second mark to compare it with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from trialsim.report.figures.chart import label, ticks

WIDTH, LABELS, RIGHT, ROW, TOP, BOTTOM = 680, 250, 14, 27, 10, 58


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One line: an estimate with its interval, and where `mark` is given a ring at it."""

    name: str
    estimate: float
    low: float
    high: float
    mark: float | None = None


@dataclass(frozen=True)
class Forest:
    """Lines over one axis; `lines` are values with a vertical line through all rows, dashed after the first."""

    title: str
    x_title: str
    rows: Sequence[ForestRow]
    lines: Sequence[float] = (0.0,)

    @property
    def x_range(self) -> tuple[float, float]:
        """From the lowest to the highest thing drawn, with a margin."""
        values = [value for row in self.rows for value in (row.low, row.high, row.estimate, *(() if row.mark is None else (row.mark,)))] + list(self.lines)
        low, high = min(values), max(values)
        pad = 0.04 * (high - low) or 0.5
        return low - pad, high + pad

    def svg(self, *, id: str) -> str:
        """The drawing, with a title and a description for those who cannot see it."""
        height = TOP + ROW * len(self.rows) + BOTTOM
        low, high = self.x_range
        bottom = height - BOTTOM

        def x(value: float) -> str:
            return f"{LABELS + (value - low) / (high - low) * (WIDTH - LABELS - RIGHT):.2f}"

        parts = [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{id}-title {id}-desc" xmlns="http://www.w3.org/2000/svg">',
            f'<title id="{id}-title">{escape(self.title)}</title>',
            f'<desc id="{id}-desc">{escape(self.x_title)} of {len(self.rows)} lines, with intervals.</desc>',
        ]
        for tick in ticks(low, high):
            parts.append(f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="{TOP}" y2="{bottom}"/>')
            parts.append(f'<text class="tick" x="{x(tick)}" y="{bottom + 9}" text-anchor="middle" dominant-baseline="hanging">{label(tick)}</text>')
        for place, value in enumerate(self.lines):
            parts.append(f'<line class="{"zero" if place == 0 else "zero dashed"}" x1="{x(value)}" x2="{x(value)}" y1="{TOP}" y2="{bottom}"/>')
        for place, row in enumerate(self.rows):
            y = TOP + ROW * (place + 0.5)
            parts.append(f'<text x="{LABELS - 12}" y="{y}" text-anchor="end" dominant-baseline="central">{escape(_short(row.name))}</text>')
            parts.append(f'<line class="line series-1" x1="{x(row.low)}" x2="{x(row.high)}" y1="{y}" y2="{y}"/>')
            parts.append(f'<circle class="marker series-1" cx="{x(row.estimate)}" cy="{y}" r="4.5"/>')
            if row.mark is not None:
                parts.append(f'<circle class="ring series-2" cx="{x(row.mark)}" cy="{y}" r="6.5"/>')
        middle = (LABELS + WIDTH - RIGHT) / 2
        parts.append(
            f'<text class="axis-title" x="{middle:.0f}" y="{bottom + 34}" text-anchor="middle" dominant-baseline="hanging">{escape(self.x_title)}</text>'
        )
        parts.append("</svg>")
        return "\n".join(parts)


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
