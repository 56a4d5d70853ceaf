"""Synthetic tables as files, every row labelled with the model it was drawn from."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from trialsim.cohort.fitted.cohort import FittedCohort
from trialsim.cohort.fitted.form import WrittenColumn
from trialsim.cohort.fitted.publishing import require_folder
from trialsim.data import PatientTable, shown_path
from trialsim.data.cells import is_parquet
from trialsim.errors import UsageError

LABEL = "synthetic_model"


def require_free(path: Path, *, replace: bool) -> None:
    """Raises UsageError where the table cannot be written: something that is no synthetic table is there, or the folder cannot be written to."""
    if path.is_dir():
        raise UsageError(f"{shown_path(path)} is a folder")
    if path.exists() and not replace and not _is_synthetic(path):
        raise UsageError(f"{shown_path(path)} is there already and is no synthetic table; give another --out, or --replace")
    require_folder(path)


def _is_synthetic(path: Path) -> bool:
    """Whether a file is a table that `write_synthetic` wrote."""
    try:
        if is_parquet(path):
            import pyarrow.parquet

            return LABEL in pyarrow.parquet.read_schema(str(path)).names
        with path.open(encoding="utf-8-sig") as file:
            return file.readline(1 << 20).rstrip("\r\n").replace('"', "").split(",")[-1] == LABEL
    except (OSError, ValueError):
        return False


def write_synthetic(table: PatientTable, path: Path, *, model: FittedCohort) -> None:
    """Writes a table drawn from `model` as CSV or Parquet (by its name), with a last column `synthetic_model`; whole or not at all.

    Columns whose grid is of whole numbers have no point, categories their names, missing cells are empty (null).
    """
    import pyarrow as pa

    whole = {column.name for column in model.form.columns if _is_whole(column)} if model.form is not None else set()

    arrays: dict[str, Any] = {}
    for name in table.names:
        if name in table.text:
            arrays[name] = pa.array(table.text[name], pa.string())
            continue
        column = table.columns[name]
        gone = np.isnan(column)
        if name in table.levels:
            codes = pa.array(np.where(gone, 0, column).astype(np.int32), mask=gone)
            arrays[name] = pa.DictionaryArray.from_arrays(codes, pa.array(table.levels[name], pa.string())).cast(pa.string())
        elif name in whole:
            arrays[name] = pa.array(np.where(gone, 0, column).astype(np.int64), mask=gone)
        else:
            arrays[name] = pa.array(column, mask=gone)
    arrays[LABEL] = pa.DictionaryArray.from_arrays(pa.array(np.zeros(table.n, dtype=np.int32)), pa.array([model.id])).cast(pa.string())
    made = pa.table(arrays).replace_schema_metadata({"synthetic": "true", LABEL: model.id})
    handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name[:40]}.")
    os.close(handle)
    try:
        if is_parquet(path):
            import pyarrow.parquet

            pyarrow.parquet.write_table(made, temporary)
        else:
            import pyarrow.csv

            pyarrow.csv.write_csv(made, temporary, pyarrow.csv.WriteOptions(quoting_style="needed"))
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _is_whole(column: WrittenColumn) -> bool:
    """Whether everything that may be written is a whole number that a 64-bit integer holds."""
    if column.grid is not None:
        return column.grid.decimals == 0 and max(abs(column.grid.low), abs(column.grid.high)) < 2.0**53
    return all(code == int(code) for code in (column.codes or (column.constant,)) if np.isfinite(code))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
