"""Sentences: which alternative of a union is meant, which keys and words are named."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from trialsim.parts import Part
from trialsim.spec.nodes import dotted
from trialsim.spec.wording import coercions, explain, given
from trialsim.units import Number, PositiveTime, Share


class Piece(Part):
    until: PositiveTime | None = None
    value: Number


class Left(Part):
    kind: Literal["left"]
    length: int = Field(default=1, ge=1, le=9)
    flag: bool = False


class Right(Part):
    kind: Literal["right"]
    share: Share = 0.5
    words: tuple[str, ...] = Field(default=(), max_length=2)

    @model_validator(mode="after")
    def _few(self) -> Right:
        if self.share == 1.0:
            raise ValueError("share: 1 is all of it")
        return self


class ByHazard(Part):
    hazard: Number


class ByMedian(Part):
    median: PositiveTime
    again: int = 0


class Whole(Part):
    profile: Number | list[Piece] | None = None
    turns: dict[str, Annotated[Left | Right, Field(discriminator="kind")]] = Field(default_factory=dict)
    law: ByHazard | ByMedian | None = None
    size: int | list[int] = 1
    pair: tuple[str, Number] | None = None


def said(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        Whole.model_validate(data)
    return [f"{dotted(found.path)}: {found.message}" for found in explain(raised.value, Whole, data)]


@pytest.mark.parametrize(
    ("data", "sentences"),
    [
        ({"profile": "a"}, ['profile: "a" is not a number']),
        ({"profile": [{"until": "3 months"}]}, ["profile[0].value: missing"]),
        ({"profile": [{"value": 1, "untl": "3 months"}]}, ['profile[0].untl: unknown key; did you mean "until"?']),
        ({"profile": [{"value": 1}, 2]}, ["profile[1]: should be a map, not 2"]),
        ({"profile": {"value": 1}}, ["profile: should be a list, not a map"]),
        ({"turns": {"a": {"kind": "lft"}}}, ['turns.a.kind: unknown word "lft"; did you mean "left"?']),
        ({"turns": {"a": {"length": 1}}}, ["turns.a.kind: missing; allowed: left, right"]),
        ({"turns": {"a": 3}}, ["turns.a: should be a map, not 3"]),
        ({"turns": [1]}, ["turns: should be a map, not a list"]),
        ({"turns": {"left": {"kind": "left", "length": 0}}}, ["turns.left.length: should be at least 1, not 0"]),
        ({"turns": {"left": {"kind": "left", "length": 2.5, "flag": "maybe"}}}, ["turns.left.length: should be a whole number, not 2.5", 'turns.left.flag: should be true or false, not "maybe"']),
        ({"turns": {"a": {"kind": "right", "words": ["x", 2]}}}, ["turns.a.words[1]: should be text, not 2 (in quotes it is text)"]),
        ({"turns": {"a": {"kind": "right", "words": ["x", "y", "z"]}}}, ["turns.a.words: should have at most 2 entries, not 3"]),
        ({"turns": {"a": {"kind": "right", "share": 1}}}, ["turns.a.share: 1 is all of it"]),
        ({"turns": {"a": {"kind": "right", "length": 1}}}, ["turns.a.length: unknown key; allowed: kind, share, words"]),
        ({"law": {"hazrd": 1}}, ['law.hazrd: unknown key; did you mean "hazard"?']),
        ({"law": {"median": "1 mg"}}, ['law.median: "1 mg" is not a time; the unit must be days, weeks, months or years']),
        ({"law": {"again": 1}}, ["law.median: missing"]),
        ({"size": [1, "x"]}, ['size[1]: should be a whole number, not "x"']),
        ({"size": "x"}, ['size: should be a whole number, not "x"']),
        ({"pair": ["a", {"b": 1}]}, ["pair[1]: should be a number, not a map"]),
        ({"pair": ["a", True]}, ["pair[1]: true is not a number"]),
        ({"pair": ["a", "1.5"]}, ['pair[1]: "1.5" should be a number, without quotes']),
        ({"pair": ["a", 10**400]}, ["pair[1]: inf is not a finite number"]),
        ({"size": float("inf")}, ["size: should be a whole number of a reasonable size, not inf"]),
        ({"size": 1e30}, ["size: should be a whole number of a reasonable size, not 1e+30"]),
        ({"size": float("nan")}, ["size: should be a whole number, not nan"]),
        ({"size": {"a": 1}}, ["size: should be a list, not a map"]),
        ({"pair": ["a"]}, ["pair[1]: missing"]),
        ({"pair": ["a", "b"]}, ['pair[1]: "b" is not a number']),
        ({"pofile": 1, "zzz": 2}, ['pofile: unknown key; did you mean "profile"?', "zzz: unknown key; allowed: law, pair, profile, size, turns"]),
    ],
)  # fmt: skip
def test_errors_become_sentences(data: dict[str, Any], sentences: list[str]):
    assert said(data) == sentences


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"size": "4"}, 'size: should be a whole number, not "4"'),
        ({"size": [True]}, "size[0]: should be a whole number, not true"),
        ({"turns": {"a": {"kind": "left", "flag": "yes"}}}, 'turns.a.flag: should be true or false, not "yes"'),
        ({"turns": {"a": {"kind": "left", "flag": 1}}}, "turns.a.flag: should be true or false, not 1"),
        ({"turns": {"a": {"kind": "right", "share": "0.3"}}}, 'turns.a.share: should be a number, not "0.3"'),
        ({"turns": {"a": {"kind": "right", "share": "30 %"}}}, None),
        ({"profile": [{"value": 1, "until": "3 months"}], "size": 4}, None),
    ],
)
def test_what_pydantic_would_convert_is_refused(raw: dict[str, Any], sentence: str | None):
    found = coercions(raw, Whole.model_validate(raw))
    assert [f"{dotted(item.path)}: {item.message}" for item in found] == ([] if sentence is None else [sentence])


def test_values_are_shown_as_written():
    assert [given(value) for value in (None, True, 1, 1.0, 0.5, "a", [1], {"a": 1})] == ["null", "true", "1", "1", "0.5", '"a"', "a list", "a map"]
