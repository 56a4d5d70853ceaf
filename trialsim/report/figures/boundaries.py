"""The bounds of an analysis against information: where a look may declare efficacy, and where it may stop for futility."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtr

from trialsim.conduct.monitoring import MonitoringPlan
from trialsim.design import Bounds, HazardRatioAbove
from trialsim.errors import NotSupportedError, ProtocolError
from trialsim.report.figures.chart import Band, Chart, Point, Series, ticks
from trialsim.report.sentences.bounds import plan_of
from trialsim.report.sentences.question import counts_events
from trialsim.report.wording import fixed
from trialsim.spec.protocol import Protocol


@dataclass(frozen=True, slots=True)
class BoundaryLook:
    """One look's row of the table beside the plot; empty text where there is no bound."""

    look: str
    information: str
    fraction: str
    efficacy_z: str
    efficacy_p: str
    alpha_spent: str
    futility_z: str


@dataclass(frozen=True)
class BoundaryFigure:
    """The bounds of one analysis as a plot and a table; no plot where it is made once, at the end."""

    analysis: str
    unit: str
    chart: Chart | None
    looks: tuple[BoundaryLook, ...]
    approximate: bool
    sides: int
    futility: bool


def boundary_figure(analysis: str, looks: tuple[str, ...], plan: MonitoringPlan, *, unit: str, approximate: bool, at_looks: bool = True) -> BoundaryFigure:
    """`approximate`: the futility bound is on another scale (a hazard ratio) and shown at its approximate z.

    A plan with one look has one critical value, at information 1; `plan` must not spend by calendar.
    """
    bounds = plan.at_plan
    fractions = [target / plan.planned for target in plan.targets]
    efficacy = [(t, float(z)) for t, z in zip(fractions, bounds.efficacy_z, strict=True) if math.isfinite(z)]
    futility = [(t, float(z)) for t, z in zip(fractions[:-1], bounds.futility_z, strict=False) if math.isfinite(z)]
    series = [Series("Efficacy", efficacy, 1, markers=True, line=len(efficacy) > 1, labels="above")]
    if bounds.sides == 2:
        mirrored = [(t, -z) for t, z in efficacy]
        series.append(Series("Efficacy of the reference arm", mirrored, 3, markers=True, line=len(efficacy) > 1, style="dotted"))
    if futility:
        # The last lower bound separates rejection from failure: the lines meet there.
        series.append(Series("Futility", futility, 2, style="dashed", markers=True, line=False, labels="below"))
        series.append(Series("", [*futility, efficacy[-1]], 2, style="dashed"))
    chart = _chart(analysis, series, fractions) if at_looks else None
    rows = tuple(_row(name, index, plan, bounds, fractions[index]) for index, name in enumerate(looks))
    return BoundaryFigure(analysis, unit, chart, rows, approximate and bool(futility), bounds.sides, bool(futility))


def _chart(analysis: str, series: list[Series], fractions: list[float]) -> Chart:
    values = [y for item in series for _, y in item.points]
    low, high = min(0.0, *values), max(values)
    pad = 0.12 * (high - low)
    below = low - (pad if len(series) > 1 else 0.0)
    y_range: Point = (math.floor(2 * below) / 2, math.ceil(2 * (high + pad)) / 2)
    bands = []
    for item in series:
        x, y = [point[0] for point in item.points], [point[1] for point in item.points]
        if len(x) == 1:  # a single look: the region above its critical value
            x, y = [x[0] - 0.02, x[0] + 0.02], [y[0], y[0]]
        if item.line or (len(item.points) == 1 and item.colour != 2):
            is_upper = item.colour == 1
            bands.append(Band(x, y if is_upper else [y_range[0]] * len(x), [y_range[1]] * len(x) if is_upper else y, item.colour))
    x_range: Point = (0.0, max(1.0, *fractions) * 1.04)
    return Chart(
        title=f"Bounds of the analysis {analysis}",
        x_title="Information fraction",
        y_title="z",
        x_range=x_range,
        y_range=y_range,
        series=series,
        bands=bands,
        x_ticks=ticks(0.0, max(1.0, *fractions), 5),
        zero_line=True,
    )


def _row(look: str, index: int, plan: MonitoringPlan, bounds: Bounds, fraction: float) -> BoundaryLook:
    z, low = float(bounds.efficacy_z[index]), float(bounds.futility_z[index])
    last = index == len(plan.targets) - 1
    return BoundaryLook(
        look=look,
        information=f"{plan.targets[index]:,.0f}" if plan.planned > 1 else "",
        fraction=f"{fraction:.3f}",
        efficacy_z=fixed(z, 4) if math.isfinite(z) else "",
        efficacy_p=f"{bounds.sides * float(ndtr(-z)):.5f}" if math.isfinite(z) else "",
        alpha_spent=f"{bounds.cumulative_alpha[index]:.5f}",
        futility_z=fixed(low, 4) if math.isfinite(low) and not last else "",
    )


def boundary_figures(protocol: Protocol) -> list[BoundaryFigure]:
    """A figure for every analysis whose bounds are known before the trial."""
    made = []
    for name, analysis in protocol.analyses.items():
        try:
            plan = plan_of(protocol, name)
        except (NotSupportedError, ProtocolError):
            continue
        if plan is None or plan.by_calendar:
            continue
        looks = tuple(look for look in analysis.looks or () if look in protocol.looks)
        unit = "events" if counts_events(protocol, analysis) else "patients"
        made.append(
            boundary_figure(name, looks or ("end",), plan, unit=unit, approximate=isinstance(analysis.futility, HazardRatioAbove), at_looks=bool(looks))
        )
    return made
