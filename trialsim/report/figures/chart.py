"""A plain line chart in SVG, hand-made: axes in the colour of the text, series by class.

The page's style sheet gives `.series-1` … `.series-6` their colours in both themes; a series is told apart by its dash too.
Text is sized by the style sheet, larger on narrow screens, where the drawing is scaled down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

from trialsim.report.wording import fixed

Point = tuple[float, float]
WIDTH, HEIGHT = 680, 400
LEFT, RIGHT, TOP, BOTTOM = 80, 14, 14, 62


@dataclass(frozen=True, slots=True)
class Series:
    """A named line. `step`: constant between points; `markers`: a dot at each point; `labels`: its value beside each dot."""

    name: str
    points: Sequence[Point]
    colour: int
    style: Literal["solid", "dashed", "dotted"] = "solid"
    step: bool = False
    markers: bool = False
    line: bool = True
    labels: Literal["", "above", "below"] = ""


@dataclass(frozen=True, slots=True)
class Band:
    """A shaded region between two lines at the same x."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: int
    step: bool = False


@dataclass(frozen=True)
class Chart:
    """Series over a common pair of axes."""

    title: str
    x_title: str
    y_title: str
    x_range: Point
    y_range: Point
    series: Sequence[Series]
    bands: Sequence[Band] = ()
    x_ticks: Sequence[float] = field(default_factory=tuple)
    y_ticks: Sequence[float] = field(default_factory=tuple)
    zero_line: bool = False

    def svg(self, *, id: str) -> str:
        """The drawing, with a title and a description for those who cannot see it."""
        names = "; ".join(series.name for series in self.series if series.name)
        parts = [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{id}-title {id}-desc" xmlns="http://www.w3.org/2000/svg">',
            f'<title id="{id}-title">{escape(self.title)}</title>',
            f'<desc id="{id}-desc">{escape(self.y_title)} against {escape(self.x_title)}. Series: {escape(names)}.</desc>',
            *self._grid(),
            *(self._band(band) for band in self.bands),
            *(self._line(series) for series in self.series if series.line),
            *(mark for series in self.series if series.markers for mark in self._markers(series)),
            *(text for series in self.series if series.labels for text in self._labels(series)),
            "</svg>",
        ]
        return "\n".join(parts)

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def _grid(self) -> list[str]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        lines = []
        for tick in self.y_ticks or ticks(*self.y_range):
            at = f"{self.y(tick):.2f}"
            lines.append(f'<line class="{"zero" if self.zero_line and tick == 0 else "grid"}" x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
            lines.append(f'<text class="tick" x="{LEFT - 10}" y="{at}" text-anchor="end" dominant-baseline="central">{label(tick)}</text>')
        for tick in self.x_ticks or ticks(*self.x_range):
            at = f"{self.x(tick):.2f}"
            lines.append(f'<line class="axis" x1="{at}" x2="{at}" y1="{bottom}" y2="{bottom + 5}"/>')
            lines.append(f'<text class="tick" x="{at}" y="{bottom + 9}" text-anchor="middle" dominant-baseline="hanging">{label(tick)}</text>')
        lines.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        lines.append(
            f'<text class="axis-title" x="{(LEFT + right) / 2:.0f}" y="{bottom + 38}" text-anchor="middle" dominant-baseline="hanging">{escape(self.x_title)}</text>'
        )
        middle = (TOP + bottom) / 2
        lines.append(f'<text class="axis-title" transform="translate(16 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(self.y_title)}</text>')
        return lines

    def _path(self, points: Sequence[Point], *, step: bool) -> str:
        inside = [(self.x(x), self.y(min(max(y, self.y_range[0]), self.y_range[1]))) for x, y in points if math.isfinite(y)]
        if not inside:
            return ""
        commands = [f"M{inside[0][0]:.2f} {inside[0][1]:.2f}"]
        for x, y in inside[1:]:
            commands.append(f"H{x:.2f}V{y:.2f}" if step else f"L{x:.2f} {y:.2f}")
        return "".join(commands)

    def _line(self, series: Series) -> str:
        return f'<path class="line series-{series.colour} {series.style}" d="{self._path(series.points, step=series.step)}"/>'

    def _markers(self, series: Series) -> list[str]:
        return [
            f'<circle class="marker series-{series.colour}" cx="{self.x(x):.2f}" cy="{self.y(y):.2f}" r="4.5"/>'
            for x, y in series.points
            if math.isfinite(y) and self.y_range[0] <= y <= self.y_range[1]
        ]

    def _labels(self, series: Series) -> list[str]:
        shift, baseline = (-11, "auto") if series.labels == "above" else (11, "hanging")
        return [
            f'<text class="value" x="{self.x(x):.2f}" y="{self.y(y) + shift:.2f}" text-anchor="middle" dominant-baseline="{baseline}">{fixed(y, 3)}</text>'
            for x, y in series.points
            if math.isfinite(y)
        ]

    def _band(self, band: Band) -> str:
        upper = self._path(list(zip(band.x, band.high, strict=True)), step=band.step)
        lower = list(zip(band.x, band.low, strict=True))[::-1]
        points = [(self.x(x), self.y(y)) for x, y in lower]
        back = f"L{points[0][0]:.2f} {points[0][1]:.2f}" + "".join(f"V{y:.2f}H{x:.2f}" if band.step else f"L{x:.2f} {y:.2f}" for x, y in points[1:])
        return f'<path class="band series-{band.colour}" d="{upper}{back}Z"/>'


def ticks(low: float, high: float, about: int = 6) -> tuple[float, ...]:
    """Round numbers inside the range, about as many as asked."""
    step = nice_step((high - low) / about)
    first = math.ceil(low / step - 1e-9)
    return tuple(round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1))


def nice_step(raw: float) -> float:
    """1, 2, 2.5 or 5 times a power of ten, at least `raw`."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if power * factor >= raw * (1 - 1e-9))


def label(value: float) -> str:
    """A tick's label."""
    return f"{value:g}".replace("-", "−")
