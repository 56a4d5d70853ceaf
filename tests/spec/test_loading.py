"""YAML 1.2: the core schema, against the table of the standard, and files that cannot be read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from trialsim.errors import ProtocolError
from trialsim.spec.loading import compose, read_file, scalar
from trialsim.spec.nodes import Place, plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nULL", "nULL"),
        ("true", True), ("True", True), ("FALSE", False), ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("y", "y"),
        ("0", 0), ("-19", -19), ("+12", 12), ("010", 10), ("0o14", 12), ("0x3A", 58), ("1_000", "1_000"), ("0b1", "0b1"), ("190:20:30", "190:20:30"),
        ("1e-3", 1e-3), ("1E3", 1000.0), ("12e03", 12000.0), ("-2E+05", -200000.0), ("0.", 0.0), (".5", 0.5), ("+.5e1", 5.0), ("-0.0", -0.0),
        ("1.2.3", "1.2.3"), ("e3", "e3"), (".", "."), ("2024-01-01", "2024-01-01"), ("12 months", "12 months"), ("$hr", "$hr"), ("=", "="), ("<<", "<<"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text: str, value: object):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_infinite_and_undefined_numbers():
    assert (scalar(".inf"), scalar("-.INF"), scalar("+.Inf")) == (math.inf, -math.inf, math.inf)
    assert (scalar("9" * 5000), scalar("-" + "9" * 400)) == (math.inf, -math.inf)
    nan = scalar(".nan")
    assert isinstance(nan, float)
    assert math.isnan(nan)


def test_quoted_scalars_are_words_and_keys_are_words():
    node = compose("{0: '1e-3', true: \"no\", 1.50: null}", "f")
    assert node is not None
    assert plain(node) == {"0": "1e-3", "true": "no", "1.50": None}


def test_block_text_keeps_its_lines():
    node = compose("study:\n  title: |\n    two\n    lines\n  folded: >-\n    one\n    line\n", "f")
    assert node is not None
    assert plain(node) == {"study": {"title": "two\nlines\n", "folded": "one line"}}


def test_anchors_are_copied_with_the_place_of_the_anchor():
    node = compose("a: &x {b: 1}\nc: *x\n", "f.yaml")
    assert node is not None
    assert plain(node) == {"a": {"b": 1}, "c": {"b": 1}}
    assert node.get("c").get("b").place == Place("f.yaml", 1, 11)
    assert node.get("c").key_place == Place("f.yaml", 2, 1)


def test_aliases_that_expand_without_end_are_refused():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    with pytest.raises(ProtocolError, match="aliases expand to too many values"):
        compose(bomb, "f")


def test_unicode_and_byte_order_mark_and_windows_lines(tmp_path: Path):
    file = tmp_path / "p.yaml"
    file.write_bytes("\ufeffspec: trialsim/1\r\nstudy: {id: Ä, title: ü}\r\n".encode())
    root = read_file(file)
    assert plain(root) == {"spec": "trialsim/1", "study": {"id": "Ä", "title": "ü"}}
    assert root.get("study").get("title").place.column == 23


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"spec: trialsim/1\nstudy: {id: \xff}\n", ":2:13  not UTF-8 text"),
        (b"spec: trialsim/1\nstudy: {id: \x01}\n", ":2:13  not valid YAML: special characters are not allowed"),
        (b"   \n", ":1:1  the file is empty"),
        (b"null\n", ":1:1  the file is empty"),
        (b"", ":1:1  the file is empty"),
    ],
)
def test_a_file_that_is_no_text_is_one_line(tmp_path: Path, content: bytes, message: str):
    file = tmp_path / "p.yaml"
    file.write_bytes(content)
    with pytest.raises(ProtocolError) as raised:
        read_file(file)
    assert str(raised.value) == f"{file}{message}"


def test_a_missing_file_and_a_folder(tmp_path: Path):
    with pytest.raises(ProtocolError, match=r"nowhere\.yaml  no such file$"):
        read_file(tmp_path / "nowhere.yaml")
    with pytest.raises(ProtocolError, match="is a folder, not a protocol file"):
        read_file(tmp_path)


def test_all_problems_of_the_form_are_reported_at_once():
    with pytest.raises(ProtocolError) as raised:
        compose("a: 1\na: 2\nnull: 3\nb: !x 4\n? [k]\n: 5\n", "f")
    assert [str(problem) for problem in raised.value.problems] == [
        'f:2:1  duplicate key "a"; first on line 1',
        "f:3:1  null is not an id; name it otherwise",
        "f:4:4  the tag !x is not part of the language",
        "f:5:3  a key must be a word",
    ]
