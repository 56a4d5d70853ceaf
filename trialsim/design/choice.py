"""A union of parts told apart by the key that is present, and by its word where several parts share the key.

`{spending: kim_demets, rho: 2}` is told by `spending` and its word; `{z: [0.2]}` by `z` alone. A part declares its
`key`; a field of that name that is a `Literal` gives its word. Errors say what was given and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import PydanticCustomError

from trialsim.errors import did_you_mean
from trialsim.parts import Part


class Rule(Part):
    """A part of `efficacy` or `futility`, recognised by `key`."""

    key: ClassVar[str]

    @classmethod
    def word(cls) -> str | None:
        """The value of the key that names this part, None when the key alone does."""
        annotation = cls.model_fields[cls.key].annotation
        return str(get_args(annotation)[0]) if get_origin(annotation) is Literal else None

    @classmethod
    def tag(cls) -> str:
        word = cls.word()
        return cls.key if word is None else f"{cls.key}={word}"


def _refuse(message: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{message}", {"message": message})


def choice(section: str, members: tuple[type[Rule], ...], example: str) -> Any:
    """The pydantic type of one of `members`, for the section called `section`."""
    by_tag = {member.tag(): member for member in members}
    keys = tuple(dict.fromkeys(member.key for member in members))
    words = {key: tuple(member.word() for member in members if member.key == key) for key in keys}

    def check(given: Any) -> Any:
        if isinstance(given, Rule):
            return given
        if not isinstance(given, Mapping):
            raise _refuse(f"{given!r} is not a rule of {section}; write for example {example}")
        found = [key for key in keys if key in given]
        if len(found) > 1:
            raise _refuse(f"{section} has {' and '.join(found)}; give one of them")
        if not found:
            unknown = str(next(iter(given), ""))
            hint = did_you_mean(unknown, keys) if unknown else f"; allowed: {', '.join(keys)}"
            raise _refuse(f'{section} is not told by "{unknown}"{hint}' if unknown else f"{section} is empty{hint}")
        key = found[0]
        allowed = [word for word in words[key] if word is not None]
        if allowed and given[key] not in allowed:
            raise _refuse(f'{key}: unknown word "{given[key]}"{did_you_mean(given[key], allowed)}')
        return given

    def tag_of(given: Any) -> str:
        if isinstance(given, Rule):
            return given.tag()
        key = next(key for key in keys if key in given)
        return key if words[key] == (None,) else f"{key}={given[key]}"

    union = Union[tuple(Annotated[member, Tag(tag)] for tag, member in by_tag.items())]  # noqa: UP007  (built from a tuple)
    return Annotated[union, Discriminator(tag_of), BeforeValidator(check)]
