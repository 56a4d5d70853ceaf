"""What the readers of all resource types share: dates, references, wanted codes, and the count of every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trialsim.data.sources.fhir.ndjson import NdjsonFile, note
from trialsim.data.staging import Staging

CODING = '[{"system":"VARCHAR","code":"VARCHAR"}]'
REFERENCE = '{"reference":"VARCHAR"}'
PERIOD = '{"start":"VARCHAR","end":"VARCHAR"}'

_DATE = r"\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?)?)?"
_MACROS = (
    # A FHIR date, dateTime or instant as UTC; null where it is none. Partial dates are their first day.
    f"""fhir_time(x) AS CASE
        WHEN NOT regexp_full_match(x, '{_DATE}') THEN NULL
        WHEN length(x) = 4 THEN try_cast(x || '-01-01' AS TIMESTAMP)
        WHEN length(x) = 7 THEN try_cast(x || '-01' AS TIMESTAMP)
        WHEN length(x) = 10 THEN try_cast(x AS TIMESTAMP)
        WHEN x[-1] = 'Z' OR x[-6] IN ('+', '-') THEN try_cast(x AS TIMESTAMPTZ) AT TIME ZONE 'UTC'
        ELSE try_cast(x AS TIMESTAMP) END""",
    # The same at the end of a period: FHIR's partial dates include their last day.
    """fhir_last_day(x) AS CASE
        WHEN length(x) = 4 THEN fhir_time(x || '-12-31')::DATE
        WHEN length(x) = 7 THEN last_day(fhir_time(x))
        ELSE fhir_time(x)::DATE END""",
    "fhir_is_partial(x) AS (length(x) < 10)",
    "fhir_is_zoneless(x) AS (length(x) > 10 AND x[-1] <> 'Z' AND x[-6] NOT IN ('+', '-'))",
    # The id in `Patient/1`, `https://host/fhir/Patient/1/_history/2` or `urn:uuid:…`.
    r"""fhir_id(kind, x) AS CASE
        WHEN starts_with(x, 'urn:uuid:') THEN nullif(substr(x, 10), '')
        ELSE nullif(regexp_extract(x, '(?:^|/)' || kind || '/([^/#?|]+)(?:/_history/[^/]+)?$', 1), '') END""",
    # The same for patients, whose expression is constant (and so compiled once).
    r"""fhir_patient(x) AS CASE
        WHEN starts_with(x, 'urn:uuid:') THEN nullif(substr(x, 10), '')
        ELSE nullif(regexp_extract(x, '(?:^|/)Patient/([^/#?|]+)(?:/_history/[^/]+)?$', 1), '') END""",
    # A reference to a resource of another type.
    r"fhir_is_other(x) AS (regexp_matches(x, '(?:^|/)[A-Z][A-Za-z]+/[^/#?|]+(?:/_history/[^/]+)?$') AND NOT regexp_matches(x, '(?:^|/)Patient/'))",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The staging area, the name of the source, the codes that are wanted (none: all), and how many rows every step met.

    Steps are counted over all files and handed to the staging area at the end by `hand_in`, in the order they were met.
    """

    staging: Staging
    source: str
    codes: frozenset[tuple[str, str]] = frozenset()
    tally: Counter[str] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Defines the macros and the table of wanted codes."""
        connection = self.staging.connection
        for macro in _MACROS:
            connection.execute(f"CREATE OR REPLACE TEMP MACRO {macro}")
        connection.execute("CREATE OR REPLACE TEMP TABLE fhir_wanted (system VARCHAR, code VARCHAR)")
        connection.execute("CREATE OR REPLACE TEMP TABLE fhir_medications (id VARCHAR, codings STRUCT(system VARCHAR, code VARCHAR)[])")
        if self.codes:
            connection.executemany("INSERT INTO fhir_wanted VALUES (?, ?)", sorted(self.codes))

    @property
    def is_wanted(self) -> str:
        """The condition that the coding `c` is asked for."""
        return "c.code IS NOT NULL" + (" AND (c.system, c.code) IN (SELECT (system, code) FROM fhir_wanted)" if self.codes else "")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query that has few."""
        return self.staging.connection.execute(query).fetchall()

    def problems(self, file: NdjsonFile, query: str) -> None:
        """Notes every row (line, message) of a query, in order of lines."""
        note(self.staging, file.shown, [(line, words) for line, words in self.rows(f"SELECT line, words FROM ({query}) t(line, words) ORDER BY line")])

    def count(self, steps: Mapping[str, str], table: str, *, kind: str) -> None:
        """Counts the rows of a table for which each condition holds, under its step."""
        (found,) = self.rows(f"SELECT {', '.join(f'count(*) FILTER ({condition})' for condition in steps.values())} FROM {table}")
        for step, n in zip(steps, found, strict=True):
            self.tally[f"{kind}: {step}"] += n

    def hand_in(self) -> None:
        """Tells the staging area how many rows every step met, and drops the temporary tables."""
        for step, n in self.tally.items():
            if n or step.endswith((": read", ": kept")):
                self.staging.count(self.source, step, n)
        for (table,) in self.rows("SELECT table_name FROM duckdb_tables() WHERE temporary AND starts_with(table_name, 'fhir_')"):
            self.staging.connection.execute(f"DROP TABLE {table}")
