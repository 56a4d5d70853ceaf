"""YAML files of one part: what is wrong in them, all at once, each with its line and column."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from trialsim.errors import DataError, Problem, did_you_mean
from trialsim.parts import Part

P = TypeVar("P", bound=Part)
Rule = tuple[tuple[str | int, ...], str]
"""Where in the file, and what is wrong there."""
_A_DATE = re.compile(r"\b\d{4}-\d{1,2}-\d{1,2}")
_A_MAP = ("model_type", "model_attributes_type", "dict_type", "mapping_type")
_A_LIST = ("list_type", "tuple_type")


def read_part(path: Path | str, model: type[P], *, is_a: str, shown: str | None = None, rules: Callable[[P], Iterable[Rule]] | None = None) -> P:
    """The part that a YAML file holds.

    `is_a` says what such a file is ("a card is a map with id, title, …"), for a file that holds no map; `shown` names the
    file in messages; `rules` are applied to a part that is valid by itself and give what is wrong between its keys. Raises DataError with every problem: no such file, no YAML, unknown keys (with the nearest that
    there is), missing keys, wrong values. A missing key is placed at the map that lacks it.
    """
    path = Path(path)
    name = shown or str(path)
    given = _read_yaml(path, name)
    if not isinstance(given, dict):
        raise DataError(Problem(is_a, file=name))
    try:
        part = model.model_validate(given)
    except ValidationError as error:
        wrong = [item for item in error.errors(include_url=False) if item["type"] != "too_short" or not item["input"]]  # a list of wrong items counts as empty
        raise DataError(_problem(model, given, item, name) for item in wrong) from None
    broken = [Problem(message, path=_dotted(path), file=name, **place_of(given, path)) for path, message in (rules(part) if rules is not None else ())]
    if broken:
        raise DataError(broken)
    return part


def place_of(given: Any, path: Sequence[str | int]) -> dict[str, int]:
    """`line` and `column` of the deepest key on this path that the YAML file has; empty where it has none."""
    place: dict[str, int] = {}
    for key in path:
        try:
            marks = given.lc
            line, column = marks.key(key) if isinstance(given, dict) else marks.item(key)
            given = given[key]
        except (KeyError, AttributeError, TypeError, IndexError):
            break
        place = {"line": line + 1, "column": column + 1}
    return place


def place_in_file(path: Path, keys: Sequence[str | int]) -> dict[str, int]:
    """`place_of` in a file that could be read before."""
    return place_of(_read_yaml(path, str(path)), keys)


def plain(given: Any) -> Any:
    """What the YAML reader gave as plain maps, lists, words and numbers (dates as ISO 8601), which go to JSON as they are."""
    if isinstance(given, dict):
        return {str(key): plain(value) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [plain(item) for item in given]
    if isinstance(given, date):
        return given.isoformat()
    return next((kind(given) for kind in (str, float, int) if isinstance(given, kind) and not isinstance(given, bool)), given)


def _read_yaml(path: Path, name: str) -> Any:
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return YAML(typ="rt").load(text)
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=name)) from None
    except UnicodeDecodeError:
        raise DataError(Problem("is not UTF-8 text", file=name)) from None
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror}", file=name)) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = {} if mark is None else {"line": mark.line + 1, "column": mark.column + 1}
        words = str(error.problem or error).split("\n")[0]
        raise DataError(Problem(f"is not valid YAML: {' '.join(words.split())}", file=name, **place)) from None
    except YAMLError as error:
        raise DataError(Problem(f"is not valid YAML: {' '.join(str(error).split())}", file=name)) from None
    except ValueError as error:  # 2020-02-30
        place = _place_of_date(text)
        raise DataError(Problem(f"holds a date that there is not: {error}", file=name, **place)) from None


def _place_of_date(text: str) -> dict[str, Any]:
    """The first thing in a text that looks like a date and is none."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _A_DATE.finditer(line):
            try:
                date(*(int(part) for part in match[0].split("-")))
            except ValueError:
                return {"line": number, "column": match.start() + 1}
    return {}


def _problem(model: type[BaseModel], given: Any, item: Any, name: str) -> Problem:
    """One pydantic error as a line with its place in the file."""
    path, holders = _trace(model, given, item["loc"])
    kind, context = item["type"], item.get("ctx", {})
    if kind in ("union_tag_invalid", "union_tag_not_found") and isinstance(item["input"], dict):
        path = (*path, str(context["discriminator"]).strip("'"))
    elif "key" in context:  # a part that says which of its keys is wrong
        path = (*path, *str(context["key"]).split("."))
    return Problem(_words(item, [word for holder in holders for word in holder.model_fields]), path=_dotted(path), file=name, **place_of(given, path))


def _words(item: Any, keys: Iterable[str]) -> str:
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(item['loc'][-1]), set(keys))}"
    if kind == "literal_error":
        options = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        return f'"{value}" is not allowed{did_you_mean(str(value), options)}'
    if kind == "union_tag_invalid":
        return f'"{context["tag"]}" is not allowed{did_you_mean(str(context["tag"]), str(context["expected_tags"]).replace(chr(39), "").split(", "))}'
    if kind == "union_tag_not_found" and isinstance(value, dict):
        return "is missing"
    if kind in (*_A_MAP, "union_tag_not_found"):
        return "should be a map of keys and values"
    if kind in _A_LIST:
        return "should be a list"
    if kind == "string_type":
        return "should be text" + (f", not {value} (in quotes it is text)" if isinstance(value, int | float) else "")
    if kind == "too_short":
        return "should not be empty"
    return str(item["msg"]).removeprefix("Value error, ")


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(map(str, path))


def _trace(model: type[BaseModel], given: Any, loc: Sequence[str | int]) -> tuple[tuple[str | int, ...], list[type[BaseModel]]]:
    """The keys of the file among pydantic's steps (it also counts the choice of a union), and the models that hold the last key."""
    path: list[str | int] = []
    expected, holders, node = _members(model), [model], given
    for step in loc:
        models = [member for member in expected if isinstance(member, type) and issubclass(member, BaseModel)]
        chosen = [member for member in models if step in _tags(member)]
        is_a_key = (
            (isinstance(node, dict) and step in node) or (isinstance(node, list) and isinstance(step, int)) or any(step in m.model_fields for m in models)
        )
        if chosen and (len(models) > 1 or not is_a_key):
            expected = list(chosen)
            continue
        if not is_a_key and (isinstance(node, dict | list) or len(expected) > 1) and step != loc[-1]:
            continue
        path.append(step)
        holders = models
        expected = [inner for member in expected for inner in _inside(member, step)]
        try:
            node = node[step]
        except (KeyError, TypeError, IndexError):
            node = None
    return tuple(path), holders


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a type."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [member for option in get_args(annotation) for member in _members(option)]
    return [annotation]


def _tags(model: type[BaseModel]) -> set[Any]:
    """The words by which a union may choose this model, and its name."""
    return {model.__name__} | {word for field in model.model_fields.values() if get_origin(field.annotation) is Literal for word in get_args(field.annotation)}


def _inside(annotation: Any, step: str | int) -> list[Any]:
    """The types under a key of a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {field.alias or name: field for name, field in annotation.model_fields.items()}
        found = fields.get(str(step)) or annotation.model_fields.get(str(step))
        return [] if found is None else _members(found.annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict or (isinstance(origin, type) and issubclass(origin, dict)):
        return _members(arguments[1])
    return _members(arguments[0]) if arguments and isinstance(step, int) else []
