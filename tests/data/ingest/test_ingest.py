"""An ingest from end to end: what is written, that it is accepted as it is, and that nothing is written by half."""

from __future__ import annotations

import errno
import hashlib
import json
from datetime import date

import numpy as np
import pytest

from trialsim.data import load_card, read_table
from trialsim.data.governance.consent import permitted
from trialsim.data.ingest import write
from trialsim.errors import DataError, UsageError


def test_the_table_is_what_the_files_say(clinic):
    table = clinic.ingest().table
    rows = {row.pop("person"): row for row in table.to_pylist()}
    assert list(rows) == ["p1", "p2", "p3"]  # p4 and p9 have no diabetes
    day = date(2020, 3, 1)
    assert rows["p1"] == {
        "index_date": day,
        "age": (day - date(1950, 1, 1)).days / 365.25,
        "sex": "f",
        "weight": 70.5,
        "smoker": 1,
        "hba1c": 7.5,
        "hba1c_mean": ((48 * 0.09148 + 2.152) + 7.5) / 2,  # 1 January is 60 days before
        "n_hba1c": 3,
        "stroke_days": 214.0,
        "stroke_event": 1,
        "death_days": (date(2021, 12, 31) - day).days,
        "death_event": 0,
        "consent_train": 1,
        "consent_simulate": 1,
        "consent_until": date(2030, 1, 1),
        "consent_jurisdiction": "DE",
    }
    assert (rows["p2"]["stroke_days"], rows["p2"]["stroke_event"], rows["p2"]["death_days"], rows["p2"]["death_event"]) == (365, 0, 365, 1)
    assert (rows["p2"]["consent_train"], rows["p2"]["consent_simulate"], rows["p2"]["consent_until"]) == (0, 0, None)
    assert (rows["p3"]["hba1c"], rows["p3"]["n_hba1c"], rows["p3"]["weight"]) == (None, 1, None)
    assert (rows["p3"]["consent_train"], rows["p3"]["consent_simulate"], rows["p3"]["consent_until"]) == (0, 1, date(9999, 12, 31))


def test_what_is_written_is_read_as_it_is(clinic):
    data, card_file = write(clinic.ingest(), clinic.folder / "out")
    card = load_card(card_file)
    table = read_table(data, card)
    assert table.n == 3
    assert {name: (column.type, column.role, column.unit) for name, column in card.columns.items()} == {
        "person": ("text", "id", ""),
        "index_date": ("date", "post_baseline", ""),
        "age": ("continuous", "covariate", "years"),
        "sex": ("categorical", "covariate", ""),
        "weight": ("continuous", "covariate", "kg"),
        "smoker": ("binary", "covariate", ""),
        "hba1c": ("continuous", "covariate", "%"),
        "hba1c_mean": ("continuous", "covariate", "%"),
        "n_hba1c": ("integer", "covariate", ""),
        "stroke_days": ("continuous", "outcome", "days"),
        "stroke_event": ("binary", "outcome", ""),
        "death_days": ("continuous", "outcome", "days"),
        "death_event": ("binary", "outcome", ""),
        "consent_train": ("binary", "consent", ""),
        "consent_simulate": ("binary", "consent", ""),
        "consent_until": ("date", "consent", ""),
        "consent_jurisdiction": ("text", "consent", ""),
    }
    assert card.columns["hba1c"].description == "last of hba1c (http://loinc.org 4548-4) of lab in the 365 days up to the index date"
    np.testing.assert_array_equal(table.columns["hba1c"], [7.5, 9.0, np.nan])
    on = date(2026, 1, 1)
    assert [permitted(table, purpose, on=on).rows.tolist() for purpose in ("train", "simulate")] == [[True, False, False], [True, False, True]]
    assert permitted(table, "train", on=date(2030, 1, 2)).n_permitted == 0


