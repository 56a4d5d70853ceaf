"""Survival of the cohort: what the truth of the described scenario implies under each arm, and the real data beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort import DataSource, EventColumns
from trialsim.data import PatientTable, load_card, read_table
from trialsim.records import Block, Cohort
from trialsim.report.figures.chart import Band, Chart, Series
from trialsim.report.figures.kaplan_meier import KaplanMeier, kaplan_meier
from trialsim.rng import Streams
from trialsim.simulate import Trial, draw
from trialsim.units import DAYS, TIME_UNITS

PATIENTS = Block(0, 20), 1000
POINTS = 160


@dataclass(frozen=True)
class AtRisk:
    """Patients of the real data under observation at the ticks of the plot."""

    arm: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class SurvivalFigure:
    """The curves of one outcome."""

    outcome: str
    chart: Chart
    n_simulated: int
    mcse: float
    n_real: int
    ticks: tuple[float, ...]
    at_risk: tuple[AtRisk, ...]


def survival_figure(trial: Trial, outcome: str, *, real: dict[str, KaplanMeier], times: dict[str, NDArray[np.float64]], until: float) -> SurvivalFigure:
    """Expected survival under every arm, averaged over 20,000 simulated patients, up to `until` days.

    `real` are Kaplan–Meier estimates by arm (in days), empty where the protocol has no data; `times` the follow-up they are of.
    """
    until = max([until if not real else 0.0, *(estimate.last for estimate in real.values())])
    arms = [arm for arm in trial.arms if arm in real] or list(trial.arms)
    cohort = _cohort(trial, everybody=bool(real))
    grid = torch.linspace(0.0, until, POINTS, dtype=torch.float64)
    simulated = {arm: expected_survival(trial, outcome, trial.arms.index(arm), grid, cohort) for arm in arms}
    month = DAYS["month"]
    step = next((whole for whole in (1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 60.0) if whole >= until / month / 8), 120.0)
    marks = tuple(np.arange(0.0, until / month + 1e-9, step).tolist())
    series, bands = [], []
    for colour, arm in enumerate(arms, start=1):
        if arm in real:
            estimate = real[arm]
            x = [t / month for t in (*estimate.time.tolist(), estimate.last)]
            series.append(Series(f"{arm}, real patients", list(zip(x, _held(estimate.survival), strict=True)), colour, step=True))
            bands.append(Band(x, _held(estimate.low), _held(estimate.high), colour, step=True))
        points = list(zip((grid / month).tolist(), simulated[arm][0].tolist(), strict=True))
        series.append(Series(f"{arm}, simulated", points, colour, style="dashed" if real or colour > 1 else "solid"))
    chart = Chart(
        title=f"Survival without {outcome}",
        x_title="Months since randomisation",
        y_title=f"Share without {outcome}",
        x_range=(0.0, until / month),
        y_range=(0.0, 1.0),
        series=series,
        bands=bands,
        x_ticks=marks,
        y_ticks=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    )
    at_risk = tuple(AtRisk(arm, tuple(int((times[arm] >= mark * month).sum()) for mark in marks)) for arm in arms if arm in times)
    n_simulated = PATIENTS[0].size * PATIENTS[1] if cohort is not None else 0
    mcse = max(float(error.max()) for _, error in simulated.values())
    return SurvivalFigure(outcome, chart, n_simulated, mcse, sum(len(t) for t in times.values()), marks, at_risk)


def _cohort(trial: Trial, *, everybody: bool) -> Cohort | None:
    """The patients averaged over: everybody, as beside real data, or those who may enter."""
    if trial.cohort_model is None:
        return None
    streams, (block, n) = Streams(trial.seed), PATIENTS
    return trial.cohort_model.sample(streams, block, n) if everybody else draw(trial, streams, block, n)


def expected_survival(
    trial: Trial, outcome: str, arm: int, grid: Float[Tensor, "time"], cohort: Cohort | None
) -> tuple[Float[Tensor, "time"], Float[Tensor, "time"]]:
    """P(event time > t) under an arm at the times of `grid` (days), averaged over the cohort, and its Monte Carlo standard error."""
    columns = [trial.twins.survival(outcome, arm, float(t), cohort) for t in grid]
    mean = torch.stack([column.mean() for column in columns])
    error = torch.stack([column.std() / column.numel() ** 0.5 if column.numel() > 1 else torch.zeros((), dtype=torch.float64) for column in columns])
    return mean, error


def _held(values: NDArray[np.float64]) -> list[float]:
    """A step function's values with the last one held to the end of follow-up."""
    return [*values.tolist(), float(values[-1])]


def source_table(source: DataSource, folder: Path) -> PatientTable:
    """The real data of a protocol. Raises DataError where they are not there or not as the card says."""
    card = load_card(folder / source.card, shown=source.card) if source.card else None
    return read_table(folder / source.data, card, shown=source.data)


def real_survival(source: DataSource, table: PatientTable, outcome: str) -> tuple[dict[str, KaplanMeier], dict[str, NDArray[np.float64]]]:
    """Kaplan–Meier estimates by arm of the protocol, times in days; patients with a missing time or event are left out."""
    columns = source.outcomes.get(outcome)
    if not isinstance(columns, EventColumns):
        return {}, {}
    seen = table.numbers(columns.time) * TIME_UNITS.get(table.meaning[columns.time].unit, 1.0)
    event = table.numbers(columns.event)
    known = ~np.isnan(seen) & ~np.isnan(event)
    groups = {arm: table.equals(source.arm, value) for arm, value in source.arms.items()} if source.arm else {"all": np.ones(table.n, dtype=bool)}
    times = {arm: seen[known & rows] for arm, rows in groups.items() if (known & rows).any()}
    return {arm: kaplan_meier(times[arm], event[known & groups[arm]] == 1) for arm in times}, times
