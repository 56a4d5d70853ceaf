"""Withdrawing persons from a dataset: their rows are never read again, and every model that has read them is marked stale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from trialsim.data.governance import audit
from trialsim.data.governance.manifest import SUFFIX, Manifest, contains, manifest_path, mark_stale, model_path_of, read_manifest
from trialsim.data.governance.persons import ids_of
from trialsim.data.governance.withdrawn import add_withdrawn, withdrawn_path
from trialsim.data.shown_path import shown_path
from trialsim.data.table import PatientTable
from trialsim.errors import DataError, Problem


@dataclass(frozen=True, slots=True)
class Person:
    """An identifier, and where it was given, for messages (which never show the identifier)."""

    id: str
    file: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Dependent:
    """A model that has read `n` of the persons withdrawn; None where nobody can say (it was fitted without identifiers)."""

    model: Path
    n: int | None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What a withdrawal did.

    `n_persons` were given, `n_new` of them were not on the list before, `n_in_data` have a row in the data now. `n_models`
    models were looked at, `stale` are those marked. `undecided` (not marked) were fitted without identifiers to another
    version of the data, or to other data (by the card's id) in which somebody has the same identifier.
    """

    data: Path
    list_file: Path
    n_persons: int
    n_new: int
    n_in_data: int
    n_models: int
    stale: tuple[Dependent, ...]
    undecided: tuple[Path, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "data": str(self.data),
            "list": str(self.list_file),
            "n_persons": self.n_persons,
            "n_new": self.n_new,
            "n_in_data": self.n_in_data,
            "n_models": self.n_models,
            "stale": [{"model": str(dependent.model), "n": dependent.n} for dependent in self.stale],
            "undecided": [str(model) for model in self.undecided],
        }


def manifests_below(places: Iterable[Path]) -> list[Path]:
    """The manifest files below these folders, and those of these models; DataError names each place that is neither."""
    found: list[Path] = []
    problems: list[Problem] = []
    for place in places:
        if place.is_dir():
            found += place.rglob(f"*{SUFFIX}")
        elif manifest_path(place).exists():
            found.append(manifest_path(place))
        elif place.exists():
            problems.append(Problem("has no manifest, so nobody can say whose data it has read", file=shown_path(place)))
        else:
            problems.append(Problem("there is no such folder or model", file=shown_path(place)))
    if problems:
        raise DataError(problems)
    return sorted({path.absolute() for path in found})


def models_in_log(log: Path) -> tuple[list[Path], list[Path]]:
    """The models of the `fit` entries of an audit log: those with a manifest, and those that are not where they were."""
    if not log.exists():
        return [], []
    named = {Path(str(entry.details["model"])) for entry in audit.entries(log) if entry.action == "fit" and "model" in entry.details}
    models = sorted((log.parent / model).absolute() for model in named)
    return [model for model in models if manifest_path(model).exists()], [model for model in models if not manifest_path(model).exists()]


def withdraw(persons: Sequence[Person], *, table: PatientTable, manifests: Iterable[Path], log: Path, on: date) -> Withdrawal:
    """Puts persons on the withdrawal list of the table's file and marks the models stale that have read them.

    A person is known when the data have a row of theirs or a manifest has their hash; otherwise nothing at all is
    written and DataError names the place of every unknown one. Then, in this order: the list, the manifests, the log;
    what is written stands, so that the same call may be repeated after a failure (and with other `manifests` later: a
    person is never counted twice). A model is one of these data when its manifest has the same card id or the same hash
    of the data. One fitted without identifiers to these very data is marked too.

    The data file itself is not changed: delete the rows at their source. Not found: models that lie elsewhere, and copies.
    """
    if not persons:
        raise DataError("no identifier is given, so nobody is withdrawn")
    in_data = ids_of(table)
    if in_data is None:
        raise DataError(Problem("the card gives no column the role id, so nobody can be told", file=table.file))
    paths = sorted(set(manifests))
    read = {path: read_manifest(path) for path in paths}
    own = {path for path, manifest in read.items() if _is_of(manifest, table)}
    rows = frozenset(in_data)
    ids = sorted({person.id for person in persons})
    known = {person for person in ids if person in rows or any(contains(read[path], person) for path in own)}
    unknown = [Problem("this person is neither in the data nor in a manifest", file=p.file, line=p.line) for p in persons if p.id not in known]
    if unknown:
        raise DataError([*unknown, Problem(f"{len(unknown)} of {len(persons)} identifiers are unknown; nothing was written", file=table.file)])
    hashes, n_new = add_withdrawn(withdrawn_path(table.path), ids, on=on)
    stale: list[Dependent] = []
    undecided: list[Path] = []
    for path, manifest in read.items():
        whose = [person for person in ids if contains(manifest, person)]
        if path in own and (whose or (manifest.persons is None and manifest.data_sha256 == table.sha256)):
            mark_stale(path, None if manifest.persons is None else whose, on=on, reason="withdrawal")
            stale.append(Dependent(model_path_of(path), None if manifest.persons is None else len(whose)))
        elif whose or (path in own and manifest.persons is None):
            undecided.append(model_path_of(path))
    done = Withdrawal(
        data=table.path,
        list_file=withdrawn_path(table.path),
        n_persons=len(ids),
        n_new=n_new,
        n_in_data=len(rows.intersection(ids)),
        n_models=len(paths),
        stale=tuple(stale),
        undecided=tuple(undecided),
    )
    audit.append(log, "withdraw", {**done.as_dict(), "persons": hashes})
    return done


def _is_of(manifest: Manifest, table: PatientTable) -> bool:
    """Whether a model was fitted to this data set, in this or another version."""
    return manifest.data_sha256 == table.sha256 or (table.card is not None and manifest.card == table.card.id)