def test_the_card_counts_every_filter_and_names_every_file(clinic):
    write(clinic.ingest(), clinic.folder / "out")
    made = load_card(clinic.folder / "out/patients.card.yaml").ingested
    assert made["persons"] == [
        {"step": "persons", "n": 5},
        {"step": "with an index date", "n": 3},
        {"step": "born by the index date", "n": 3},
        {"step": "alive at the index date", "n": 3},
    ]
    lab = made["sources"]["lab"]
    assert lab["files"] == {"labs.csv": hashlib.sha256((clinic.folder / "labs.csv").read_bytes()).hexdigest()}
    assert {item["step"]: item["n"] for item in lab["filters"]} == {"rows": 7, "rows with a date": 7, "persons": 3, "events": 7}
    assert made["codes"]["hba1c"] == {"system": "http://loinc.org", "codes": ["4548-4"], "unit": "%", "numbers": {"%": 3, "mmol/mol": 1}}
    hba1c = {"from": "codes", "of": ["hba1c"], "records": {"lab": 5}, "aggregate": "last", "records without a number": 1, "missing": 1}
    assert made["columns"]["hba1c"] == hba1c
    assert made["columns"]["age"]["records"] == {"demo": 4}
    assert (made["index"], made["look_back_days"]) == ("first event of diabetes", 365.0)
    assert made["consent"]["persons with contradicting records"] == 1
    assert made["consent"]["persons permitting"] == {"train": 1, "simulate": 2}
    assert made["patients"]["sha256"] == hashlib.sha256((clinic.folder / "out/patients.parquet").read_bytes()).hexdigest()


