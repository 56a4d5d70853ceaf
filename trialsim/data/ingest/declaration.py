"""The language of SOURCES.yaml (`trialsim.ingest/1`): what is read, how persons are linked, and what each column is."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.data.card import ColumnType, Purpose
from trialsim.data.sources import AnySource
from trialsim.parts import Part
from trialsim.units import Duration, PositiveTime

SCHEMA = "trialsim.ingest/1"
Aggregate = Literal["first", "last", "mean", "median", "min", "max", "count", "any", "slope", "sd"]
ColumnRole = Literal["covariate", "outcome", "arm", "post_baseline"]
WHOLE = ("count", "any")
"""The aggregates that count rows and need no number in them."""


def _names(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


def _day(given: Any) -> Any:
    if isinstance(given, datetime) or not isinstance(given, date | str):
        raise PydanticCustomError("date", "should be a date (YYYY-MM-DD)")
    if isinstance(given, date):
        return given
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise PydanticCustomError("date", '"{given}" is not a date (YYYY-MM-DD)', {"given": given}) from None


def _end(given: Any) -> Any:
    """A date where it is one, else names."""
    try:
        return _day(given)
    except PydanticCustomError:
        names = _names(given)
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise PydanticCustomError("until", "should be last_seen, a date (YYYY-MM-DD) or code lists") from None
        return tuple(names)


LAST_SEEN = ("last_seen",)
Names = Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1)]
"""One name or several."""
Day = Annotated[date, BeforeValidator(_day)]
End = Annotated[date | tuple[str, ...], BeforeValidator(_end)]


class Link(Part):
    """A file that says which ids of the sources are one person. A source that it does not name uses the key itself."""

    file: str = Field(description="CSV or Parquet, one row per person, relative to SOURCES.yaml.")
    key: str = Field(description="The column that names the person in what is written.")
    columns: dict[str, str] = Field(default_factory=dict, description="Source → the column of its ids.")


class Conversion(Part):
    """value in the code list's unit = factor × value in this unit + offset."""

    factor: float = Field(default=1.0, allow_inf_nan=False, description="By what a value is multiplied.")
    offset: float = Field(default=0.0, allow_inf_nan=False, description="What is then added.")

    @model_validator(mode="after")
    def _not_zero(self) -> Self:
        if self.factor == 0:
            raise PydanticCustomError("conversion", "{words}", {"key": "factor", "words": "is 0, which would make all values one"})
        return self


class CodeList(Part):
    """Codes of one system that mean one thing, and the unit of its numbers."""

    system: str = Field(description="The code system, as the sources write it: a FHIR URI such as http://loinc.org.")
    codes: tuple[str, ...] = Field(min_length=1, description="The codes.")
    unit: str | None = Field(default=None, description="The unit that its numbers must have, or are converted to. Absent: the one that all have.")
    convert: dict[str, Conversion] = Field(default_factory=dict, description='Unit → how it is converted; "" is a number without a unit.')

    @model_validator(mode="after")
    def _to_what(self) -> Self:
        if self.convert and self.unit is None:
            raise PydanticCustomError("convert", "{words}", {"key": "convert", "words": "needs `unit`, the unit that is converted to"})
        if self.unit is not None and self.unit in self.convert:
            raise PydanticCustomError("convert", "{words}", {"key": f"convert.{self.unit}", "words": "is the unit that is converted to"})
        return self


