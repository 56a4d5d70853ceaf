"""Writing what an ingest made: the table, its card, and a line in the audit log."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from trialsim.data.governance import audit
from trialsim.data.ingest.ingestion import Ingested
from trialsim.data.shown_path import shown_path
from trialsim.errors import UsageError

PATIENTS, CARD = "patients.parquet", "patients.card.yaml"


def write(ingested: Ingested, out: Path | str, *, replace: bool = False) -> tuple[Path, Path]:
    """Writes OUT/patients.parquet and OUT/patients.card.yaml, and a line in the audit log; returns the two files.

    Raises UsageError where one of them is there already, unless `replace`. Both are written beside their places first.
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
    _write_both(files, (patients, text.getvalue().encode()))
    sources = {name: list(source["files"].values()) for name, source in ingested.report["sources"].items()}
    details = {
        "declared": str(ingested.file.absolute()),
        "data": str(files[0].absolute()),
        "sha256": sha256,
        "rows": ingested.table.num_rows,
        "sources": sources,
    }
    audit.append(audit.default_path(out), "ingest", details)
    return files


def refuse_taken(out: Path, *, replace: bool = False) -> None:
    """Raises UsageError where `write` would."""
    taken = [file for file in (out / PATIENTS, out / CARD) if file.exists()]
    if taken and not replace:
        raise UsageError(f"{shown_path(taken[0])} is there already; --replace writes it anew")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{shown_path(out)} is a file, not a folder")


def _write_both(files: Sequence[Path], contents: Sequence[bytes]) -> None:
    """Both files appear, or neither is changed."""
    files[0].parent.mkdir(parents=True, exist_ok=True)
    temporary: list[Path] = []
    try:
        for file, content in zip(files, contents, strict=True):
            handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
            temporary.append(Path(name))
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for file, made in zip(files, temporary, strict=True):
            os.replace(made, file)
    finally:
        for made in temporary:
            made.unlink(missing_ok=True)