def test_the_audit_log_says_what_was_read_and_written(clinic):
    data, _ = write(clinic.ingest(), clinic.folder / "out")
    (entry,) = [json.loads(line) for line in (clinic.folder / "audit.jsonl").read_text().splitlines()]
    assert (entry["action"], entry["details"]["data"], entry["details"]["rows"]) == ("ingest", str(data.absolute()), 3)
    assert entry["details"]["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert not any(person in json.dumps(entry["details"]) for person in ("p1", "p2", "p3"))


def test_the_same_sources_give_the_same_bytes(clinic):
    rng = np.random.default_rng(7)
    rows = [f"q{i % 97},2019-0{1 + i % 9}-1{i % 7},4548-4,{value!r},%" for i, value in enumerate(rng.lognormal(2, 1, 20_000).tolist())]
    clinic.write("labs.csv", "pid,when,test,value,unit\n" + "\n".join(rows) + "\n")
    clinic.write("dx.csv", "pid,when,code\n" + "".join(f"q{i},2020-01-01,44054006\n" for i in range(97)))
    clinic.replace("S.yaml", "aggregate: last", "aggregate: sd").replace("S.yaml", "within: 40 days", "within: 2 years")
    for name in ("sex", "weight", "smoker", "age", "death"):
        clinic.replace("S.yaml", f"  {name}: {{", f"  #{name}: {{")
    clinic.replace("S.yaml", "  stroke: {event: stroke}", "  slope: {codes: hba1c, aggregate: slope}")
    written = set()
    for threads in (1, 2, 5):
        data, card = write(clinic.ingest(threads=threads), clinic.folder / "out", replace=True)
        written.add((data.read_bytes(), card.read_bytes()))
    assert len(written) == 1


def test_what_is_there_is_kept_unless_it_may_be_replaced(clinic):
    made = clinic.ingest()
    data, card = write(made, clinic.folder / "out")
    before = data.read_bytes(), card.read_bytes()
    card.unlink()
    with pytest.raises(UsageError, match=r"out/patients\.parquet is there already; --replace"):
        write(made, clinic.folder / "out")
    assert not card.exists()
    write(made, clinic.folder / "out", replace=True)
    assert (data.read_bytes(), card.read_bytes()) == before
    with pytest.raises(UsageError, match="is a file, not a folder"):
        write(made, clinic.folder / "demo.csv")


def _files(folder):
    """Name → bytes, without what only the audit log needs."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith((".cohort", "cohort"))}


def _fail_at(monkeypatch, nth):
    """The nth renaming fails, and so do those after it until the test ends."""
    import os

    original, calls = os.replace, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr("trialsim.data.ingest.writing.os.replace", full)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_failed_write_leaves_nothing(clinic, monkeypatch, nth):
    made = clinic.ingest()
    _fail_at(monkeypatch, nth)
    with pytest.raises(DataError) as caught:
        write(made, clinic.folder / "out")
    file = ("patients.parquet", "patients.card.yaml")[nth - 1]
    assert [str(problem) for problem in caught.value.problems] == [f"out/{file}  cannot be written: No space left on device"]
    assert _files(clinic.folder / "out") == {}
    assert not (clinic.folder / "audit.jsonl").exists()


@pytest.mark.parametrize("nth", [1, 2])
def test_a_failed_write_puts_back_what_was_there(clinic, monkeypatch, nth):
    write(clinic.ingest(), clinic.folder / "out")
    before, logged = _files(clinic.folder / "out"), (clinic.folder / "audit.jsonl").read_bytes()
    clinic.replace("demo.csv", "70.5", "71.5")
    made = clinic.ingest()
    _fail_at(monkeypatch, nth)
    with pytest.raises(DataError, match="cannot be written"):
        write(made, clinic.folder / "out", replace=True)
    assert _files(clinic.folder / "out") == before
    assert (clinic.folder / "audit.jsonl").read_bytes() == logged


@pytest.mark.parametrize("replace", [False, True])
def test_nothing_is_written_without_its_line_in_the_audit_log(clinic, replace):
    if replace:
        write(clinic.ingest(), clinic.folder / "out")
    (clinic.folder / "out").mkdir(exist_ok=True)
    before = _files(clinic.folder / "out")
    clinic.replace("demo.csv", "70.5", "71.5").write("audit.jsonl", "not a log\n")
    with pytest.raises(DataError, match="audit"):
        write(clinic.ingest(), clinic.folder / "out", replace=replace)
    assert _files(clinic.folder / "out") == before


def test_a_process_that_ends_between_the_two_files_leaves_no_card_of_other_data(clinic, monkeypatch):
    """Without a card nothing is fitted; with that of the data before, consent columns would be read by another card's words."""
    write(clinic.ingest(), clinic.folder / "out")
    clinic.replace("demo.csv", "70.5", "71.5")
    made, seen = clinic.ingest(), []
    import os

    original = os.replace

    def watched(source, target):
        original(source, target)
        seen.append((clinic.folder / "out/patients.card.yaml").exists())

    monkeypatch.setattr("trialsim.data.ingest.writing.os.replace", watched)
    write(made, clinic.folder / "out", replace=True)
    assert seen[:2] == [False, True]  # the third is the head of the audit log


def test_a_folder_that_cannot_be_made(clinic):
    with pytest.raises(DataError) as caught:
        write(clinic.ingest(), clinic.folder / "demo.csv" / "out")
    assert [str(problem) for problem in caught.value.problems] == ["demo.csv/out  cannot be written: Not a directory"]


def test_every_problem_of_every_source_is_said_at_once(clinic):
    clinic.replace("demo.csv", "p4,1980-01-01", "p2,1980-01-01")
    clinic.replace("labs.csv", "p1,2020-01-01", "p1,2020-31-01")
    clinic.replace("labs.csv", "mmol/mol", "mmol/l")
    clinic.replace("dx.csv", "p2,2020-03-01", "p2,1920-03-01")
    clinic.replace("consent.csv", "train", "research").replace("consent.csv", "yes", "maybe")
    assert clinic.problems() == [
        'labs.csv:2  "2020-31-01" in the column "when" is not a date (YYYY-MM-DD)',
        'consent.csv:5  "maybe" in the column "permit" neither permits nor denies',
        'demo.csv:5  two persons have the id "p2" (the first on line 3)',
        'consent.csv:3  "research" is no purpose (1 consent names it); allowed: train, simulate, external_control, commercial, genomic',
        "dx.csv:4  1 event is before the person's birth",
        'labs.csv:4  the code list "hba1c" is in %, but its numbers are 2 in %, 1 in mmol/l; no conversion is declared in codes.hba1c.convert (the first is here)',
    ]


def test_nobody_left_is_an_error_with_the_counts(clinic):
    clinic.replace("S.yaml", '["44054006"]', '["1"]')
    assert clinic.problems() == ["S.yaml:16:1  index: no person is left: 5 persons, 0 with an index date, 0 born by the index date, 0 alive at the index date"]


def test_a_column_without_a_value_is_an_error(clinic):
    clinic.replace("S.yaml", "within: 40 days", "within: 0.5 days")
    clinic.replace("labs.csv", "p1,2020-03-01", "p1,2020-02-28")
    assert clinic.problems() == ['S.yaml:24:3  features.hba1c_mean: no person has a value in the column "hba1c_mean"']


def test_values_beyond_floating_point_are_an_error(clinic):
    clinic.replace("S.yaml", "aggregate: last", "aggregate: sd").replace("labs.csv", "6.5", "1e200").replace("labs.csv", "7.5", "1e308")
    with pytest.raises(DataError, match='the values of the column "hba1c" are too large to be aggregated'):
        clinic.ingest()
