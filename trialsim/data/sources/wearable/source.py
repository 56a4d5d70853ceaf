"""Long time series of wearables as a source: `kind: wearable`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from trialsim.data.sources.source import FileSource
from trialsim.data.sources.wearable.days import insert_days
from trialsim.data.sources.wearable.fhir import read_fhir
from trialsim.data.sources.wearable.measures import Hours, Measure
from trialsim.data.sources.wearable.open_mhealth import read_open_mhealth
from trialsim.data.sources.wearable.samples import Samples
from trialsim.data.sources.wearable.tables import SampleColumns, read_tables
from trialsim.data.staging import Staging


class Wearable(FileSource):
    """Samples over time, turned into features of each local day: events of the kind `daily`, dated by that day.

    Of every person, day and measure (`steps`): `steps_wear_hours`, and where the device was worn for at least `min_wear`
    hours `steps_level`, `steps_variability`, `steps_amplitude`, `steps_acrophase`, `steps_cosine`, `steps_sine` and, for
    what adds up, `steps_total`; `trialsim.data.sources.wearable.days` has their definitions. A device is worn in minutes
    that have a sample, less those that a measure's `non_wear` excludes.

    With `zone`, days are those of that zone (23 or 25 hours long when clocks change), times without an offset are local
    times of it, and of two samples in the hour that clocks repeat the first in the file is the earlier. Without it, every
    time must have an offset, and its day is the one on the wearer's own clock. Problems, with file and line: times and
    values that are none, samples without a person, several values of one measure at one time, several units of one measure.
    Left out and counted: cells without a value, exact duplicates, measures that `measures` does not name.

    Not handled: overlapping intervals of several devices (counted, and added up twice), conversion of units, an interval
    that crosses midnight (it belongs to one day whole).
    """

    kind: Literal["wearable"]
    format: Literal["csv", "open_mhealth", "fhir"] = Field(
        description="csv: CSV or Parquet with `columns`; open_mhealth: data points as NDJSON or as a JSON array; fhir: Observations as NDJSON."
    )
    columns: SampleColumns | None = Field(default=None, description="csv: which column is what.")
    measure: str | None = Field(default=None, description="csv: the measure of every row, where no column says it.")
    zone: str | None = Field(default=None, description="The time zone of the days, for example Europe/Berlin. Absent: the offset of each time.")
    min_wear: Hours = Field(default=10.0, description="Hours of wear that make a day: `10` or `10 hours`.")
    measures: dict[str, Measure] = Field(default_factory=dict, description="Measure → what is special about it. Given: other measures are left out.")

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, zone: Any) -> Any:
        try:
            if zone is not None:
                ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise PydanticCustomError("zone", '"{zone}" is no time zone; write for example Europe/Berlin', {"zone": zone}) from None
        return zone

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wrong = None
        if self.format == "csv" and self.columns is None:
            wrong = "columns", "is missing: which column is the person, the time, the measure and the value"
        elif self.format == "csv" and self.columns is not None and (self.columns.measure is None) == (self.measure is None):
            wrong = "measure", "needs either a column of measures (`columns: {measure: …}`) or one measure for all rows (`measure`)"
        elif self.format != "csv" and (self.columns is not None or self.measure is not None):
            wrong = "columns" if self.columns is not None else "measure", "belongs to the format csv"
        elif self.format == "fhir" and (without := [name for name, measure in self.measures.items() if not measure.known_as(name).codes]):
            wrong = f"measures.{without[0]}.codes", "is missing: the codes of its Observations, as system|code"
        elif odd := [name for name, measure in self.measures.items() if measure.non_wear is not None and (measure.epoch_minutes or 1) != 1]:
            wrong = f"measures.{odd[0]}.non_wear", "is a rule for counts per minute: epoch_minutes must be 1"
        if wrong is not None:
            raise PydanticCustomError("wearable", "{words}", {"key": wrong[0], "words": wrong[1]})
        return self

    def read(self, staging: Staging, *, name: str, folder: Path, codes: frozenset[tuple[str, str]]) -> None:
        """Fills persons and events; notes every sample that cannot be read. `codes` do not matter: all days are kept."""
        samples = Samples.open(staging, name, zone=self.zone, units={key: measure.unit for key, measure in self.measures.items() if measure.unit})
        try:
            if self.format == "csv":
                assert self.columns is not None
                read_tables(samples, self.paths(folder), self.columns, measure=self.measure, measures=tuple(self.measures))
            elif self.format == "open_mhealth":
                read_open_mhealth(samples, self.paths(folder), measures=tuple(self.measures))
            else:
                read_fhir(samples, self.paths(folder), measures=self.measures)
            samples.check()
            insert_days(samples, measures=self.measures, min_wear=self.min_wear)
        finally:
            samples.close()