class Index(Part):
    """Time zero: the first or last event of code lists, a date that each person has, or one date for all."""

    codes: Names | None = Field(default=None, description="The code lists of the event.")
    occurrence: Literal["first", "last"] = Field(default="first", description="Which of a person's events.")
    attribute: str | None = Field(default=None, description="The attribute that holds each person's date.")
    date: Day | None = Field(default=None, description="One date for all.")
    source: Names | None = Field(default=None, description="Only from these sources.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [key for key in ("codes", "attribute", "date") if getattr(self, key) is not None]
        if len(given) != 1:
            raise PydanticCustomError("index", "needs exactly one of codes, attribute and date; {n} are given", {"n": len(given)})
        if "occurrence" in self.model_fields_set and self.codes is None:
            raise PydanticCustomError("index", "{words}", {"key": "occurrence", "words": "belongs to `codes`"})
        return self


class Feature(Part):
    """One column (or, for an event, two): where it comes from and how many records become one value."""

    attribute: str | None = Field(default=None, description="A fact without a date. `birth` and `death` are the dates of the person.")
    score: str | None = Field(default=None, description="A polygenic score.")
    codes: Names | None = Field(default=None, description="The code lists of its records.")
    daily: str | None = Field(default=None, description="A daily feature of a wearable, for example steps_level.")
    questionnaire: str | None = Field(default=None, description="A scored instrument.")
    event: Names | None = Field(default=None, description="The code lists of an event after the index date, or `death`: columns NAME_days and NAME_event.")
    aggregate: Aggregate | None = Field(default=None, description="How the records up to the index date become one value; slope is per year.")
    as_: Literal["age", "date"] | None = Field(default=None, alias="as", description="An attribute that is a date: the time since then, or the date.")
    within: PositiveTime | None = Field(default=None, description="Overrides look_back; for an event: follow-up ends after this time.")
    until: End = Field(
        default=LAST_SEEN,
        description="Where follow-up ends: last_seen, a date, or the last record of code lists (or of the event); at death where that is earlier.",
    )
    same_day: bool = Field(default=False, description="Whether an event on the index date counts, at 0 days.")
    source: Names | None = Field(default=None, description="Only from these sources.")
    role: ColumnRole | None = Field(default=None, description="Default: outcome for an event, post_baseline for the date of death, else covariate.")
    type: ColumnType | None = Field(default=None, description="Of an attribute. Absent: inferred.")
    levels: tuple[str, ...] = Field(default=(), description="The levels of an attribute in order. Absent: those found.")
    unit: str = Field(default="", description="The unit of an attribute; for `as: age` years, months, weeks or days.")
    description: str = Field(default="", description="In words, before what the ingest says of its provenance.")

    @property
    def origin(self) -> str:
        """Which of its kinds it is."""
        return next(key for key in ORIGINS if getattr(self, key) is not None)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = [key for key in ORIGINS if getattr(self, key) is not None]
        if len(given) != 1:
            raise PydanticCustomError("feature", "needs exactly one of {all}; {n} are given", {"all": ", ".join(ORIGINS), "n": len(given)})
        origin = given[0]
        if origin in AGGREGATED and self.aggregate is None:
            raise PydanticCustomError(
                "feature", "{words}", {"key": "aggregate", "words": "is missing; allowed: any, count, first, last, max, mean, median, min, sd, slope"}
            )
        for key, origins in _ONLY.items():
            if key in self.model_fields_set and origin not in origins:
                words = f"belongs to {' or '.join(origins)}, not to {origin}"
                raise PydanticCustomError("feature", "{words}", {"key": "as" if key == "as_" else key, "words": words})
        if self.as_ == "age" and self.unit not in ("", *AGES):
            raise PydanticCustomError("feature", "{words}", {"key": "unit", "words": f'"{self.unit}" is not allowed; allowed: {", ".join(AGES)}'})
        if self.as_ is not None and (self.type is not None or self.levels):
            raise PydanticCustomError("feature", "{words}", {"key": "type" if self.type is not None else "levels", "words": f"is settled by `as: {self.as_}`"})
        if self.levels and self.type not in (None, "binary", "categorical"):
            raise PydanticCustomError("feature", "{words}", {"key": "levels", "words": f"belong to a binary or categorical column, not to {self.type}"})
        return self


ORIGINS = ("attribute", "score", "codes", "daily", "questionnaire", "event")
AGGREGATED = ("codes", "daily", "questionnaire")
AGES = {"years": 365.25, "months": 30.4375, "weeks": 7.0, "days": 1.0}
_ONLY = {
    "aggregate": AGGREGATED,
    "within": (*AGGREGATED, "event"),
    "until": ("event",),
    "same_day": ("event",),
    "as_": ("attribute",),
    "type": ("attribute",),
    "levels": ("attribute",),
    "unit": ("attribute", "score", "daily", "questionnaire"),
}


class ConsentRecords(Part):
    """Whose records of consent count. A person without a permitting record of a purpose has 0 in its column."""

    sources: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="The sources of the records.")
    as_of: Day | None = Field(default=None, description="A permission that begins later does not count. Absent: the day of the ingest.")


class Ingest(Part):
    """What SOURCES.yaml holds: the card's own keys, and how its data are made."""

    ingest: Literal["trialsim.ingest/1"] = Field(description="The version of this language.")
    id: str = Field(description="A short name.")
    title: str = Field(description="A title.")
    source: str = Field(description="Where the data come from.")
    licence: str | None = Field(default=None, description="The licence. Absent: the data may be looked at, but no model is fitted.")
    purposes: tuple[Purpose, ...] = Field(default=(), description="What the data may be used for.")
    citation: str = Field(default="", description="What to cite.")
    sources: dict[str, AnySource] = Field(min_length=1, description="Source → where it is and how it is read.")
    link: Link | None = Field(default=None, description="Which ids are one person. Absent: every source uses the same ids.")
    codes: dict[str, CodeList] = Field(default_factory=dict, description="Code list → its codes.")
    index: Index | None = Field(default=None, description="Time zero. Absent: only facts without a date become columns.")
    look_back: Duration | None = Field(default=None, description="How far before the index date records count. Absent: all of them.")
    features: dict[str, Feature] = Field(min_length=1, description="Column → where it comes from.")
    consent: ConsentRecords | None = Field(
        default=None, description="Absent: the card's purposes hold for every person; no source may have records of consent."
    )
