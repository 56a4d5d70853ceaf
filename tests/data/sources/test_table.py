"""Tables: persons, attributes, dated observations and consents, and the line of what cannot be read."""

from __future__ import annotations

import pandas as pd
import pytest
from pydantic import ValidationError

from trialsim.data.sources import TableSource
from trialsim.data.staging import Staging
from trialsim.errors import DataError


@pytest.fixture
def read(tmp_path, monkeypatch):
    """`read("a.csv", text, person="id", …)`: the staging area after reading one table."""
    monkeypatch.chdir(tmp_path)

    def reading(name, content, *, staging=None, **options):
        if isinstance(content, pd.DataFrame):
            content.to_parquet(tmp_path / name)
        elif isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            (tmp_path / name).write_text(content, encoding="utf-8")
        staging = staging or Staging.open()
        TableSource(kind="table", files=options.pop("files", name), **options).read(staging, name="t", folder=tmp_path, codes=frozenset())
        return staging

    return reading


def _rows(staging, columns, table="events"):
    return staging.connection.execute(
        f"SELECT {columns} FROM {table} ORDER BY line, code" if table == "events" else f"SELECT {columns} FROM {table} ORDER BY line"
    ).fetchall()


def test_columns_of_persons_are_attributes(read):
    staging = read(
        "a.csv", "id,born,sex,n,smokes,Sex\n1,1950-01-02,f,3,true,x\n2,NA,m,4.5,FALSE,\n3,1960-01-01, ,.,,y\n", person="id", birth="born", units={"n": "kg"}
    )
    assert [(person, str(birth), line) for person, birth, line in _rows(staging, "person, birth, line", "persons")] == [
        ("1", "1950-01-02", 2),
        ("2", "None", 3),
        ("3", "1960-01-01", 4),
    ]
    assert _rows(staging, "person, code, value, unit, text, line") == [
        ("1", "Sex", None, None, "x", 2),
        ("1", "n", 3.0, "kg", None, 2),
        ("1", "sex", None, None, "f", 2),
        ("1", "smokes", 1.0, None, None, 2),
        ("2", "n", 4.5, "kg", None, 3),
        ("2", "sex", None, None, "m", 3),
        ("2", "smokes", 0.0, None, None, 3),
        ("3", "Sex", None, None, "y", 4),
    ]
    assert {kind for (kind,) in _rows(staging, "kind")} == {"attribute"}
    assert [(item.source, item.step, item.n) for item in staging.filters] == [("t", "rows", 3)]


def test_a_row_per_code(read):
    text = "id,at,what,v,u\n1,2020-01-01T10:00:00+02:00,A,3.5,kg\n1,2020-01-02,B,<5,\n2,,A,1,kg\n2,2020-01-03,,1,kg\n"
    staging = read("a.csv", text, person="id", date="at", code="what", system="s", value="v", unit="u")
    assert [
        (person, code, str(start), value, unit, text) for person, code, start, value, unit, text in _rows(staging, "person, code, start, value, unit, text")
    ] == [
        ("1", "A", "2020-01-01 08:00:00", 3.5, "kg", None),
        ("1", "B", "2020-01-02 00:00:00", None, None, "<5"),
    ]
    assert [(item.step, item.n) for item in staging.filters] == [("rows", 4), ("rows with a date", 3)]
    assert _rows(staging, "person, line", "persons") == [("1", 2), ("2", 4)]


def test_a_column_per_code(read):
    observations = {"hb": {"system": "s", "code": "718-7", "unit": "g/dL"}, "dm": {"system": "x", "code": "E11", "event": "condition"}}
    staging = read(
        "a.csv", "id,at,hb,dm,site\n1,2020-01-01,13.5,,N\n1,2020-02-01,,1,N\n", person="id", date="at", observations=observations, attributes=["site"]
    )
    assert _rows(staging, "kind, system, code, value, unit, text") == [
        ("observation", "s", "718-7", 13.5, "g/dL", None),
        ("attribute", None, "site", None, None, "N"),
        ("condition", "x", "E11", 1.0, None, None),
    ]


