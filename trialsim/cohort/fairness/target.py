"""A target population: whom the patients should represent, as published margins or as patients."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from trialsim.cohort.fidelity.side_by_side import SideBySide
from trialsim.data import read_table, shown_path
from trialsim.data.part_file import Rule, read_part
from trialsim.errors import DataError, Problem, did_you_mean
from trialsim.parts import Part

HEADER = ("column", "level", "mean", "sd", "proportion", "goal")


@dataclass(frozen=True, slots=True)
class NumberTarget:
    """A number's published mean and SD (None: not published)."""

    mean: float
    sd: float | None


@dataclass(frozen=True)
class Target:
    """Margins of a population. `numbers` by column, `shares` by column and level (not necessarily all levels), `goals` of enrolment likewise."""

    name: str
    numbers: Mapping[str, NumberTarget]
    shares: Mapping[str, Mapping[str, float]]
    goals: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    n: int | None = None


def _named(given: Any) -> Any:
    """Keys as text: YAML reads the level 0 as a number."""
    return {str(key): value for key, value in given.items()} if isinstance(given, dict) else given


Shares = Annotated[dict[str, float], BeforeValidator(_named)]


class MarginOf(Part):
    """The published margin of one column: a mean with its SD, or proportions of levels."""

    mean: float | None = Field(default=None, description="The mean of a number.")
    sd: float | None = Field(default=None, description="Its standard deviation.")
    proportions: Shares | None = Field(default=None, description="Level → share.")


class TargetFile(Part):
    """A target population as published margins."""

    name: str = Field(default="", description="What population it is.")
    n: int | None = Field(default=None, description="Of how many people.")
    columns: dict[str, MarginOf] = Field(default_factory=dict, description="Column → margin.")
    goals: dict[str, Shares] = Field(default_factory=dict, description="Column → level → share of the patients to be enrolled; absent: the proportions.")


def load_target(path: Path | str, pair: SideBySide) -> Target:
    """The target in a file, in one of three forms. Raises DataError with file and line for everything that is wrong.

    YAML: `columns: {age: {mean: 35, sd: 9}, gender: {proportions: {"0": 0.2, "1": 0.8}}}`, with `name` and, for enrolment,
    `goals: {gender: {"0": 0.3}}`. CSV of margins: the columns column, level, mean, sd, proportion, goal (those that are
    needed), a line for each number and each level. CSV or Parquet of patients: columns of the same names and units; every
    column of the pair that it has gives its margin.
    """
    path = Path(path)
    shown = shown_path(path)
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        return _from_yaml(path, shown, pair)
    if path.suffix.lower() == ".csv":
        rows = _margin_rows(path, shown)
        if rows is not None:
            return _from_rows(path, shown, rows, pair)
    return _from_patients(path, shown, pair)


def _check_column(name: str, pair: SideBySide, *, number: bool) -> str | None:
    """What is wrong with naming this column, None where nothing is."""
    if name not in pair.by_name:
        return f'"{name}" is not a column of the model{did_you_mean(name, [column.name for column in pair.columns])}'
    column = pair.by_name[name]
    if column.role not in ("covariate", "arm"):
        return f'"{name}" is an outcome; a target population is of baselines'
    if number and column.levels and set(column.levels) - {"0", "1"}:
        return f'"{name}" is a category: give proportions of its levels ({", ".join(column.levels)}), not a mean'
    return None


def _level(name: str, given: Any, pair: SideBySide) -> str | None:
    """The level as the tables call it; None where there is no such level."""
    column = pair.by_name[name]
    labels = column.levels or tuple(column.label(value) for value in np.unique(column.real[~np.isnan(column.real)]))
    text = str(given)
    if text in labels:
        return text
    try:
        return next((label for label in labels if float(label) == float(text)), None)
    except ValueError:
        return None


