"""A small *synthetic* FHIR R4 bulk export, and a second reader of such exports, line by line, to check the first by.

Nothing in it is of a real person: every number comes from a seeded generator.
"""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

LOINC, SNOMED, RXNORM, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://www.nlm.nih.gov/research/umls/rxnorm", "http://unitsofmeasure.org"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
PHQ9 = ("44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8")
FREQUENCY = ("LA6568-5", "LA6569-3", "LA6570-1", "LA6571-9")
RACES = (("2106-3", "White"), ("2054-5", "Black or African American"), ("2028-9", "Asian"))
ZONES = ("Z", "+02:00", "-05:00")


def write_export(folder: Path, n: int = 200, seed: int = 1, *, compressed: bool = False) -> Path:
    """Writes one NDJSON file per resource type for n made-up patients; the same bytes for the same seed. Returns the folder."""
    rng = np.random.default_rng(seed)
    resources: dict[str, list[dict[str, Any]]] = {
        "Medication": [{"resourceType": "Medication", "id": "metformin", "code": concept(RXNORM, "6809", "metformin")}]
    }
    for index in range(n):
        for resource in _patient(f"p{index}", rng):
            resources.setdefault(resource["resourceType"], []).append(resource)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, found in resources.items():
        write_lines(folder / (f"{kind}.ndjson.gz" if compressed else f"{kind}.ndjson"), found)
    return folder


def write_lines(path: Path, resources: list[dict[str, Any]]) -> Path:
    """Writes resources, one per line."""
    text = "".join(json.dumps(resource, ensure_ascii=False, separators=(",", ":")) + "\n" for resource in resources).encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


def concept(system: str, code: str, display: str = "") -> dict[str, Any]:
    """A CodeableConcept with one coding."""
    return {"coding": [{"system": system, "code": code, "display": display or code}]}


def observation(person: str, code: str, when: str | None, **more: Any) -> dict[str, Any]:
    """An Observation of a LOINC code."""
    found = {"resourceType": "Observation", "status": "final", "code": concept(LOINC, code), "subject": {"reference": f"Patient/{person}"}}
    return found | ({} if when is None else {"effectiveDateTime": when}) | more


def consent(person: str, kind: str | None, purposes: list[str], *, nested: tuple[tuple[str, list[str]], ...] = (), **more: Any) -> dict[str, Any]:
    """An active Consent of the scope research with these codes of v3-ActReason."""
    rule: dict[str, Any] = {"purpose": [{"system": ACT_REASON, "code": code} for code in purposes]} if purposes else {}
    if kind is not None:
        rule["type"] = kind
    if nested:
        rule["provision"] = [{"type": type_, "purpose": [{"system": ACT_REASON, "code": code} for code in codes]} for type_, codes in nested]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": concept("http://terminology.hl7.org/CodeSystem/consentscope", "research"),
        "patient": {"reference": f"Patient/{person}"},
        "dateTime": "2018-01-01",
        "provision": rule,
    } | more


