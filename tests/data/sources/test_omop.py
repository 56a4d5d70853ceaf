"""OMOP extracts in files and in a live PostgreSQL: the same events, held against pandas; what is wrong is named."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError
from witness.synthetic_omop import extract

from trialsim.data.sources.omop import Omop
from trialsim.data.sources.omop.database import shown_url
from trialsim.data.staging import Staging
from trialsim.errors import DataError

LOINC, SNOMED, RXNORM = "http://loinc.org", "http://snomed.info/sct", "http://www.nlm.nih.gov/research/umls/rxnorm"
CODES = frozenset({(LOINC, "4548-4"), (SNOMED, "44054006"), (RXNORM, "6809")})


def _write(folder: Path, tables: dict[str, pd.DataFrame], suffix: str = "parquet") -> Path:
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        if suffix == "parquet":
            table.to_parquet(folder / f"{name}.parquet", index=False)
        else:
            table.to_csv(folder / f"{name}.{suffix}", index=False)
    return folder


def _read(codes: frozenset[tuple[str, str]] = CODES, folder: Path = Path(), **options) -> Staging:
    staging = Staging.open()
    Omop.model_validate({"kind": "omop", **options}).read(staging, name="claims", folder=folder, codes=codes)
    return staging


def _events(staging: Staging, kind: str) -> pd.DataFrame:
    return staging.connection.execute("SELECT * FROM events WHERE kind = ? ORDER BY line, code", [kind]).df()


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz"])
def test_an_extract_becomes_persons_and_events(tmp_path: Path, suffix: str):
    tables = extract()
    staging = _read(files=str(_write(tmp_path / "omop", tables, suffix)))
    assert staging.problems == []
    persons = staging.connection.execute("SELECT person, birth, death FROM persons ORDER BY line").df()
    person = tables["person"]
    born = pd.to_datetime({"year": person["year_of_birth"], "month": person["month_of_birth"], "day": person["day_of_birth"]})
    assert persons["person"].tolist() == [str(value) for value in person["person_id"]]
    assert (pd.to_datetime(persons["birth"]).to_numpy() == born.to_numpy()).all()
    assert persons["death"].notna().sum() == 3
    found, wanted = _events(staging, "observation"), tables["measurement"]
    assert found["value"].tolist() == wanted["value_as_number"].tolist()
    assert set(found["unit"]) == {"%"}
    assert set(zip(found["system"], found["code"], strict=True)) == {(LOINC, "4548-4")}
    assert (found["start"].dt.date.astype(str).to_numpy() == wanted["measurement_date"].to_numpy()).all()
    diabetic = tables["condition_occurrence"]["condition_concept_id"] == 201826
    assert len(_events(staging, "condition")) == diabetic.sum()
    assert len(_events(staging, "medication")) == 0  # the product is a descendant of the ingredient
    facts = _events(staging, "attribute")
    sexes = facts[facts["code"] == "sex"].set_index("person")["text"]
    assert sexes.loc["1"] == {8507: "male", 8532: "female"}[person["gender_concept_id"][0]]
    assert set(facts[facts["code"] == "race"]["text"]) == {"White"}
    assert "ethnicity" not in set(facts["code"])
    assert set(facts[facts["code"] == "observation_end"]["text"]) == {"2022-12-31"}


def test_a_code_stands_for_its_descendants(tmp_path: Path):
    folder = _write(tmp_path / "omop", extract())
    staging = _read(files=str(folder), descendants=True)
    assert len(_events(staging, "condition")) == 40
    medications = _events(staging, "medication")
    assert len(medications) == 20
    assert set(medications["code"]) == {"6809"}
    assert ((medications["stop"] - medications["start"]).dt.days == 90).all()


def test_source_concepts_and_concept_ids_are_codes_too(tmp_path: Path):
    folder = _write(tmp_path / "omop", extract())
    icd = _read(frozenset({("ICD10CM", "E11.9")}), files=str(folder))
    assert len(_events(icd, "condition")) == 40
    tables = extract()
    del tables["concept"]
    ids = _read(frozenset({("OMOP", "201826"), ("OMOP", "443238")}), files=str(_write(tmp_path / "bare", tables)))
    assert len(_events(ids, "condition")) == 40
    without = _read(CODES, files=str(tmp_path / "bare"))
    assert [problem.message for problem in without.problems] == ['there is no table "concept"; without it the codes of a list are concept ids (system: OMOP)']


def test_where_every_event_is_wanted_the_code_lists_still_find_theirs(tmp_path: Path):
    folder = _write(tmp_path / "omop", extract())
    staging = Staging.open()
    staging.asked = frozenset({("http://loinc.org", "4548-4"), (RXNORM, "6809")})
    source = Omop.model_validate({"kind": "omop", "files": str(folder), "descendants": True})
    source.read(staging, name="claims", folder=Path(), codes=frozenset())
    found = staging.connection.execute("SELECT system, code, count(*) FROM events WHERE kind <> 'attribute' GROUP BY ALL ORDER BY ALL").fetchall()
    assert found == [("OMOP", "201826", 30), ("OMOP", "443238", 10), ("http://loinc.org", "4548-4", 120), (RXNORM, "6809", 20)]


def test_capitals_a_repeated_table_and_an_empty_folder(tmp_path: Path):
    folder = tmp_path / "capitals"
    folder.mkdir()
    for name, table in extract().items():
        table.rename(columns=str.upper).to_csv(folder / f"{name.upper()}.CSV", index=False)
    assert len(_events(_read(files=str(folder)), "observation")) == 120
    extract()["person"].to_parquet(folder / "person.parquet")
    with pytest.raises(DataError, match="the table person is there 2 times"):
        _read(files=str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no table of OMOP"):
        _read(files=str(tmp_path / "empty"))
    with pytest.raises(DataError, match="there is no such file"):
        _read(files=str(tmp_path / "nowhere"))


def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path):
    tables = extract()
    tables["measurement"] = tables["measurement"].astype({"value_as_number": object, "measurement_date": object})
    tables["measurement"].loc[4, "value_as_number"] = "high"
    tables["measurement"].loc[7, "measurement_date"] = "2020-13-01"
    tables["measurement"].loc[9, "person_id"] = None
    tables["person"].loc[2, ["month_of_birth", "day_of_birth"]] = [2, 30]
    staging = _read(files=str(_write(tmp_path / "omop", tables, "csv")))
    said = [(problem.message, Path(problem.file).name, problem.line) for problem in staging.problems]
    assert said == [
        ("the day of birth is none of the calendar; 1 such rows", "person.csv", 4),
        ('"2020-13-01" in the column "measurement_date" is not a date (YYYY-MM-DD)', "measurement.csv", 9),
        ('"high" in the column "value_as_number" is not a number', "measurement.csv", 6),
        ("no person_id; 1 such rows", "measurement.csv", 11),
        ("no measurement_date; 1 such rows", "measurement.csv", 9),
    ]


def test_a_missing_column_and_a_file_that_is_none(tmp_path: Path):
    tables = extract()
    tables["measurement"] = tables["measurement"].drop(columns="measurement_concept_id")
    with pytest.raises(DataError, match='there is no column "measurement_concept_id"'):
        _read(files=str(_write(tmp_path / "omop", tables)))
    (tmp_path / "omop" / "measurement.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="cannot be read"):
        _read(files=str(tmp_path / "omop"))


PERSON = "person_id,gender_concept_id,year_of_birth\n"


def test_vocabularies_with_tabs_as_athena_writes_them(tmp_path: Path):
    folder = _write(tmp_path / "omop", extract(), "csv")
    wanted = _read(files=str(folder))
    concepts = extract()["concept"]
    concepts.loc[0, "concept_name"] = 'a "quoted, name'
    (folder / "concept.csv").unlink()
    lines = ["\t".join(concepts.columns), *("\t".join(map(str, row)) for row in concepts.itertuples(index=False))]
    (folder / "CONCEPT.csv").write_text("\n".join(lines) + "\n")
    found = _read(files=str(folder))
    assert found.problems == []
    for kind in ("observation", "condition"):
        assert len(_events(found, kind)) == len(_events(wanted, kind)) > 0


def test_a_row_of_another_length_is_named_with_its_line(tmp_path: Path):
    (tmp_path / "person.csv").write_text(f"{PERSON}1,8507,1950\n2,8507\n")
    with pytest.raises(DataError, match=r"person.csv:3  the row has 2 cells where the header has 3"):
        _read(files=str(tmp_path))


def test_a_year_of_birth_that_is_none(tmp_path: Path):
    (tmp_path / "person.csv").write_text(f"{PERSON}1,8507,1950\n2,8507,-5\n3,8507,99999\n")
    (problem,) = _read(frozenset(), files=str(tmp_path)).problems
    assert (problem.line, problem.message) == (3, "the day of birth is none of the calendar; 2 such rows")


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://me:s3cret@h/db", "postgresql+psycopg://me:x@s3cret@h/db", "postgresql+psycopg://h/db?user=me&password=s3cret", "mssql+pyodbc:///?odbc_connect=UID%3Dme;PWD%3Ds3cret"],
)  # fmt: skip
def test_no_password_is_shown(url: str):
    assert "s3cret" not in shown_url(url)
    assert "***" in shown_url(url)


@pytest.mark.parametrize("given", [{}, {"files": "x", "database": "sqlite://"}, {"files": "x", "schema": "cdm"}])
def test_a_source_is_in_one_place(given: dict[str, str]):
    with pytest.raises(ValidationError):
        Omop.model_validate({"kind": "omop", **given})


def test_any_database_of_sqlalchemy_gives_the_events_of_the_files(tmp_path: Path):
    import sqlalchemy as sa

    tables, url = extract(), f"sqlite:///{tmp_path / 'cdm.db'}"
    engine = sa.create_engine(url)
    for name, table in tables.items():
        table.to_sql(name, engine, index=False)
    engine.dispose()
    _same(_read(database=url), _read(files=str(_write(tmp_path / "omop", tables))))


def _same(one: Staging, two: Staging) -> None:
    for table in ("persons", "events"):
        query = f"SELECT * EXCLUDE (file, line) FROM {table} ORDER BY ALL"
        pd.testing.assert_frame_equal(one.connection.execute(query).df(), two.connection.execute(query).df())


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server started for this file. It must be installed (Debian: postgresql)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    assert initdb is not None, "PostgreSQL is not installed: apt-get install postgresql"
    folder = tmp_path_factory.mktemp("postgres")
    user: dict[str, int] = {}
    if os.getuid() == 0:  # the server does not run as root
        account = pwd.getpwnam("postgres")
        user = {"user": account.pw_uid, "group": account.pw_gid}
        for place in (folder, *folder.parents):
            if place == Path("/tmp") or place == Path("/"):
                break
            place.chmod(place.stat().st_mode | 0o055)
        shutil.chown(folder, account.pw_uid, account.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"check": True, "capture_output": True, "cwd": "/", **user}
    data = folder / "data"
    subprocess.run([initdb, "-D", str(data), "-U", "cdm", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"], **quiet)
    control = str(Path(initdb).with_name("pg_ctl"))
    started = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run([control, "-D", str(data), "-w", "-l", str(folder / "log"), "-o", started, "start"], **quiet)
    yield f"postgresql+psycopg://cdm:secret@127.0.0.1:{port}/postgres"
    subprocess.run([control, "-D", str(data), "-m", "immediate", "stop"], **quiet)


def test_a_live_postgresql_gives_the_events_of_the_files(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch):
    import sqlalchemy as sa

    tables = extract()
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA cdm"))
        for name, table in tables.items():
            typed = table.copy()
            for column in typed.columns:
                if column.endswith("_date"):
                    typed[column] = pd.to_datetime(typed[column]).dt.date
            typed.to_sql(name, connection, schema="cdm", index=False, dtype={"value_as_number": sa.Numeric(10, 2)} if name == "measurement" else None)
    engine.dispose()
    monkeypatch.setenv("CDM", postgres)
    of_files = _read(files=str(_write(tmp_path / "omop", tables)), descendants=True)
    _same(_read(database="$CDM", schema="cdm", descendants=True), of_files)


def test_a_database_without_the_tables_or_out_of_reach_is_one_line(postgres: str):
    with pytest.raises(DataError) as caught:
        _read(database=postgres, schema="nowhere")
    assert 'the schema "nowhere" has no table "person"' in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(DataError) as caught:
        _read(database="postgresql+psycopg://cdm:secret@127.0.0.1:1/postgres")
    assert "cannot be opened" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(DataError, match="cannot be opened"):
        _read(database="nonsense://x")
