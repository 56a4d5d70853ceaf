"""A made-up clinic of four persons in four small files, and a way to ingest it with other files or other words."""

from __future__ import annotations

import pytest

from trialsim.data.ingest import ingest
from trialsim.errors import DataError

DEMO = """\
pid,dob,dod,sex,weight,smoker
p1,1950-01-01,,f,70.5,true
p2,1960-06-15,2021-03-01,m,80,false
p3,1970-01-01,,m,,true
p4,1980-01-01,,f,66,
"""
LABS = """\
pid,when,test,value,unit
p1,2020-01-01,4548-4,6.5,%
p1,2020-03-01,4548-4,7.5,%
p1,2020-02-01,4548-4,48,mmol/mol
p2,2020-02-01,4548-4,9,%
p3,2020-02-01,4548-4,<5,%
p1,2020-06-01,9999-9,1,x
p2,2020-12-01,9999-9,1,x
"""
DIAGNOSES = """\
pid,when,code
p1,2020-03-01,44054006
p1,2020-05-01,44054006
p2,2020-03-01,44054006
p3,2020-03-01,44054006
p1,2020-10-01,230690007
p9,2020-10-01,230690007
"""
CONSENTS = """\
pid,permit,purpose,until,where
p1,1,,2030-01-01,DE
p2,1,train,,DE
p2,0,,,DE
p3,yes,simulate,,FR
"""
SOURCES = """\
ingest: trialsim.ingest/1
id: clinic
title: A clinic
source: made up
licence: CC0-1.0
purposes: [train, simulate]
sources:
  demo: {kind: table, files: demo.csv, person: pid, birth: dob, death: dod, units: {weight: kg}}
  lab: {kind: table, files: labs.csv, person: pid, date: when, code: test, system: "http://loinc.org", value: value, unit: unit}
  dx: {kind: table, files: dx.csv, person: pid, date: when, code: code, system: "http://snomed.info/sct", event: condition}
  forms: {kind: table, files: consent.csv, person: pid, attributes: [], consent: {permit: permit, purpose: purpose, expiry: until, jurisdiction: where}}
codes:
  hba1c: {system: "http://loinc.org", codes: ["4548-4"], unit: "%", convert: {mmol/mol: {factor: 0.09148, offset: 2.152}}}
  diabetes: {system: "http://snomed.info/sct", codes: ["44054006"]}
  stroke: {system: "http://snomed.info/sct", codes: ["230690007"]}
index: {codes: diabetes, occurrence: first}
look_back: 365 days
features:
  age: {attribute: birth, as: age}
  sex: {attribute: sex}
  weight: {attribute: weight}
  smoker: {attribute: smoker}
  hba1c: {codes: hba1c, aggregate: last}
  hba1c_mean: {codes: hba1c, aggregate: mean, within: 40 days}
  n_hba1c: {codes: hba1c, aggregate: count}
  stroke: {event: stroke}
  death: {event: death, until: 2021-12-31}
consent: {sources: [forms], as_of: 2026-01-01}
"""
FILES = {"demo.csv": DEMO, "labs.csv": LABS, "dx.csv": DIAGNOSES, "consent.csv": CONSENTS, "S.yaml": SOURCES}


class Clinic:
    """A folder with the files; `replace` changes words in one of them."""

    def __init__(self, folder):
        self.folder, self.path = folder, folder / "S.yaml"
        for name, text in FILES.items():
            (folder / name).write_text(text, encoding="utf-8")

    def write(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")
        return self

    def replace(self, name, before, after):
        text = (self.folder / name).read_text(encoding="utf-8")
        assert before in text
        return self.write(name, text.replace(before, after))

    def feature(self, line):
        """Only this feature."""
        text = self.path.read_text(encoding="utf-8")
        start, end = text.index("features:\n"), text.index("consent: {sources")
        return self.write("S.yaml", f"{text[:start]}features:\n  {line}\n{text[end:]}")

    def ingest(self, **options):
        return ingest(self.path, **options)

    def column(self, name):
        """person → cell."""
        table = self.ingest().table
        return dict(zip(table.column("person").to_pylist(), table.column(name).to_pylist(), strict=True))

    def problems(self):
        with pytest.raises(DataError) as caught:
            self.ingest()
        return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def clinic(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIALSIM_AUDIT", str(tmp_path / "audit.jsonl"))
    return Clinic(tmp_path)
