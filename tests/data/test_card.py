"""Cards: what is read, what is refused, and where each error points."""

from __future__ import annotations

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
