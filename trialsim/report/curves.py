"""The cohort beside the data it was fitted to, where the protocol has data; else what the truth implies."""

from __future__ import annotations

from dataclasses import dataclass

from trialsim.cohort import DataSource
from trialsim.data import Card, PatientTable
from trialsim.errors import DataError
from trialsim.report.cohort_check import CovariateRow, covariate_rows
from trialsim.report.figures.survival import SurvivalFigure, real_survival, source_table, survival_figure
from trialsim.report.source import FinishedRun
from trialsim.report.tables import Results
from trialsim.simulate import Trial, compile_trial
from trialsim.units import DAYS

SHORTEST = 12 * DAYS["month"]


@dataclass(frozen=True)
class CohortAndData:
    """Survival curves by event outcome, covariates, the data's card. `missing` says why there are no real data, if there should be."""

    scenario: str
    survival: tuple[SurvivalFigure, ...]
    covariates: tuple[CovariateRow, ...]
    card: Card | None
    missing: str


def cohort_and_data(run: FinishedRun, results: Results) -> CohortAndData:
    """For the described cell."""
    cell = run.described
    population = cell.protocol.population
    source = population.source if population is not None and isinstance(population.source, DataSource) else None
    table: PatientTable | None = None
    missing = ""
    if source is not None:
        try:
            table = source_table(source, run.folder)
        except DataError as error:
            missing = f"The data are not shown: {error.problems[0]}."
    if missing:
        return CohortAndData(cell.scenario, (), (), None, missing)
    trial = compile_trial(cell, run.folder)
    row = results.find(cell.design, cell.scenario, "duration_quantile_90") or results.find(cell.design, cell.scenario, "duration")
    until = max(SHORTEST, row["estimate"] if row is not None else SHORTEST)
    figures = tuple(_survival(trial, outcome, source, table, until) for outcome in _event_outcomes(trial))
    covariates = covariate_rows(source, table, trial.cohort_model, seed=trial.seed) if source and table and trial.cohort_model else []
    return CohortAndData(cell.scenario, figures, tuple(covariates), table.card if table is not None else None, "")


def _event_outcomes(trial: Trial) -> list[str]:
    """The event outcomes that endpoints measure."""
    named = [outcome for endpoint in trial.endpoints.values() if endpoint.is_event for outcome in endpoint.outcomes]
    return list(dict.fromkeys(named))


def _survival(trial: Trial, outcome: str, source: DataSource | None, table: PatientTable | None, until: float) -> SurvivalFigure:
    real, times = real_survival(source, table, outcome) if source is not None and table is not None else ({}, {})
    return survival_figure(trial, outcome, real=real, times=times, until=until)
