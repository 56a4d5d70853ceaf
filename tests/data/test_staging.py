"""The staging area: three tables, inserted in bulk."""

from __future__ import annotations

import sys

import pytest

from trialsim.data.staging import TABLES, Filter, Staging, quoted, utc
from trialsim.errors import DataError


def test_its_tables_are_empty_and_of_the_stated_types():
    staging = Staging.open()
    for name, columns in TABLES.items():
        assert staging.row(f"SELECT count(*) FROM {name}") == (0,)
        assert {column: kind for column, kind, *_ in staging.connection.execute(f"DESCRIBE {name}").fetchall()} == columns


def test_rows_are_inserted_by_name_and_the_rest_is_null():
    staging = Staging.open()
    assert staging.insert("persons", "SELECT 's' AS source, 'p' || i AS person, ? AS file FROM range(3) r(i)", ["f"]) == 3
    assert staging.connection.execute("SELECT person, birth, file FROM persons ORDER BY person").fetchall() == [
        ("p0", None, "f"),
        ("p1", None, "f"),
        ("p2", None, "f"),
    ]
    with pytest.raises(AssertionError, match=r"persons has no columns \['burth'\]"):
        staging.insert("persons", "SELECT 's' AS source, 1 AS burth")


def test_counts_and_problems_are_kept_in_order():
    staging = Staging.open()
    staging.count("a", "rows", 3)
    staging.count("a", "rows with a date", 2)
    staging.problem("is wrong", file="a.csv", line=4)
    assert staging.filters == [Filter("a", "rows", 3), Filter("a", "rows with a date", 2)]
    assert [str(problem) for problem in staging.problems] == ["a.csv:4  is wrong"]


def test_a_result_is_read_to_its_end():
    staging = Staging.open()
    assert staging.row("SELECT i FROM range(10) r(i)") == (0,)
    staging.connection.register("x", __import__("pyarrow").table({"a": [1]}))
    staging.connection.unregister("x")


@pytest.mark.parametrize("word", [None, "", "it's", "a''b", "患者", 'x" y'])
def test_words_in_sql(word):
    assert Staging.open().row(f"SELECT {quoted(word)}") == (word,)


def test_without_duckdb_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(DataError, match=r"DuckDB is needed to read these sources: pip install \"trialsim\[data\]\""):
        Staging.open()


@pytest.mark.parametrize(
    "text, said",
    [
        ("2020-01-02", "2020-01-02 00:00:00"),
        ("2020-01-02T03:04:05", "2020-01-02 03:04:05"),
        ("2020-01-02T03:04:05Z", "2020-01-02 03:04:05"),
        ("2020-01-01T23:30:00-05:00", "2020-01-02 04:30:00"),
        ("2020-01-02T00:30:00+0100", "2020-01-01 23:30:00"),
        ("2020-13-02", None),
        ("infinity", None),
        ("epoch", None),
        ("99999-01-01", None),
        ("2 January", None),
    ],
)
def test_times_are_utc(text, said):
    (found,) = Staging.open().row(f"SELECT CAST({utc(quoted(text))} AS VARCHAR)")
    assert found == said
