"""FHIR exports against a reader that takes one line at a time, and every way in which a line can be wrong."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from witness.synthetic_fhir import LOINC, RXNORM, SNOMED, concept, consent, observation, values_by_hand, write_export, write_lines

from trialsim.data.ingest.checks import check_persons
from trialsim.data.sources import Fhir
from trialsim.data.sources.fhir.consents import ACT_REASON, OWN_SYSTEM, PURPOSES
from trialsim.data.staging import Staging
from trialsim.errors import DataError


def _read(folder: Path, files: str = "*.ndjson*", codes: frozenset[tuple[str, str]] = frozenset(), **options) -> Staging:
    staging = Staging.open()
    Fhir(kind="fhir", files=files, **options).read(staging, name="ehr", folder=folder, codes=codes)
    return staging


def _rows(staging: Staging, query: str) -> list[tuple]:
    return staging.connection.execute(query).fetchall()


def _steps(staging: Staging) -> dict[str, int]:
    return {step.step: step.n for step in staging.filters}


def _problems(staging: Staging) -> list[str]:
    return [str(problem).removeprefix(str(Path(problem.file).parent)).lstrip("/") for problem in staging.problems]


def _patient(person: str = "a", **more) -> dict:
    return {"resourceType": "Patient", "id": person, "birthDate": "1960-02-29"} | more


def _events(tmp_path: Path, *resources: dict, codes: frozenset[tuple[str, str]] = frozenset(), columns: str = "code, start, value, unit, text") -> list[tuple]:
    write_lines(tmp_path / "x.ndjson", list(resources))
    staging = _read(tmp_path, codes=codes)
    assert not staging.problems
    return _rows(staging, f"SELECT {columns} FROM events WHERE kind <> 'attribute' ORDER BY line, code")


def _messages(tmp_path: Path, *resources: dict | str) -> list[str]:
    text = "\n".join(item if isinstance(item, str) else json.dumps(item) for item in resources)
    (tmp_path / "x.ndjson").write_text(text)
    return _problems(_read(tmp_path))


@pytest.mark.parametrize("compressed", [False, True])
def test_observations_are_those_read_by_hand(tmp_path, compressed):
    folder = write_export(tmp_path, n=60, seed=3, compressed=compressed)
    staging = _read(folder)
    assert not staging.problems
    found = _rows(staging, "SELECT person, system, code, start, value, unit, text, line FROM events WHERE kind = 'observation'")
    by_hand = values_by_hand(folder)
    assert sorted(found, key=repr) == sorted(((*row[:4], None if row[4] is None else float(row[4]), *row[5:]) for row in by_hand), key=repr)
    steps = _steps(staging)
    assert steps["Observation: kept"] == len(by_hand) > 900
    read = steps["Observation: read"] - steps["Observation: left out, entered in error or cancelled"] - steps["Observation: left out, values that are absent"]
    assert read == len({row[-1] for row in by_hand})


def test_only_wanted_codes_are_kept_and_all_are_counted(tmp_path):
    folder = write_export(tmp_path, n=30, seed=3)
    every, some = _read(folder), _read(folder, codes=frozenset({(LOINC, "8480-6"), (SNOMED, "44054006"), ("http://other", "8462-4")}))
    assert _steps(some)["Observation: read"] == _steps(every)["Observation: read"]
    assert _steps(some)["Observation: values, those of components too"] == _steps(every)["Observation: values, those of components too"]
    assert {row[0] for row in _rows(some, "SELECT DISTINCT code FROM events WHERE kind <> 'attribute'")} == {"8480-6", "44054006"}
    count = "SELECT count(*) FROM events WHERE code = '8480-6'"
    assert _rows(some, count) == _rows(every, count)


def test_a_folder_one_mixed_file_and_several_files_hold_the_same(tmp_path):
    folder = write_export(tmp_path / "split", n=20, seed=5)
    lines = [line for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]
    (tmp_path / "all.ndjson").write_text("\n\n".join(lines[::-1]))  # blank lines between, the last line without an end
    what = "SELECT source, person, kind, system, code, start, stop, value, unit, text FROM events ORDER BY ALL"
    split, mixed = _read(tmp_path, "split"), _read(tmp_path, "all.ndjson")
    assert not split.problems + mixed.problems
    assert _rows(split, what) == _rows(mixed, what)
    kinds = {"attribute": "Patient", "condition": "Condition", "observation": "Observation", "medication": "MedicationRequest"}
    for kind, line in _rows(mixed, "SELECT DISTINCT kind, line FROM events"):
        assert line % 2 == 1
        assert json.loads(lines[::-1][(line - 1) // 2])["resourceType"] == kinds[kind]
    assert _rows(split, "SELECT person, permit, purpose, start FROM consents ORDER BY ALL") == _rows(
        mixed, "SELECT person, permit, purpose, start FROM consents ORDER BY ALL"
    )


def test_patients(tmp_path):
    omb = {"url": "ombCategory", "valueCoding": {"code": "2106-3", "display": "white person"}}
    race = {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"}
    other = {"url": "ombCategory", "valueCoding": {"code": "2028-9"}}
    write_lines(
        tmp_path / "x.ndjson",
        [
            _patient("a", gender="female", deceasedDateTime="2021-03-04T23:30:00-05:00", extension=[race | {"extension": [omb, other]}]),
            _patient("b", birthDate="1950", deceasedBoolean=False, extension=[race | {"extension": [{"url": "text", "valueString": "mixed"}]}]),
            {"resourceType": "Patient", "id": "c", "extension": [{"url": race["url"].replace("race", "birthsex"), "valueCode": "M"}]},
        ],
    )
    staging = _read(tmp_path)
    assert not staging.problems
    assert _rows(staging, "SELECT person, birth, death, line FROM persons ORDER BY person") == [
        ("a", date(1960, 2, 29), date(2021, 3, 5), 1),
        ("b", date(1950, 1, 1), None, 2),
        ("c", None, None, 3),
    ]
    assert _rows(staging, "SELECT person, code, text, value FROM events ORDER BY ALL") == [
        ("a", "deceased", None, 1.0),
        ("a", "race", "Asian; White", None),
        ("a", "sex", "female", None),
        ("b", "deceased", None, 0.0),
        ("b", "race", "mixed", None),
        ("c", "birth_sex", "M", None),
    ]
    steps = _steps(staging)
    assert steps["Patient: without a birthDate"] == steps["Patient: partial birth dates read as their first day"] == 1


@pytest.mark.parametrize(
    "written, utc",
    [
        ("2020-03-01T01:30:00+02:00", datetime(2020, 2, 29, 23, 30)),
        ("2020-03-01T01:30:00.250Z", datetime(2020, 3, 1, 1, 30, 0, 250_000)),
        ("2020-12-31T23:00:00-08:00", datetime(2021, 1, 1, 7)),
        ("2020-03-01T01:30:00", datetime(2020, 3, 1, 1, 30)),
        ("2020-03-01", datetime(2020, 3, 1)),
        ("2020-03", datetime(2020, 3, 1)),
        ("2020", datetime(2020, 1, 1)),
    ],
)
def test_times_are_utc_and_partial_dates_the_first_day(tmp_path, written, utc):
    assert _events(tmp_path, observation("a", "x", written, valueInteger=1), columns="start") == [(utc,)]


def test_values_of_every_kind(tmp_path):
    period = {"effectivePeriod": {"start": "2020-01-01", "end": "2020-01-02"}}
    kept = [
        observation("a", "q", "2020", valueQuantity={"value": 6.5e-1, "unit": "per cent", "system": "http://unitsofmeasure.org", "code": "%"}),
        observation("a", "r", "2020", valueQuantity={"value": 5, "unit": "drops", "system": "http://local", "code": "D"}),
        observation("a", "s", "2020", valueQuantity={"value": 3, "comparator": "<", "unit": "mg"}),
        observation("a", "t", None, valueBoolean=True, effectiveInstant="2020-01-01T00:00:00Z"),
        observation("a", "u", None, valueString="Größe ≥ 'x'", **period),
        observation("a", "v", "2020", valueCodeableConcept={"text": "in words"}),
        observation("a", "w", "2020", valueInteger=0),
    ]
    left_out = [
        observation("a", "x", "2020", dataAbsentReason=concept("x", "unknown")),
        observation("a", "x", "2020", valueRange={"low": {"value": 1}}),
        observation("a", "x", None, valueInteger=1),
        observation("a", "x", "2020", status="cancelled", valueInteger=1),
        observation("a", "x", "2020", valueInteger=1) | {"code": {"text": "uncoded"}},
        observation("a", "x", "2020", valueInteger=1, subject={"reference": "Group/1"}),
    ]
    start = datetime(2020, 1, 1)
    assert _events(tmp_path, *kept, *left_out) == [
        ("q", start, 0.65, "%", None),
        ("r", start, 5.0, "drops", None),
        ("s", start, 3.0, "mg", None),
        ("t", start, 1.0, None, None),
        ("u", start, None, None, "Größe ≥ 'x'"),
        ("v", start, None, None, "in words"),
        ("w", start, 0.0, None, None),
    ]
    steps = _steps(_read(tmp_path))
    for words in (
        "left out, values that are absent",
        "left out, values of a kind that is not read",
        "left out, without a date",
        "left out, without a code",
        "left out, entered in error or cancelled",
        "left out, the subject is not a patient",
        "values with a comparator, read as the number",
    ):
        assert steps[f"Observation: {words}"] == 1, words


def test_codings_are_one_event_each_and_repeated_ones_one(tmp_path):
    twice = {"coding": [{"system": LOINC, "code": "a"}, {"system": LOINC, "code": "a"}, {"system": SNOMED, "code": "b"}, {"display": "no code"}]}
    assert _events(tmp_path, observation("a", "", "2020", valueInteger=1) | {"code": twice}, columns="system, code") == [(LOINC, "a"), (SNOMED, "b")]


@pytest.mark.parametrize(
    "reference", ["Patient/a", "https://fhir.example/r4/Patient/a", "Patient/a/_history/3", "https://x/Patient/a/_history/3", "urn:uuid:a"]
)
def test_references(tmp_path, reference):
    assert _events(tmp_path, observation("", "x", "2020", valueInteger=1, subject={"reference": reference}), columns="person") == [("a",)]


def test_conditions(tmp_path):
    def condition(**more) -> dict:
        return {"resourceType": "Condition", "subject": {"reference": "Patient/a"}, "code": concept(SNOMED, "1")} | more

    status = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
    assert _events(
        tmp_path,
        condition(onsetDateTime="2020-01-02", recordedDate="2020-05-05", abatementDateTime="2021-01-01"),
        condition(onsetPeriod={"start": "2020-02"}, abatementPeriod={"start": "2020-03-01", "end": "2020-04-01"}),
        condition(recordedDate="2020-05-05", onsetString="in childhood", verificationStatus=concept(status, "confirmed")),
        condition(onsetDateTime="2020", verificationStatus=concept(status, "refuted")),
        condition(onsetDateTime="2020", verificationStatus=concept(status, "entered-in-error")),
        condition(),
        columns="line, start, stop",
    ) == [(1, datetime(2020, 1, 2), datetime(2021, 1, 1)), (2, datetime(2020, 2, 1), datetime(2020, 4, 1)), (3, datetime(2020, 5, 5), None)]
    steps = _steps(_read(tmp_path))
    assert steps["Condition: left out, entered in error or refuted"] == 2
    assert steps["Condition: left out, without a date"] == steps["Condition: dated by when they were recorded"] == 1


def test_prescriptions_name_their_medication_or_refer_to_it(tmp_path):
    def request(reference: str | None = None, **more) -> dict:
        drug = {"medicationCodeableConcept": concept(RXNORM, "own")} if reference is None else {"medicationReference": {"reference": reference}}
        return {"resourceType": "MedicationRequest", "status": "active", "subject": {"reference": "Patient/a"}, "authoredOn": "2020-01-01"} | drug | more

    assert _events(
        tmp_path,
        request(dispenseRequest={"validityPeriod": {"end": "2020-02-01"}}),
        request("Medication/m"),
        request("https://fhir.example/Medication/m"),
        request("#in", contained=[{"resourceType": "Medication", "id": "in", "code": concept(RXNORM, "inside")}]),
        request("Medication/absent"),
        request(status="draft"),
        request(doNotPerform=True),
        request(intent="proposal"),
        {"resourceType": "Medication", "id": "m", "code": concept(RXNORM, "referred")},  # after those that refer to it
        columns="line, code, stop",
    ) == [(1, "own", datetime(2020, 2, 1)), (2, "referred", None), (3, "referred", None), (4, "inside", None)]
    steps = _steps(_read(tmp_path))
    assert steps["MedicationRequest: read"] == 8
    assert {step.split("left out, ")[1] for step in steps if "MedicationRequest: left out" in step} == {
        "whose Medication is not in the export",
        "entered in error, cancelled or a draft",
        "asks not to give it",
        "a proposal, plan or option",
    }


# Consents


def _decisions(tmp_path: Path, *consents: dict, **options) -> dict[str, str]:
    """Purpose → `permit`, `deny` (which wins) or nothing, whatever their periods."""
    write_lines(tmp_path / "x.ndjson", list(consents))
    staging = _read(tmp_path, **options)
    assert not staging.problems
    found = dict(_rows(staging, "SELECT purpose, bool_and(permit) FROM consents GROUP BY purpose"))
    return {purpose: "permit" if permit else "deny" for purpose, permit in found.items()}


RESEARCH = dict.fromkeys(("train", "simulate", "external_control"), "permit")
NOTHING = dict.fromkeys(PURPOSES, "deny")


@pytest.mark.parametrize(
    "given, expected",
    [
        (consent("a", "permit", ["HRESCH"]), RESEARCH),
        (consent("a", "permit", ["HMARKT"]), {"commercial": "permit"}),
        (consent("a", "permit", ["TREAT"]), {}),
        (consent("a", "deny", ["TREAT"]), {}),
        (consent("a", "deny", ["CLINTRCH"]), NOTHING),
        (consent("a", "permit", []), RESEARCH),
        (consent("a", "permit", [], scope=concept("x", "patient-privacy")), dict.fromkeys(PURPOSES, "permit")),
        (consent("a", "permit", [], scope=concept("x", "treatment")), {}),
        (consent("a", "deny", [], scope=concept("x", "treatment")), {}),
        (consent("a", "permit", ["HRESCH"], scope=concept("x", "local")), {}),
        (consent("a", "deny", [], scope=concept("x", "local")), NOTHING),
        (consent("a", "permit", ["HRESCH"], status="inactive"), {}),
        (consent("a", "permit", ["HRESCH"], status="entered-in-error"), {}),
        (consent("a", None, [], policyRule=concept("v3-ActCode", "OPTIN")), RESEARCH),
        (consent("a", None, [], policyRule=concept("v3-ActCode", "OPTOUT")), NOTHING),
        (consent("a", None, ["HRESCH"]), {}),
        # Nested provisions are exceptions to the rule around them.
        (consent("a", "permit", ["HRESCH"], nested=(("deny", ["HMARKT"]),)), RESEARCH | {"commercial": "deny"}),
        (consent("a", "deny", [], nested=(("permit", ["HRESCH"]),)), RESEARCH | {"commercial": "deny", "genomic": "deny"}),
        (consent("a", "permit", [], nested=(("deny", ["CLINTRCH"]), ("permit", ["HRESCH"]))), NOTHING),
        (consent("a", "permit", ["HRESCH"], nested=((None, ["HRESCH"]),)), NOTHING),
    ],
)
def test_what_one_consent_says(tmp_path, given, expected):
    assert _decisions(tmp_path, given) == expected


def test_purposes_of_this_package_and_of_unknown_systems(tmp_path):
    def rule(kind: str, system: str, code: str) -> dict:
        return consent("a", None, []) | {"provision": {"type": kind, "purpose": [{"system": system, "code": code}]}}

    assert _decisions(tmp_path, rule("permit", OWN_SYSTEM, "genomic")) == {"genomic": "permit"}
    assert _decisions(tmp_path, rule("deny", OWN_SYSTEM, "train")) == {"train": "deny"}
    assert _decisions(tmp_path, rule("permit", ACT_REASON[2], "HRESCH")) == RESEARCH
    assert _decisions(tmp_path, rule("permit", "http://local", "HRESCH")) == {}
    assert _decisions(tmp_path, rule("deny", "http://local", "no-sale")) == NOTHING
    assert _messages(tmp_path, rule("deny", OWN_SYSTEM, "Train")) == [
        'x.ndjson:1  Consent with the purpose "Train", which is none of train, simulate, external_control, commercial, genomic'
    ]


@pytest.mark.parametrize(
    "given, words",
    [
        ({"provision": [{"type": "deny"}]}, "`provision` is a list, where it is one map in R4"),
        ({"provision": "deny"}, "`provision` is a word, where it is one map in R4"),
        ({"provision": {"type": ["deny"]}}, "`provision.type` is a list, where it is one word in R4"),
        ({"provision": {"type": "permit", "provision": {"type": "deny"}}}, "a `provision` in a provision is a map, where it is a list in R4"),
        ({"provision": {"type": "permit", "provision": ["deny"]}}, "a `provision` in a provision is a list of words, where it is one of maps in R4"),
        ({"provision": {"type": "permit", "provision": [{"provision": {"type": "deny"}}]}}, "a `provision` in a provision is a map, where it is a list in R4"),
        ({"provision": {"type": "permit", "purpose": {"code": "HRESCH"}}}, "a `purpose` is a map, where it is a list in R4"),
        ({"provision": {"type": "permit", "actor": {"reference": {}}}}, "an `actor` is a map, where it is a list in R4"),
        ({"provision": {"type": "permit", "action": concept("x", "access")}}, "an `action` is a map, where it is a list in R4"),
        ({"policyRule": [concept("v3-ActCode", "OPTOUT")]}, "`policyRule` is a list, where it is one map in R4"),
        ({"policyRule": {"coding": {"code": "OPTOUT"}}}, "`policyRule.coding` is a map, where it is a list in R4"),
        ({"decision": "deny"}, "it has a `decision`, which R4 does not have"),
        ({"status": "Active"}, 'the status "Active", which R4 does not have'),
        ({"status": None}, "it has no status"),
    ],
)
def test_a_consent_of_another_shape_could_deny_what_is_not_read(tmp_path, given, words):
    permit = consent("a", "permit", ["HRESCH"])
    found = _messages(tmp_path, permit, permit | given, permit)
    assert found == [f"x.ndjson:2  Consent whose rules cannot be told: {words}"]


def test_a_permit_that_a_modifier_extension_changes_permits_nothing(tmp_path):
    changed = {"modifierExtension": [{"url": "http://local/not", "valueBoolean": True}]}
    permit, deny = (consent("a", kind, ["HRESCH"]) for kind in ("permit", "deny"))
    assert _decisions(tmp_path, permit | changed) == {}
    assert _decisions(tmp_path, deny | changed) == NOTHING
    permit["provision"] |= changed
    assert _decisions(tmp_path, permit) == {}


def test_a_limited_permit_permits_nothing_and_a_limited_denial_denies(tmp_path):
    actor = {"actor": [{"reference": {"reference": "Organization/1"}}]}
    for limit in ({"class": [{"code": "Observation"}]}, {"action": [concept("x", "access")]}, {"dataPeriod": {"start": "2020"}}, actor):
        permit, deny = (consent("a", kind, ["HRESCH"]) for kind in ("permit", "deny"))
        permit["provision"] |= limit
        deny["provision"] |= limit
        assert _decisions(tmp_path, permit) == {}
        assert _decisions(tmp_path, deny) == NOTHING
    permit = consent("a", "permit", ["HRESCH"])
    permit["provision"] |= actor | {"action": [concept("x", "use"), concept("x", "access")]}
    assert _decisions(tmp_path, permit, recipients=("Organization/1",)) == RESEARCH
    outer = consent("a", "permit", ["TREAT"], nested=(("permit", ["HRESCH"]),))
    outer["provision"] |= actor
    assert _decisions(tmp_path, outer) == {}  # the limit holds for what is in it


def test_provisions_nested_two_deep_count_and_deeper_permits_do_not(tmp_path):
    def nested(*kinds: str) -> dict:
        rule: dict = {"type": kinds[-1]}
        for kind in reversed(kinds[:-1]):
            rule = {"type": kind, "provision": [rule]}
        return consent("a", None, []) | {"provision": rule}

    assert _decisions(tmp_path, nested("permit", "deny", "permit")) == RESEARCH | {"commercial": "deny", "genomic": "deny"}
    assert _decisions(tmp_path, nested("deny", "permit", "deny")) == NOTHING
    assert "permit" not in _decisions(tmp_path, nested("permit", "permit", "permit", "deny")).values()


def test_periods(tmp_path):
    permit = consent("a", "permit", ["HMARKT"], dateTime="2019-05-06", policy=[{"authority": "urn:iso:3166:DE"}])
    dated = consent("b", "permit", ["HMARKT"])
    dated["provision"] |= {"period": {"start": "2020-02", "end": "2021-02"}}
    exception = consent("c", "deny", ["HMARKT"], nested=(("permit", ["HMARKT"]),))
    exception["provision"]["provision"][0]["period"] = {"start": "2020-01-01", "end": "2020-12-31"}
    inherits = consent("d", "permit", ["TREAT"], nested=(("permit", ["HMARKT"]),))
    inherits["provision"]["period"] = {"start": "2020-01-01", "end": "2020-06-30"}
    write_lines(tmp_path / "x.ndjson", [permit, dated, exception, inherits])
    staging = _read(tmp_path)
    assert not staging.problems
    assert _rows(staging, "SELECT person, permit, start, expiry, jurisdiction FROM consents ORDER BY person, start NULLS FIRST") == [
        ("a", True, date(2019, 5, 6), None, "urn:iso:3166:DE"),
        ("b", True, date(2020, 2, 1), date(2021, 2, 28), None),
        ("c", False, date(2018, 1, 1), date(2019, 12, 31), None),
        ("c", True, date(2020, 1, 1), date(2020, 12, 31), None),
        ("c", False, date(2021, 1, 1), None, None),
        ("d", True, date(2020, 1, 1), date(2020, 6, 30), None),
    ]


def _random_rule(rng: np.random.Generator, depth: int) -> dict:
    """A made-up provision with provisions in it, two levels deep at most."""
    rule: dict = {"type": str(rng.choice(["permit", "deny"]))}
    if rng.random() < 0.8:
        rule["purpose"] = [{"system": OWN_SYSTEM, "code": str(code)} for code in rng.choice(PURPOSES, 2)]
    first, last = sorted(rng.integers(1, 366, 2))
    if rng.random() < 0.4:
        rule["period"] = {"start": f"{date(2020, 1, 1) + timedelta(days=int(first))}"}
    if rng.random() < 0.4:
        rule["period"] = rule.get("period", {}) | {"end": f"{date(2020, 1, 1) + timedelta(days=int(last))}"}
    if depth < 2 and rng.random() < 0.7:
        rule["provision"] = [_random_rule(rng, depth + 1) for _ in range(rng.integers(1, 3))]
    return rule


def _by_hand(rule: dict, purpose: str, day: date, inherited: tuple[str, ...] = PURPOSES, depth: int = 0) -> list[tuple[int, bool]]:
    """(depth, permits) of every rule that holds for a purpose on a day."""
    period = rule.get("period", {})
    if not period.get("start", "0") <= day.isoformat() <= period.get("end", "9"):
        return []
    purposes = tuple(coding["code"] for coding in rule["purpose"]) if "purpose" in rule else inherited
    found = [(depth, rule["type"] == "permit")] if purpose in purposes else []
    return found + [holding for inner in rule.get("provision", ()) for holding in _by_hand(inner, purpose, day, purposes, depth + 1)]


def test_random_consents_say_on_every_day_what_their_rules_say_by_hand(tmp_path):
    rng = np.random.default_rng(11)
    rules = [_random_rule(rng, 0) for _ in range(400)]
    common = {"scope": concept("x", "patient-privacy"), "dateTime": None}
    write_lines(tmp_path / "x.ndjson", [consent(f"{index}", None, [], **common) | {"provision": rule} for index, rule in enumerate(rules)])
    staging = _read(tmp_path)
    assert not staging.problems
    rows: dict[tuple[str, str], list[tuple]] = {}
    for person, purpose, *decision in _rows(staging, "SELECT person, purpose, permit, start, expiry FROM consents"):
        rows.setdefault((person, purpose), []).append(tuple(decision))
    met = Counter()
    for index, rule in enumerate(rules):
        for purpose in PURPOSES:
            for month in range(12):
                day = date(2020, month + 1, 15)
                holding = _by_hand(rule, purpose, day)
                deepest = [permits for depth, permits in holding if depth == max(holding)[0]]
                said = [permit for permit, start, expiry in rows.get((str(index), purpose), []) if (start or day) <= day <= (expiry or day)]
                if said or deepest:
                    assert (bool(said) and all(said)) == (bool(deepest) and all(deepest)), (rule, purpose, day)
                    met[bool(deepest) and all(deepest)] += 1
    assert min(met.values()) > 2000


def test_contradicting_consents_are_counted(tmp_path):
    apart = consent("c", "deny", ["HMARKT"])
    apart["provision"]["period"] = {"end": "2017-01-01"}
    both = [consent("a", "permit", ["HRESCH"]), consent("a", "deny", ["HRESCH"]), consent("b", "permit", ["HRESCH"]), consent("c", "permit", ["HMARKT"]), apart]
    write_lines(tmp_path / "x.ndjson", both)
    staging = _read(tmp_path)
    assert not staging.problems
    assert _steps(staging)["Consent: persons for whom one permits what another denies (the denial wins)"] == 1
    assert set(_rows(staging, "SELECT permit FROM consents WHERE person = 'a'")) == {(True,), (False,)}


# What is wrong


def test_lines_that_hold_no_resource_are_named(tmp_path):
    good = json.dumps(observation("a", "x", "2020", valueInteger=1))
    assert _messages(tmp_path, good, '{"resourceType":"Obs', good, "[1]", '{"id":"1"}', "", "  ", good, good[:40]) == [
        "x.ndjson:2  the line is not valid JSON: Unterminated string starting at: line 1 column 17 (char 16)",
        "x.ndjson:4  the line is not a JSON object",
        "x.ndjson:5  the resource has no resourceType",
        "x.ndjson:9  the last line is cut off: it is not a whole JSON object",
    ]
    assert _messages(tmp_path, good, "{}", good) == ["x.ndjson:2  the resource has no resourceType"]
    assert _messages(tmp_path, {"resourceType": "Bundle"}) == ["x.ndjson  holds a Bundle, where bulk NDJSON has one resource per line without one"]


def test_what_is_wrong_with_resources_is_named(tmp_path):
    fine = observation("a", "x", "2020", valueInteger=1)
    cases = [
        ({"subject": {}}, "Observation without a subject"),
        ({"subject": {"identifier": {"value": "1"}}}, "Observation without a subject"),
        ({"subject": {"reference": "#p"}}, 'Observation whose subject is no reference to a patient: "#p"'),
        ({"subject": {"reference": "Patient/"}}, 'Observation whose subject is no reference to a patient: "Patient/"'),
        ({"effectiveDateTime": "2020-02-30"}, 'Observation with a date that is none: "2020-02-30"'),
        ({"effectiveDateTime": "01/02/2020"}, 'Observation with a date that is none: "01/02/2020"'),
        ({"effectiveDateTime": "infinity"}, 'Observation with a date that is none: "infinity"'),
        ({"effectiveDateTime": "2020-01-01T25:00:00Z"}, 'Observation with a date that is none: "2020-01-01T25:00:00Z"'),
        ({"valueQuantity": {"value": "high"}}, 'Observation with a value that is no finite number: "high"'),
        ({"valueQuantity": {"value": float("nan")}}, 'Observation with a value that is no finite number: "NaN"'),
        ({"component": [{"code": concept(LOINC, "y"), "valueQuantity": {"value": "1e999"}}]}, 'Observation with a value that is no finite number: "1e999"'),
    ]
    found = _messages(tmp_path, *({**fine, **wrong} for wrong, _ in cases))
    assert sorted(found, key=lambda words: int(words.split(":")[1].split()[0])) == [f"x.ndjson:{line}  {words}" for line, (_, words) in enumerate(cases, 1)]
    assert _messages(tmp_path, {"resourceType": "Patient"}, _patient(birthDate="1960-13-01")) == [
        "x.ndjson:1  Patient without an id",
        'x.ndjson:2  Patient whose birthDate is no date: "1960-13-01"',
    ]
    assert _messages(tmp_path, {"resourceType": "Condition"}) == ["x.ndjson:1  Condition without a subject"]
    assert _messages(tmp_path, consent("a", "allow", ["HRESCH"]), consent("a", "permit", [], patient=None)) == [
        "x.ndjson:2  Consent without a subject",
        'x.ndjson:1  Consent with a provision that is neither permit nor deny: "allow"',
    ]
    late = consent("a", "permit", ["HRESCH"], dateTime="soon")
    late["provision"]["period"] = {"start": "2021-01-01", "end": "2020"}
    assert _messages(tmp_path, late) == [
        'x.ndjson:1  Consent with a date that is none: "soon"',
        "x.ndjson:1  Consent with a period that ends before it starts: 2021-01-01 to 2020",
    ]


def test_two_patients_with_one_id_are_named_by_the_ingest(tmp_path):
    write_lines(tmp_path / "1.ndjson", [_patient("a"), _patient("b")])
    write_lines(tmp_path / "2.ndjson", [_patient("c"), _patient("a")])
    staging = _read(tmp_path)
    check_persons(staging, ["ehr"])
    (problem,) = staging.problems
    assert (Path(problem.file).name, problem.line) == ("2.ndjson", 2)
    assert 'have the id "a"' in problem.message


def test_many_problems_of_a_kind_are_named_in_part_and_counted(tmp_path):
    bad = observation("a", "x", "2020", valueInteger=1, subject={})
    found = _messages(tmp_path, *[bad] * 50)
    assert len(found) == 21
    assert found[-1] == "x.ndjson:21  and in 30 or more lines from here on: Observation without a subject"
    assert len(_messages(tmp_path, *["{"] * 50)) == 22


def test_files_that_cannot_be_read(tmp_path):
    good = json.dumps(observation("a", "x", "2020", valueInteger=1)).encode()
    for name, content, words in (
        ("x.ndjson", b"", "x.ndjson  the file is empty"),
        ("x.ndjson", b"\n \n", "x.ndjson  the file is empty"),
        ("x.ndjson", good + b'\n{"a":"\xff"}\n', "x.ndjson:2  the line is not UTF-8 text (byte 7)"),
        ("x.ndjson", good + b'\n{"a":"\x01"}\n', "x.ndjson:2  the line is not valid JSON: it holds a control character"),
        ("x.ndjson", good + b'\n{"a":"\x00"}\n', "x.ndjson:2  the line is not valid JSON: Invalid control character at: line 1 column 7 (char 6)"),
        ("x.ndjson", good + b"\n" + good + b"\r\n", "x.ndjson:2  the line ends in another way (LF or CRLF) than those before it"),
        ("x.ndjson.gz", gzip.compress(good * 1000)[:-20], "x.ndjson.gz:1  the compressed file is cut off"),
        ("x.ndjson.gz", good, "x.ndjson.gz  cannot be read: Not a gzipped file (b'{\"')"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert _problems(_read(tmp_path)) == [words]
        path.unlink()
    with pytest.raises(DataError, match="there is no such file"):
        _read(tmp_path)
    with pytest.raises(DataError, match=r"the folder holds no .ndjson or .ndjson.gz files"):
        _read(tmp_path.parent, tmp_path.name)


def test_crlf_byte_order_marks_and_odd_names_are_read(tmp_path):
    rows = [json.dumps(observation("ä", "x", "2020", valueInteger=value), ensure_ascii=False) for value in range(3)]
    (tmp_path / "it's [1].ndjson").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode() + b"\r\n")
    staging = _read(tmp_path)
    assert not staging.problems
    assert _rows(staging, "SELECT person, line, value FROM events ORDER BY line") == [("ä", 1, 0.0), ("ä", 2, 1.0), ("ä", 3, 2.0)]


def test_elements_of_another_shape_are_absent(tmp_path):
    odd = [
        observation("a", "x", "2020", valueQuantity=[1]),
        observation("a", "x", "2020", component={"valueInteger": 1}),
        observation("a", "x", "2020", valueInteger=1) | {"code": "x"},
        observation("a", "x", "2020", valueInteger=1) | {"code": {"coding": ["x"]}},
    ]
    assert _events(tmp_path, *odd) == []
    assert _messages(tmp_path, observation("a", "x", "2020", valueInteger=1, subject="Patient/a")) == ["x.ndjson:1  Observation without a subject"]


def test_other_resources_are_counted(tmp_path):
    write_lines(tmp_path / "x.ndjson", [_patient(), {"resourceType": "Encounter"}, {"resourceType": "Encounter"}])
    staging = _read(tmp_path)
    assert not staging.problems
    assert _steps(staging)["Encounter: not read by this source"] == 2