class _Gathering:
    """Collects margins, and every problem with its place: a path of keys or a line."""

    def __init__(self, pair: SideBySide):
        self.pair = pair
        self.problems: list[tuple[Any, str]] = []
        self.numbers: dict[str, NumberTarget] = {}
        self.shares: dict[str, dict[str, float]] = {}
        self.goals: dict[str, dict[str, float]] = {}

    def problem(self, message: str, place: Any) -> None:
        self.problems.append((place, message))

    def number(self, name: str, mean: Any, sd: Any, place: Any) -> None:
        wrong = _check_column(name, self.pair, number=True)
        middle, spread = _finite(mean), None if sd is None else _finite(sd)
        if wrong is not None:
            self.problem(wrong, place)
        elif middle is None or (sd is not None and spread is None):
            self.problem(f"the mean and SD of {name} are finite numbers, not {mean if middle is None else sd}", place)
        elif spread is not None and spread <= 0:
            self.problem(f"the SD of {name} is above 0, not {spread:g}", place)
        elif name in self.numbers:
            self.problem(f'"{name}" is given twice', place)
        else:
            self.numbers[name] = NumberTarget(middle, spread)

    def share(self, name: str, level: Any, value: Any, place: Any, *, goal: bool = False) -> None:
        wrong = _check_column(name, self.pair, number=False)
        if wrong is not None:
            self.problem(wrong, place)
            return
        label, share = _level(name, level, self.pair), _finite(value)
        if label is None:
            self.problem(f'"{level}" is not a level of "{name}"', place)
        elif share is None or not 0 <= share <= 1:
            self.problem(f"a share lies between 0 and 1; {name} = {level} has {value}", place)
        else:
            found = (self.goals if goal else self.shares).setdefault(name, {})
            if label in found:
                self.problem(f"{name} = {level} is given twice", place)
            found[label] = share

    def finish(self, place: Callable[[str], Any]) -> None:
        """What can only be said of the whole."""
        for column, shares in self.shares.items():
            if sum(shares.values()) > 1 + 1e-6:
                self.problem(f"the proportions of {column} sum to {sum(shares.values()):g}, which is above 1", place(column))
        if not (self.numbers or self.shares or self.goals or self.problems):
            self.problem("names no column of the model", place(""))

    def target(self, name: str, n: int | None = None) -> Target:
        return Target(name, self.numbers, self.shares, self.goals or self.shares, n)


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _from_yaml(path: Path, shown: str, pair: SideBySide) -> Target:
    gathering = _Gathering(pair)

    def rules(given: TargetFile) -> Iterable[Rule]:
        for name, margin in given.columns.items():
            place = ("columns", name)
            if (margin.mean is None) == (margin.proportions is None) or (margin.sd is not None and margin.mean is None):
                gathering.problem("is a mean (with sd) or proportions", place)
            elif margin.proportions is None:
                gathering.number(name, margin.mean, margin.sd, place)
            else:
                for level, value in margin.proportions.items():
                    gathering.share(name, level, value, (*place, "proportions"))
        for name, goals in given.goals.items():
            for level, value in goals.items():
                gathering.share(name, level, value, ("goals", name), goal=True)
        gathering.finish(lambda name: ("columns", name))
        return gathering.problems

    given = read_part(path, TargetFile, is_a="a target population is a map with columns (and name, n, goals)", shown=shown, rules=rules)
    return gathering.target(given.name or path.stem, given.n)


def _margin_rows(path: Path, shown: str) -> list[tuple[int, dict[str, str]]] | None:
    """The rows of a CSV of margins with their lines; None where the header is not that of margins."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            if "column" not in header or not {"mean", "proportion", "goal"} & set(header):
                return None
            unknown = [name for name in header if name not in HEADER]
            if unknown:
                raise DataError(Problem(f'unknown column "{unknown[0]}"{did_you_mean(unknown[0], HEADER)}', file=shown, line=1))
            return [(reader.line_num, {key: (value or "").strip() for key, value in row.items() if key is not None}) for row in reader]
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=shown)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(Problem(f"cannot be read: {error}", file=shown)) from None


def _from_rows(path: Path, shown: str, rows: list[tuple[int, dict[str, str]]], pair: SideBySide) -> Target:
    gathering = _Gathering(pair)
    lines: dict[str, int] = {}
    for line, row in rows:
        name, level = row["column"], row.get("level", "")
        lines[name] = line
        if row.get("mean"):
            gathering.number(name, row["mean"], row.get("sd") or None, line)
        if row.get("proportion"):
            gathering.share(name, level, row["proportion"], line)
        if row.get("goal"):
            gathering.share(name, level, row["goal"], line, goal=True)
        if not (row.get("mean") or row.get("proportion") or row.get("goal")):
            gathering.problem(f'the line of "{name}" has no mean, proportion or goal', line)
    gathering.finish(lines.get)
    _refuse(gathering, shown)
    return gathering.target(path.stem)


def _refuse(gathering: _Gathering, shown: str) -> None:
    if gathering.problems:
        raise DataError([Problem(message, file=shown, line=line) for line, message in gathering.problems])


def _from_patients(path: Path, shown: str, pair: SideBySide) -> Target:
    table = read_table(path, shown=shown)
    gathering = _Gathering(pair)
    for column in pair.covariates:
        if column.name not in table.meaning:
            continue
        if column.levels:
            counts = {level: int(table.equals(column.name, level).sum()) for level in column.levels}
            total = sum(counts.values())
            if total == 0:
                gathering.problem(f'no row of "{column.name}" has one of its levels ({", ".join(column.levels)})', None)
            for level, count in counts.items() if total else ():
                gathering.share(column.name, level, count / total, None)
            continue
        values = table.numbers(column.name)
        known = values[~np.isnan(values)]
        if len(known) < 2:
            gathering.problem(f'the column "{column.name}" has {len(known)} values', None)
            continue
        spread = float(known.std(ddof=1))
        gathering.number(column.name, float(known.mean()), spread if spread > 0 else None, None)
    gathering.finish(lambda _: None)
    _refuse(gathering, shown)
    return gathering.target(path.stem, table.n)
