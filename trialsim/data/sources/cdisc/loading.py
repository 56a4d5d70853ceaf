"""One CDISC dataset from a file, as an Arrow table with column names in capitals."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim.data.shown_path import shown_path
from trialsim.errors import DataError, Problem

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset by its name (ADSL, VS). Empty text is missing; a date is a date where the file says so, else text or a number."""

    name: str
    rows: pa.Table
    file: str


def load(path: Path) -> Dataset:
    """Reads .parquet, .xpt (SAS transport, versions 5 and 8), .json and .ndjson (Dataset-JSON 1.0 and 1.1).

    Raises DataError for other files, files that cannot be read, and datasets without rows.
    """
    readers: dict[str, Callable[[Path], tuple[str, Any]]] = {
        ".parquet": _parquet,
        ".pq": _parquet,
        ".xpt": _transport,
        ".json": _dataset_json,
        ".ndjson": _dataset_ndjson,
    }
    shown = shown_path(path)
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(Problem(f"is not one of {', '.join(readers)}", file=shown))
    name, table = reader(path)
    if table.num_rows == 0:
        raise DataError(Problem("the dataset has no rows", file=shown))
    capitals = [column.upper() for column in table.column_names]
    if len(set(capitals)) < len(capitals):
        raise DataError(Problem("two columns have one name", file=shown))
    if odd := [column for column in capitals if not column or '"' in column]:
        raise DataError(Problem(f"{odd[0] or 'an empty text'} is no name of a column", file=shown))
    table = table.rename_columns(capitals)
    domain = table.column("DOMAIN")[0].as_py() if "DOMAIN" in capitals else None
    return Dataset(name=str(domain or name or path.stem).upper(), rows=table, file=shown)


def _parquet(path: Path) -> tuple[str, pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        return "", pyarrow.parquet.read_table(str(path))
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, "a Parquet file", error) from None


def _transport(path: Path) -> tuple[str, pa.Table]:
    import pyarrow as pa

    try:
        import pyreadstat
    except ModuleNotFoundError:
        raise DataError('pyreadstat is needed to read SAS transport files: pip install "trialsim[data]"') from None
    try:
        frame, about = pyreadstat.read_xport(str(path))
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, "a SAS transport file", error) from None
    return about.table_name or "", pa.Table.from_pandas(frame, preserve_index=False)


def _dataset_json(path: Path) -> tuple[str, pa.Table]:
    try:
        given = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(Problem(f"is not JSON: {error.msg}", file=shown_path(path), line=error.lineno, column=error.colno)) from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(path, "a Dataset-JSON file", error) from None
    if not isinstance(given, dict):
        raise DataError(Problem("is not Dataset-JSON: it has no object", file=shown_path(path)))
    if "columns" in given and "rows" in given:  # 1.1
        return str(given.get("name") or ""), _table(path, given["columns"], given["rows"], first=None)
    for kind in ("clinicalData", "referenceData"):  # 1.0
        groups = given[kind].get("itemGroupData") if isinstance(given.get(kind), dict) else None
        if groups and isinstance(groups, dict):
            if len(groups) > 1:
                raise DataError(Problem(f"holds {len(groups)} datasets; one per file is read", file=shown_path(path)))
            (group,) = groups.values()
            items = group.get("items") if isinstance(group, dict) else None
            return str(group.get("name") or "") if isinstance(group, dict) else "", _table(path, items, group.get("itemData", []) if items else [], first=None)
    raise DataError(Problem("is not Dataset-JSON: it has neither columns and rows (1.1) nor itemGroupData (1.0)", file=shown_path(path)))


def _dataset_ndjson(path: Path) -> tuple[str, pa.Table]:
    """The first line is the metadata, every other one a row."""
    lines: list[Any] = []
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                number += 1
                if line.strip():
                    lines.append(json.loads(line))
    except json.JSONDecodeError as error:
        raise DataError(Problem(f"is not JSON (cut off?): {error.msg}", file=shown_path(path), line=number)) from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(path, "a Dataset-JSON file", error) from None
    if not lines or not isinstance(lines[0], dict) or "columns" not in lines[0]:
        raise DataError(Problem("is not Dataset-JSON: its first line has no columns", file=shown_path(path), line=1))
    return str(lines[0].get("name") or ""), _table(path, lines[0]["columns"], lines[1:], first=2)


def _table(path: Path, columns: Any, rows: Any, *, first: int | None) -> pa.Table:
    """Numbers by the declared type (`dataType`, in 1.0 `type`), everything else as text; `first` is the line of the first row where rows have lines."""
    import pyarrow as pa

    if not isinstance(columns, list) or not all(isinstance(column, dict) and column.get("name") for column in columns):
        raise DataError(Problem("is not Dataset-JSON: its columns are no list of names and types", file=shown_path(path)))
    if not isinstance(rows, list):
        raise DataError(Problem("is not Dataset-JSON: its rows are no list", file=shown_path(path)))
    names = [str(column["name"]) for column in columns]
    for place, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            line = None if first is None else first + place
            what = f"{len(row)} cells" if isinstance(row, list) else "no list of cells"
            raise DataError(Problem(f"row {place + 1} has {what}, where there are {len(names)} columns", file=shown_path(path), line=line))
    arrays = []
    for place, column in enumerate(columns):
        cells = [row[place] for row in rows]
        declared = column.get("dataType", column.get("type", "string"))
        number = str(declared) in ("integer", "float", "double", "decimal")
        try:
            arrays.append(pa.array([None if cell in (None, "") else float(cell) for cell in cells]) if number else _text(cells))
        except (TypeError, ValueError):
            raise DataError(Problem(f'the column "{names[place]}" is not of its type, {declared}', file=shown_path(path))) from None
    return pa.table(arrays, names=names)


def _text(cells: list[Any]) -> Any:
    import pyarrow as pa

    return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())


def _unreadable(path: Path, what: str, error: Exception) -> DataError:
    return DataError(Problem(f"is not {what}: {' '.join(str(error).split())}", file=shown_path(path)))
