"""Patient-reported outcomes as a source: scored FHIR QuestionnaireResponses, `kind: questionnaire`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trialsim.data.instruments import Instrument
from trialsim.data.sources.fhir.facts import no_patient
from trialsim.data.sources.fhir.ndjson import NdjsonFile, files_below, note, open_file
from trialsim.data.sources.fhir.reading import REFERENCE, Reading
from trialsim.data.sources.source import FileSource
from trialsim.data.staging import Staging, quoted

_KIND = "QuestionnaireResponse"
_SHAPE = '{"status":"VARCHAR","subject":' + REFERENCE + ',"authored":"VARCHAR","questionnaire":"VARCHAR"}'
_ORDINAL = "http://hl7.org/fhir/StructureDefinition/ordinalValue"
_ITEM = (
    '{"linkId":"VARCHAR","answer":[{"valueInteger":"VARCHAR","valueDecimal":"VARCHAR","valueBoolean":"VARCHAR","valueString":"VARCHAR",'
    '"valueQuantity":{"value":"VARCHAR"},"valueCoding":{"code":"VARCHAR","extension":[{"url":"VARCHAR","valueDecimal":"VARCHAR"}]}}]}'
)


class Questionnaire(FileSource):
    """QuestionnaireResponses of a FHIR R4 export (NDJSON, `.gz` or not), each scored by the instruments whose items it answers.

    A score is an event of the kind `questionnaire` with the instrument's name as its code, at the time the response was
    authored; the profile of an instrument that has one is its text. Items are found by linkId at any depth. An answer is
    valueInteger, valueDecimal, valueQuantity, valueBoolean (1, 0), or valueCoding: the instrument's `answers`, else the
    ordinalValue extension, else a code that is a number.

    Problems, with file and line: no reference to a patient, an `authored` that is no date, an item answered twice, an answer
    that is no number or out of range. Left out and counted: a status other than completed or amended, no date, too few
    answered items. Not handled: total scores stated in the response (they are recomputed), adaptive questionnaires.
    **Source:** HL7 FHIR R4 (4.0.1), QuestionnaireResponse, https://hl7.org/fhir/R4/questionnaireresponse.html.
    """

    kind: Literal["questionnaire"]
    instruments: dict[str, Instrument] = Field(min_length=1, description="Name → the instrument that scores it.")

    def read(self, staging: Staging, *, name: str, folder: Path, codes: frozenset[tuple[str, str]]) -> None:
        """Fills persons and events; notes every answer that cannot be scored."""
        reading = Reading(staging, name, codes)
        reading.prepare()
        files = [open_file(staging, path) for path in files_below(self.paths(folder))]
        for file in files:
            if _KIND in file.types:
                _stage_responses(reading, file)
                for code, instrument in self.instruments.items():
                    _score(reading, file, code, instrument)
        for file in files:
            for kind, n in sorted(file.types.items()):
                if kind != _KIND:
                    reading.tally[f"{kind}: not read by this source"] += n
        source = quoted(name)
        staging.insert(
            "persons",
            f"SELECT {source} AS source, person, arg_min(file, (file, line)) AS file, min(line) AS line FROM events WHERE source = {source} GROUP BY person",
        )
        reading.hand_in()


def _stage_responses(reading: Reading, file: NdjsonFile) -> None:
    """The responses (`fhir_responses`) and their answered items (`fhir_answers`), checked."""
    connection = reading.staging.connection
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fhir_responses AS
        SELECT *, fhir_patient(reference) AS person, fhir_time(authored) AS start FROM (
            SELECT line, r.status AS status, r.subject.reference AS reference, r.authored AS authored,
                regexp_replace(r.questionnaire, '\\|.*$', '') AS questionnaire, text FROM ({file.resources(_KIND, _SHAPE)}))"""
    )
    reading.tally[f"{_KIND}: read"] += file.types[_KIND]
    done = "status IN ('completed', 'amended')"
    reading.count(
        {
            "left out, neither completed nor amended": f"NOT coalesce({done}, false)",
            "left out, the subject is not a patient": f"{done} AND person IS NULL AND fhir_is_other(reference)",
            "left out, without a date": f"{done} AND authored IS NULL",
            "partial dates read as their first day": f"{done} AND fhir_is_partial(authored)",
        },
        "fhir_responses",
        kind=_KIND,
    )
    reading.problems(
        file, f"SELECT line, {no_patient(_KIND)} FROM fhir_responses WHERE {done} AND person IS NULL AND NOT coalesce(fhir_is_other(reference), false)"
    )
    reading.problems(
        file,
        f"SELECT line, '{_KIND} with a date that is none: \"' || authored || '\"' FROM fhir_responses WHERE {done} AND authored IS NOT NULL AND start IS NULL",
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fhir_answers AS
        SELECT line, person, start, questionnaire, ltrim(item.linkId, '/') AS item, len(item.answer) AS given, a.valueCoding.code AS code,
            coalesce(a.valueInteger, a.valueDecimal, a.valueQuantity.value, CASE a.valueBoolean WHEN 'true' THEN '1' WHEN 'false' THEN '0' END, a.valueString) AS stated,
            list_filter(a.valueCoding.extension, lambda x: x.url = '{_ORDINAL}')[1].valueDecimal AS ordinal
        FROM (SELECT line, person, start, questionnaire, item, item.answer[1] AS a FROM (
            SELECT line, person, start, questionnaire, try(json_transform(json, '{_ITEM}')) AS item FROM (
                SELECT line, person, start, questionnaire, unnest(json_extract(text, '$..item[*]')) AS json
                FROM fhir_responses WHERE {done} AND person IS NOT NULL AND start IS NOT NULL)))
        WHERE len(item.answer) > 0 AND item.linkId IS NOT NULL"""
    )


def _score(reading: Reading, file: NdjsonFile, name: str, instrument: Instrument) -> None:
    """Scores the responses of a file that answer any item of an instrument, and inserts them."""
    import pyarrow as pa

    connection = reading.staging.connection
    k = len(instrument.items)
    connection.execute("CREATE OR REPLACE TEMP TABLE fhir_items (item VARCHAR, place BIGINT)")
    connection.executemany("INSERT INTO fhir_items VALUES (?, ?)", [(item.lstrip("/"), place) for place, item in enumerate(instrument.items)])
    connection.execute("CREATE OR REPLACE TEMP TABLE fhir_codes (code VARCHAR, number DOUBLE)")
    if instrument.answers:
        connection.executemany("INSERT INTO fhir_codes VALUES (?, ?)", list(instrument.answers.items()))
    only = "" if instrument.questionnaire is None else f"WHERE questionnaire = {quoted(instrument.questionnaire.split('|')[0])}"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fhir_scored AS
        SELECT dense_rank() OVER (ORDER BY line) - 1 AS response, line, person, start, item, place, given, coalesce(stated, ordinal, code) AS words,
            coalesce(CASE WHEN stated IS NULL THEN number END, try_cast(coalesce(stated, ordinal, code) AS DOUBLE)) AS number
        FROM (SELECT * FROM fhir_answers {only}) JOIN fhir_items USING (item) LEFT JOIN fhir_codes USING (code)"""
    )
    twice = "SELECT line, any_value(item) AS item FROM fhir_scored GROUP BY line, place HAVING count(*) > 1 OR max(given) > 1"
    reading.problems(file, f"SELECT line, 'the item \"' || item || '\" of {_quoted(name)} has several answers' FROM ({twice})")
    wrong = f"SELECT line, 'the answer \"' || coalesce(words, '') || '\" to the item \"' || item || '\" of {_quoted(name)} is no number' FROM fhir_scored"
    reading.problems(file, f"{wrong} WHERE number IS NULL OR isnan(number)")
    found = connection.execute("SELECT response, place, number FROM fhir_scored WHERE number IS NOT NULL").fetchnumpy()
    heads = connection.sql("SELECT DISTINCT response, line, person, start FROM fhir_scored ORDER BY response").to_arrow_table()
    answers = np.full((heads.num_rows, k), np.nan)
    answers[np.asarray(found["response"]), np.asarray(found["place"])] = np.asarray(found["number"])
    lines = heads.column("line").to_numpy()
    note(reading.staging, file.shown, _outside(instrument, name, answers, lines))
    scores = instrument.scores(answers)
    scored = heads.append_column("value", pa.array(scores)).append_column(
        "text", pa.array(instrument.profiles(answers) if instrument.profile else [None] * len(scores), type=pa.string())
    )
    reading.tally[f"{name}: responses read"] += len(scores)
    reading.tally[f"{name}: left out, too few items answered"] += int(np.isnan(scores).sum())
    connection.register("fhir_scores", scored)
    reading.tally[f"{name}: kept"] += reading.staging.insert(
        "events",
        f"""SELECT {quoted(reading.source)} AS source, person, 'questionnaire' AS kind, {quoted(name)} AS code, start, value, text, {quoted(file.shown)} AS file, line
        FROM fhir_scores WHERE NOT isnan(value)""",
    )
    connection.unregister("fhir_scores")


def _outside(instrument: Instrument, name: str, answers: NDArray[np.float64], lines: NDArray[np.int64]) -> list[tuple[int, str]]:
    """The answers out of range, by line and in words."""
    rows, places = np.nonzero(instrument.out_of_range(answers))
    bounds = f"{instrument.low:g} to {instrument.high:g}"
    return [
        (int(lines[row]), f'the answer {answers[row, place]:g} to the item "{instrument.items[place]}" of "{name}" is not within {bounds}')
        for row, place in zip(rows, places, strict=True)
    ]


def _quoted(name: str) -> str:
    """A name in double quotes, inside a text of SQL."""
    return '"' + name.replace("'", "''") + '"'
