"""From pydantic's errors to sentences a protocol's author reads: what was given, what is allowed, the nearest word.

Where a plain union reports one error per alternative, the alternative the author most likely meant is chosen: the one of
the right kind (list, map, single value), and among maps the one with the fewest unknown and missing keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trialsim.errors import did_you_mean, nearest
from trialsim.spec.nodes import Found
from trialsim.spec.shapes import Shape, Step, tags, trace, value_at
from trialsim.units import shortest

_BARE = re.compile(r"\s*[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\s*")
_A_MAP = ("model_type", "model_attributes_type", "dict_type", "mapping_type")
_A_LIST = ("list_type", "tuple_type")
_A_NUMBER = ("float_type", "float_parsing", "number")
_WHOLE = ("int_type", "int_parsing", "int_from_float", "int_parsing_size", "finite_number")  # every number that need not be whole is a units.Number
_BOUNDS = {"greater_than": ("gt", "above"), "greater_than_equal": ("ge", "at least"), "less_than": ("lt", "below"), "less_than_equal": ("le", "at most")}


@dataclass(frozen=True)
class _Item:
    """One pydantic error with the steps to it and the shape expected there."""

    steps: tuple[Step, ...]
    shape: Shape
    error: ErrorDetails
    keys: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str | int, ...]:
        return tuple(step.name for step in self.steps if step.kind == "data")


def given(value: Any) -> str:
    """A value as the author wrote it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return shortest(value)
    if isinstance(value, str):
        return f'"{value}"'
    return "a list" if isinstance(value, list | tuple) else "a map"


def explain(error: ValidationError, model: type[BaseModel], data: Any) -> list[Found]:
    """Everything `error` says about `data`, one sentence each."""
    root = Shape(model)
    items = []
    for details in error.errors(include_url=False):
        steps, shape = trace(root, details["loc"], data)
        items.append(_Item(tuple(steps), shape, details))
    words = [(item, found) for item in _settle(items, 0, data) for found in _word(item)]
    misspelt = {(*found.path[:-1], nearest(str(found.path[-1]), _keys(item))) for item, found in words if item.error["type"] == "extra_forbidden"}
    return [found for item, found in words if item.error["type"] != "missing" or found.path not in misspelt]


def _settle(items: Sequence[_Item], depth: int, data: Any) -> list[_Item]:
    """The items that remain once every plain union below `depth` has been decided."""
    kept = [item for item in items if len(item.steps) <= depth]
    groups: dict[tuple[str, str | int], list[_Item]] = {}
    choices: dict[str | int, list[_Item]] = {}
    for item in items:
        if len(item.steps) > depth:
            step = item.steps[depth]
            (choices.setdefault(step.name, []) if step.kind == "choice" else groups.setdefault((step.kind, step.name), [])).append(item)
    for group in groups.values():
        kept += _settle(group, depth + 1, data)
    if choices:
        kept += _choose([_settle(group, depth + 1, data) for group in choices.values()], depth + 1, data)
    return kept


def _choose(alternatives: list[list[_Item]], depth: int, data: Any) -> list[_Item]:
    value = value_at(data, alternatives[0][0].steps[:depth])
    wrong_kind = {*_A_LIST} if isinstance(value, dict) else {*_A_MAP} if isinstance(value, list) else {*_A_LIST, *_A_MAP}

    def fits(items: list[_Item]) -> bool:
        return not any(len(item.steps) == depth and _is_other_kind(item.error, value, wrong_kind) for item in items)

    def container(items: list[_Item]) -> bool:
        return any(len(item.steps) == depth and item.error["type"] in (*_A_LIST, *_A_MAP) for item in items)

    fitting = [items for items in alternatives if fits(items)]
    if not fitting and isinstance(value, dict | list):
        fitting = [items for items in alternatives if container(items)]
    fitting = fitting or alternatives
    if isinstance(value, dict):
        everywhere = _unknown_everywhere(fitting, depth)
        if everywhere:
            return everywhere
        return min(fitting, key=lambda items: (sum(item.error["type"] in ("missing", "extra_forbidden") for item in items), len(items)))
    return min(fitting, key=len)


def _unknown_everywhere(alternatives: list[list[_Item]], depth: int) -> list[_Item]:
    """The keys that no alternative knows, each with the keys of all of them."""
    unknown = [
        {item.steps[depth].name: item for item in items if item.error["type"] == "extra_forbidden" and len(item.steps) == depth + 1} for items in alternatives
    ]
    keys = tuple(dict.fromkeys(key for found in unknown for item in found.values() for key in item.steps[depth].before.keys))
    return [replace(item, keys=keys) for name, item in unknown[0].items() if all(name in found for found in unknown)]


def _is_other_kind(error: ErrorDetails, value: Any, wrong_kind: set[str]) -> bool:
    if error["type"] in wrong_kind:
        return True
    scalar_expected = error["type"] in (*_A_NUMBER, *_WHOLE, "string_type", "bool_type", "literal_error", "quantity", "unit")
    return scalar_expected and isinstance(value, dict | list)


