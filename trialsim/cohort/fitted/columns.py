"""Which columns of a table a cohort model describes, and how: smooth, stepped, following from another, or left out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.fitted.resolution import step_of
from trialsim.cohort.fitted.rules import AnyRule, Copy, Rule, copy_of, determined, step_function
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem
from trialsim.units import TIME_UNITS

Array = NDArray[np.float64]
Part = Literal["baseline", "gate", "arm", "companion", "missing"]

FEWEST = 50  # patients a model is fitted to
RARE = 5  # a level seen in fewer patients than this is merged or its column left out
MANY = 10  # a numeric column with more distinct values than this is smooth
ATOM_SHARE, ATOM_COUNT = 0.03, 10
MISSING = ".missing"


@dataclass(frozen=True, slots=True)
class Covariate:
    """One column of the data before outcomes, in the units of a cohort (times in days).

    `column` `[patient]` holds the value of a smooth covariate and the level's index of a stepped one. `values` are the
    numbers of its levels (the index itself for a category, the number for a score); `levels` their names, empty for a score.

    `part` says what it is: a `baseline` covariate; the `gate` of a smooth one with atoms at its ends, a stepped column
    that comes before it and tells which atom a patient is at, or none (`atoms` has a value per level of the gate, NaN for
    none); the `arm`; a `companion` of the arm, drawn given it; or whether another column is `missing`.
    """

    name: str
    kind: Literal["smooth", "stepped"]
    column: Array
    unit: str
    values: Array
    levels: tuple[str, ...]
    rule: AnyRule | None = None
    gate: str = ""
    atoms: tuple[float, ...] = ()
    part: Part = "baseline"

    @property
    def hidden(self) -> bool:
        """Whether it is no covariate of the patients of a trial."""
        return self.part != "baseline"

    @property
    def is_number(self) -> bool:
        """Whether a regression may use it as a number (a category with more than two levels may not)."""
        return not self.levels or len(self.levels) == 2

    def held(self) -> Array:
        """The column as a cohort holds it."""
        if self.kind == "smooth":
            return self.column
        known = ~np.isnan(self.column)
        out = np.full(len(self.column), np.nan)
        out[known] = self.values[self.column[known].astype(np.int64)]
        return out


@dataclass(frozen=True, slots=True)
class Described:
    """What became of the columns of a table: those modelled, the constants (with their value), and why each other is left out."""

    covariates: tuple[Covariate, ...]
    constants: Mapping[str, float]
    left_out: Mapping[str, str]


def covariates_of(table: PatientTable, *, rows: NDArray[np.bool_], without: Iterable[str]) -> tuple[tuple[Covariate, ...], dict[str, str]]:
    """The baseline covariates to model, in the file's order, and why each other column is not one. See `describe`."""
    described = describe(table, rows=rows, without=without)
    return described.covariates, dict.fromkeys(described.constants, "it is constant") | dict(described.left_out)


def describe(
    table: PatientTable,
    *,
    rows: NDArray[np.bool_],
    without: Iterable[str],
    arm: tuple[str, NDArray[np.int64], tuple[str, ...]] | None = None,
    missing: bool = False,
) -> Described:
    """The columns to model, in the file's order, then the arm and its companions, then which cells are missing.

    A column is a candidate when its role is `covariate` and it is not among `without` (outcomes). Left out: text and
    dates, columns with no values, and columns that (nearly) never vary; a constant is noted. Levels seen in fewer than 5
    patients join a neighbour. A stepped column that another column determines (at most 1 % exceptions), and a copy of
    another in some unit, become rules.

    `arm` (column, index of each row's arm, names of the arms) adds the arm, and tells companions: columns with the role
    `arm`, and those that determine it or are determined by it, or by another companion. With `missing`, every covariate
    with at least 5 missing cells has a stepped column `<name>.missing`.
    """
    excluded = set(without)
    left_out: dict[str, str] = {}
    constants: dict[str, float] = {}
    found: list[Covariate] = []
    for name, meaning in table.meaning.items():
        if name in excluded or (arm is not None and name == arm[0]):
            continue
        if meaning.role != "covariate" and not (meaning.role == "arm" and arm is not None):
            left_out[name] = f"its role is {meaning.role}"
        elif meaning.type in ("text", "date"):
            left_out[name] = f"it is {'text' if meaning.type == 'text' else 'a date'}"
        else:
            made = _covariate(table, name, rows)
            if isinstance(made, float):
                constants[name] = made
            elif isinstance(made, str):
                left_out[name] = made
            else:
                found.append(made)
    baselines, companions = found, list[Covariate]()
    if arm is not None:
        baselines, companions = _without_companions(table, found, arm, left_out)
    baselines = [part for covariate in with_rules(baselines) for part in (_gated(covariate) if covariate.rule is None else [covariate])]
    hidden: list[Covariate] = []
    if arm is not None and len(arm[2]) > 1:
        hidden.append(_of_levels(arm[0], arm[1][rows].astype(np.float64), arm[2], "arm"))
        hidden += companions
    if missing:
        hidden += _missing_columns([*(c for c in baselines if not c.hidden), *companions], baselines)
        baselines = _following_missing(baselines, hidden)
    return Described((*baselines, *hidden), constants, left_out)


