"""Which persons a model has read, as salted hashes beside the model, and whether it may still be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from trialsim.data.card import Purpose
from trialsim.data.governance.files import locked, write_whole
from trialsim.data.governance.persons import new_salt, person_hash, person_hashes
from trialsim.data.shown_path import shown_path
from trialsim.errors import DataError, Problem

SCHEMA = "trialsim.cohort_manifest/1"
SUFFIX = ".manifest.json"


@dataclass(frozen=True, slots=True)
class Stale:
    """Why a model must not be used any more, and since when (ISO 8601).

    `persons` are the hashes of its patients who have withdrawn, under the manifest's salt; None where the model was fitted
    without identifiers, so that nobody can say whose rows it has read.
    """

    on: str
    reason: str
    persons: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model has read. `persons` are the hashes of the patients under `salt`, None where the data had no identifiers.

    `counts` are those of `consent.Permission.counts`; `model_sha256` is of the model's file, so that a manifest
    beside another model is found.
    """

    model: str
    model_id: str
    model_sha256: str
    written: str
    purpose: str
    card: str
    data: str
    data_sha256: str
    counts: Mapping[str, Any]
    salt: bytes
    persons: frozenset[str] | None
    stale: Stale | None = None


def manifest_path(model_path: Path) -> Path:
    """`<model>.manifest.json`, beside the model."""
    return model_path.with_name(f"{model_path.name}{SUFFIX}")


def model_path_of(manifest_file: Path) -> Path:
    """The model that a manifest file belongs to."""
    return manifest_file.with_name(manifest_file.name.removesuffix(SUFFIX))


def write_manifest(
    model_path: Path,
    *,
    ids: Iterable[str | None] | None,
    purpose: Purpose,
    data: str,
    data_sha256: str,
    card_id: str,
    counts: Mapping[str, Any],
    model_id: str,
) -> Manifest:
    """Writes `<model>.manifest.json` for a model that has been written, at once or not at all.

    `ids` are the identifiers of the rows that the model has read (`persons.ids_of` of the permitted rows), None where the
    data have no column of them: the manifest then says so, and any withdrawal from the data makes the model stale. A row
    without an identifier is treated likewise. Each manifest has a random salt of its own.
    """
    known = None if ids is None else list(ids)
    named = known is not None and all(person is not None for person in known)
    salt = new_salt()
    manifest = Manifest(
        model=model_path.name,
        model_id=model_id,
        model_sha256=_sha256(model_path),
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        purpose=purpose,
        card=card_id,
        data=data,
        data_sha256=data_sha256,
        counts=dict(counts),
        salt=salt,
        persons=frozenset(person_hashes(salt, (person for person in known or () if person is not None))) if named else None,
    )
    with locked(manifest_path(model_path)):
        _write(manifest, manifest_path(model_path))
    return manifest


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file (of the manifest, not of the model); DataError where there is none or it is something else."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=shown_path(path))) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(Problem(f"the manifest cannot be read: {' '.join(str(error).split())}", file=shown_path(path))) from None
    try:
        if given.pop("schema") != SCHEMA or given.pop("n_persons") != (None if given["persons"] is None else len(given["persons"])):
            raise ValueError
        persons = None if given["persons"] is None else frozenset(given["persons"])
        stale = None if given["stale"] is None else Stale(**given["stale"])
        if stale is not None and stale.persons is not None:
            stale = replace(stale, persons=tuple(stale.persons))
        return Manifest(**{**given, "salt": bytes.fromhex(given["salt"]), "persons": persons, "stale": stale})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DataError(Problem(f"is not a manifest of the schema {SCHEMA}", file=shown_path(path))) from None


def contains(manifest: Manifest, person: str) -> bool | None:
    """Whether the model has read this person's row; None where nobody can say (fitted without identifiers)."""
    return None if manifest.persons is None else person_hash(manifest.salt, person) in manifest.persons


def mark_stale(path: Path, persons: Iterable[str] | None, *, on: date, reason: str) -> Manifest:
    """Marks the model of a manifest file as stale because these persons have withdrawn, at once or not at all.

    `persons` are identifiers, None where the model was fitted without them. They join those who withdrew before; the day is the last.
    """
    with locked(path):
        manifest = read_manifest(path)
        before = () if manifest.stale is None else manifest.stale.persons
        hashes = None if persons is None or before is None else tuple(sorted({*before, *person_hashes(manifest.salt, persons)}))
        marked = replace(manifest, stale=Stale(on=on.isoformat(), reason=reason, persons=hashes))
        _write(marked, path)
    return marked


def require_fresh(model_path: Path) -> Manifest:
    """The manifest of a model that may be used.

    Raises DataError where the model is stale, where it has no manifest (nobody can then say whose data it has read) and
    where the manifest is that of another file.
    """
    path, name = manifest_path(model_path), shown_path(model_path)
    if not path.exists():
        raise DataError(Problem(f"the model {name} has no manifest ({path.name}), so nobody can say whose data it has read; fit it anew", file=name))
    manifest = read_manifest(path)
    if manifest.model_sha256 != _sha256(model_path):
        raise DataError(Problem(f"the manifest {path.name} is that of another file than the model {name}; fit it anew", file=name))
    if manifest.stale is not None:
        stale = manifest.stale
        whose = "patients withdrew whose rows it may have read" if stale.persons is None else f"{len(stale.persons)} of its patients withdrew"
        raise DataError(Problem(f"the model {name} is stale: {whose} on {stale.on}; fit it anew without them", file=name))
    return manifest


def _write(manifest: Manifest, path: Path) -> None:
    fields = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    persons = None if manifest.persons is None else sorted(manifest.persons)
    stale = None if manifest.stale is None else asdict(manifest.stale)
    given = fields | {"schema": SCHEMA, "salt": manifest.salt.hex(), "n_persons": None if persons is None else len(persons), "persons": persons, "stale": stale}
    write_whole(path, json.dumps(given, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror}", file=shown_path(path))) from None
