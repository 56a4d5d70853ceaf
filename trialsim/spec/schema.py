"""The language as a JSON Schema (2020-12), for editors and other tools.

Made from the parts, so it cannot fall behind them. Quantities are strings with a unit; wherever a value is allowed, so is
a `$name`. A file that `extends` another may leave out what the other says, so only its outermost keys are described.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from trialsim.spec.protocol import LANGUAGE, Protocol
from trialsim.spec.sections.designs import STEPS, BareGrid, Design, Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PARAMETER_USE = {
    "type": "string",
    "pattern": r"^\$[A-Za-z_][A-Za-z0-9_]*$",
    "description": "Stands for the whole value of a parameter.",
    "examples": ["$hr"],
}
_LITERAL_KEYS = ("spec", "extends", "parameters", "designs", "scenarios")


class ProtocolFile(Protocol):
    """A clinical trial protocol for simulation: what is known, what is assumed, what is chosen."""

    spec: Literal["trialsim/1"] = Field(description="The language of the file.")
    extends: str | None = Field(
        default=None, description="A protocol this one is laid over: maps are merged, null deletes a key. Relative to this file.", examples=["base.yaml"]
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Name -> value, which may be anything; null makes the key absent. `$name` stands for it.",
        examples=[{"hr": 0.7, "delay": "3 months"}],
    )
    designs: BareGrid | dict[str, Design] = Field(default_factory=dict, description="The sponsor's choices: design -> {set} or {grid}; a bare grid is unnamed.")
    scenarios: dict[str, Scenario] = Field(default_factory=dict, description="States of nature: scenario -> {role, set | grid | draw}.")


class _Generator(GenerateJsonSchema):
    """Knows the short forms that validators of the parts accept before pydantic sees them."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        inner = super().function_before_schema(schema)
        name = getattr(schema["function"]["function"], "__name__", "")
        accepts = {"_one_or_many": {"type": "string"}, "_text": {"type": "integer"}, "level_name": {"type": "number"}}.get(name)
        if name == "_bare_schedule":
            return {**inner, "properties": {"every": {"anyOf": [inner["additionalProperties"], {"type": "string", "examples": ["8 weeks"]}]}}}
        if name == "_named" and "properties" not in inner and "additionalProperties" not in inner:
            accepts = {"const": "peto_peto"}
        return inner if accepts is None else {"anyOf": [inner, accepts]}


def json_schema() -> dict[str, Any]:
    """The schema of a protocol file."""
    made = ProtocolFile.model_json_schema(by_alias=True, mode="validation", schema_generator=_Generator)
    definitions = made.pop("$defs")
    root = {key: value for key, value in made.items() if key != "title"}
    root["properties"] = {key: _described(value) if key in _LITERAL_KEYS else _parametric(value) for key, value in root["properties"].items()}
    for name, definition in definitions.items():
        definitions[name] = _described(definition) if name in ("Design", "BareGrid", "Scenario") else _opened(definition)
    definitions |= {"parameter_use": PARAMETER_USE, "steps": STEPS, "protocol": root}
    outermost = {key: {"description": value.get("description", "")} for key, value in root["properties"].items()}
    outermost |= {key: root["properties"][key] for key in ("spec", "extends")}
    return {
        "$schema": DIALECT,
        "$id": f"https://trialsim.org/schema/{LANGUAGE}.json",
        "title": "trialsim protocol",
        "description": ProtocolFile.__doc__,
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"properties": outermost, "additionalProperties": False},
        "else": {"$ref": "#/$defs/protocol"},
        "$defs": dict(sorted(definitions.items())),
    }


def _described(schema: Any) -> Any:
    """Without titles made of field names, and with every alternative allowed to match more than once."""
    if isinstance(schema, list):
        return [_described(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "discriminator":
            # The word that tells the alternatives apart has to be there, also where an alternative has it by default.
            result["required"] = [value["propertyName"]]
            continue
        if key in ("examples", "default", "enum", "const", "required"):
            result[key] = value
        elif key in ("properties", "$defs"):
            result[key] = {name: _described(item) for name, item in value.items()}
        else:
            result["anyOf" if key == "oneOf" else key] = _described(value)
    return result


def _opened(schema: Any) -> Any:
    """A definition whose values may be `$name`."""
    schema = _described(schema)
    return _with_uses(schema)


def _with_uses(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_uses(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: _parametric(item) for name, item in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            result[key] = _parametric(value)
        elif key == "prefixItems":
            result[key] = [_parametric(item) for item in value]
        elif key == "anyOf":
            result[key] = [_with_uses(item) for item in value]
        else:
            result[key] = value
    return result


def _parametric(schema: Any) -> Any:
    """A value, or a `$name` in its place; a list of numbers may also be written in steps."""
    schema = _with_uses(_described(schema))
    about = {key: schema.pop(key) for key in ("description", "examples", "default") if key in schema}
    alternatives = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
    if any(item.get("type") == "array" and "number" in str(item.get("items")) for item in alternatives):
        alternatives = [*alternatives, {"$ref": "#/$defs/steps"}]
    return {**about, "anyOf": [*alternatives, {"$ref": "#/$defs/parameter_use"}]}
