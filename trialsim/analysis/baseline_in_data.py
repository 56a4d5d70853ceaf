"""The baselines of real patients as a cohort: what a cohort model's predictions are made from."""

from __future__ import annotations

import numpy as np
import torch

from trialsim.cohort import CohortModel
from trialsim.data import PatientTable
from trialsim.records import Cohort
from trialsim.units import TIME_UNITS


def cohort_in_data(table: PatientTable, model: CohortModel) -> Cohort:
    """Every row of the table as one replicate of patients, coded as the model codes them.

    A category holds the index of its level, missing (NaN) where the model does not know the level; a covariate that is a
    time is in days. Raises DataError where a covariate of the model is not a column of numbers or categories.
    """
    columns: dict[str, torch.Tensor] = {}
    for name in model.names:
        if name in model.levels:
            column = np.full(table.n, np.nan)
            for index, level in enumerate(model.levels[name]):
                column[table.equals(name, level)] = index
        else:
            column = table.numbers(name).copy()
            if model.units.get(name) == "time":
                column *= TIME_UNITS.get(table.meaning[name].unit, 1.0)
        columns[name] = torch.from_numpy(column)[None]
    return Cohort(columns=columns, levels=dict(model.levels))
