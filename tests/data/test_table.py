"""Reading patient tables: types, missing cells, and errors with file, line and value."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trialsim.data import Card, load_card, read_table
from trialsim.errors import DataError

ACTG = Path(__file__).parents[2] / "trials" / "data" / "actg175.csv"


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "d.csv"
    path.write_text(text)
    return path


def _card(**columns) -> Card:
    return Card.model_validate({"id": "d", "title": "d", "source": "d", "licence": "CC0", "columns": columns})


def _problems(path: Path, card: Card | None = None) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_table(path, card, shown=path.name)
    return [str(problem) for problem in caught.value.problems]


def test_actg175_is_the_file_that_lifelines_ships():
    found = importlib.util.find_spec("lifelines")
    assert found is not None
    assert found.origin is not None
    assert ACTG.read_bytes() == (Path(found.origin).parent / "datasets" / "ACTG175.csv").read_bytes()


def test_actg175_agrees_with_pandas():
    table = read_table(ACTG, load_card(ACTG.with_suffix(".card.yaml")))
    frame = pd.read_csv(ACTG)
    assert (table.n, table.sha256) == (2139, hashlib.sha256(ACTG.read_bytes()).hexdigest())
    assert list(table.names) == list(frame.columns[1:])
    for name in table.names:
        if name in table.text:
            assert [int(cell) for cell in table.text[name]] == frame[name].tolist()
        else:
            np.testing.assert_array_equal(table.numbers(name), frame[name].to_numpy(dtype=float))
    roles = {name: meaning.role for name, meaning in table.meaning.items()}
    assert {name for name, role in roles.items() if role in ("outcome", "post_baseline")} == {"offtrt", "cd420", "cd496", "r", "cd820", "cens", "days"}


def test_types_are_inferred_without_a_card(tmp_path):
    table = read_table(_write(tmp_path, "a,b,c,d,e\n1.5,0,x,3,1999-01-01\n2,1,y,4,\nNA,1,,5,2000-02-01\n"))
    assert {name: meaning.type for name, meaning in table.meaning.items()} == {
        "a": "continuous",
        "b": "binary",
        "c": "categorical",
        "d": "integer",
        "e": "categorical",
    }
    assert np.isnan(table.columns["a"][2])
    assert table.levels["c"] == ("x", "y")
    assert np.isnan(table.columns["c"][2])


def test_a_card_gives_types_levels_and_dates(tmp_path):
    card = _card(a={"type": "categorical", "levels": ["z", "y"]}, b={"type": "date"}, c={"type": "binary", "levels": ["no", "yes"]}, d={"type": "text"})
    table = read_table(_write(tmp_path, "a,b,c,d\ny,1970-01-11,yes,007\nz,,no,\n"), card)
    assert table.columns["a"].tolist() == [1, 0]
    assert table.columns["b"][0] == 10
    assert table.columns["c"].tolist() == [1, 0]
    assert table.text["d"] == ("007", None)


def test_parquet_is_read_as_csv_is(tmp_path):
    frame = pd.DataFrame({"a": [1.5, None, 3.0], "s": ["x", None, "y"], "b": [True, False, True], "t": pd.to_datetime(["1970-01-02", "1970-01-03", None])})
    frame.to_parquet(tmp_path / "d.parquet")
    table = read_table(tmp_path / "d.parquet", _card(a={"type": "continuous"}, s={"type": "categorical"}, b={"type": "binary"}, t={"type": "date"}))
    np.testing.assert_array_equal(table.columns["a"], [1.5, np.nan, 3.0])
    assert table.columns["b"].tolist() == [1, 0, 1]
    np.testing.assert_array_equal(table.columns["t"], [1, 2, np.nan])
    assert table.levels["s"] == ("x", "y")


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "d.csv  the file is empty"),
        ("\n\n", "d.csv  the file is empty"),
        ("a,b\n", "d.csv  there are no rows below the header"),
        ("a,b,a\n1,2,3\n", 'd.csv:1  the column name "a" occurs 2 times'),
        ("a,,b\n1,2,3\n", "d.csv:1  column 2 has no name"),
        ("a,b\n1,2\n3\n", "d.csv:3  the row has 1 cells where the header has 2"),
        ("a,b\n1,2\n3,4,5\n", "d.csv:3  the row has 3 cells where the header has 2"),
    ],
)
def test_files_that_are_not_tables(tmp_path, text, said):
    assert _problems(_write(tmp_path, text)) == [said]


def test_a_text_cell_in_a_number_column_is_named(tmp_path):
    rows = [f"{i},{i}" for i in range(20)]
    rows[7] = "seven,7"
    path = _write(tmp_path, "age,b\n" + "\n".join(rows) + "\n")
    assert _problems(path) == ['d.csv:9  "seven" in the column "age" is not a number']
    assert _problems(path, _card(age={"type": "continuous"})) == ['d.csv:9  "seven" in the column "age" is not a number']


@pytest.mark.parametrize(
    "column, cell, said",
    [
        ({"type": "continuous"}, "inf", '"inf" in the column "a" is not a number'),
        ({"type": "continuous"}, "NAN", '"NAN" in the column "a" is not a number'),
        ({"type": "integer"}, "1.5", '"1.5" in the column "a" is not a whole number'),
        ({"type": "binary"}, "2", '"2" in the column "a" is not 0 or 1'),
        ({"type": "date"}, "1/2/99", '"1/2/99" in the column "a" is not a date (YYYY-MM-DD)'),
        ({"type": "categorical", "levels": ["x", "y"]}, "w", '"w" is not a level of "a" (x, y)'),
    ],
)
def test_a_cell_that_does_not_fit_its_column(tmp_path, column, cell, said):
    assert _problems(_write(tmp_path, f"a,b\n,1\n{cell},2\n"), _card(a=column)) == [f"d.csv:3  {said}"]


def test_the_line_is_that_of_the_file_when_cells_hold_line_breaks(tmp_path):
    path = _write(tmp_path, 'a,b\n1,"two\nlines"\nx,3\n')
    assert _problems(path, _card(a={"type": "continuous"}, b={"type": "text"})) == ['d.csv:4  "x" in the column "a" is not a number']


def test_a_column_that_only_the_card_has(tmp_path):
    path = _write(tmp_path, "age,b\n1,2\n")
    assert _problems(path, _card(aeg={"type": "continuous"})) == ['d.csv  the card names the column "aeg", which the data do not have; did you mean "age"?']


def test_columns_that_the_card_does_not_name_are_not_covariates(tmp_path):
    table = read_table(_write(tmp_path, "a,b\n1,2\n"), _card(a={"type": "continuous"}))
    assert table.meaning["b"].role == "post_baseline"


def test_a_missing_file_and_one_that_is_not_text(tmp_path):
    assert _problems(tmp_path / "none.csv") == ["none.csv  there is no such file"]
    (tmp_path / "b.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    assert "b.csv" in _problems(tmp_path / "b.csv")[0]
    (tmp_path / "b.parquet").write_bytes(b"not parquet at all")
    assert _problems(tmp_path / "b.parquet")[0].startswith("b.parquet  is not a Parquet file")


def test_numbers_and_equality_of_any_column(tmp_path):
    table = read_table(_write(tmp_path, "a,s,t\n1,2,x\n3,1,y\n,2,x\n"), _card(a={"type": "continuous"}, s={"type": "categorical"}, t={"type": "text"}))
    assert table.numbers("s").tolist() == [2, 1, 2]
    assert table.equals("a", 3).tolist() == [False, True, False]
    assert table.equals("s", 2).tolist() == table.equals("s", "2").tolist() == [True, False, True]
    assert table.equals("t", "x").tolist() == [True, False, True]
    with pytest.raises(DataError, match=r'd.csv:2  "x" in the column "t" is not a number'):
        table.numbers("t")
    with pytest.raises(DataError, match='there is no column "aa"; did you mean "a"'):
        table.numbers("aa")


@pytest.mark.parametrize(
    "cells, said",
    [
        ("1 2 abc 4", 'd.csv:4  "abc" in the column "a" is not a number'),
        ("abc", 'd.csv:2  "abc" in the column "a" is not a number'),
        ("1 inf 3", 'd.csv:3  "inf" in the column "a" is not a number'),
        ("1e400 2", 'd.csv:2  "1e400" in the column "a" is not a number'),
        ("1 TRUE 0", 'd.csv:3  "TRUE" in the column "a" is not a number'),
        ("TRUE FALSE abc", 'd.csv:4  "abc" in the column "a" is not true or false'),
        (" ".join(f"p{i}" for i in range(30)), 'd.csv:2  "p0" in the column "a" is not a number'),
    ],
)
def test_a_text_where_numbers_are_needed_is_named_however_few_rows_there_are(tmp_path, cells, said):
    table = read_table(_write(tmp_path, "a,b\n" + "".join(f"{cell},1\n" for cell in cells.split())), shown="d.csv")
    with pytest.raises(DataError) as caught:
        table.numbers("a")
    assert str(caught.value) == said


def test_a_wrong_cell_keeps_its_place_in_some_rows_and_in_parquet(tmp_path):
    table = read_table(_write(tmp_path, 'a,b\n1,0\n"x\ny",0\n3,1\nabc,1\n'), shown="d.csv").where("b", "1")
    assert table.rows.tolist() == [2, 3]
    with pytest.raises(DataError, match=r'^d.csv:6  "abc" in the column "a" is not a number$'):
        table.numbers("a")
    pd.DataFrame({"a": ["1", "abc"]}).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r'^d.parquet row 2  "abc" in the column "a" is not a number$'):
        read_table(tmp_path / "d.parquet", shown="d.parquet").numbers("a")


@pytest.mark.parametrize("true, false", [("TRUE", "FALSE"), ("True", "False"), ("true", "false")])
def test_true_and_false_are_1_and_0(tmp_path, true, false):
    table = read_table(_write(tmp_path, f"a,b\n{true},{true}\n{false},{true}\n,{true}\n"))
    np.testing.assert_array_equal(table.numbers("a"), [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(table.numbers("b"), [1.0, 1.0, 1.0])
    assert table.equals("a", true).tolist() == [True, False, False]


def test_a_text_column_of_digits_is_not_a_column_of_numbers(tmp_path):
    table = read_table(_write(tmp_path, "a\n007\n008\n"), _card(a={"type": "text"}))
    with pytest.raises(DataError, match='the column "a" is text, where numbers are needed'):
        table.numbers("a")


def test_some_rows_of_a_table(tmp_path):
    table = read_table(_write(tmp_path, "replicate,there,arm,value\n1,true,a,1.5\n1,false,b,2.5\n2,true,a,3.5\n1,true,c,NA\n"))
    some = table.where("replicate", "1").where("there", "true")
    assert some.n == 2
    assert some.numbers("value")[0] == 1.5
    assert np.isnan(some.numbers("value")[1])
    np.testing.assert_array_equal(some.equals("arm", "c"), [False, True])
    for column, value, words in (("replicate", "3", "no row has replicate = 3"), ("replicat", "1", 'did you mean "replicate"?')):
        with pytest.raises(DataError, match=words):
            table.where(column, value)


@pytest.mark.parametrize("rest", ["3,c\n", "3,c\n" * 50_000])
def test_a_file_that_ends_within_a_quoted_cell(tmp_path, rest):
    path = tmp_path / "cut.csv"
    path.write_text('a,b\n1,"x\ny"\n2,"z\n' + rest)
    with pytest.raises(DataError) as caught:
        read_table(path, shown="cut.csv")
    assert [str(problem) for problem in caught.value.problems] == ["cut.csv:4  a quoted cell of the row is not closed before the file ends (cut off?)"]
    path.write_text('a,b\n1,5" pipe\n2,z\n')  # a quote within a cell that is not quoted
    assert read_table(path).n == 2
