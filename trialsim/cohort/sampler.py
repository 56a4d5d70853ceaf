"""What the checks of a cohort need to know of the model they check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trialsim.data import PatientTable


@dataclass(frozen=True, slots=True)
class OutcomeRoles:
    """Which columns of a table are the arm and the outcomes; every other modelled column is a covariate.

    `events` maps an outcome to its columns of time and event; `values` are columns measured after baseline, each with
    the column of the same quantity at baseline, or None.
    """

    arm: str | None
    events: Mapping[str, tuple[str, str]]
    values: Mapping[str, str | None]


@runtime_checkable
class Sampler(Protocol):
    """A model that writes whole synthetic tables."""

    @property
    def modelled(self) -> tuple[str, ...]:
        """The columns that are modelled, in the data's order (not identifiers or constants)."""
        ...

    @property
    def roles(self) -> OutcomeRoles: ...

    def synthesise(self, n: int, *, seed: int) -> PatientTable:
        """`n` synthetic patients in the data's own columns and units, with missing cells as the model has learned them.

        A pure function of the model, `n` and `seed`; the first patients of a longer table are the same.
        """
        ...


class Recipe(Protocol):
    """How a model was made: fits the same kind of model, with the same options, to other rows of the data."""

    def fit(self, table: PatientTable) -> Sampler: ...