def _of_levels(name: str, column: Array, levels: tuple[str, ...], part: Part) -> Covariate:
    return Covariate(name=name, kind="stepped", column=column, unit="", values=np.arange(len(levels), dtype=np.float64), levels=levels, part=part)


def _covariate(table: PatientTable, name: str, rows: NDArray[np.bool_]) -> Covariate | str | float:
    """The covariate; or its value where it is constant; or why it cannot be modelled."""
    meaning = table.meaning[name]
    column = table.columns[name][rows]
    known = column[~np.isnan(column)]
    if len(known) < 2 * RARE:
        return f"it has {len(known)} values"
    distinct, counts = np.unique(known, return_counts=True)
    if len(distinct) == 1:
        return float(distinct[0])
    if name in table.levels or meaning.type == "binary":
        names = table.levels.get(name, ("0", "1"))
        numbers = np.arange(len(names), dtype=np.float64)
        return _stepped(name, column, numbers, names, unit="")
    if len(distinct) <= MANY and (meaning.type == "integer" or counts.min() >= RARE):
        scale, unit = unit_of(meaning.unit)
        return _stepped(name, column, distinct, (), unit=unit, scale=scale)
    scale, unit = unit_of(meaning.unit)
    if counts.max() > len(known) - 2 * RARE:
        return "it is nearly constant"
    return Covariate(name=name, kind="smooth", column=column * scale, unit=unit, values=np.empty(0), levels=())


def _gated(covariate: Covariate) -> list[Covariate]:
    """The covariate, after the gate of its atoms where it has some: an end value that 3 % (and 10) of the patients share."""
    if covariate.kind != "smooth":
        return [covariate]
    column = covariate.column
    known = column[~np.isnan(column)]
    ends = (float(known.min()), float(known.max()))
    shared = [(known == end).sum() >= max(ATOM_COUNT, ATOM_SHARE * len(known)) for end in ends]
    if not any(shared):
        return [covariate]
    atoms = (*(ends[:1] if shared[0] else ()), np.nan, *(ends[1:] if shared[1] else ()))
    index = np.full(len(column), np.nan)
    index[~np.isnan(column)] = float(shared[0])
    for place, atom in enumerate(atoms):
        index[column == atom] = place
    name = f"{covariate.name}.atom"
    gate = Covariate(name=name, kind="stepped", column=index, unit="", values=np.arange(len(atoms), dtype=np.float64), levels=(), part="gate")
    return [gate, replace(covariate, gate=name, atoms=atoms)]


def _stepped(name: str, column: Array, numbers: Array, levels: tuple[str, ...], *, unit: str, scale: float = 1.0) -> Covariate | str | float:
    """A stepped covariate; a rare level joins the nearest one that is not rare."""
    known = ~np.isnan(column)
    counts = np.array([(column == number).sum() for number in numbers])
    kept = np.flatnonzero(counts >= RARE)
    if len(kept) < 2:
        return f"fewer than {RARE} patients differ from the rest"
    nearest = np.array([kept[np.argmin(np.abs(kept - place))] for place in range(len(numbers))])
    index = np.full(len(column), np.nan)
    index[known] = np.searchsorted(kept, nearest[np.searchsorted(numbers, column[known])])
    if levels:
        names = tuple(levels[place] for place in kept)
        return Covariate(name=name, kind="stepped", column=index, unit="", values=np.arange(len(kept), dtype=np.float64), levels=names)
    return Covariate(name=name, kind="stepped", column=index, unit=unit, values=numbers[kept] * scale, levels=())


def unit_of(unit: str) -> tuple[float, str]:
    """(factor, unit) that turn a number of the data into a cohort's: times become days."""
    return (TIME_UNITS[unit], "time") if unit in TIME_UNITS else (1.0, unit)


def with_rules(covariates: Sequence[Covariate]) -> list[Covariate]:
    """Every covariate that another determines carries the rule; sources are never rules themselves."""
    rules: dict[str, AnyRule] = {}
    steps = {c.name: step_of(c.column) for c in covariates if c.kind == "smooth"}
    richest_first = sorted(covariates, key=lambda c: (c.kind == "stepped", -len(c.values) if c.kind == "stepped" else -len(np.unique(c.column))))
    for place, target in enumerate(richest_first):
        sources = [source for source in richest_first[:place] if source.name not in rules]
        rule = _step_rule(target, sources) if target.kind == "stepped" else _copy_rule(target, [s for s in sources if s.kind == "smooth"], steps)
        if rule is not None:
            rules[target.name] = rule
    return [replace(c, rule=rules.get(c.name)) for c in covariates]


