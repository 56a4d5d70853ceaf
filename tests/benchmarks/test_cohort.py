"""How fast patients are drawn on one core; `extra_info` holds patients per second."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from trialsim.cohort import Population, draw_cohort
from trialsim.rng import Block, Streams

ROOT = Path(__file__).parents[2]
REPLICATES, PATIENTS = 64, 400

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


@pytest.mark.parametrize(
    "name, population, least",
    [("fitted to ACTG175, 16 covariates", ACTG175, 300_000), ("declared, 4 covariates", DECLARED, 1_000_000)],
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
