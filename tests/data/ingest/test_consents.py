"""Consent fails closed: what is not clearly permitted is not."""

from __future__ import annotations

from datetime import date

import pytest

HEAD = "pid,permit,purpose,from,until,where\n"


@pytest.fixture
def forms(clinic):
    return clinic.replace("S.yaml", "expiry: until,", "start: from, expiry: until,").feature("sex: {attribute: sex}")


@pytest.mark.parametrize(
    "rows, train, simulate",
    [
        ("p1,1,,,,", 1, 1),
        ("p1,1,train,,,", 1, 0),
        ("p1,0,,,,\np1,1,train,,,", 0, 0),
        ("p1,1,train,,,\np1,0,train,,,\np1,1,simulate,,,", 0, 1),
        ("p1,1,,,,\np1,0,simulate,,2001-01-01,", 1, 0),  # a denial wins whatever its dates
        ("p1,1,,2030-01-01,,", 0, 0),  # permits from a later day
        ("p1,1,,2026-01-01,,", 1, 1),
        ("p1,1,genomic,,,", 0, 0),
        ("p1,,,,,", 0, 0),
        ("p2,1,,,,", 0, 0),
    ],
)
def test_what_a_person_permits(forms, rows, train, simulate):
    forms.write("consent.csv", HEAD + rows + "\n")
    assert (forms.column("consent_train")["p1"], forms.column("consent_simulate")["p1"]) == (train, simulate)


@pytest.mark.parametrize(
    "rows, last",
    [
        ("p1,1,,,2030-01-01,\np1,1,,,2035-01-01,", date(2035, 1, 1)),  # renewed
        ("p1,1,train,,2030-01-01,\np1,1,simulate,,2028-01-01,", date(2028, 1, 1)),  # none is used too long
        ("p1,1,,,2030-01-01,\np1,1,train,,,", date(2030, 1, 1)),
        ("p1,1,,,,\np2,1,,,2030-01-01,", date(9999, 12, 31)),
        ("p1,1,train,,2030-01-01,\np1,1,simulate,,2028-01-01,\np1,0,simulate,,,", date(2030, 1, 1)),
    ],
)
def test_the_last_day(forms, rows, last):
    assert forms.write("consent.csv", HEAD + rows + "\n").column("consent_until")["p1"] == last


def test_without_any_last_day_or_jurisdiction_there_are_no_such_columns(forms):
    made = forms.write("consent.csv", HEAD + "p1,1,,,,\n").ingest()
    assert made.table.column_names == ["person", "index_date", "sex", "consent_train", "consent_simulate"]
    assert (made.card.consent.expiry, made.card.consent.jurisdiction) == (None, None)


def test_several_jurisdictions_equal_no_single_one(forms):
    forms.write("consent.csv", HEAD + "p1,1,,,,FR\np1,1,train,,,DE\np1,1,,,,DE\np2,1,,,,DE\n")
    assert forms.column("consent_jurisdiction") == {"p1": "DE; FR", "p2": "DE", "p3": None}


def test_a_denial_of_somebody_whom_its_source_does_not_list_counts(forms, monkeypatch):
    from trialsim.data.sources.table import TableSource

    original = TableSource.read

    def read(self, staging, *, name, folder, codes):
        original(self, staging, name=name, folder=folder, codes=codes)
        if name == "forms":
            staging.connection.execute("DELETE FROM persons WHERE source = 'forms'")

    monkeypatch.setattr(TableSource, "read", read)
    forms.write("consent.csv", HEAD + "p1,1,,,,\np2,1,,,,\np2,0,,,,\n")
    assert forms.column("consent_train") == {"p1": 1, "p2": 0, "p3": 0}


def test_a_column_per_purpose(forms):
    forms.write("consent.csv", "pid,tr,si\np1,yes,no\np2,,permit\n")
    forms.replace(
        "S.yaml",
        "consent: {permit: permit, purpose: purpose, start: from, expiry: until, jurisdiction: where}",
        "consent: {purposes: {train: tr, simulate: si}}",
    )
    assert forms.column("consent_train") == {"p1": 1, "p2": 0, "p3": 0}
    assert forms.column("consent_simulate") == {"p1": 0, "p2": 1, "p3": 0}


def test_without_the_section_the_purposes_of_the_card_hold(forms):
    text = forms.path.read_text()
    made = (
        forms.write("consent.csv", HEAD)
        .write("S.yaml", text[: text.index("  forms: ")] + text[text.index("codes:\n") : text.index("consent: {sources")])
        .ingest()
    )
    assert (made.table.column_names, made.card.consent) == (["person", "index_date", "sex"], None)


def test_records_of_consent_that_would_not_count(clinic):
    said = 'the source "forms" has 4 records of consent, 1 of them denials, but its records do not count; '
    said += "name it in `consent: sources`, or leave them out of its files or columns"
    clinic.replace("S.yaml", "consent: {sources: [forms], as_of: 2026-01-01}", "")
    assert clinic.problems() == [f"S.yaml  consent.sources: {said}"]
    clinic.write("S.yaml", clinic.path.read_text() + "consent: {sources: [demo]}\n")
    assert clinic.problems() == [f"S.yaml:29:11  consent.sources: {said}"]