def _step_rule(target: Covariate, sources: Sequence[Covariate]) -> Rule | None:
    options = [(*found, source.name) for source in sources if (found := step_function(source.held(), target.column)) is not None]
    if not options:
        return None
    _, cuts, levels, source_name = min(options, key=lambda option: option[0])
    return Rule(source=source_name, cuts=cuts, levels=levels, values=tuple(target.values.tolist()))


def _copy_rule(target: Covariate, sources: Sequence[Covariate], steps: Mapping[str, float]) -> Copy | None:
    for source in sources:
        found = copy_of(source.column, target.column, steps=(steps[source.name], steps[target.name]))
        if found is not None:
            return Copy(source=source.name, intercept=found[0], slope=found[1])
    return None


def _without_companions(
    table: PatientTable, found: Sequence[Covariate], arm: tuple[str, NDArray[np.int64], tuple[str, ...]], left_out: dict[str, str]
) -> tuple[list[Covariate], list[Covariate]]:
    """(covariates, companions of the arm). A smooth companion is left out."""
    rows = arm[1] >= 0
    known = [arm[1][rows].astype(np.float64)]
    rest, companions = list(found), list[Covariate]()
    while True:
        near = [c for c in rest if table.meaning[c.name].role == "arm" or any(_bound(c, column) for column in known)]
        if not near:
            return rest, companions
        rest = [c for c in rest if c not in near]
        for covariate in near:
            if covariate.kind == "smooth":
                left_out[covariate.name] = "it tells the arm and is no category"
                continue
            companions.append(replace(covariate, part="companion"))
            known.append(covariate.column)


def _bound(covariate: Covariate, column: Array) -> bool:
    """Whether a covariate determines a column of levels that is the arm or goes with it, or is determined by it."""
    if covariate.kind == "smooth":
        return step_function(covariate.column, column) is not None
    return determined(covariate.column, column) or determined(column, covariate.column)


def _missing_columns(covariates: Sequence[Covariate], sources: Sequence[Covariate]) -> list[Covariate]:
    """A stepped column (0 seen, 1 missing) for each covariate with at least 5 cells of both kinds; those that follow from others as rules."""
    found: list[Covariate] = []
    for covariate in covariates:
        gone = np.isnan(covariate.column)
        if RARE <= gone.sum() <= len(gone) - RARE:
            column = Covariate(covariate.name + MISSING, "stepped", gone.astype(np.float64), "", np.arange(2.0), (), part="missing")
            complete = [c for c in sources if c.rule is None and c.part == "baseline" and c.name != covariate.name]
            rule = _step_rule(column, [c for c in found if c.rule is None]) or _step_rule(column, [c for c in complete if not np.isnan(c.column).any()])
            found.append(replace(column, rule=rule))
    return found


def _following_missing(covariates: Sequence[Covariate], hidden: Sequence[Covariate]) -> list[Covariate]:
    """Covariates that say whether another is there, as rules of its column of missing cells."""
    gone = [c for c in hidden if c.part == "missing" and c.rule is None]
    sources = {c.rule.source for c in (*covariates, *hidden) if c.rule is not None}
    out = []
    for covariate in covariates:
        free = covariate.part == "baseline" and covariate.kind == "stepped" and covariate.rule is None and covariate.name not in sources
        rule = _step_rule(covariate, [c for c in gone if c.name != covariate.name + MISSING]) if free else None
        out.append(covariate if rule is None else replace(covariate, rule=rule))
    return out


def arm_index(table: PatientTable, arm: str | None, arms: Mapping[str, str | int | float]) -> NDArray[np.int64]:
    """For each row the place of its arm in `arms`, −1 where it has another. DataError for an arm without patients."""
    index = np.full(table.n, -1, dtype=np.int64)
    if arm is None:
        return np.zeros(table.n, dtype=np.int64)
    table.require(arm)
    for place, (name, value) in enumerate(arms.items()):
        rows = table.equals(arm, value)
        if not rows.any():
            raise DataError(Problem(f'no row has {arm} = {value} (arm "{name}")', file=table.file))
        index[rows] = place
    return index


def arms_of(table: PatientTable, arm: str) -> dict[str, str | int | float]:
    """Every arm of the column by its own name: the levels of a category, the values of a number. DataError where there are too many or too few."""
    table.require(arm)
    if arm in table.text:
        found: list[str | int | float] = sorted({cell for cell in table.text[arm] if cell is not None})
    elif arm in table.levels:
        present = {int(code) for code in table.columns[arm] if code == code}
        found = [level for place, level in enumerate(table.levels[arm]) if place in present]
    else:
        values = np.unique(table.columns[arm][~np.isnan(table.columns[arm])]).tolist()
        found = [int(value) if value == int(value) else value for value in values]
    if len(found) > MANY:
        raise DataError(Problem(f'the arm column "{arm}" has {len(found)} different values; at most {MANY} arms can be told apart', file=table.file))
    if not found:
        raise DataError(Problem(f'the arm column "{arm}" has no values', file=table.file))
    return {str(value): value for value in found}


def used(names: Collection[str], name: str) -> str:
    """`name`, with primes added until nothing is called so."""
    while name in names:
        name += "'"
    return name
