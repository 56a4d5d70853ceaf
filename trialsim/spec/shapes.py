"""Following a path of a pydantic error through the types of the language.

A pydantic location mixes the steps of the data (keys and indices) with names of union members. `trace` tells them apart by
walking the annotations, so that an error can be placed in the file and can name the keys and words allowed there.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, Tag
from pydantic.fields import FieldInfo

_CONTAINERS = {list: "list[", tuple: "tuple[", dict: "dict[", Literal: "literal["}


@dataclass(frozen=True)
class Shape:
    """A type with the discriminator it was annotated with, `None` alternatives taken away."""

    type: Any
    discriminator: str | Discriminator | None = None

    @property
    def members(self) -> tuple[Any, ...]:
        """The alternatives of a union."""
        return tuple(member for member in get_args(self.type) if member is not types.NoneType) if _is_union(self.type) else ()

    @property
    def words(self) -> tuple[Any, ...]:
        """The values of a `Literal`, also where it is an alternative of a union."""
        if get_origin(self.type) is Literal:
            return get_args(self.type)
        return tuple(word for member in self.members for word in shape_of(member).words)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a part."""
        return tuple(field.alias or name for name, field in self.type.model_fields.items()) if is_part(self.type) else ()


@dataclass(frozen=True)
class Step:
    """One element of a location. `kind`: data (a key or index), tag (of a discriminated union) or choice (of a plain one)."""

    kind: Literal["data", "tag", "choice"]
    name: str | int
    before: Shape
    """What is expected where the step starts from."""


ANY = Shape(Any)


def is_part(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def shape_of(annotation: Any, discriminator: str | Discriminator | None = None) -> Shape:
    """Without `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        for item in metadata:
            if isinstance(item, Discriminator):
                discriminator = item
            elif isinstance(item, FieldInfo) and item.discriminator is not None:
                discriminator = item.discriminator
        return shape_of(inner, discriminator)
    shape = Shape(annotation, discriminator)
    if len(shape.members) == 1:
        return shape_of(shape.members[0], discriminator)
    return shape


def field_shape(field: FieldInfo) -> Shape:
    found = next((item for item in field.metadata if isinstance(item, Discriminator)), None)
    return shape_of(field.annotation, field.discriminator or found)


def _tag_of(member: Any, discriminator: str | Discriminator) -> tuple[str, ...]:
    if get_origin(member) is Annotated:
        tags = tuple(str(item.tag) for item in get_args(member)[1:] if isinstance(item, Tag))
        if tags:
            return tags
    shape = shape_of(member)
    if isinstance(discriminator, str) and is_part(shape.type):
        field = next((f for name, f in shape.type.model_fields.items() if discriminator in (name, f.alias)), None)
        return tuple(str(word) for word in shape_of(field.annotation).words) if field is not None else ()
    return tuple(tag for inner in shape.members for tag in _tag_of(inner, discriminator))


def tagged(shape: Shape, tag: str) -> Shape:
    """The member of a discriminated union with this tag."""
    assert shape.discriminator is not None
    member = next((member for member in shape.members if tag in _tag_of(member, shape.discriminator)), Any)
    return shape_of(member)


def tags(shape: Shape) -> tuple[str, ...]:
    """All tags of a discriminated union."""
    if shape.discriminator is None:
        return ()
    return tuple(tag for member in shape.members for tag in _tag_of(member, shape.discriminator))


def labelled(shape: Shape, label: str) -> Shape:
    """The member of a plain union that pydantic calls `label`."""
    members = [shape_of(member) for member in shape.members]
    for member in members:
        if is_part(member.type) and (member.type.__name__ == label or f" {member.type.__name__}]" in label or f"({member.type.__name__})" in label):
            return member
    for member in members:
        start = _CONTAINERS.get(get_origin(member.type) or member.type)
        if start is not None and start in label:
            return member
    plain = [member for member in members if isinstance(member.type, type) and member.type.__name__ in label]
    return plain[0] if plain else ANY


def trace(root: Shape, location: Sequence[str | int], data: Any) -> tuple[list[Step], Shape]:
    """The steps of a location, and the shape expected at its end."""
    shape, value, steps = root, data, list[Step]()
    for element in location:
        if shape.members and shape.discriminator is not None:
            steps.append(Step("tag", element, shape))
            shape = tagged(shape, str(element))
            continue
        if shape.members:
            steps.append(Step("choice", element, shape))
            shape = labelled(shape, str(element))
            continue
        origin = get_origin(shape.type) or shape.type
        before = shape
        if is_part(shape.type):
            field = next((f for name, f in shape.type.model_fields.items() if element in (f.alias, name)), None)
            shape = ANY if field is None else field_shape(field)
        elif origin in (dict, Mapping) and len(get_args(shape.type)) == 2:
            if element == "[key]":
                continue
            shape = shape_of(get_args(shape.type)[1])
        elif origin in (list, tuple, Sequence) and isinstance(element, int):
            inner = [item for item in get_args(shape.type) if item is not Ellipsis]
            shape = shape_of(inner[min(element, len(inner) - 1)]) if inner else ANY
        elif not _has(value, element):
            continue
        else:
            shape = ANY
        steps.append(Step("data", element, before))
        value = _get(value, element)
    return steps, shape


def _has(value: Any, step: str | int) -> bool:
    return (isinstance(value, dict) and step in value) or (isinstance(value, list | tuple) and isinstance(step, int) and step < len(value))


def _get(value: Any, step: str | int) -> Any:
    return value[step] if _has(value, step) else None


def value_at(data: Any, steps: Sequence[Step]) -> Any:
    """The data at the end of the steps."""
    for step in steps:
        if step.kind == "data":
            data = _get(data, step.name)
    return data
