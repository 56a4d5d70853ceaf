"""The example of docs/cohorts.md as a user runs it: synthetic sources of three kinds, an ingest, and a model of whoever permits it."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet
import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner
from witness.synthetic_fhir import SNOMED, concept, write_export

DOCS = Path(__file__).parents[3] / "docs" / "cohorts.md"
N = 90
WEARERS = range(0, N, 15)
FIT = ("fit", "out/patients.parquet", "--card", "out/patients.card.yaml", "--outcome", "time=stroke_days,event=stroke_event", "--purpose", "train")


@pytest.fixture
def clinic(tmp_path, monkeypatch):
    """The folder that the example speaks of; everything in it is made up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIALSIM_AUDIT", raising=False)
    rng = np.random.default_rng(4)
    write_export(tmp_path / "fhir", n=N, seed=2)
    had = [person for person in range(N) if rng.random() < 0.4]
    strokes = [_condition(person, date(2019, 6, 1) + timedelta(days=int(rng.integers(500)))) for person in had]
    with (tmp_path / "fhir/Condition.ndjson").open("a") as file:
        file.writelines(strokes)
    minutes = [datetime(2018, 12, 20, tzinfo=ZoneInfo("UTC")) + timedelta(minutes=minute) for minute in range(3 * 1440)]
    steps = [
        f"d{person},{time.astimezone(ZoneInfo('Europe/Berlin')):%Y-%m-%dT%H:%M:%S},{count}\n"
        for person in WEARERS
        for time, count in zip(minutes, rng.poisson(5 + person / 30, len(minutes)).tolist(), strict=True)
    ]
    (tmp_path / "steps.csv").write_text("id,stamp,steps\n" + "".join(steps))
    (tmp_path / "link.csv").write_text("person,fhir_id,device\n" + "".join(f"P{i:02d},p{i},{f'd{i}' if i in WEARERS else ''}\n" for i in range(N)))
    (tmp_path / "SOURCES.yaml").write_text(DOCS.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0])
    return tmp_path


def _condition(person: int, when: date) -> str:
    stroke = {"resourceType": "Condition", "subject": {"reference": f"Patient/p{person}"}, "code": concept(SNOMED, "230690007")}
    return json.dumps(stroke | {"onsetDateTime": when.isoformat()}) + "\n"


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["cohort", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _person(resource: dict) -> str:
    return f"P{int(resource['subject']['reference'].split('/')[-1][1:]):02d}"


def test_the_example_is_what_its_files_say(clinic):
    """Index, HbA1c, steps and stroke of every person, once more from the resources one by one."""
    _run("ingest", "SOURCES.yaml", "--out", "out")
    table = {row["person"]: row for row in pyarrow.parquet.read_table("out/patients.parquet").to_pylist()}
    conditions = [item for item in _lines(clinic / "fhir/Condition.ndjson") if item.get("verificationStatus") is None]
    index = {_person(item): date.fromisoformat(item["onsetDateTime"]) for item in conditions if item["code"]["coding"][0]["code"] == "44054006"}
    assert {person: row["index_date"] for person, row in table.items()} == index
    strokes = {_person(item): date.fromisoformat(item["onsetDateTime"]) for item in conditions if item["code"]["coding"][0]["code"] == "230690007"}
    values: dict[str, list[tuple[datetime, float]]] = {}
    for item in _lines(clinic / "fhir/Observation.ndjson"):
        if item["code"]["coding"][0]["code"] == "4548-4" and item["status"] == "final" and "valueQuantity" in item:
            when = datetime.fromisoformat(item["effectiveDateTime"]).astimezone(ZoneInfo("UTC"))
            values.setdefault(_person(item), []).append((when, item["valueQuantity"]["value"]))
    for person, row in table.items():
        before = [value for when, value in sorted(values[person]) if 0 <= (row["index_date"] - when.date()).days <= 365]
        assert row["hba1c"] == (before[-1] if before else None), person
        days = (strokes[person] - row["index_date"]).days if person in strokes else -1
        assert bool(row["stroke_event"]) == (0 < days <= row["stroke_days"]), person
        if row["stroke_event"]:
            assert row["stroke_days"] == days
    worn = {person for person, row in table.items() if row["steps"] is not None}
    assert worn == {f"P{person:02d}" for person in WEARERS} & set(table)
    assert all(table[person]["steps"] == pytest.approx(5 + int(person[1:]) / 30, abs=6 * (8 / 4320) ** 0.5) for person in worn)  # 6 standard errors
    consents = _lines(clinic / "fhir/Consent.ndjson")
    stated = {kind: {item["patient"]["reference"][8:] for item in consents if item["provision"]["type"] == kind} for kind in ("permit", "deny")}
    permitted = {f"P{int(person[1:]):02d}" for person in stated["permit"] - stated["deny"]}
    assert {person for person, row in table.items() if row["consent_train"]} == permitted & set(table)


def test_what_denied_persons_have_changes_nothing_in_the_model(clinic):
    """Their values are made absurd in the sources; the model of the others draws the same patients."""
    _run("ingest", "SOURCES.yaml", "--out", "out")
    _run(*FIT, "--out", "a.model")
    _run("sample", "a.model", "--n", "200", "--seed", "3", "--out", "a.csv")
    rows = pyarrow.parquet.read_table("out/patients.parquet").to_pylist()
    denied = {row["person"] for row in rows if not row["consent_train"]}
    assert 3 < len(denied) < len(rows) / 2
    for kind in ("Patient", "Observation", "Condition"):
        changed = _lines(clinic / f"fhir/{kind}.ndjson")
        for item in changed:
            if kind == "Patient" and f"P{int(item['id'][1:]):02d}" in denied:
                item |= {"gender": "other", "birthDate": "1900-01-01"}
            elif kind == "Observation" and _person(item) in denied and "valueQuantity" in item:
                item["valueQuantity"]["value"] = 97531.0
            elif kind == "Condition" and _person(item) in denied and item["code"]["coding"][0]["code"] == "230690007":
                item["onsetDateTime"] = "2024-05-01"
        (clinic / f"fhir/{kind}.ndjson").write_text("".join(json.dumps(item) + "\n" for item in changed))
    _run("ingest", "SOURCES.yaml", "--out", "out", "--replace")
    poisoned = {row["person"]: row for row in pyarrow.parquet.read_table("out/patients.parquet").to_pylist()}
    assert all(poisoned[person]["sex"] == "other" for person in denied)
    _run(*FIT, "--out", "b.model")
    _run("sample", "b.model", "--n", "200", "--seed", "3", "--out", "b.csv")
    a, b = (Path(f"{name}.csv").read_text().splitlines() for name in "ab")
    unlabelled = [[line.rsplit(",", 1)[0] for line in lines] for lines in (a, b)]
    assert a != b  # the last cell is the model's id, which knows the file
    assert unlabelled[0] == unlabelled[1]


def test_the_commands_after_the_ingest_leave_their_lines_in_one_log(clinic):
    _run("ingest", "SOURCES.yaml", "--out", "out")
    _run(*FIT, "--out", "out/clinic.model")
    actions = [entry["action"] for entry in _lines(clinic / "out/cohort-audit.jsonl")]
    assert actions == ["ingest", "fit"]
    assert not re.search(r'"[Pp]\d', (clinic / "out/cohort-audit.jsonl").read_text())  # nobody's id
    assert _run("audit", "--verify", "out/cohort-audit.jsonl")
