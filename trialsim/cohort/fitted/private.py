"""A cohort model with differential privacy: fitted to patients drawn from noisy counts, never to the patients themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.fitted.cohort import FittedCohort
from trialsim.cohort.fitted.columns import arm_index
from trialsim.cohort.fitted.privacy_ledger import Accountant, Ledger, Noise
from trialsim.cohort.fitted.private_cells import Bounds, Cells, cells_of, number_cells
from trialsim.cohort.fitted.private_law import Coded, PrivateLaw, release_law
from trialsim.cohort.fitted.table import Options, fit_table
from trialsim.cohort.population import ArmValue, EventColumns, OutcomeColumns
from trialsim.data import Column, PatientTable
from trialsim.data.card import Purpose
from trialsim.data.governance.consent import permitted
from trialsim.errors import DataError, NotSupportedError, Problem, UsageError, did_you_mean

Array = NDArray[np.float64]

TIME_BINS = 16
FEWEST_DRAWN = 200


@dataclass(frozen=True)
class PrivateRecipe:
    """Fits private models with these options; a `Recipe` for the checks of a cohort. Each fit spends ε anew on its own rows."""

    epsilon: float
    delta: float
    bounds: Mapping[str, Bounds]
    on: date
    outcomes: Mapping[str, OutcomeColumns] = field(default_factory=dict)
    arm: str | None = None
    arms: Mapping[str, ArmValue] = field(default_factory=dict)
    purpose: Purpose = "simulate"
    reference: str | None = None
    without: tuple[str, ...] = ()
    model: str = "copula"

    @classmethod
    def of(cls, model: FittedCohort) -> PrivateRecipe:
        """How a private model was made, from its card."""
        options, privacy = Options.from_json(model.card["options"]), model.card["privacy"]
        return cls(
            epsilon=privacy["asked"]["epsilon"],
            delta=privacy["asked"]["delta"],
            bounds={name: Bounds(*given) for name, given in privacy["bounds"].items()},
            on=options.on,
            outcomes=options.outcomes,
            arm=options.arm,
            arms=options.arms,
            purpose=options.purpose,
            reference=options.reference,
            without=tuple(privacy["without"]),
            model=options.model,
        )

    def fit(self, table: PatientTable) -> FittedCohort:
        """A private model of these rows."""
        return fit_private(
            table,
            epsilon=self.epsilon,
            delta=self.delta,
            bounds=self.bounds,
            on=self.on,
            outcomes=self.outcomes,
            arm=self.arm,
            arms=self.arms,
            purpose=self.purpose,
            reference=self.reference,
            without=self.without,
            model=self.model,
        )


def fit_private(
    table: PatientTable,
    *,
    epsilon: float,
    delta: float,
    bounds: Mapping[str, Bounds],
    on: date,
    outcomes: Mapping[str, OutcomeColumns] | None = None,
    arm: str | None = None,
    arms: Mapping[str, ArmValue] | None = None,
    purpose: Purpose = "simulate",
    reference: str | None = None,
    without: Iterable[str] = (),
    model: str = "copula",
    noise_seed: int | None = None,
) -> FittedCohort:
    """A model of the whole table that is (ε, δ)-differentially private for every patient in it.

    Counts in declared cells, sums of values' scores by arm, and sums of products of scores are released with Gaussian
    noise (`release_law`); nothing else reads a patient. They define a Gaussian copula with stepped margins, from which
    as many patients are drawn as there are (by the noisy count), and `fit_table` fits the model to *those*: what is
    done with released numbers costs no more privacy. The ledger of all releases is in the model's card, `privacy`.

    `bounds` has every column of numbers that is modelled, time columns among them, and must not be read off these data;
    categories need their levels in the card, and so does every column its type. `without` leaves columns out, and so
    are those that the card does not describe, identifiers, text, dates, and columns other than `arm` whose role is `arm`. The arm must have been randomised: it is drawn independently of the
    covariates, and events and values are tied to it by releases of their own. `noise_seed` is for tests alone: a model
    made with one is not private, and its card says so.

    Raises DataError with every column that has neither bounds nor levels at once; UsageError for ε or δ out of range.

    Not handled: missing cells are drawn at random; rules (`x == (y > 0)`) hold only where the fit finds them again in
    the drawn patients; posterior SDs do not count the noise. Protected is what the model says of the columns; the file's
    hash, a manifest of persons, and how many rows consent removed are kept beside it and are not noised.

    **Source:** Dwork & Roth 2014, doi 10.1561/0400000042; Gambs et al. 2021, Proc PETS 2021:122,
    doi 10.2478/popets-2021-0041 (private copulas); Balle & Wang 2018, PMLR 80:394.
    """
    if not 0 < epsilon <= 100:
        raise UsageError(f"epsilon: {epsilon:g}; it is between 0 and 100")
    if not 0 < delta < 1:
        raise UsageError(f"delta: {delta:g}; it is between 0 and 1, far below 1 over the number of patients")
    if model != "copula":
        raise NotSupportedError(f"differential privacy of the model {model} (only copula)")
    outcomes = dict(outcomes or {})
    rows = permitted(table, purpose, on=on).apply(table)
    named = {arm: arm or "arm"} | {column: name for name, outcome in outcomes.items() for column in _columns_of(outcome)}
    for column in named:
        if column is not None:
            table.require(column)
    codes = _declared_arms(rows, arm, arms)
    place = arm_index(rows, arm, codes)
    rows, place = rows.take(np.flatnonzero(place >= 0)), place[place >= 0]
    without = tuple(without)
    coded = _coded(rows, outcomes, arm, place, max(len(codes), 1), dict(bounds), set(without))
    noise = Noise(noise_seed)
    accountant = Accountant(epsilon, delta, noise)
    law = release_law(coded, accountant)
    drawn = _drawn(rows, law, outcomes, arm, codes)
    fitted = fit_table(drawn, model=model, outcomes=outcomes, arm=arm, arms=codes, purpose=purpose, on=on, randomised=arm is not None, reference=reference)
    return replace(fitted, card=_card(fitted, table, accountant.ledger(), noise, epsilon, bounds, sorted(set(without))))


def _columns_of(outcome: OutcomeColumns) -> tuple[str, ...]:
    return (outcome.time, outcome.event) if isinstance(outcome, EventColumns) else tuple(outcome.columns.values())


def _declared_arms(table: PatientTable, arm: str | None, arms: Mapping[str, ArmValue] | None) -> dict[str, ArmValue]:
    """The arms, from the call or from the card: those found in the data are private."""
    if arm is None or arms:
        return dict(arms or {})
    meaning = table.meaning[arm]
    if meaning.levels:
        return {level: level for level in meaning.levels}
    if meaning.type == "binary":
        return {"0": 0, "1": 1}
    raise DataError(Problem(f'the arms in "{arm}" are not declared (as levels in the card), and those found in the data are private', file=table.file))


def _coded(
    table: PatientTable,
    outcomes: Mapping[str, OutcomeColumns],
    arm: str | None,
    place: NDArray[np.int64],
    n_arms: int,
    bounds: dict[str, Bounds],
    without: set[str],
) -> Coded:
    """Every column in its cells. DataError names all that have none, and bounds or exclusions of columns that do not exist."""
    events = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, EventColumns)}
    taken = {column for outcome in events.values() for column in _columns_of(outcome)}
    named = {column for outcome in outcomes.values() for column in _columns_of(outcome)}
    values = {
        column for outcome in outcomes.values() if not isinstance(outcome, EventColumns) for visit, column in outcome.columns.items() if visit != "baseline"
    }
    declared = table.card.columns if table.card is not None else {}
    problems = [
        Problem(f'there is no column "{name}"{did_you_mean(name, table.names)}', file=table.file) for name in (*bounds, *without) if name not in table.meaning
    ]
    problems += [Problem(f'the column "{name}" belongs to an outcome and cannot be left out', file=table.file) for name in sorted(without & named)]
    problems += [
        Problem(f'the card does not describe "{name}", and what is inferred from the data is private', file=table.file)
        for name in dict.fromkeys([*sorted(named), *([arm] if arm is not None else [])])
        if name not in declared
    ]
    cells: dict[str, Cells] = {}
    for name, meaning in table.meaning.items():
        if name in taken or name == arm or (name not in named and not _is_modelled(meaning, name in without or name not in declared)):
            continue
        found = cells_of(table, name, bounds)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            cells[name] = found
    times = {}
    for name, outcome in events.items():
        limits = bounds.get(outcome.time)
        if limits is None:
            problems.append(Problem(f'no bounds are declared for "{outcome.time}", and the range of the data is private', file=table.file))
        elif wrong := limits.problem():
            problems.append(Problem(f'the bounds of "{outcome.time}" {wrong}', file=table.file))
        else:
            times[name] = number_cells(outcome.time, limits, TIME_BINS)
    if problems:
        raise DataError(problems)
    return Coded(
        cells=cells,
        places={name: found.places(table.columns[name]) for name, found in cells.items()},
        values=tuple(name for name, meaning in table.meaning.items() if name in cells and (name in values or meaning.role in ("outcome", "post_baseline"))),
        arm=place if arm is not None else np.zeros(table.n, dtype=np.int64),
        n_arms=n_arms,
        event_cells=times,
        event_places={name: _event_places(table, outcome, times[name]) for name, outcome in events.items()},
    )


def _is_modelled(meaning: Column, left_out: bool) -> bool:
    return not left_out and meaning.role in ("covariate", "outcome", "post_baseline") and meaning.type not in ("text", "date")


def _event_places(table: PatientTable, outcome: EventColumns, cells: Cells) -> NDArray[np.int64]:
    """Time cell · 2 + event; the last cell where either is missing."""
    time, event = table.numbers(outcome.time), table.numbers(outcome.event)
    gone = np.isnan(time) | np.isnan(event)
    places = cells.places(np.where(gone, cells.edges[0, 0], time)) * 2 + (np.where(gone, 0.0, event) > 0.5)
    return np.where(gone, 2 * cells.n, places)


def _drawn(table: PatientTable, law: PrivateLaw, outcomes: Mapping[str, OutcomeColumns], arm: str | None, arms: Mapping[str, ArmValue]) -> PatientTable:
    """A table of patients drawn from the law, in the form of the data. Its draws are a function of the released numbers."""
    released = [np.array([law.n]), law.arms, law.correlation.ravel(), *law.shares.values(), *(each.ravel() for each in law.events.values())]
    digest = hashlib.blake2b(b"".join(np.ascontiguousarray(part).tobytes() for part in released), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(int.from_bytes(digest, "little")))
    n = max(FEWEST_DRAWN, round(law.n))
    whom, columns, events = law.draw(n, generator)
    for name, outcome in outcomes.items():
        if isinstance(outcome, EventColumns):
            columns[outcome.time], columns[outcome.event] = events[name]
    if arm is not None:
        columns[arm] = _arm_codes(table, arm, arms)[whom]
    kept = {name: meaning for name, meaning in table.meaning.items() if name in columns}
    columns = {name: columns[name] for name in kept}
    content = hashlib.sha256(b"".join(name.encode() + column.tobytes() for name, column in columns.items())).hexdigest()
    assert table.card is not None
    described = {name: column for name, column in table.card.columns.items() if name in kept}
    return replace(
        table,
        columns=columns,
        text={},
        levels={name: levels for name, levels in table.levels.items() if name in kept},
        meaning=kept,
        n=n,
        sha256=content,
        card=table.card.model_copy(update={"consent": None, "columns": described}),
        path=Path(f"{table.path}.private"),  # nobody of the withdrawal list is in it
        rows=np.arange(n),
    )


def _arm_codes(table: PatientTable, arm: str, arms: Mapping[str, ArmValue]) -> Array:
    """What is written for each arm."""
    if arm in table.levels:
        levels = table.levels[arm]
        return np.array([next(float(place) for place, level in enumerate(levels) if level == str(value)) for value in arms.values()])
    return np.array([float(value) for value in arms.values()])


def _card(
    fitted: FittedCohort, table: PatientTable, ledger: Ledger, noise: Noise, epsilon: float, bounds: Mapping[str, Bounds], without: list[str]
) -> dict[str, object]:
    """The model's card with the ledger, and the file it comes from."""
    privacy = ledger.as_json() | {
        "asked": {"epsilon": epsilon, "delta": ledger.delta},
        "noise": "the operating system's cryptographic source" if noise.seed is None else f"a seed ({noise.seed}): this model is not private",
        "bounds": {name: [given.low, given.high, given.step] for name, given in bounds.items()},
        "without": without,
    }
    return {
        **fitted.card,
        "data": {**fitted.card["data"], "sha256": table.sha256},
        "privacy": privacy,
        "assumptions": [*fitted.card["assumptions"], "fitted to patients drawn from noisy counts: posterior SDs do not count the noise of privacy"],
    }
