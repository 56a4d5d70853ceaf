"""The base of everything a protocol may contain.

A *part* is a frozen pydantic model that lives in the file of the behaviour it parameterises. `spec`
imports the parts and never the other way round; a part sees only its own section.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen piece of the protocol language; unknown keys are errors.

    `supported = False` marks a part that the language has and the engine cannot run yet. A part of
    which only some options are missing overrides `unsupported`. `cpu_only = True`: drawing from it needs SciPy's inverse, so that
    it cannot be simulated on CUDA.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)
    supported: ClassVar[bool] = True
    cpu_only: ClassVar[bool] = False

    def unsupported(self) -> Iterator[str]:
        """What this part asks for that the engine cannot do yet, as short phrases (own level only)."""
        if not self.supported:
            name = next((str(getattr(self, key)) for key in ("dist", "method", "model", "rule", "mechanism") if hasattr(self, key)), type(self).__name__)
            yield name


def walk(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Part]]:
    """Every part below `value`, with its path in the protocol, outermost first."""
    if isinstance(value, Part):
        yield path, value
        for name, field in type(value).model_fields.items():
            yield from walk(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from walk(item, (*path, index))
