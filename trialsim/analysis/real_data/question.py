"""What an analysis asks of a table of real patients, in the words of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ROLES = ("time", "event", "status", "arm", "value", "baseline", "visit", "id", "start", "exposure", "frequency")
"""Roles a column can play; a role that is not mapped is the column of the same name."""
PROGNOSIS = "twin_prognosis"
LARGEST = 1e150
"""Numbers beyond are refused: variances square them."""

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit: its id, its time since randomisation and how far from it still counts (days), its own column in wide data."""

    id: str
    at: float | None = None
    window: float = 0.0
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared, in the words of the data.

    `columns` maps roles to columns; `arms` maps the arms to their values in the arm column; `others` are the further test
    arms of a model that spans all arms; `days` is the length of the data's unit of time. `visit` is the visit analysed and
    `visits` all visits in order (empty: as the data have them). `change`: the value at baseline is subtracted. `cause` is the
    event of interest where events have several codes. `categories` are those of an ordinal outcome, from the lowest. `impute`: patients without any value stay, theirs will be imputed; `from_baseline`: those with a value at baseline
    stay. `levels` are those of the protocol's categorical covariates, in order. `prognosis` is the twin's expected outcome of every row of the table,
    where a covariate asks for it.
    """

    test: str
    reference: str
    arms: Mapping[str, str | int | float]
    columns: Mapping[str, str]
    others: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    stratify_by: tuple[str, ...] = ()
    visit: Visit | None = None
    visits: tuple[Visit, ...] = ()
    change: bool = False
    days: float = 1.0
    cause: str | None = None
    impute: bool = False
    from_baseline: bool = False
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    prognosis: Numbers | None = None
    notes: list[str] = field(default_factory=list)
    """What was left out, in words, for the user."""

    @property
    def n_groups(self) -> int:
        """How many arms the records hold."""
        return 2 + len(self.others)
