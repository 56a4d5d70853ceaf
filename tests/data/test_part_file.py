"""YAML files of one part: every problem with its line and column."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from trialsim.data.part_file import plain, read_part
from trialsim.errors import DataError
from trialsim.parts import Part


class A(Part):
    kind: Literal["a"]
    files: str
    counts: dict[str, int] = Field(default_factory=dict)


class B(Part):
    kind: Literal["b"]
    path: str
    a: str = ""


class Whole(Part):
    id: str
    parts: dict[str, Annotated[A | B, Field(discriminator="kind")]]
    codes: tuple[str, ...] = ()


WRONG = """\
id: 3
parts:
  x: {kind: a, flies: t, counts: {b: no}}
  y: {kind: b, path: 3, a: 4}
  z: {kind: c}
  w: 3
  v: {files: t}
codes: [1, a]
cods: 3
"""


def _read(tmp_path, text, rules=None):
    (tmp_path / "w.yaml").write_text(text)
    return read_part(tmp_path / "w.yaml", Whole, is_a="it is a map", shown="w.yaml", rules=rules)


def test_everything_wrong_is_said_at_once_with_its_place(tmp_path):
    with pytest.raises(DataError) as caught:
        _read(tmp_path, WRONG)
    assert sorted(str(problem) for problem in caught.value.problems) == [
        "w.yaml:1:1  id: should be text, not 3 (in quotes it is text)",
        'w.yaml:3:16  parts.x.flies: unknown key; did you mean "files"?',
        "w.yaml:3:3  parts.x.files: is missing",
        "w.yaml:3:35  parts.x.counts.b: Input should be a valid integer, unable to parse string as an integer",
        "w.yaml:4:16  parts.y.path: should be text, not 3 (in quotes it is text)",
        "w.yaml:4:25  parts.y.a: should be text, not 4 (in quotes it is text)",
        'w.yaml:5:7  parts.z.kind: "c" is not allowed; allowed: a, b',
        "w.yaml:6:3  parts.w: should be a map of keys and values",
        "w.yaml:7:3  parts.v.kind: is missing",
        "w.yaml:8:9  codes.0: should be text, not 1 (in quotes it is text)",
        'w.yaml:9:1  cods: unknown key; did you mean "codes"?',
    ]


@pytest.mark.parametrize(
    "text, said",
    [
        ("- 1", "w.yaml  it is a map"),
        ("", "w.yaml  it is a map"),
        ("id: [", "w.yaml:1:6  is not valid YAML"),
        ("id: a\nid: b\n", 'w.yaml:2:1  is not valid YAML: found duplicate key "id" with value "b" (original value: "a")'),
    ],
)
def test_what_is_no_part(tmp_path, text, said):
    with pytest.raises(DataError) as caught:
        _read(tmp_path, text)
    assert str(caught.value).startswith(said)


def test_rules_between_keys_are_placed_too(tmp_path):
    text = "id: a\nparts:\n  x: {kind: b, path: p}\n"
    assert _read(tmp_path, text, rules=lambda whole: []).parts["x"].path == "p"
    with pytest.raises(DataError, match=r"w\.yaml:3:16  parts\.x\.path: is not wanted"):
        _read(tmp_path, text, rules=lambda whole: [(("parts", "x", "path"), "is not wanted")])


def test_plain_values_go_to_json(tmp_path):
    from ruamel.yaml import YAML

    given = YAML(typ="rt").load("a: [1, 2.50, no, true, null, 'x']\nd: 2020-01-02\n")
    found = plain(given)
    assert found == {"a": [1, 2.5, "no", True, None, "x"], "d": "2020-01-02"}
    assert [type(item) for item in found["a"]] == [int, float, str, bool, type(None), str]
