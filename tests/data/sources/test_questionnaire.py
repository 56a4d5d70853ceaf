"""QuestionnaireResponses against scores added up by hand, and every way in which an answer can be wrong."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from witness.synthetic_fhir import FREQUENCY, LOINC, PHQ9, write_export, write_lines

from trialsim.data.sources import Questionnaire
from trialsim.data.staging import Staging

THREE = {"items": ["a", "b", "c"], "low": 0, "high": 4}


def _read(folder: Path, files: str = "x.ndjson", **instruments) -> Staging:
    staging = Staging.open()
    Questionnaire.model_validate({"kind": "questionnaire", "files": files, "instruments": instruments}).read(
        staging, name="pro", folder=folder, codes=frozenset({(LOINC, "unrelated")})
    )
    return staging


def _response(*items: dict, **more) -> dict:
    return {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "subject": {"reference": "Patient/p"},
        "authored": "2020-01-01T00:00:00Z",
        "item": list(items),
    } | more


def _answers(**given) -> list[dict]:
    return [{"linkId": item, "answer": [answer if isinstance(answer, dict) else {"valueInteger": answer}]} for item, answer in given.items()]


def _scores(tmp_path: Path, *responses: dict, columns: str = "value", **instruments) -> list[tuple]:
    write_lines(tmp_path / "x.ndjson", list(responses))
    staging = _read(tmp_path, **instruments)
    assert not staging.problems
    return staging.connection.execute(f"SELECT {columns} FROM events ORDER BY line, code").fetchall()


def _messages(tmp_path: Path, *responses: dict, **instruments) -> list[str]:
    write_lines(tmp_path / "x.ndjson", list(responses))
    return [str(problem).split("/")[-1] for problem in _read(tmp_path, **(instruments or {"three": THREE})).problems]


@pytest.mark.parametrize("at_least", [None, 7])
def test_scores_of_the_synthetic_export(tmp_path, at_least):
    folder = write_export(tmp_path, n=40, seed=2)
    staging = _read(folder, "*.ndjson", phq9={"standard": "phq9"} | ({} if at_least is None else {"at_least": at_least}))
    assert not staging.problems
    expected = []
    for line, row in enumerate((folder / "QuestionnaireResponse.ndjson").read_text().splitlines(), 1):
        items = json.loads(row)["item"][0]["item"]
        values = [FREQUENCY.index(item["answer"][0]["valueCoding"]["code"]) for item in items]
        if len(values) >= (at_least or len(PHQ9)):
            expected.append((line, pytest.approx(9 * sum(values) / len(values))))
    assert staging.connection.execute("SELECT line, value FROM events WHERE kind = 'questionnaire' AND code = 'phq9' ORDER BY line").fetchall() == expected
    steps = {step.step: step.n for step in staging.filters}
    assert steps["phq9: kept"] == len(expected)
    assert steps["phq9: kept"] + steps.get("phq9: left out, too few items answered", 0) == steps["QuestionnaireResponse: read"] == 160
    assert staging.connection.execute("SELECT count(*) FROM persons").fetchall() == [(40,)]
    assert (at_least is None) == (len(expected) < 160)


def test_answers_of_every_kind_at_any_depth(tmp_path):
    ordinal = [{"url": "http://hl7.org/fhir/StructureDefinition/ordinalValue", "valueDecimal": 2}]
    nested = [
        {"linkId": "group", "item": _answers(a={"valueDecimal": 1.5})},
        {"linkId": "b", "answer": [{"valueBoolean": True, "item": _answers(c={"valueQuantity": {"value": 3}})}]},
    ]
    responses = [
        _response(*nested),
        _response(*_answers(**{"/a": 1, "/b": 2, "c": 3}), status="amended", authored="2020-02-01T01:00:00+02:00"),
        _response(*_answers(a={"valueCoding": {"code": "x", "extension": ordinal}}, b={"valueCoding": {"code": "3"}}, c={"valueCoding": {"code": "often"}})),
        _response(*_answers(a=1, b=1, c=1), status="in-progress"),
        _response(*_answers(a=1, b=1, c=1), authored=None),
        _response(*_answers(a=1, b=1, c=1), subject={"reference": "Group/1"}),
        _response(*_answers(a=1, b=1)),
        _response(*_answers(z=1)),
        _response(),
    ]
    start = datetime(2020, 1, 1)
    assert _scores(tmp_path, *responses, columns="line, start, value", three=THREE | {"answers": {"often": 4}}) == [
        (1, start, 5.5),
        (2, datetime(2020, 1, 31, 23), 6.0),
        (3, start, 9.0),
    ]
    steps = {step.step: step.n for step in _read(tmp_path, three=THREE | {"answers": {"often": 4}}).filters}
    assert steps["QuestionnaireResponse: read"] == 9
    assert steps["three: responses read"] == 4
    for words in ("neither completed nor amended", "without a date", "the subject is not a patient"):
        assert steps[f"QuestionnaireResponse: left out, {words}"] == 1
    assert steps["three: left out, too few items answered"] == 1


def test_several_instruments_reverse_items_and_one_questionnaire(tmp_path):
    url = "http://example.org/q"
    responses = [_response(*_answers(a=1, b=2, c=4), questionnaire=f"{url}|1.0"), _response(*_answers(a=1, b=1, c=1), questionnaire="http://other")]
    found = _scores(
        tmp_path,
        *responses,
        columns="line, code, value, text",
        all=THREE,
        mean={"items": ["a", "c"], "low": 0, "high": 4, "score": "mean", "reverse": ["c"]},
        only=THREE | {"questionnaire": url, "profile": True},
    )
    assert found == [(1, "all", 7.0, None), (1, "mean", 0.5, None), (1, "only", 7.0, "124"), (2, "all", 3.0, None), (2, "mean", 2.0, None)]


def test_what_is_wrong_is_named(tmp_path):
    assert _messages(tmp_path, _response(*_answers(a=1, b=5, c=-1))) == [
        'x.ndjson:1  the answer 5 to the item "b" of "three" is not within 0 to 4',
        'x.ndjson:1  the answer -1 to the item "c" of "three" is not within 0 to 4',
    ]
    assert _messages(tmp_path, _response(), _response(*_answers(a={"valueCoding": {"code": "LA9"}}))) == [
        'x.ndjson:2  the answer "LA9" to the item "a" of "three" is no number'
    ]
    assert _messages(tmp_path, _response(*_answers(a={"valueAttachment": {}}))) == ['x.ndjson:1  the answer "" to the item "a" of "three" is no number']
    assert _messages(tmp_path, _response(*_answers(a=1, b=1, c=1), *_answers(a=2))) == ['x.ndjson:1  the item "a" of "three" has several answers']
    several = {"linkId": "a", "answer": [{"valueInteger": 1}, {"valueInteger": 2}]}
    assert _messages(tmp_path, _response(several)) == ['x.ndjson:1  the item "a" of "three" has several answers']
    assert _messages(tmp_path, _response(subject=None), _response(authored="May")) == [
        "x.ndjson:1  QuestionnaireResponse without a subject",
        'x.ndjson:2  QuestionnaireResponse with a date that is none: "May"',
    ]
    path = tmp_path / "x.ndjson"
    path.write_text(json.dumps(_response()) + "\n" + json.dumps(_response())[:-9])
    assert [str(problem).split("/")[-1] for problem in _read(tmp_path, three=THREE).problems] == [
        "x.ndjson:2  the last line is cut off: it is not a whole JSON object"
    ]


def test_names_with_quotes(tmp_path):
    assert _scores(
        tmp_path, _response(*_answers(**{"it's": 1, 'b"': 2})), columns="code, value", **{"o'x": {"items": ["it's", 'b"'], "low": 0, "high": 4}}
    ) == [("o'x", 3.0)]
    assert _messages(tmp_path, _response(*_answers(**{"it's": 9})), **{"o'x": {"items": ["it's"], "low": 0, "high": 4}}) == [
        'x.ndjson:1  the answer 9 to the item "it\'s" of "o\'x" is not within 0 to 4'
    ]
