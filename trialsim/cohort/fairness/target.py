"""A target population: whom the patients should represent, as published margins or as patients."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from trialsim.cohort.fidelity.side_by_side import SideBySide
from trialsim.data import read_table, shown_path
from trialsim.errors import DataError, Problem, did_you_mean

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
    """Collects margins and every problem, each with its line."""

    def __init__(self, shown: str, pair: SideBySide):
        self.shown, self.pair = shown, pair
        self.problems: list[Problem] = []
        self.numbers: dict[str, NumberTarget] = {}
        self.shares: dict[str, dict[str, float]] = {}
        self.goals: dict[str, dict[str, float]] = {}

    def problem(self, message: str, line: int | None) -> None:
        self.problems.append(Problem(message, file=self.shown, line=line))

    def number(self, name: str, mean: Any, sd: Any, line: int | None) -> None:
        wrong = _check_column(name, self.pair, number=True)
        values = [_finite(mean), None if sd is None else _finite(sd)]
        if wrong is not None:
            self.problem(wrong, line)
        elif values[0] is None or (sd is not None and values[1] is None):
            self.problem(f"the mean and SD of {name} are numbers, not {mean if values[0] is None else sd}", line)
        elif values[1] is not None and values[1] <= 0:
            self.problem(f"the SD of {name} is above 0, not {values[1]:g}", line)
        elif name in self.numbers:
            self.problem(f'"{name}" is given twice', line)
        else:
            self.numbers[name] = NumberTarget(values[0], values[1])

    def share(self, name: str, level: Any, value: Any, line: int | None, *, goal: bool = False) -> None:
        wrong = _check_column(name, self.pair, number=False)
        if wrong is not None:
            self.problem(wrong, line)
            return
        label, share = _level(name, level, self.pair), _finite(value)
        if label is None:
            self.problem(f'"{level}" is not a level of "{name}"', line)
        elif share is None or not 0 <= share <= 1:
            self.problem(f"a share lies between 0 and 1; {name} = {level} has {value}", line)
        else:
            place = (self.goals if goal else self.shares).setdefault(name, {})
            if label in place:
                self.problem(f"{name} = {level} is given twice", line)
            place[label] = share

    def target(self, name: str, n: int | None = None) -> Target:
        for column, shares in self.shares.items():
            if sum(shares.values()) > 1 + 1e-6:
                self.problem(f"the proportions of {column} sum to {sum(shares.values()):g}, which is above 1", None)
        if self.problems:
            raise DataError(self.problems)
        if not (self.numbers or self.shares or self.goals):
            raise DataError(Problem("names no column of the model", file=self.shown))
        return Target(name, self.numbers, self.shares, self.goals or self.shares, n)


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _from_yaml(path: Path, shown: str, pair: SideBySide) -> Target:
    try:
        given = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=shown)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(Problem(f"cannot be read: {error}", file=shown)) from None
    except MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise DataError(Problem(f"is not valid YAML: {' '.join(str(error.problem or error).split())}", file=shown, line=line)) from None
    except YAMLError as error:
        raise DataError(Problem(f"is not valid YAML: {' '.join(str(error).split())}", file=shown)) from None
    if not isinstance(given, Mapping) or not isinstance(given.get("columns", {}), Mapping) or not isinstance(given.get("goals", {}), Mapping):
        raise DataError(Problem("a target population is a map with columns (and name, n, goals)", file=shown))
    gathering = _Gathering(shown, pair)
    for key in given:
        if key not in ("name", "n", "columns", "goals"):
            gathering.problem(f'unknown key "{key}"{did_you_mean(str(key), ("name", "n", "columns", "goals"))}', _line(given, key))
    for name, margin in given.get("columns", {}).items():
        line = _line(given["columns"], name)
        if not isinstance(margin, Mapping) or not (set(margin) <= {"mean", "sd"} and "mean" in margin or set(margin) == {"proportions"}):
            gathering.problem(f"{name} is {{mean, sd}} or {{proportions: {{level: share}}}}", line)
        elif "mean" in margin:
            gathering.number(str(name), margin["mean"], margin.get("sd"), line)
        elif not isinstance(margin["proportions"], Mapping):
            gathering.problem(f"the proportions of {name} are a map of level to share", line)
        else:
            for level, value in margin["proportions"].items():
                gathering.share(str(name), level, value, line)
    for name, goals in given.get("goals", {}).items():
        line = _line(given["goals"], name)
        if not isinstance(goals, Mapping):
            gathering.problem(f"the goals of {name} are a map of level to share", line)
            continue
        for level, value in goals.items():
            gathering.share(str(name), level, value, line, goal=True)
    n = given.get("n")
    return gathering.target(str(given.get("name", path.stem)), int(n) if isinstance(n, int) else None)


def _line(node: Any, key: Any) -> int | None:
    try:
        return int(node.lc.key(key)[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return None


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
    gathering = _Gathering(shown, pair)
    for line, row in rows:
        name, level = row["column"], row.get("level", "")
        if row.get("mean"):
            gathering.number(name, row["mean"], row.get("sd") or None, line)
        if row.get("proportion"):
            gathering.share(name, level, row["proportion"], line)
        if row.get("goal"):
            gathering.share(name, level, row["goal"], line, goal=True)
        if not (row.get("mean") or row.get("proportion") or row.get("goal")):
            gathering.problem(f'the line of "{name}" has no mean, proportion or goal', line)
    return gathering.target(path.stem)


def _from_patients(path: Path, shown: str, pair: SideBySide) -> Target:
    table = read_table(path, shown=shown)
    gathering = _Gathering(shown, pair)
    for column in pair.covariates:
        if column.name not in table.meaning:
            continue
        if column.levels:
            total = sum(int(table.equals(column.name, level).sum()) for level in column.levels)
            if total == 0:
                gathering.problem(f'no row of "{column.name}" has one of its levels ({", ".join(column.levels)})', None)
                continue
            for level in column.levels:
                gathering.share(column.name, level, float(table.equals(column.name, level).sum()) / total, None)
        else:
            values = table.numbers(column.name)
            known = values[~np.isnan(values)]
            if len(known) < 2:
                gathering.problem(f'the column "{column.name}" has {len(known)} values', None)
            else:
                spread = float(known.std(ddof=1))
                gathering.number(column.name, float(known.mean()), spread if spread > 0 else None, None)
    return gathering.target(path.stem, table.n)
