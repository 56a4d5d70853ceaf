"""Repeated measures for tests: three trials as records, and simulated blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from trialsim.records import VisitData

REFERENCE = Path(__file__).parents[2] / "reference"


def _record(value: pd.DataFrame, group: np.ndarray, covariates: np.ndarray | None, baseline: np.ndarray | None = None) -> VisitData:
    return VisitData(
        value=torch.tensor(value.to_numpy(float))[None],
        group=torch.tensor(group.astype(np.int8))[None],
        at=value.shape[1] - 1,
        covariates=None if covariates is None else torch.tensor(covariates.astype(float))[None],
        baseline=None if baseline is None else torch.tensor(baseline.astype(float))[None],
    )


@pytest.fixture(scope="session")
def trials() -> dict[str, VisitData]:
    """Three data sets, each as one replicate, the contrast at the last visit."""
    fev = pd.read_csv(REFERENCE / "fev_data.csv")
    value = fev.pivot(index="USUBJID", columns="AVISIT", values="FEV1")
    patient = fev.drop_duplicates("USUBJID").set_index("USUBJID").loc[value.index]
    covariates = np.stack([patient.RACE == "Black or African American", patient.RACE == "White", patient.SEX == "Female"], axis=-1)
    found = {"fev_data": _record(value, (patient.ARMCD == "TRT").to_numpy(), covariates, patient.FEV1_BL.to_numpy())}
    teeth = pd.read_csv(REFERENCE / "orthodont.csv")
    value = teeth.pivot(index="Subject", columns="age", values="distance")
    child = teeth.drop_duplicates("Subject").set_index("Subject").loc[value.index]
    found["Orthodont"] = _record(value, (child.Sex == "Female").to_numpy(), None)
    drug = pd.read_csv(REFERENCE / "antidepressant.csv")
    value = drug.pivot(index="PATIENT", columns="VISIT", values="CHANGE")
    patient = drug.drop_duplicates("PATIENT").set_index("PATIENT").loc[value.index]
    baseline = patient.BASVAL.to_numpy(float)
    found["antidepressant"] = _record(value, (patient.THERAPY == "DRUG").to_numpy(), baseline[:, None], baseline)
    return found


@pytest.fixture(scope="session")
def simulated_visits() -> Callable[..., VisitData]:
    """A block of simulated trials: correlated values, covariates, a baseline, missing visits."""

    def make(
        *, replicates: int = 20, n: int = 60, visits: int = 3, columns: int = 0, arms: int = 2, missing: float = 0.1, monotone: bool = True, seed: int = 0
    ) -> VisitData:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        patient, noise = normal(replicates, n, 1), normal(replicates, n, visits)
        value = patient + 0.6 * noise + 0.4 * noise.cumsum(-1) + torch.arange(visits)
        covariates = normal(replicates, n, columns) if columns else None
        if covariates is not None:
            value = value + 0.5 * covariates.sum(-1, keepdim=True)
        gone = torch.rand((replicates, n, visits), generator=generator) < missing
        gone[..., 0] &= not monotone
        value[gone.cummax(-1).values if monotone else gone] = torch.nan
        group = (torch.arange(n) % arms).to(torch.int8).expand(replicates, n).contiguous()
        return VisitData(
            value=value, group=group, at=visits - 1, covariates=covariates, baseline=patient[..., 0] + normal(replicates, n), n_groups=arms
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def replicate_of() -> Callable[[VisitData, int], VisitData]:
    """One replicate of a block."""

    def one(data: VisitData, row: int) -> VisitData:
        cut = {field.name: value[row : row + 1] for field in dataclasses.fields(data) if isinstance(value := getattr(data, field.name), torch.Tensor)}
        return dataclasses.replace(data, **cut)

    return one
