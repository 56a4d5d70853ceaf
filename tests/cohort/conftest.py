"""The cohort model of ACTG175, fitted once (and found in the cache afterwards)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from trialsim.cohort import DataSource
from trialsim.cohort.fitted import FittedCohort, fit_source
from trialsim.cohort.fitted.columns import covariates_of
from trialsim.data import PatientTable, load_card, read_table
from trialsim.records import Cohort

ROOT = Path(__file__).parents[2]
TRIALS = ROOT / "trials"


@pytest.fixture(scope="session")
def actg_source() -> DataSource:
    return DataSource.model_validate(
        {
            "data": "data/actg175.csv",
            "card": "data/actg175.card.yaml",
            "arm": "treat",
            "arms": {"combination": 1, "zdv": 0},
            "outcomes": {"event": {"time": "days", "event": "cens"}, "cd4": {"columns": {"baseline": "cd40", "w20": "cd420"}}},
        }
    )


@pytest.fixture(scope="session")
def actg_table() -> PatientTable:
    return read_table(TRIALS / "data" / "actg175.csv", load_card(TRIALS / "data" / "actg175.card.yaml"))


@pytest.fixture(scope="session")
def actg_cohort(actg_source: DataSource) -> FittedCohort:
    before = os.environ.get("TRIALSIM_CACHE")
    os.environ["TRIALSIM_CACHE"] = before or str(ROOT / ".trialsim-cache")
    try:
        return fit_source(actg_source, TRIALS)
    finally:
        if before is None:
            del os.environ["TRIALSIM_CACHE"]


@pytest.fixture(scope="session")
def actg_patients(actg_table: PatientTable) -> Cohort:
    """The real patients' baselines as a cohort of one replicate."""
    found, _ = covariates_of(actg_table, rows=np.ones(actg_table.n, dtype=bool), without=["treat", "days", "cens", "cd420"])
    return Cohort({covariate.name: torch.from_numpy(covariate.held())[None] for covariate in found if not covariate.hidden})
