"""SOURCES.yaml: what is refused before anything is read, with line and column."""

from __future__ import annotations

import pytest

from trialsim.data.ingest import read_ingest


def test_what_is_declared_is_read(clinic):
    declared = read_ingest(clinic.path)
    assert list(declared.sources) == ["demo", "lab", "dx", "forms"]
    assert (declared.look_back, declared.index.codes, declared.features["age"].as_) == (365.0, ("diabetes",), "age")


@pytest.mark.parametrize(
    "before, after, said",
    [
        ("ingest: trialsim.ingest/1", "ingest: trialsim.ingest/2", '1:1  ingest: "trialsim.ingest/2" is not allowed; did you mean "trialsim.ingest/1"?'),
        ("purposes: [train,", "purposes: [trian,", '6:12  purposes.0: "trian" is not allowed; did you mean "train"?'),
        ("kind: table, files: demo", "kind: tabel, files: demo", '8:10  sources.demo.kind: "tabel" is not allowed; did you mean "table"?'),
        ("birth: dob", "brith: dob", '8:53  sources.demo.brith: unknown key; did you mean "birth"?'),
        ("date: when, code: test,", "code: test,", "9:3  sources.lab.date: is missing: `observations` and `code` are dated"),
        ('["44054006"]', "[44054006]", "14:56  codes.diabetes.codes.0: should be text, not 44054006 (in quotes it is text)"),
        ('unit: "%", convert', "convert", "13:58  codes.hba1c.convert: needs `unit`, the unit that is converted to"),
        ("factor: 0.09148", "factor: 0", "13:90  codes.hba1c.convert.mmol/mol.factor: is 0, which would make all values one"),
        (
            "index: {codes: diabetes, occurrence",
            "index: {codes: diabetis, occurrence",
            '16:9  index.codes: there is no code list "diabetis"; did you mean "diabetes"?',
        ),
        (
            "index: {codes: diabetes, occurrence: first}",
            "index: {occurrence: first}",
            "16:1  index: needs exactly one of codes, attribute and date; 0 are given",
        ),
        ("index: {codes: diabetes, occurrence: first}", "index: {date: 2020-30-01}", "16:15  holds a date that there is not: month must be in 1..12"),
        ("look_back: 365 days", "look_back: 365", "17:1  look_back: 365 needs a unit of time (days, weeks, months or years)"),
        ("aggregate: last", "aggregate: latest", '23:25  features.hba1c.aggregate: "latest" is not allowed; did you mean "last"?'),
        (
            "{codes: hba1c, aggregate: last}",
            "{codes: hba1c}",
            "23:3  features.hba1c.aggregate: is missing; allowed: any, count, first, last, max, mean, median, min, sd, slope",
        ),
        (
            "sex: {attribute: sex}",
            "sex: {attribute: sex, within: 1 weeks}",
            "20:25  features.sex.within: belongs to codes or daily or questionnaire or event, not to attribute",
        ),
        ("sex: {attribute: sex}", "sex: {attribute: sex, source: dmo}", '20:25  features.sex.source: there is no source "dmo"; did you mean "demo"?'),
        (
            "sex: {attribute: sex}",
            "sex: {attribute: sex, role: id}",
            '20:25  features.sex.role: "id" is not allowed; allowed: arm, covariate, outcome, post_baseline',
        ),
        ("sex: {attribute: sex}", "s ex: {attribute: sex}", "20:3  features.s ex: a column is a letter and then letters, digits and _"),
        ("sex: {attribute: sex}", "Person: {attribute: sex}", '20:3  features.Person: the column "Person" is that of the id'),
        ("sex: {attribute: sex}", "stroke_days: {attribute: sex}", '26:3  features.stroke: the column "stroke_days" is that of the feature stroke_days'),
        ("sex: {attribute: sex}", "consent_train: {attribute: sex}", '20:3  features.consent_train: the column "consent_train" is that of consent'),
        ("as: age}", "as: age, unit: decades}", '19:36  features.age.unit: "decades" is not allowed; allowed: years, months, weeks, days'),
        ("{event: stroke}", "{event: [stroke, strok]}", '26:12  features.stroke.event: there is no code list "strok"; did you mean "stroke"?'),
        ("{event: stroke}", "{event: [stroke, stroke]}", "26:12  features.stroke.event: names a code list twice"),
        ("until: 2021-12-31", "until: forever", '27:25  features.death.until: there is no code list "forever"; allowed: diabetes, hba1c, last_seen, stroke'),
        ("until: 2021-12-31", "until: 2021", "27:25  features.death.until: should be last_seen, a date (YYYY-MM-DD) or code lists"),
        ("{sources: [forms]", "{sources: [froms]", '28:21  consent.sources.0: there is no source "froms"; did you mean "forms"?'),
        ("purposes: [train, simulate]\n", "", "27:1  consent: needs `purposes`: there is nothing to consent to"),
        ("codes:\n", 'codes:\n  death: {system: s, codes: ["1"]}\n', "13:3  codes.death: is reserved for the death of a person; name the code list otherwise"),
    ],
)
def test_what_is_refused(clinic, before, after, said):
    assert clinic.replace("S.yaml", before, after).problems() == [f"S.yaml:{said}"]


def test_everything_is_said_at_once(clinic):
    clinic.replace("S.yaml", "title: A clinic", "titel: A clinic").replace("S.yaml", "aggregate: last", "agregate: last")
    assert sorted(clinic.problems()) == [
        "S.yaml  title: is missing",
        'S.yaml:23:25  features.hba1c.agregate: unknown key; did you mean "aggregate"?',
        'S.yaml:3:1  titel: unknown key; did you mean "title"?',
    ]


def test_what_is_no_declaration(clinic):
    assert clinic.write("S.yaml", "- 1\n").problems() == ["S.yaml  SOURCES.yaml is a map with ingest, id, title, source, sources and features"]
    clinic.path.unlink()
    assert clinic.problems() == ["S.yaml  there is no such file"]
