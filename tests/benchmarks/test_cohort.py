"""How fast cohort models are fitted and patients drawn on one core; `extra_info` holds seconds and patients per second."""

from __future__ import annotations

import os
import time
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from trialsim.cohort import Population, draw_cohort
from trialsim.cohort.fitted import FittedCohort, FittedRecipe, fit_table
from trialsim.cohort.population import EventColumns
from trialsim.data import Card, PatientTable, load_card, read_table
from trialsim.rng import Block, Streams

ROOT = Path(__file__).parents[2]
REPLICATES, PATIENTS = 256, 400
MOST_SECONDS, MOST_FOR_MISSING, LEAST_PER_SECOND = 60.0, 3.0, 1_000_000
OUTCOMES = {"event": EventColumns(time="time", event="event")}

ACTG175 = {
    "planned_enrollment": PATIENTS,
    "source": {
        "data": "data/actg175.csv",
        "card": "data/actg175.card.yaml",
        "arm": "treat",
        "arms": {"combination": 1, "zdv": 0},
        "outcomes": {"event": {"time": "days", "event": "cens"}, "cd4": {"columns": {"baseline": "cd40", "w20": "cd420"}}},
    },
}
DECLARED = {
    "planned_enrollment": PATIENTS,
    "covariates": {
        "age": {"dist": "truncated_normal", "mean": "63 years", "sd": "9 years", "low": "18 years"},
        "ecog": {"dist": "categorical", "probs": {"0": 0.4, "1": 0.6}},
        "ldh": {"dist": "lognormal", "median": 200, "sd_log": 0.4},
        "lesions": {"dist": "negative_binomial", "rate": 3, "dispersion": 0.4},
    },
    "correlation": {"pairs": [["age", "ldh", 0.2], ["ldh", "lesions", 0.4]]},
}


@pytest.fixture(autouse=True)
def _one_core(monkeypatch):
    monkeypatch.setenv("TRIALSIM_CACHE", os.environ.get("TRIALSIM_CACHE", str(ROOT / ".trialsim-cache")))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def wide_table(folder: Path, *, n: int, covariates: int, missing: float = 0.0) -> PatientTable:
    """Patients with correlated numbers, yes-or-no and ordered covariates in turn, an arm, and an event time."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(n, 4)) @ (0.5 * rng.normal(size=(4, covariates))) + rng.normal(size=(n, covariates))
    kinds = (lambda x: np.round(50 * np.exp(0.4 * x), 1), lambda x: (x > 0.3).astype(float), lambda x: np.searchsorted([-1.0, 0.0, 1.2], x).astype(float))
    columns = {f"x{place}": kinds[place % 3](z[:, place]) for place in range(covariates)}
    for column in columns.values():
        column[rng.random(n) < missing] = np.nan
    arm, end = rng.integers(0, 2, n), rng.uniform(100, 900, n)
    event = rng.exponential(600 * np.exp(0.3 * arm - 0.3 * z[:, 0]))
    columns |= {"arm": arm, "time": np.round(np.minimum(event, end) + 1), "event": (event <= end).astype(float)}
    path = folder / f"wide{missing}.csv"
    rows = np.stack(list(columns.values()), axis=1)
    path.write_text(",".join(columns) + "\n" + "".join(",".join("" if cell != cell else f"{cell:g}" for cell in row) + "\n" for row in rows))
    return read_table(path, Card(id="wide", title="wide", source="made up", licence="CC0-1.0", purposes=("simulate",)))


def fitted(table: PatientTable) -> FittedCohort:
    return fit_table(table, outcomes=OUTCOMES, arm="arm", on=date(2026, 6, 1))


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> tuple[PatientTable, FittedCohort]:
    """25 covariates."""
    table = wide_table(tmp_path_factory.mktemp("wide"), n=2000, covariates=25)
    return table, fitted(table)


@pytest.mark.parametrize(
    "name, population, least",
    [("fitted to ACTG175, 16 covariates", ACTG175, 1_000_000), ("declared, 4 covariates", DECLARED, 1_000_000)],
    ids=["fitted", "declared"],
)
def test_patients_per_second(benchmark, name, population, least):
    model = Population.model_validate(population).cohort_model(ROOT / "trials")
    streams = Streams(1)
    benchmark(lambda: draw_cohort(model, {}, streams, Block(0, REPLICATES), PATIENTS))
    rate = REPLICATES * PATIENTS / benchmark.stats.stats.min
    benchmark.extra_info["patients_per_second"] = round(rate)
    benchmark.extra_info["what"] = name
    assert rate > least


def test_baselines_of_25_covariates(benchmark, wide):
    _, model = wide
    streams = Streams(1)
    benchmark(lambda: model.sample(streams, Block(0, REPLICATES), PATIENTS))
    rate = REPLICATES * PATIENTS / benchmark.stats.stats.min
    benchmark.extra_info["patients_per_second"] = round(rate)
    assert rate > LEAST_PER_SECOND


def test_whole_tables(benchmark, wide):
    _, model = wide
    benchmark.pedantic(lambda: model.synthesise(200_000, seed=1), rounds=3)
    benchmark.extra_info["patients_per_second"] = round(200_000 / benchmark.stats.stats.min)


def test_a_fit_of_2000_patients_and_28_columns(benchmark, wide):
    table, _ = wide
    benchmark.pedantic(lambda: fitted(table), rounds=2)
    benchmark.extra_info["seconds"] = round(benchmark.stats.stats.min, 2)
    assert benchmark.stats.stats.min < MOST_SECONDS


def test_a_refit_to_half_of_the_patients(benchmark, wide):
    table, model = wide
    half = table.take(np.arange(0, table.n, 2))
    benchmark.pedantic(lambda: FittedRecipe(model).fit(half), rounds=2)
    benchmark.extra_info["seconds"] = round(benchmark.stats.stats.min, 2)


def test_what_missing_cells_cost(benchmark, wide, tmp_path):
    """30 % of the cells of every covariate."""
    table, _ = wide
    began = time.perf_counter()
    fitted(table)
    without = time.perf_counter() - began
    gaps = wide_table(tmp_path, n=2000, covariates=25, missing=0.3)
    benchmark.pedantic(lambda: fitted(gaps), rounds=2)
    benchmark.extra_info["times_as_long"] = round(benchmark.stats.stats.min / without, 2)
    assert benchmark.stats.stats.min < MOST_FOR_MISSING * without


def test_a_fit_of_actg175(benchmark):
    table = read_table(ROOT / "trials" / "data" / "actg175.csv", load_card(ROOT / "trials" / "data" / "actg175.card.yaml"))
    outcomes = {"event": EventColumns(time="days", event="cens")}
    benchmark.pedantic(lambda: fit_table(table, outcomes=outcomes, arm="treat", on=date(2026, 6, 1)), rounds=2)
    benchmark.extra_info["seconds"] = round(benchmark.stats.stats.min, 2)
