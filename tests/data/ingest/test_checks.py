"""What cannot be: each is named with file, line and count, and nothing is made."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "file, before, after, said",
    [
        ("demo.csv", "p4,", "p1,", 'demo.csv:5  two persons have the id "p1" (the first on line 2)'),
        (
            "demo.csv",
            "p4,1980-01-01",
            "p1,1950-01-01,,f,1,\np2,1960-06-15",
            'demo.csv:5  two persons have the id "p1" (the first on line 2); 1 more ids are given twice',
        ),
        ("demo.csv", "p4,", ",", 'demo.csv:5  no person in the column "pid"'),
        ("demo.csv", "2021-03-01", "1959-03-01", "demo.csv:3  1 person died before birth"),
        ("demo.csv", "1950-01-01", "2020-02-15", "labs.csv:2  2 events are before their persons' birth (the first here)"),
        ("demo.csv", "1950-01-01", "19500101", 'demo.csv:2  "19500101" in the column "dob" is not a date (YYYY-MM-DD)'),
        ("dx.csv", "p1,2020-10-01", "p1,9999-12-31", "dx.csv:6  1 event has a date before 1800 or after 2999"),
        ("dx.csv", "p1,2020-10-01", "p1,infinity", 'dx.csv:6  "infinity" in the column "when" is not a date (YYYY-MM-DD)'),
        ("demo.csv", "1980-01-01", "0001-01-01", "demo.csv:5  1 person has a date before 1800 or after 2999"),
        ("labs.csv", "pid,when", "patient,when", 'labs.csv:1  there is no column "pid"; allowed: patient, test, unit, value, when'),
        ("labs.csv", "p3,2020-02-01,4548-4,<5,%", "p3,2020-02-01,4548-4", "labs.csv:6  the row has 3 cells where the header has 5"),
    ],
)
def test_persons_and_times(clinic, file, before, after, said):
    assert clinic.replace(file, before, after).problems() == [said]


def test_an_event_on_the_day_before_birth_may_be_a_matter_of_time_zones(clinic):
    clinic.replace("demo.csv", "1950-01-01", "2020-01-02")
    assert clinic.column("age")["p1"] > 0


def test_events_of_persons_that_their_source_does_not_list(clinic, monkeypatch):
    from trialsim.data.sources.table import TableSource

    original = TableSource.read

    def read(self, staging, *, name, folder, codes):
        original(self, staging, name=name, folder=folder, codes=codes)
        if name == "lab":
            staging.connection.execute("DELETE FROM persons WHERE source = 'lab' AND person = 'p1'")
        if name == "dx" and everybody:
            staging.connection.execute("DELETE FROM persons WHERE source = 'dx'")

    monkeypatch.setattr(TableSource, "read", read)
    everybody = False
    assert clinic.column("hba1c") == {"p1": None, "p2": 9, "p3": None}
    assert {"step": "events of listed persons", "n": 3} in clinic.ingest().report["sources"]["lab"]["filters"]
    everybody = True
    assert clinic.problems() == ['the source "dx" has 6 events and no persons']


def test_a_stay_that_ends_before_it_begins(clinic):
    clinic.write("dx.csv", "pid,when,until,code\np1,2020-03-01,2020-02-01,44054006\np2,2020-03-01,,44054006\n")
    assert clinic.replace("S.yaml", "code: code, system", "code: code, stop: until, system").problems() == ["dx.csv:2  1 event ends before it begins"]


def test_the_first_of_two_persons_with_one_id_may_be_in_another_file(clinic):
    (clinic.folder / "more").mkdir()
    clinic.write("more/a.csv", "pid,dob,dod,sex,weight,smoker\np0,1950-01-01,,f,70,true\np1,1950-01-01,,f,70,true\n")
    clinic.write("more/b.csv", "pid,dob,dod,sex,weight,smoker\np1,1950-01-01,,f,70,true\n").replace("S.yaml", "files: demo.csv", "files: more/*.csv")
    assert clinic.problems() == ['more/b.csv:2  two persons have the id "p1" (the first in more/a.csv on line 3)']