def _keys(item: _Item) -> tuple[str, ...]:
    """The keys allowed where an unknown one was found."""
    return item.keys or item.steps[-1].before.keys


def _word(item: _Item) -> list[Found]:
    error, path, kind = item.error, item.path, item.error["type"]
    value, context = error["input"], error.get("ctx", {})
    if kind == "missing":
        allowed = item.shape.words or tags(item.shape)
        return [Found(path, "missing" + (f"; allowed: {_listed(allowed)}" if allowed else ""))]
    if kind == "extra_forbidden":
        keys = _keys(item)
        return [Found(path, "unknown key" + (did_you_mean(str(path[-1]), keys) if keys else ""), on_key=True)]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = str(context["discriminator"]).strip("'")
        options = sorted(tags(item.shape))
        if kind == "union_tag_not_found" or not isinstance(value, dict):
            if not isinstance(value, dict):
                return [Found(path, f"should be a map, not {given(value)}")]
            return [Found((*path, key), f"missing; allowed: {_listed(options)}")]
        return [Found((*path, key), f"unknown word {given(value.get(key))}{did_you_mean(str(value.get(key)), options)}")]
    if kind == "literal_error":
        return [Found(path, _not_a_word(value, item.shape.words, str(context.get("expected", ""))))]
    sentence = _sentence(kind, value, context, error["msg"])
    key, colon, rest = sentence.partition(": ")
    # A part that says which of its keys is wrong ("spending: unknown word …") is taken at its word.
    return [Found((*path, key), rest) if colon and isinstance(value, dict) and key in value else Found(path, sentence)]


def _not_a_word(value: Any, words: Sequence[Any], expected: str) -> str:
    texts = [word for word in words if isinstance(word, str)]
    if isinstance(value, str) and texts:
        return f'unknown word "{value}"{did_you_mean(value, texts)}'
    return f"{given(value)} is not allowed; allowed: {_listed(words) if words else expected}"


def _listed(options: Sequence[Any]) -> str:
    return ", ".join("true" if word is True else "false" if word is False else str(word) for word in options)


def _sentence(kind: str, value: Any, context: dict[str, Any], message: str) -> str:
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"should be {words} {given(context[key])}, not {given(value)}"
    if kind in _A_MAP:
        return f"should be a map, not {given(value)}"
    if kind in _A_LIST:
        return f"should be a list, not {given(value)}"
    if kind in _WHOLE:
        too_large = isinstance(value, float) and (math.isinf(value) or value.is_integer())
        return f"should be a whole number{' of a reasonable size' if too_large else ''}, not {given(value)}"
    if kind in _A_NUMBER and (kind != "number" or isinstance(value, dict | list)):
        return f"should be a number, not {given(value)}"
    if kind == "quantity" and isinstance(value, dict | list):
        return f"should be a quantity, for example {context.get('example', '12 months')}, not {given(value)}"
    if kind == "string_type":
        quoted = isinstance(value, int | float)
        return f"should be text, not {given(value)}{' (in quotes it is text)' if quoted else ''}"
    if kind in ("bool_type", "bool_parsing"):
        return f"should be true or false, not {given(value)}"
    if kind in ("too_short", "string_too_short"):
        return "should not be empty" if context.get("min_length") == 1 else f"should have at least {context['min_length']} entries"
    if kind == "too_long":
        return f"should have at most {context['max_length']} entries, not {context['actual_length']}"
    return message.removeprefix("Value error, ")


def coercions(raw: Any, typed: Any, path: tuple[str | int, ...] = ()) -> list[Found]:
    """Where pydantic was kinder than the language: a quoted number, or true and false where a number is due."""
    if isinstance(typed, BaseModel) and isinstance(raw, dict):
        fields = {field.alias or name: name for name, field in type(typed).model_fields.items()}
        return [found for key, item in raw.items() if key in fields for found in coercions(item, getattr(typed, fields[key]), (*path, key))]
    if isinstance(typed, dict) and isinstance(raw, dict):
        return [found for key, item in raw.items() if key in typed for found in coercions(item, typed[key], (*path, key))]
    if isinstance(typed, list | tuple) and isinstance(raw, list) and len(raw) == len(typed):
        return [found for index, (item, made) in enumerate(zip(raw, typed, strict=True)) for found in coercions(item, made, (*path, index))]
    if isinstance(typed, bool) and not isinstance(raw, bool):
        return [Found(path, f"should be true or false, not {given(raw)}")]
    if isinstance(typed, int) and not isinstance(typed, bool) and isinstance(raw, bool | str):
        return [Found(path, f"should be a whole number, not {given(raw)}")]
    is_quoted = isinstance(raw, str) and _BARE.fullmatch(raw) is not None
    return [Found(path, f"should be a number, not {given(raw)}")] if isinstance(typed, float) and (isinstance(raw, bool) or is_quoted) else []
