"""Cards: what is read, what is refused, and where each error points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trialsim.data import load_card
from trialsim.errors import DataError

GOOD = """\
id: d
title: Data
source: nowhere
licence: CC0
purposes: [simulate]
columns:
  age: {type: continuous, unit: years}
  sex: {type: categorical, levels: [f, m]}
"""


def _load(tmp_path: Path, text: str):
    (tmp_path / "card.yaml").write_text(text)
    return load_card(tmp_path / "card.yaml", shown="card.yaml")


def _problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(DataError) as caught:
        _load(tmp_path, text)
    return [str(problem) for problem in caught.value.problems]


def test_a_card(tmp_path):
    card = _load(tmp_path, GOOD)
    assert card.columns["age"].role == "covariate"
    assert card.columns["sex"].levels == ("f", "m")
    card.require("simulate")


@pytest.mark.parametrize(
    "before, after, said",
    [
        ("licence: CC0", "licence: ''", 'c.yaml  licence: the card "d" has no licence, so no model is fitted to its data'),
        ("licence: CC0\n", "", 'c.yaml  licence: the card "d" has no licence, so no model is fitted to its data'),
        ("[simulate]", "[train]", 'c.yaml  purposes: the card "d" does not permit the purpose "simulate" (permitted: train)'),
        ("purposes: [simulate]\n", "", 'c.yaml  purposes: the card "d" does not permit the purpose "simulate" (permitted: none)'),
    ],
)
def test_without_licence_or_purpose_nothing_is_permitted(tmp_path, before, after, said):
    with pytest.raises(DataError) as caught:
        _load(tmp_path, GOOD.replace(before, after)).require("simulate", file="c.yaml")
    assert str(caught.value) == said


def test_every_error_has_file_line_and_column(tmp_path):
    text = GOOD.replace("title: Data\n", "titel: Data\n").replace("continuous", "continous").replace("unit", "units")
    assert sorted(_problems(tmp_path, text)) == [
        "card.yaml  title: is missing",
        'card.yaml:2:1  titel: unknown key; did you mean "title"?',
        'card.yaml:7:26  columns.age.units: unknown key; did you mean "unit"?',
        'card.yaml:7:9  columns.age.type: "continous" is not allowed; did you mean "continuous"?',
    ]


@pytest.mark.parametrize(
    "text, said",
    [
        ("id: [", "card.yaml:1:6  is not valid YAML"),
        ("- 1", "card.yaml  a card is a map with id, title, source, licence and purposes"),
        (GOOD.replace("type: categorical", "type: integer"), "card.yaml:8:3  columns.sex: levels belong to a binary or categorical column, not to integer"),
        (GOOD.replace("[f, m]", "[f, f]"), "card.yaml:8:3  columns.sex: a level is given twice"),
    ],
)
def test_what_is_not_a_card(tmp_path, text, said):
    assert _problems(tmp_path, text)[0].startswith(said)


def test_a_missing_card(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        load_card(tmp_path / "none.yaml")


CONSENT = (
    GOOD
    + """\
  ok: {type: binary, role: consent}
  until: {type: date, role: consent}
  where: {type: categorical, role: consent}
consent:
  columns: {simulate: ok, train: ok}
  expiry: until
  jurisdiction: where
"""
)


def test_consent_columns(tmp_path):
    card = _load(tmp_path, CONSENT)
    assert card.consent is not None
    assert card.consent.named == {"columns.simulate": "ok", "columns.train": "ok", "expiry": "until", "jurisdiction": "where"}
    assert {name for name, column in card.columns.items() if column.role == "consent"} == {"ok", "until", "where"}


def test_consent_is_never_a_covariate(tmp_path):
    """The role is required of every column that the section names, and no model takes it."""
    from trialsim.cohort.fitted.columns import covariates_of
    from trialsim.data import read_table

    (tmp_path / "d.csv").write_text("age,sex,ok,until,where\n" + "".join(f"{30 + n},{'fm'[n % 2]},{n % 2},2030-01-01,{'DF'[n % 3 > 0]}\n" for n in range(60)))
    table = read_table(tmp_path / "d.csv", _load(tmp_path, CONSENT))
    covariates, left_out = covariates_of(table, rows=table.columns["age"] > 0, without=())
    assert [covariate.name for covariate in covariates] == ["age", "sex"]
    assert left_out == dict.fromkeys(("ok", "until", "where"), "its role is consent")


@pytest.mark.parametrize(
    "before, after, said",
    [
        ("  ok: {type: binary, role: consent}", "  ok: {type: binary}", 'columns.simulate names "ok", whose role is covariate; it must be consent'),
        ("expiry: until", "expiry: untill", 'expiry names "untill", which `columns` does not describe; did you mean "until"?'),
        ("expiry: until", "expiry: where", 'expiry names "where", whose type is categorical; it must be date or text'),
        ("simulate: ok", "simulate: until", 'columns.simulate names "until", whose type is date; it must be binary or integer or categorical or text'),
    ],
)
def test_consent_columns_that_are_none(tmp_path, before, after, said):
    (problem,) = _problems(tmp_path, CONSENT.replace(before, after))
    assert problem.startswith(f"card.yaml:12:1  consent: {said}")


def test_everything_wrong_with_the_consent_section_at_once(tmp_path):
    problem = _problems(tmp_path, CONSENT.replace("expiry: until", "expiry: age").replace("jurisdiction: where", "jurisdiction: no"))[0]
    assert 'expiry names "age", whose role is covariate' in problem
    assert 'jurisdiction names "no"' in problem


def test_unknown_keys_and_purposes_of_the_consent_section(tmp_path):
    assert _problems(tmp_path, CONSENT.replace("expiry:", "expires:").replace("train: ok", "trian: ok")) == [
        'card.yaml:13:27  consent.columns.trian.[key]: "trian" is not allowed; did you mean "train"?',
        'card.yaml:14:3  consent.expires: unknown key; did you mean "expiry"?',
    ]


def test_what_an_ingest_writes_is_kept_as_plain_values(tmp_path):
    text = GOOD + "ingested: {index: {on: 2020-01-31, look_back: 365 days}, sources: [{n: 3, share: 1.50, raw: '7', ok: true, none: null}]}\n"
    card = _load(tmp_path, text)
    assert card.ingested == {
        "index": {"on": "2020-01-31", "look_back": "365 days"},
        "sources": [{"n": 3, "share": 1.5, "raw": "7", "ok": True, "none": None}],
    }
    assert {type(value) for value in card.ingested["sources"][0].values()} == {int, float, str, bool, type(None)}
    assert type(card.ingested) is dict
    assert json.loads(json.dumps(card.model_dump(mode="json")))["ingested"] == card.ingested


@pytest.mark.parametrize("given", ["7", "[1]", "words"])
def test_ingested_is_a_map(tmp_path, given):
    assert _problems(tmp_path, f"{GOOD}ingested: {given}\n")[0].startswith("card.yaml:9:1  ingested: ")


def test_cards_without_the_new_sections(tmp_path):
    card = _load(tmp_path, GOOD)
    assert (card.consent, card.ingested) == (None, None)
