"""Writing what an ingest made: the table, its card, and a line in the audit log."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trialsim.data.governance import audit
from trialsim.data.governance.files import unwritable
from trialsim.data.ingest.ingestion import Ingested
from trialsim.data.shown_path import shown_path
from trialsim.errors import UsageError

PATIENTS, CARD = "patients.parquet", "patients.card.yaml"


def write(ingested: Ingested, out: Path | str, *, replace: bool = False) -> tuple[Path, Path]:
    """Writes OUT/patients.parquet and OUT/patients.card.yaml, and a line in the audit log; returns the two files.

    Raises UsageError where one of them is there already, unless `replace`; DataError where something cannot be written.
    Both files and the line appear, or what was there before stays.
    """
    import pyarrow.parquet
    from ruamel.yaml import YAML

    out = Path(out)
    refuse_taken(out, replace=replace)
    files = out / PATIENTS, out / CARD
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(ingested.table, buffer, compression="zstd")
    patients = buffer.getvalue()
    sha256 = hashlib.sha256(patients).hexdigest()
    card = ingested.card.model_dump(mode="json", exclude_defaults=True)
    card["ingested"] = {**ingested.report, "patients": {"file": PATIENTS, "sha256": sha256, "rows": ingested.table.num_rows}}
    text = io.StringIO()
    text.write("# Written by `trialsim cohort ingest`. What may be done with patients.parquet, and where its columns come from.\n")
    yaml = YAML()
    yaml.width = 120
    yaml.dump(card, text)
    sources = {name: list(source["files"].values()) for name, source in ingested.report["sources"].items()}
    details = {
        "declared": str(ingested.file.absolute()),
        "data": str(files[0].absolute()),
        "sha256": sha256,
        "rows": ingested.table.num_rows,
        "sources": sources,
    }
    with _written(files, (patients, text.getvalue().encode())):
        audit.append(audit.default_path(out), "ingest", details)
    return files


def refuse_taken(out: Path, *, replace: bool = False) -> None:
    """Raises UsageError where `write` would."""
    taken = [file for file in (out / PATIENTS, out / CARD) if file.exists()]
    if taken and not replace:
        raise UsageError(f"{shown_path(taken[0])} is there already; --replace writes it anew")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{shown_path(out)} is a file, not a folder")


@contextmanager
def _written(files: Sequence[Path], contents: Sequence[bytes]) -> Iterator[None]:
    """Writes the files; where that or the block fails, what was there before is put back. DataError where one cannot be written.

    The last file (the card, without which nothing is used) is taken away first and put there last, so that a process that
    is ended in between leaves data without a card, never with another one.
    """
    folder, at = files[0].parent, files[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{files[0].name}.") as name:
            made = [Path(name) / file.name for file in files]
            before = [Path(name) / f"before {file.name}" for file in files]
            for file, new, content in zip(files, made, contents, strict=True):
                at = file
                _write(new, content)
            for file, old, new in zip(files, before, made, strict=True):
                if file.exists():
                    shutil.copy2(file, old)
                    new.chmod(file.stat().st_mode & 0o777)
            try:
                files[-1].unlink(missing_ok=True)
                for file, new in zip(files, made, strict=True):
                    at = file
                    os.replace(new, file)
                yield
            except BaseException:
                for file, old in zip(files, before, strict=True):
                    if old.exists():
                        shutil.move(old, file)
                    else:
                        file.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise unwritable(at, error) from None


def _write(path: Path, content: bytes) -> None:
    """A new file that only its owner may read: it is about patients."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