def _quantity(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def _patient(person: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A made-up patient and everything that was said of them."""
    born = date(1940, 1, 1) + timedelta(days=int(rng.integers(20_000)))
    code, name = RACES[rng.integers(3)]
    race = {
        "url": US_CORE + "race",
        "extension": [{"url": "ombCategory", "valueCoding": {"code": code, "display": name}}, {"url": "text", "valueString": name}],
    }
    female = rng.random() < 0.5
    out: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": person, "birthDate": born.isoformat(), "gender": "female" if female else "male", "extension": [race]}
    ]
    if rng.random() < 0.1:
        out[0]["deceasedDateTime"] = "2023-05-01T10:00:00Z"
    start = date(2019, 1, 1) + timedelta(days=int(rng.integers(365)))
    subject = {"reference": f"https://fhir.example/r4/Patient/{person}"}
    diabetes = {"resourceType": "Condition", "subject": subject, "code": concept(SNOMED, "44054006", "Diabetes"), "onsetDateTime": start.isoformat()}
    if rng.random() < 0.05:
        diabetes["verificationStatus"] = concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", "refuted")
    out.append(diabetes)
    severity = rng.normal()
    for visit in range(4):
        when = start + timedelta(days=int(90 * visit + rng.integers(20) - 30))
        clock = f"{when.isoformat()}T{rng.integers(24):02d}:{rng.integers(60):02d}:00{ZONES[rng.integers(3)]}"
        out.append(observation(person, "4548-4", clock, valueQuantity=_quantity(round(7 + severity + 0.3 * float(rng.normal()), 1), "%")))
        pressure = (("8480-6", 130 + 10 * rng.normal()), ("8462-4", 80 + 6 * rng.normal()))
        parts = [{"code": concept(LOINC, item), "valueQuantity": _quantity(round(float(value)), "mm[Hg]")} for item, value in pressure]
        out.append(observation(person, "85354-9", clock, component=parts))
        answers = np.clip(np.round(1 + 0.5 * severity + rng.normal(size=9)), 0, 3).astype(int)
        items = [
            {"linkId": f"/{item}", "answer": [{"valueCoding": {"system": LOINC, "code": FREQUENCY[answer]}}]}
            for item, answer in zip(PHQ9, answers, strict=True)
            if rng.random() > 0.01
        ]
        out.append(
            {
                "resourceType": "QuestionnaireResponse",
                "status": "completed",
                "subject": {"reference": f"Patient/{person}"},
                "authored": clock,
                "item": [{"linkId": "phq9", "item": items}],
            }
        )
    smoking = "266919005" if rng.random() < 0.7 else "77176002"
    out.append(observation(person, "72166-2", start.isoformat(), valueCodeableConcept=concept(SNOMED, smoking)))
    if rng.random() < 0.1:
        out.append(
            observation(person, "4548-4", start.isoformat(), dataAbsentReason=concept("http://terminology.hl7.org/CodeSystem/data-absent-reason", "unknown"))
        )
    if rng.random() < 0.1:
        out.append(observation(person, "4548-4", start.isoformat(), status="entered-in-error", valueQuantity=_quantity(99.0, "%")))
    if rng.random() < 0.6:
        request = {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": {"reference": f"Patient/{person}"}}
        drug = {"medicationReference": {"reference": "Medication/metformin"}} if rng.random() < 0.5 else {"medicationCodeableConcept": concept(RXNORM, "6809")}
        out.append(request | drug | {"authoredOn": (start - timedelta(days=10)).isoformat()})
    given = rng.random()
    if given < 0.9:
        out.append(consent(person, "permit", ["HRESCH"], nested=(("deny", ["HMARKT"]),)))
    if given < 0.05:
        out.append(consent(person, "deny", ["HRESCH"], dateTime="2020-01-01"))
    return out


def values_by_hand(folder: Path) -> list[tuple[str, str, str, datetime, float | None, str | None, str | None, int]]:
    """(person, system, code, UTC time, value, unit, text, line) of every Observation and component with a value, read one line at a time."""
    out = []
    for path in sorted(folder.glob("Observation.ndjson*")):
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line, row in enumerate(text.decode().splitlines(), 1):
            found = json.loads(row)
            if found["status"] in ("entered-in-error", "cancelled"):
                continue
            when = datetime.fromisoformat(found["effectiveDateTime"])
            when = (when if when.tzinfo is None else when.astimezone(UTC)).replace(tzinfo=None)
            parts = found.get("component", [])
            for item in (found, *parts):
                quantity, coded = item.get("valueQuantity"), item.get("valueCodeableConcept")
                if quantity is None and coded is None and not (item is found and parts):
                    continue
                value, unit = (quantity["value"], quantity["code"]) if quantity else (None, None)
                word = coded["coding"][0]["code"] if coded else None
                out += [
                    (found["subject"]["reference"].split("/")[-1], coding["system"], coding["code"], when, value, unit, word, line)
                    for coding in item["code"]["coding"]
                ]
    return out
