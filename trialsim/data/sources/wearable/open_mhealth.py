"""Data points of Open mHealth, as NDJSON or as one JSON array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trialsim.data.shown_path import shown_path
from trialsim.data.sources.fhir.ndjson import LONGEST, NAMED, note
from trialsim.data.sources.wearable.samples import Samples
from trialsim.data.staging import quoted
from trialsim.errors import DataError, Problem

_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "blood_pressure": {"systolic_blood_pressure": ("systolic_blood_pressure",), "diastolic_blood_pressure": ("diastolic_blood_pressure",)},
    "sleep_duration": {"sleep_duration": ("sleep_duration", "total_sleep_time")},
}
"""Schema → its measures → the keys of the body that may hold the value; for other schemas the key is their name."""
_NAMELESS = "NOT coalesce(regexp_full_match(schema, '[A-Za-z0-9_]+'), false)"
_SECONDS = {"sec": 1, "min": 60, "h": 3600, "d": 86400, "wk": 604800}
_UNITS = {"step_count": "steps"}


def read_open_mhealth(samples: Samples, paths: Sequence[Path], *, measures: Sequence[str]) -> None:
    """Takes every data point: person `header.user_id`, measure the name of `header.schema_id` with _ for -, and its value and unit.

    The time is body.effective_time_frame: `date_time`, or `time_interval` with two of start_date_time, end_date_time and
    duration. Of `physical_activity` the value is the length of its interval in minutes; `blood_pressure` has two measures.
    Noted as problems: lines that are no data points, without a schema or a value. A folder stands for its .ndjson and .json files;
    the line in a file that is one array is the number of the data point.

    **Source:** Open mHealth schemas, data point 1.x, https://www.openmhealth.org/documentation/#/schema-docs/schema-library.
    Not handled: compressed files, `time_interval` with `date` and `part_of_day` (a sample without a time), descriptive statistics.
    """
    for path in _files_below(paths):
        _open(samples, path)
        _read(samples, path, measures)


def _files_below(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        inside = sorted((*path.glob("*.ndjson"), *path.glob("*.json"))) if path.is_dir() else [path]
        if not inside:
            raise DataError(Problem("the folder holds no .ndjson or .json files", file=shown_path(path)))
        found += inside
    return found


def _open(samples: Samples, path: Path) -> None:
    """`wearable_points`: line, p (a struct) of every data point of a file."""
    import duckdb

    connection, shown = samples.staging.connection, shown_path(path)
    place = quoted(str(path).replace("[", "[[]").replace("*", "[*]").replace("?", "[?]"))
    with path.open("rb") as file:
        is_array = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    if is_array:
        lines = f"SELECT row_number() OVER () AS line, CAST(json AS VARCHAR) AS text FROM read_json_objects({place}, format = 'array', maximum_object_size = {LONGEST})"
    else:
        options = f"auto_detect = false, header = false, delim = '\x01', quote = '', escape = '', max_line_size = {LONGEST}"
        lines = f"SELECT row_number() OVER () AS line, text FROM read_csv({place}, columns = {{'text': 'VARCHAR'}}, {options})"
    shape = '{"header":{"schema_id":"JSON","user_id":"VARCHAR"},"body":"JSON"}'
    try:
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE wearable_points AS SELECT line, p.header.user_id AS person, p.body AS body, length(text) AS length,
                replace(coalesce(json_extract_string(p.header.schema_id, '$.name'), nullif(split_part(json_extract_string(p.header.schema_id, '$'), ':', 2), '')), '-', '_') AS schema
            FROM (SELECT line, text, try(json_transform(text, '{shape}')) AS p FROM ({lines}) WHERE text IS NOT NULL AND trim(text, ' \t\r') <> '')"""
        )
    except duckdb.Error as error:
        samples.staging.problem(f"cannot be read as JSON (cut off?): {' '.join(str(error).split())[:160]}", file=shown)
        connection.execute("CREATE OR REPLACE TEMP TABLE wearable_points (line BIGINT, person VARCHAR, body JSON, length BIGINT, schema VARCHAR)")
        return
    last = samples.staging.row("SELECT max(line) FROM wearable_points")[0]
    if last is None:
        samples.staging.problem("the file is empty", file=shown)
    bad = f"SELECT line, CASE WHEN body IS NULL AND line = {last or 0} THEN 'the last line is cut off, or no data point' ELSE 'the line is no data point with a schema and a body' END"
    found = connection.execute(f"{bad} FROM wearable_points WHERE body IS NULL OR {_NAMELESS} ORDER BY line LIMIT {NAMED + 1}").fetchall()
    note(samples.staging, shown, found)
    connection.execute(f"DELETE FROM wearable_points WHERE body IS NULL OR {_NAMELESS}")


def _read(samples: Samples, path: Path, measures: Sequence[str]) -> None:
    connection = samples.staging.connection
    frame = "$.effective_time_frame"
    times = {
        "moment": f"{frame}.date_time",
        "begin": f"{frame}.time_interval.start_date_time",
        "finish": f"{frame}.time_interval.end_date_time",
        "long": f"{frame}.time_interval.duration.value",
        "per": f"{frame}.time_interval.duration.unit",
    }
    texts = ", ".join(f"json_extract_string(body, '{key}') AS {name}" for name, key in times.items())
    seconds = f"TRY_CAST(long AS DOUBLE) * MAP {{{', '.join(f'{quoted(unit)}: {n}' for unit, n in _SECONDS.items())}}}[per]"
    for (schema,) in connection.execute("SELECT DISTINCT schema FROM wearable_points ORDER BY schema").fetchall():
        parts = _PARTS.get(schema, {schema: (schema,)})
        for measure, keys in parts.items():
            number = _first_of([f'$."{key}"{within}' for key in keys for within in (".value", "")])
            unit = _first_of([f'$."{key}".unit' for key in keys], quoted(_UNITS.get(schema, "")))
            of = f"FROM wearable_points WHERE schema = {quoted(schema)}"
            span = f"(SELECT line, person, body, {texts} {of})"
            # An interval needs two of its three parts; the third follows. Its start is text, or as late before the end as it is long.
            columns = f"""SELECT person, {quoted(measure)} AS measure, coalesce(moment, begin, finish) AS start,
                CASE WHEN moment IS NULL AND begin IS NOT NULL AND finish IS NOT NULL THEN finish END AS stop,
                CASE WHEN moment IS NULL AND (begin IS NULL OR finish IS NULL) THEN {seconds} END AS seconds, begin IS NULL AND moment IS NULL AS from_end,
                {number} AS number, {unit} AS unit, line FROM {span}"""
            _take(samples, path, columns, measures, is_duration=schema == "physical_activity")


def _take(samples: Samples, path: Path, columns: str, measures: Sequence[str], *, is_duration: bool) -> None:
    number = "number"
    unit = "nullif(unit, '')"
    if is_duration:
        number, unit = "CAST(coalesce(seconds, epoch(TRY_CAST(stop AS TIMESTAMPTZ) - TRY_CAST(start AS TIMESTAMPTZ))) / 60 AS VARCHAR)", "'min'"
    shift = "CASE WHEN from_end THEN -1e6 * seconds END"
    given = f"SELECT person, measure, start, stop, {number} AS number, {unit} AS unit, line, seconds, {shift} AS shift FROM ({columns})"
    samples.take(path, given, measures=measures)


def _first_of(paths: Sequence[str], *others: str) -> str:
    """SQL: the first of these paths of the body that is there."""
    return f"coalesce({', '.join((*(f'json_extract_string(body, {quoted(path)})' for path in paths), *others))})"
