"""Patient: birth, death, sex, and the race and ethnicity of US Core. Names and addresses are not read."""

from __future__ import annotations

from trialsim.data.sources.fhir.ndjson import NdjsonFile
from trialsim.data.sources.fhir.reading import Reading
from trialsim.data.staging import quoted

_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
_SHAPE = (
    '{"id":"VARCHAR","birthDate":"VARCHAR","gender":"VARCHAR","deceasedBoolean":"VARCHAR","deceasedDateTime":"VARCHAR",'
    '"link":[{"type":"VARCHAR"}],"extension":[{"url":"VARCHAR","valueCode":"VARCHAR",'
    '"extension":[{"url":"VARCHAR","valueCoding":{"code":"VARCHAR"},"valueString":"VARCHAR"}]}]}'
)
# The OMB categories of US Core (code system urn:oid:2.16.840.1.113883.6.238), so that one code has one name.
_OMB = {
    "1002-5": "American Indian or Alaska Native",
    "2028-9": "Asian",
    "2054-5": "Black or African American",
    "2076-8": "Native Hawaiian or Other Pacific Islander",
    "2106-3": "White",
    "2135-2": "Hispanic or Latino",
    "2186-5": "Not Hispanic or Latino",
}


def read_patients(reading: Reading, file: NdjsonFile) -> None:
    """Patients become persons, and events of the kind `attribute`: `sex`, `birth_sex`, `race`, `ethnicity` (text) and `deceased` (1 or 0).

    `sex` is Patient.gender, the administrative one; `birth_sex`, `race` and `ethnicity` are US Core's extensions, several
    categories joined by "; ". A deceasedDateTime is the death. A Patient without an id, and a birthDate or deceasedDateTime
    that is no date, are problems (two Patients with one id are one of the ingest). A Patient that another one replaces (`link`) stays a person of its own, and such are counted.
    """
    names = f"MAP {{{', '.join(f'{quoted(code)}: {quoted(name)}' for code, name in _OMB.items())}}}"
    reading.staging.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fhir_patients AS
        SELECT *, fhir_time(birth_text)::DATE AS birth, fhir_time(death_text)::DATE AS death,
            [{{'code': 'sex', 'text': gender}}, {{'code': 'birth_sex', 'text': {_extension("birthsex")}.valueCode}},
             {{'code': 'race', 'text': {_categories("race")}}}, {{'code': 'ethnicity', 'text': {_categories("ethnicity")}}}] AS attributes
        FROM (SELECT line, nullif(r.id, '') AS person, r.gender AS gender, r.birthDate AS birth_text, r.deceasedDateTime AS death_text,
            r.deceasedBoolean AS deceased, r.extension AS extensions, {names} AS names,
            len(list_filter(r.link, lambda x: x.type = 'replaced-by')) > 0 AS replaced FROM ({file.resources("Patient", _SHAPE)}))"""
    )
    reading.tally["Patient: read"] += file.types["Patient"]
    reading.problems(file, "SELECT line, 'Patient without an id' FROM fhir_patients WHERE person IS NULL")
    for text, time, words in (("birth_text", "birth", "birthDate"), ("death_text", "death", "deceasedDateTime")):
        reading.problems(
            file, f"SELECT line, 'Patient whose {words} is no date: \"' || {text} || '\"' FROM fhir_patients WHERE {text} IS NOT NULL AND {time} IS NULL"
        )
    reading.count(
        {
            "without a birthDate": "birth_text IS NULL",
            "partial birth dates read as their first day": "fhir_is_partial(birth_text)",
            "partial dates of death read as their first day": "fhir_is_partial(death_text)",
            "replaced by another one (not merged)": "replaced",
        },
        "fhir_patients",
        kind="Patient",
    )
    place = f"{quoted(reading.source)} AS source, person, {quoted(file.shown)} AS file, line"
    reading.tally["Patient: kept"] += reading.staging.insert("persons", f"SELECT {place}, birth, death FROM fhir_patients WHERE person IS NOT NULL")
    reading.staging.insert(
        "events",
        f"""SELECT {place}, 'attribute' AS kind, a.code AS code, a.text AS text
        FROM (SELECT *, unnest(attributes) AS a FROM fhir_patients) WHERE person IS NOT NULL AND a.text IS NOT NULL
        UNION ALL BY NAME SELECT {place}, 'attribute' AS kind, 'deceased' AS code,
            CASE WHEN deceased = 'true' OR death_text IS NOT NULL THEN 1.0 ELSE 0.0 END AS value
        FROM fhir_patients WHERE person IS NOT NULL AND (deceased IS NOT NULL OR death_text IS NOT NULL)""",
    )


def _extension(name: str) -> str:
    """The extension of US Core with this name."""
    return f"list_filter(extensions, lambda x: x.url = '{_US_CORE}{name}')[1]"


def _categories(name: str) -> str:
    """The names of the OMB categories in an extension in order, or its text where it has none."""
    inner = f"{_extension(name)}.extension"
    codes = f"list_filter({inner}, lambda x: x.url = 'ombCategory' AND x.valueCoding.code IS NOT NULL)"
    named = f"list_sort(list_transform({codes}, lambda x: coalesce(names[x.valueCoding.code], x.valueCoding.code)))"
    text = f"list_filter({inner}, lambda x: x.url = 'text')[1].valueString"
    return f"coalesce(nullif(array_to_string({named}, '; '), ''), {text})"
