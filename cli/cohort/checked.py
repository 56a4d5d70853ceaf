"""A model, its data and its check: what `check` and `export` have in common."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim_cli.console import say

from trialsim.errors import DataError, Problem, UsageError

if TYPE_CHECKING:
    from trialsim.cohort.fitted import FittedCohort
    from trialsim.cohort.sampler import Recipe
    from trialsim.data import Card, PatientTable
    from trialsim.data.governance.consent import Permission
    from trialsim.evaluation.cohort_check import CheckReport


@dataclass(frozen=True)
class Checked:
    """A model beside its data: only the rows that may be used for the model's purpose. `blocked` says why it may not be used at all."""

    model: FittedCohort
    table: PatientTable
    card: Card
    permission: Permission
    about_model: Mapping[str, Any]
    about_data: Mapping[str, Any]
    same_data: bool
    blocked: tuple[str, ...]


def model_and_data(model_file: Path, data_file: Path, card_file: Path | None, *, on: str | None) -> Checked:
    """Reads a model and data, and drops the rows that may not be used. Raises DataError, UsageError.

    Without a card (and none beside the data) the model's own account of the columns is used; where the model was fitted
    under consent row by row that would not do, and the card is asked for.
    """
    from trialsim.cohort.fitted import FittedCohort
    from trialsim.data import load_card, read_table, shown_path
    from trialsim.data.governance.consent import permitted

    model = FittedCohort.load(model_file)
    if model.form is None:
        raise DataError(Problem("was not fitted to a whole table; fit it with `trialsim cohort fit`", file=shown_path(model_file)))
    beside = data_file.with_name(f"{data_file.stem}.card.yaml")
    found = card_file or (beside if beside.exists() else None)
    card = load_card(found, shown=shown_path(found)) if found is not None else card_of(model, shown_path(data_file))
    shown = shown_path(found) if found is not None else ""
    table = read_table(data_file, card, shown=shown_path(data_file))
    permission = permitted(table, model.card["purpose"], on=_day(on), card_file=shown)
    same = table.sha256 == model.card["data"]["sha256"]
    notes = list(_blocked(model_file))
    fitted = model.card["permission"]["n_permitted"]
    if same and permission.n_permitted < fitted:
        notes.append(f"{fitted} rows were permitted when the model was fitted, {permission.n_permitted} are now: fit it anew.")
    return Checked(
        model=model,
        table=permission.apply(table),
        card=card,
        permission=permission,
        about_model={"id": model.id, "kind": model.card["model"], "file": shown_path(model_file), "sha256": sha256_of(model_file)},
        about_data={
            "file": shown_path(data_file),
            "id": card.id,
            "licence": card.licence,
            "sha256": table.sha256,
            "permission": permission.counts(),
        },
        same_data=same,
        blocked=tuple(notes),
    )


def _blocked(model_file: Path) -> list[str]:
    """Why a model must not be used, as its manifest says."""
    from trialsim.data.governance.manifest import require_fresh

    try:
        require_fresh(model_file)
    except DataError as error:
        return [f"{problem.message[:1].upper()}{problem.message[1:]}." for problem in error.problems]
    return []


def card_of(model: FittedCohort, shown: str) -> Card:
    """A card made of what the model knows of its data."""
    from trialsim.data import Card

    assert model.form is not None
    if model.card["permission"]["by_row"]:
        raise DataError(Problem("was fitted under consent row by row, so the data's card is needed here too (--card)", file=shown))
    data = model.card["data"]
    columns = {column.name: column.meaning for column in model.form.columns}
    return Card(
        id=data["id"],
        title=data["title"],
        source=data["source"],
        licence=data["licence"],
        purposes=(model.card["purpose"],),
        citation=data.get("citation") or "",
        columns=columns,
    )


def recipe_of(model: FittedCohort) -> Recipe:
    """How models like this one are made of other rows: with its differential privacy, where it has that."""
    from trialsim.cohort.fitted.private import PrivateRecipe
    from trialsim.cohort.fitted.recipe import FittedRecipe

    return PrivateRecipe.of(model) if "privacy" in model.card else FittedRecipe(model)


def run_check(
    checked: Checked,
    *,
    thresholds: Path | None,
    target: Path | None,
    refits: int,
    workers: int | None,
    seed: int,
    n_release: int | None,
) -> CheckReport:
    """The check; every fifth refit is said on stderr."""
    from trialsim.evaluation.cohort_check import check_cohort
    from trialsim.evaluation.cohort_thresholds import load_thresholds

    if refits and refits < 4:
        raise UsageError(f"--refits {refits}: at least 4 are needed (20 or more are meant), or 0 to leave disclosure unchecked")
    if n_release is not None and n_release < 50:
        n_release = None
    declared = None if thresholds is None else load_thresholds(thresholds)

    def progress(done: int, of: int) -> None:
        if done % 5 == 0 or done == of:
            say(f"disclosure: {done} of {of} refits")

    return check_cohort(
        checked.model,
        checked.table,
        recipe=recipe_of(checked.model),
        thresholds=declared,
        target=target,
        refits=refits,
        workers=workers or os.cpu_count() or 1,
        seed=seed,
        same_data=checked.same_data,
        blocked=checked.blocked,
        n_release=n_release,
        progress=progress,
        reference=_reference(checked.model),
        about_model=checked.about_model,
        about_data=checked.about_data,
    )


def _reference(model: FittedCohort) -> str | None:
    """The reference arm's value in the data."""
    outcomes = [*model.card["events"].values(), *model.card["values"].values()]
    name = next((outcome["reference"] for outcome in outcomes if outcome.get("reference") is not None), None)
    return None if name is None else str(dict(model.card["options"]["arms"]).get(name, name))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None


def _day(on: str | None) -> date:
    try:
        return datetime.now(UTC).date() if on is None else date.fromisoformat(on)
    except ValueError:
        raise UsageError(f'--on "{on}" is not a day such as 2026-03-31') from None
