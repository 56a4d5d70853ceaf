"""Quantities with units, as pydantic types. Inside trialsim time is in days and rates are per day.

A bare number where a dimension is due is an error, and so is a unit of another dimension. What is
printed by `resolve` parses back to the same float: `12 months` -> 365.25 -> `365.25 days`.

Units of time: day, week (7), month (30.4375), year (365.25). Money and dose keep their unit as given.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer
from pydantic_core import PydanticCustomError, core_schema

DAYS = {"day": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}
TIME_UNITS = {**DAYS, **{f"{unit}s": days for unit, days in DAYS.items()}}

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"^\s*({_NUMBER})\s*(.*?)\s*$")


def shortest(value: float) -> str:
    """The shortest decimal that reads back as the same float; whole numbers without `.0`."""
    return str(int(value)) if math.isfinite(value) and value == int(value) and abs(value) < 1e15 else repr(float(value))


def _written(given: Any) -> str:
    """As the author wrote it, in YAML's words."""
    return str(given).lower() if isinstance(given, bool) else "null" if given is None else repr(given)


def _float(number: int | float) -> float:
    """Infinite where the whole number is beyond floating point."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _split(text: Any, example: str) -> tuple[float, str]:
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        raise PydanticCustomError("quantity", "{given} is not a quantity; write for example {example}", {"given": _written(text), "example": example})
    if isinstance(text, int | float):
        return _float(text), ""
    match = _QUANTITY.match(text)
    if match is None:
        raise PydanticCustomError("quantity", "{given} is not a quantity; write for example {example}", {"given": f'"{text}"', "example": example})
    return float(match[1]), match[2]


def _finite(value: float, given: Any) -> float:
    if not math.isfinite(value):
        raise PydanticCustomError("quantity", "{given} is not a finite number", {"given": repr(value if isinstance(given, int) else given)})
    return value


def parse_time(text: Any) -> float:
    """`12 months` -> days."""
    value, unit = _split(text, "12 months")
    if not unit:
        raise PydanticCustomError("unit", "{given} needs a unit of time (days, weeks, months or years)", {"given": str(text)})
    if unit not in TIME_UNITS:
        raise PydanticCustomError("unit", "{given} is not a time; the unit must be days, weeks, months or years", {"given": f'"{text}"'})
    return _finite(value * TIME_UNITS[unit], text)


def parse_rate(text: Any) -> float:
    """`0.01 / month` -> per day."""
    value, unit = _split(text, "0.01 / month")
    per = unit.removeprefix("/").strip() if unit.startswith("/") else ""
    if not unit:
        raise PydanticCustomError("unit", "{given} needs a unit (per time, for example {given} / month)", {"given": str(text)})
    if per not in TIME_UNITS:
        raise PydanticCustomError("unit", "{given} is not a rate; write a number per day, week, month or year", {"given": f'"{text}"'})
    return _finite(value / TIME_UNITS[per], text)


def parse_share(text: Any) -> float:
    """`30 %` or `0.3` -> 0.3."""
    value, unit = _split(text, "30 %")
    if unit not in ("", "%"):
        raise PydanticCustomError("unit", "{given} is not a share; write a number or a percentage", {"given": f'"{text}"'})
    return _finite(value / 100.0 if unit == "%" else value, text)


def parse_number(text: Any) -> float:
    """A bare number. A string with a unit is an error that says so."""
    if isinstance(text, str):
        match = _QUANTITY.match(text)
        wrong = "is not a number" if match is None else "should be a bare number, without a unit" if match[2] else "should be a number, without quotes"
        raise PydanticCustomError("unit", "{given} {wrong}", {"given": f'"{text}"', "wrong": wrong})
    if isinstance(text, bool) or not isinstance(text, int | float):
        raise PydanticCustomError("number", "{given} is not a number", {"given": _written(text)})
    return _finite(_float(text), text)


def _json(kind: str, examples: list[Any], description: str) -> dict[str, Any]:
    return {"type": kind, "examples": examples, "description": description}


class _Schema:
    """Replaces the JSON Schema of an annotated float by the one a protocol author sees."""

    def __init__(self, schema: dict[str, Any]):
        self.schema = schema

    def __get_pydantic_json_schema__(self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = handler(core)
        return {
            **{k: v for k, v in inner.items() if k in ("exclusiveMinimum", "minimum", "exclusiveMaximum", "maximum") and self.schema["type"] != "string"},
            **self.schema,
        }


Time = Annotated[
    float,
    BeforeValidator(parse_time),
    PlainSerializer(lambda days: f"{shortest(days)} days", return_type=str),
    _Schema(_json("string", ["12 months", "52 weeks", "90 days"], "A time with its unit: days, weeks, months (30.4375 d) or years (365.25 d).")),
]
"""A time in days."""
Duration = Annotated[Time, Field(ge=0)]
"""A time that is not negative."""
PositiveTime = Annotated[Time, Field(gt=0)]
Rate = Annotated[
    float,
    BeforeValidator(parse_rate),
    PlainSerializer(lambda rate: f"{shortest(rate)} / day", return_type=str),
    _Schema(_json("string", ["0.01 / month", "20 / week"], "A number per unit of time.")),
]
"""A rate per day."""
NonNegativeRate = Annotated[Rate, Field(ge=0)]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    _Schema(
        {
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*[0-9.eE+-]+\s*%\s*$"}],
            "type": ["number", "string"],
            "examples": [0.3, "30 %"],
            "description": "A share: a number or a percentage.",
        }
    ),
]
"""A number that may be written as a percentage."""
Probability = Annotated[Share, Field(ge=0, le=1)]
Number = Annotated[float, BeforeValidator(parse_number), _Schema(_json("number", [1.5], "A bare number."))]
"""A bare, finite number."""
PositiveNumber = Annotated[Number, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in its base unit, with its dimension: "" (bare), "time" (days), "rate" (per day) or the unit as given."""

    value: float
    dimension: str = ""

    def __str__(self) -> str:
        unit = {"": "", "time": " days", "rate": " / day"}.get(self.dimension, f" {self.dimension}")
        return f"{shortest(self.value)}{unit}"

    @classmethod
    def parse(cls, given: Any) -> Quantity:
        """A bare number, a time, a rate, a percentage, or a number with any other unit (dose, money)."""
        if isinstance(given, Quantity):
            return given
        value, unit = _split(given, "63 years")
        if unit in TIME_UNITS:
            return cls(_finite(value * TIME_UNITS[unit], given), "time")
        if unit.startswith("/") and unit[1:].strip() in TIME_UNITS:
            return cls(_finite(value / TIME_UNITS[unit[1:].strip()], given), "rate")
        if unit == "%":
            return cls(_finite(value / 100.0, given), "")
        return cls(_finite(value, given), unit)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def written(quantity: Quantity) -> float | str:
            return quantity.value if quantity.dimension == "" else str(quantity)

        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(written))

    @classmethod
    def __get_pydantic_json_schema__(cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": ["number", "string"], "examples": [25, "63 years", "10 mg/kg"], "description": "A number, with a unit where it has one."}
