"""`extends`: deep merge, deletion, places, paths, chains."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialsim.errors import ProtocolError
from trialsim.spec.extending import merge, read_extended
from trialsim.spec.loading import compose
from trialsim.spec.nodes import plain


def nodes(text: str):
    node = compose(text, "f")
    assert node is not None
    return node


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ("a: {b: 1, c: 2}", "a: {b: 3}", {"a": {"b": 3, "c": 2}}),
        ("a: {b: 1, c: 2}", "a: {b: null}", {"a": {"c": 2}}),
        ("a: [1, 2, 3]", "a: [4]", {"a": [4]}),
        ("a: {b: 1}", "a: 5", {"a": 5}),
        ("a: 5", "a: {b: 1}", {"a": {"b": 1}}),
        ("a: 1", "b: {c: null}", {"a": 1, "b": {"c": None}}),
        ("a: {b: {c: {d: 1, e: 2}}}", "a: {b: {c: {e: 3, f: 4}}}", {"a": {"b": {"c": {"d": 1, "e": 3, "f": 4}}}}),
    ],
)
def test_maps_merge_and_null_deletes(base: str, over: str, merged: object):
    assert plain(merge(nodes(base), nodes(over))) == merged


def test_the_order_of_ids_is_that_of_the_base_then_the_new_ones():
    assert list(merge(nodes("a: 1\nb: 2\nc: 3"), nodes("d: 4\nb: 5")).value) == ["a", "b", "c", "d"]


def test_paths_are_relative_to_the_file_that_extends_and_places_keep_their_file(tmp_path: Path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "root.yaml").write_text("spec: trialsim/1\nstudy: {id: A, title: root}\n")
    (tmp_path / "deep" / "middle.yaml").write_text("extends: ../root.yaml\nstudy:\n  title: middle\n")
    (tmp_path / "deep" / "er" / "leaf.yaml").write_text("extends: ../middle.yaml\nstudy: {phase: III}\n")
    leaf = tmp_path / "deep" / "er" / "leaf.yaml"
    root = read_extended(leaf)
    assert plain(root) == {"spec": "trialsim/1", "study": {"id": "A", "title": "middle", "phase": "III"}}
    study = root.get("study")
    assert (study.get("id").place.file, study.get("id").place.line) == (str(tmp_path / "root.yaml"), 2)
    assert (study.get("title").place.file, study.get("title").place.line) == (str(tmp_path / "deep" / "middle.yaml"), 3)
    assert study.get("phase").place.file == str(leaf)


def test_a_file_may_be_extended_twice_but_not_in_a_circle(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: c.yaml\n")
    (tmp_path / "c.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ProtocolError, match=r"c\.yaml:1:10  extends: a\.yaml extends this file in turn"):
        read_extended(tmp_path / "a.yaml")
