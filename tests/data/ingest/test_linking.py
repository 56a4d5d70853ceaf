"""Which ids are one person, and link files that say what cannot be."""

from __future__ import annotations

import pytest

LINKS = "study,hospital,device\nA,p1,d1\nB,p2,\nC,p3,d3\nD,,d4\n"


@pytest.fixture
def linked(clinic):
    clinic.write("link.csv", LINKS).write("watch.csv", "device,colour\nd1,red\nd3,blue\nd4,red\nd9,green\n")
    clinic.replace("S.yaml", "codes:\n", "  watch: {kind: table, files: watch.csv, person: device}\ncodes:\n")
    of = ", ".join(f"{source}: hospital" for source in ("demo", "lab", "dx", "forms"))
    clinic.replace("S.yaml", "codes:\n", f"link: {{file: link.csv, key: study, columns: {{{of}, watch: device}}}}\ncodes:\n")
    return clinic.feature("colour: {attribute: colour}")


def test_the_key_is_the_person_of_every_source(linked):
    assert linked.column("colour") == {"A": "red", "B": None, "C": "blue"}
    report = linked.ingest().report
    assert {item["step"]: item["n"] for item in report["sources"]["watch"]["filters"]} == {"rows": 4, "persons": 4, "persons linked": 3, "events": 4}
    assert report["persons"][0] == {"step": "persons", "n": 4}  # D is only in the watch; p4, p9 and d9 are nobody
    assert list(report["link"]) == ["link.csv"]
    assert linked.column("consent_train") == {"A": 1, "B": 0, "C": 0}


def test_a_source_that_the_link_file_does_not_name_uses_the_key(linked):
    linked.replace("S.yaml", ", watch: device", "").write("watch.csv", "device,colour\nB,red\nE,green\n")
    assert linked.column("colour") == {"A": None, "B": "red", "C": None}


@pytest.mark.parametrize(
    "text, said",
    [
        (LINKS + "A,p4,\n", ['link.csv:6  the person "A" has 2 rows (the first on line 2)']),
        (LINKS + "E,p1,\nF,p2,\nG,p1,d9\n", ['link.csv:6  the id "p1" of {} stands for 3 persons (the first on line 2); 1 more are repeated']),
        (LINKS + "E,,d1\n", ['link.csv:6  the id "d1" of watch stands for 2 persons (the first on line 2)']),
        (LINKS + ",p4,\n,p5,\n", ['link.csv:6  no person in the column "study"; 2 such rows']),
        (LINKS.replace("study", "studie"), ['link.csv:1  there is no column "study"; did you mean "studie"?']),
        (LINKS + "E\n", ["link.csv:6  the row has 1 cells where the header has 3"]),
        ("study,hospital,device\nA,p1,D-1\nB,p2,\nC,p3,D-3\n", ['link.csv:1  none of the 4 ids of watch is in the column "device"']),
        ("study,hospital,device\n", ["link.csv  there are no rows below the header"]),
    ],
)
def test_link_files_that_cannot_be(linked, text, said):
    linked.write("link.csv", text)
    sources = ("demo", "lab", "dx", "forms") if "{}" in said[0] else ("",)
    assert linked.problems() == [line.format(source) for line in said for source in sources]


def test_a_missing_link_file(linked):
    (linked.folder / "link.csv").unlink()
    assert linked.problems() == ["link.csv  there is no such file"]


def test_sources_that_know_a_person_by_other_births(clinic):
    clinic.write("consent.csv", "pid,born,permit,purpose,until,where\np1,1950-12-01,1,,,\np2,1940-01-01,1,,,\n")
    clinic.replace("S.yaml", "attributes: [], consent", "attributes: [], birth: born, consent")
    assert clinic.problems() == ['demo.csv:3  the sources give two dates of birth for the person "p2": 1940-01-01 and 1960-06-15']
    clinic.replace("consent.csv", "1940-01-01", "1961-01-01")
    assert clinic.column("age")["p2"] == pytest.approx(59.709788)  # the first source's
