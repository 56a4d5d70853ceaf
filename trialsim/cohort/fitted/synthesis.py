"""Synthetic tables: patients drawn from a fitted cohort, written in the form of the data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from trialsim.cohort.fitted.columns import MISSING
from trialsim.cohort.fitted.form import WrittenColumn
from trialsim.cohort.fitted.margins import SmoothMargin, SteppedMargin
from trialsim.cohort.fitted.rules import AnyRule, Copy, Rule
from trialsim.data import Card, PatientTable
from trialsim.errors import DataError, UsageError
from trialsim.records import Cohort
from trialsim.rng import LANE, Block, Streams

if TYPE_CHECKING:
    from trialsim.cohort.fitted.cohort import FittedCohort

Array = NDArray[np.float64]

AT_A_TIME = 1024  # lanes of 64 patients that are drawn at a time


def synthesise(model: FittedCohort, n: int, *, seed: int, complete: bool = False) -> PatientTable:
    """`n` synthetic patients in the data's own columns, order, units and levels.

    Patient i is place i mod 64 of replicate i // 64, so that the first patients of a longer table are the same and nobody
    depends on how many are drawn at a time. Numbers are rounded to their column's grid (where it has several
    lattices, one is drawn from the stream `grid/<column>`); a value that is at no atom stays a step away from it; rules are worked out from what is written, so that they hold exactly in every row. Cells are missing as the
    model has learned (`complete`: none is). Identifiers are `synthetic-1`, `synthetic-2`, ….
    """
    if model.form is None:
        raise DataError("this model was not fitted to a table, so it cannot write one; fit it anew with `trialsim cohort fit`")
    if n < 1:
        raise UsageError(f"at least 1 patient must be drawn, not {n}")
    outcomes = model.outcomes
    if complete and outcomes is not None:
        outcomes = replace(outcomes, missing={})
    form, streams = model.form, Streams(seed)
    numbers = {column.name: np.empty(n) for column in form.columns if column.source != "identifier"}
    lanes = -(-n // LANE)
    for first in range(0, lanes, AT_A_TIME):
        block = Block(first, min(AT_A_TIME, lanes - first))
        whom = slice(first * LANE, min((first + block.size) * LANE, n))
        columns, levels = model.draw(streams, block, LANE)
        choosers = {c.name: streams(f"grid/{c.name}").uniform(block, LANE).numpy().reshape(-1) for c in form.columns if c.grid and len(c.grid.steps) > 1}
        flat = [{name: x.numpy().reshape(-1) for name, x in found.items()} for found in (columns, levels)]
        drawn = _Drawn(model, flat[0], flat[1], choosers)
        drawn.write_columns(complete=complete)
        if outcomes is not None and outcomes.scored:
            arm = levels[form.arm].to(torch.int64) if form.arm in levels else torch.zeros(block.size, LANE, dtype=torch.int64)
            companions = {column.name: levels[column.name].to(torch.int64) for column in model.columns if column.part == "companion"}
            found = outcomes.synthesise(Cohort({name: columns[name] for name in model.names}, model.levels), arm, streams, block, companions)
            drawn.write_outcomes({key: column.numpy().reshape(-1) for key, column in found.items()})
        drawn.write_rules()
        for name, column in numbers.items():
            column[whom] = drawn.written[name][: whom.stop - whom.start]
    return _table(model, numbers, n, seed, complete=complete)


class _Drawn:
    """Some patients as a cohort holds them, and what is written of them so far."""

    def __init__(self, model: FittedCohort, columns: Mapping[str, Array], levels: Mapping[str, Array], choosers: Mapping[str, Array]):
        assert model.form is not None
        self.model, self.columns, self.levels, self.choosers = model, columns, levels, choosers
        self.form = {column.name: column for column in model.form.columns}
        self.complete: dict[str, Array] = {}
        """Columns as they are written, before any cell is missing."""
        self.written: dict[str, Array] = {}

    def write_columns(self, *, complete: bool) -> None:
        """The columns of the cohort, in an order in which rules come after their source."""
        gone = {column.name.removesuffix(MISSING) for column in self.model.columns if column.part == "missing"}
        for fitted in self.model.plan:
            column = self.form.get(fitted.name)
            if column is None or column.source != "column":
                continue
            if fitted.rule is not None:
                written = self._by_rule(column, fitted.rule)
            elif isinstance(fitted.margin, SteppedMargin):
                written = np.array(column.codes)[self.levels[fitted.name].astype(np.int64)]
            else:
                assert isinstance(fitted.margin, SmoothMargin)
                assert column.grid is not None
                written = column.grid.snap(self.columns[fitted.name] / column.scale, self.choosers.get(fitted.name))
                if fitted.margin.gate:
                    _keep_to_atoms(written, column, fitted.margin, self.levels[fitted.margin.gate])
            self.complete[fitted.name] = written
            if fitted.name in gone and not complete:
                written = np.where(self.levels[fitted.name + MISSING] == 1.0, np.nan, written)
            self.written[fitted.name] = written

    def _by_rule(self, column: WrittenColumn, rule: AnyRule) -> Array:
        """A column of the cohort that follows from another, as that one is written."""
        if rule.source in self.complete and isinstance(self._margin(rule.source), SmoothMargin):
            source = self.complete[rule.source] * self.form[rule.source].scale
        else:
            source = self.columns[rule.source]
        if isinstance(rule, Copy):
            assert column.grid is not None
            return column.grid.snap(rule.value(torch.from_numpy(source)).numpy() / column.scale)
        return np.array(column.codes)[rule.level(torch.from_numpy(source)).numpy().astype(np.int64)]

    def _margin(self, name: str) -> object:
        return next(column.margin for column in self.model.columns if column.name == name)

    def write_outcomes(self, found: Mapping[tuple[str, str], Array]) -> None:
        """Times, events and values after baseline."""
        for name, column in self.form.items():
            if column.source in ("time", "value"):
                assert column.grid is not None
                key = (column.outcome[0], "time") if column.source == "time" else column.outcome
                self.written[name] = column.grid.snap(found[key] / column.scale, self.choosers.get(name))
            elif column.source == "event":
                happened = found[column.outcome[0], "event"]
                self.written[name] = np.where(happened == 1.0, column.codes[1], np.where(happened == 0.0, column.codes[0], np.nan))

    def write_rules(self) -> None:
        """Constants, and the columns that follow from written ones."""
        n = len(next(iter(self.columns.values()))) if self.columns else 0
        for name, column in self.form.items():
            if column.source == "constant":
                self.written[name] = np.full(n, column.constant)
        for name, column in self.form.items():
            if column.source != "rule":
                continue
            rule = column.rule
            assert rule is not None
            is_missing = rule.source not in self.written
            source = np.isnan(self.written[rule.source.removesuffix(MISSING)]).astype(np.float64) if is_missing else self.written[rule.source]
            if isinstance(rule, Rule):
                level = rule.level(torch.from_numpy(source)).numpy().astype(np.int64)
                written = np.array(column.codes)[level]
            else:
                assert column.grid is not None
                written = column.grid.snap(rule.value(torch.from_numpy(source)).numpy())
            self.written[name] = np.where(np.isnan(source), np.nan, written)


def _keep_to_atoms(written: Array, column: WrittenColumn, margin: SmoothMargin, gate: Array) -> None:
    """Puts those at an atom exactly on it, and the others at least one step of the grid away, in place."""
    assert column.grid is not None
    step = column.grid.step
    free = next(place for place, atom in enumerate(margin.atoms) if atom != atom)
    for place, atom in enumerate(margin.atoms):
        if atom == atom:
            at = round(atom / column.scale, column.grid.decimals + 6)
            nearest = np.maximum(written, at + step) if place < free else np.minimum(written, at - step)
            np.copyto(written, np.where(gate == place, at, np.where(gate == free, nearest, written)))


def _table(model: FittedCohort, numbers: Mapping[str, Array], n: int, seed: int, *, complete: bool) -> PatientTable:
    assert model.form is not None
    meaning = {column.name: column.meaning for column in model.form.columns}
    identifiers = [column.name for column in model.form.columns if column.source == "identifier"]
    data = model.card.get("data", {})
    card = Card(
        id=f"{data.get('id', 'data')}-synthetic",
        title=f"Synthetic patients of the model {model.id}",
        source=f"Drawn from the model {model.id} with seed {seed}; no row is a person",
        licence=data.get("licence"),
        purposes=(model.card.get("purpose", "simulate"),),
        columns=meaning,
    )
    name = f"synthetic patients of {model.id}"
    return PatientTable(
        columns=numbers,
        text={column: tuple(f"synthetic-{row + 1}" for row in range(n)) for column in identifiers},
        levels={column.name: column.levels for column in model.form.columns if column.levels},
        meaning=meaning,
        n=n,
        file=name,
        sha256=hashlib.sha256(f"{model.card.get('key', '')} {n} {seed} {complete}".encode()).hexdigest(),
        card=card,
        path=Path(name).absolute(),
        rows=np.arange(n),
    )
