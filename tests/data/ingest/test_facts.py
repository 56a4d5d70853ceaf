"""One unit per code list: what is converted, and what is refused."""

from __future__ import annotations

import pytest
from witness.synthetic_fhir import LOINC, concept, observation, write_lines

from trialsim.data.ingest import ingest

LABS = "pid,when,test,value,unit\np1,2020-01-01,4548-4,6.5,%\np2,2020-01-02,4548-4,48,mmol/mol\np1,2020-01-03,4548-4,7.5,%\np3,2020-01-04,4548-4,7,\n"
CONVERT = ", convert: {mmol/mol: {factor: 0.09148, offset: 2.152}}"


@pytest.fixture
def labs(clinic):
    return clinic.write("labs.csv", LABS).feature("x: {codes: hba1c, aggregate: last}")


def test_numbers_without_a_unit_among_others_are_refused(labs):
    several = 'labs.csv:5  the code list "hba1c" is in %, but its numbers are 2 in %, 1 without a unit, 1 in mmol/mol'
    assert labs.problems() == [f"{several}; no conversion is declared in codes.hba1c.convert (the first is here)"]
    labs.replace("S.yaml", "convert: {", 'convert: {"": {}, ')
    assert labs.column("x") == {"p1": 7.5, "p2": pytest.approx(6.54304, rel=1e-12), "p3": 7}


def test_of_many_units_the_most_frequent_are_named(labs):
    labs.write("labs.csv", LABS + "".join(f"p1,2020-01-05,4548-4,7,u{i}\n" for i in range(30)))
    (problem,) = labs.problems()
    told = "2 in %, 1 without a unit, 1 in mmol/mol, 1 in u0, 1 in u1, 1 in u10, 27 in 27 other units"
    assert problem.startswith(f'labs.csv:5  the code list "hba1c" is in %, but its numbers are {told}; no conversion')


def test_without_a_declared_unit_there_may_be_one(labs):
    labs.replace("S.yaml", ', unit: "%"' + CONVERT, "")
    several = 'labs.csv:5  the numbers of the code list "hba1c" have several units: 2 in %, 1 without a unit, 1 in mmol/mol'
    assert labs.problems() == [f"{several}; declare `unit` and `convert` in codes.hba1c (the first without a unit is here)"]
    labs.write("labs.csv", LABS.replace("48,mmol/mol", "6,%").replace("7,\n", "7,%\n"))
    assert labs.ingest().card.columns["x"].unit == "%"


def test_numbers_that_all_have_no_unit_are_in_the_declared_one(labs):
    labs.write("labs.csv", LABS.replace("%", "").replace("mmol/mol", ""))
    assert labs.ingest().card.columns["x"].unit == "%"
    labs.replace("S.yaml", ', unit: "%"' + CONVERT, "")
    assert labs.ingest().card.columns["x"].unit == ""


def test_counting_needs_no_unit(labs):
    labs.feature("x: {codes: hba1c, aggregate: count}")
    assert labs.column("x") == {"p1": 2, "p2": 1, "p3": 1}


def test_code_lists_of_one_feature_share_a_unit(labs):
    labs.write("labs.csv", "pid,when,test,value,unit\np1,2020-01-01,4548-4,6.5,%\np1,2020-01-02,17855-8,50,mmol/mol\n")
    labs.replace("S.yaml", "codes:\n", 'codes:\n  ifcc: {system: "http://loinc.org", codes: ["17855-8"]}\n')
    labs.feature("x: {codes: [hba1c, ifcc], aggregate: last}")
    assert labs.problems() == ["S.yaml:20:7  features.x.codes: the code lists have several units: %, mmol/mol"]
    labs.replace("S.yaml", '["17855-8"]', '["17855-8"], unit: "%"' + CONVERT)
    assert labs.column("x")["p1"] == pytest.approx(50 * 0.09148 + 2.152, rel=1e-12)


def test_a_record_with_two_codes_of_one_list_is_one_record(tmp_path, monkeypatch):
    """A prescription is often coded as the drug and as the product, an observation by two codes of LOINC; components are records of their own."""
    monkeypatch.chdir(tmp_path)
    both = {"coding": [{"system": LOINC, "code": "4548-4"}, {"system": LOINC, "code": "17856-6"}]}
    part = {"code": concept(LOINC, "17856-6"), "valueQuantity": {"value": 9, "unit": "%"}}
    resources = [{"resourceType": "Patient", "id": "a", "birthDate": "1960-01-01"}]
    resources += [observation("a", "4548-4", f"2020-01-0{day}", valueQuantity={"value": value, "unit": "%"}) for day, value in ((1, 6), (2, 9))]
    resources[1]["code"] = both
    resources.append(observation("a", "x", "2020-01-03", component=[part, part | {"code": both}]))
    resources.append(observation("a", "4548-4", "2020-01-03", valueQuantity={"value": 9, "unit": "%"}))
    write_lines(tmp_path / "x.ndjson", resources)
    (tmp_path / "S.yaml").write_text(
        "ingest: trialsim.ingest/1\nid: x\ntitle: X\nsource: synthetic\nlicence: CC0-1.0\npurposes: [train]\n"
        "sources: {ehr: {kind: fhir, files: x.ndjson}}\n"
        f'codes: {{hba1c: {{system: "{LOINC}", codes: ["4548-4", "17856-6"]}}}}\nindex: {{date: 2020-02-01}}\n'
        "features:\n  n: {codes: hba1c, aggregate: count}\n  mean: {codes: hba1c, aggregate: mean}\n"
    )
    made = ingest(tmp_path / "S.yaml")
    (row,) = made.table.to_pylist()
    assert (row["n"], row["mean"]) == (5, (6 + 4 * 9) / 5)
    assert made.report["columns"]["n"]["records"] == {"ehr": 5}
    text = (tmp_path / "S.yaml").read_text().replace('"4548-4", "17856-6"]}', f'"4548-4"]}}, other: {{system: "{LOINC}", codes: ["17856-6"]}}')
    (tmp_path / "S.yaml").write_text(text.replace("codes: hba1c", "codes: [hba1c, other]"))
    assert ingest(tmp_path / "S.yaml").table.to_pylist() == [row]
