"""The form of the table a model was fitted to: how each of its columns is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from trialsim.cohort.fitted.resolution import Grid
from trialsim.cohort.fitted.rules import AnyRule, rule_as_json, rule_from_json
from trialsim.cohort.sampler import OutcomeRoles
from trialsim.data import Column

Source = Literal["column", "time", "event", "value", "rule", "constant", "identifier"]


@dataclass(frozen=True, slots=True)
class WrittenColumn:
    """One column of the table.

    `source` says what fills it: a `column` of the cohort (a covariate, the arm, a companion), the `time` or `event` of an
    event outcome, a `value` after baseline (`outcome` is its key among the fitted outcomes), a `rule` of other written
    columns, a `constant`, or an `identifier`. A cohort's number is `scale` times the written one. Numbers lie on `grid`;
    stepped columns have `codes`, what is written for each level; `levels` are the names of a category's codes.
    """

    name: str
    meaning: Column
    source: Source
    levels: tuple[str, ...] = ()
    scale: float = 1.0
    grid: Grid | None = None
    codes: tuple[float, ...] = ()
    outcome: tuple[str, str] = ("", "")
    rule: AnyRule | None = None
    constant: float = math.nan

    def as_json(self) -> dict[str, Any]:
        """The column for a file."""
        out: dict[str, Any] = {"name": self.name, "meaning": self.meaning.model_dump(mode="json"), "source": self.source, "scale": self.scale}
        out |= {"levels": list(self.levels), "codes": list(self.codes), "outcome": list(self.outcome)}
        if self.grid is not None:
            out["grid"] = asdict(self.grid)
        if self.rule is not None:
            out["rule"] = rule_as_json(self.rule)
        return out | ({"constant": self.constant} if self.source == "constant" else {})

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> WrittenColumn:
        """The column that was written."""
        outcome, visit = given["outcome"]
        return cls(
            name=given["name"],
            meaning=Column.model_validate(given["meaning"]),
            source=given["source"],
            levels=tuple(given["levels"]),
            scale=given["scale"],
            grid=None if "grid" not in given else Grid(**{**given["grid"], "steps": tuple(given["grid"]["steps"]), "shares": tuple(given["grid"]["shares"])}),
            codes=tuple(given["codes"]),
            outcome=(outcome, visit),
            rule=None if "rule" not in given else rule_from_json(given["rule"]),
            constant=given.get("constant", math.nan),
        )


@dataclass(frozen=True)
class TableForm:
    """The columns that are written, in the data's order; the arm's column and its arms; baselines of values (column → column)."""

    columns: tuple[WrittenColumn, ...]
    arm: str | None
    baselines: Mapping[str, str]

    @property
    def modelled(self) -> tuple[str, ...]:
        """The columns that are not identifiers or constants."""
        return tuple(column.name for column in self.columns if column.source not in ("identifier", "constant"))

    @cached_property
    def roles(self) -> OutcomeRoles:
        """Which columns are the arm and the outcomes."""
        times = {column.outcome[0]: column.name for column in self.columns if column.source == "time"}
        happened = {column.outcome[0]: column.name for column in self.columns if column.source == "event"}
        values = {column.name: self.baselines.get(column.name) for column in self.columns if column.source == "value"}
        return OutcomeRoles(arm=self.arm, events={name: (time, happened[name]) for name, time in times.items()}, values=values)

    def as_json(self) -> dict[str, Any]:
        """The form for a file."""
        return {"columns": [column.as_json() for column in self.columns], "arm": self.arm, "baselines": dict(self.baselines)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> TableForm:
        """The form that was written."""
        return cls(columns=tuple(WrittenColumn.from_json(column) for column in given["columns"]), arm=given["arm"], baselines=given["baselines"])