def test_parquet_has_the_cells_of_csv(read):
    frame = pd.DataFrame(
        {
            "id": [1.0, 2.0, None],
            "at": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]),
            "code": [10.0, 20.5, 1.0],
            "v": [0.1 + 0.2, float("nan"), 1.0],
        }
    )
    staging = read("a.parquet", frame, person="id", date="at", code="code", system="s", value="v")
    assert _rows(staging, "person, code, value, line") == [("1", "10", 0.1 + 0.2, 1), ("2", "20.5", None, 2)]
    assert [str(problem) for problem in staging.problems] == ['a.parquet:3  no person in the column "id"']


def test_lines_are_those_of_the_file_where_cells_span_lines(read):
    staging = read("a.csv", 'id,note,sex\n1,"a\nb",f\n\n2,c,m\n', person="id")
    assert _rows(staging, "person, line", "persons") == [("1", 3), ("2", 5)]  # a row ends on its line


def test_several_files_are_one_source(read, tmp_path):
    (tmp_path / "b.csv").write_text("id,sex\n2,m\n1,f\n")
    staging = read("a.csv", "id,sex\n1,f\n", person="id", files="*.csv")
    assert _rows(staging, "person, file, line", "persons") == [("1", "a.csv", 2), ("2", "b.csv", 2), ("1", "b.csv", 3)]  # found to be repeated by the ingest


def test_everything_that_cannot_be_read_is_named_with_its_count(read):
    text = "id,born,died,at,what,v\n,1950-01-01,,2020-01-01,A,1\n1,1950-02-30,,2020-01-01,A,1\n2,x,,2020-13-01,A,1\n3,1950-01-01,never,2020-01-01,A,1\n3,1950-01-02,,2020-01-01,A,1\n"
    staging = read("a.csv", text, person="id", birth="born", death="died", date="at", code="what", system="s", value="v")
    assert [str(problem) for problem in staging.problems] == [
        'a.csv:3  "1950-02-30" in the column "born" is not a date (YYYY-MM-DD); so are 1 other rows',
        'a.csv:5  "never" in the column "died" is not a date (YYYY-MM-DD)',
        'a.csv:4  "2020-13-01" in the column "at" is not a date (YYYY-MM-DD)',
        'a.csv:2  no person in the column "id"',
        'a.csv:5  1 persons have several values in the column "born" (the first here)',
    ]


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "a.csv  the file is empty"),
        ("id,sex\n", "a.csv  there are no rows below the header"),
        ("id,id\n1,2\n", 'a.csv:1  the column name "id" occurs 2 times'),
        ('id,sex\n1,"f\nm"\n2,"f\n3,m\n', "a.csv:4  a quoted cell of the row is not closed before the file ends (cut off?)"),
        ("id,sex\n1,f\n2\n3,f,x\n", "a.csv:3  the row has 1 cells where the header has 2; 2 rows are of another length"),
        ("ids,sex\n1,f\n", 'a.csv:1  there is no column "id"; did you mean "ids"?'),
        (b"id,sex\n\xff\xfe,f\n", "a.csv  is not UTF-8 text"),
    ],
)
def test_files_that_are_no_table(read, content, said):
    assert [str(problem) for problem in read("a.csv", content, person="id").problems] == [said]


def test_a_file_that_is_no_parquet(read):
    (problem,) = read("a.parquet", "id\n1\n", person="id").problems
    assert str(problem).startswith("a.parquet  is not a Parquet file")


def test_missing_files(read, tmp_path):
    with pytest.raises(DataError, match=r"none\*\.csv  there is no such file"):
        read("a.csv", "id\n1\n", person="id", files="none*.csv")


def test_names_in_any_script_and_quotes_in_them(read):
    staging = read("a.csv", "id,größe \"x\",it's\n患者,1.8,a'b\n", person="id")
    assert _rows(staging, "person, code, value, text") == [("患者", 'größe "x"', 1.8, None), ("患者", "it's", None, "a'b")]


@pytest.mark.parametrize(
    "options, said",
    [
        ({"code": "c", "system": "s"}, "is missing: `observations` and `code` are dated"),
        ({"date": "d"}, "needs `observations` or `code`"),
        ({"date": "d", "code": "c"}, "needs either `system` or `system_column`"),
        ({"value": "v"}, "needs `code`, the column of codes"),
        ({"consent": {"expiry": "e"}}, "give either `purposes`"),
    ],
)
def test_options_that_do_not_fit_together(options, said):
    with pytest.raises(ValidationError, match=said):
        TableSource(kind="table", files="a.csv", person="id", **options)
