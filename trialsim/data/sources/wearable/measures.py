"""What is known of a measure of a wearable: its unit, whether it adds up over a day, and when a device counts as worn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from trialsim.parts import Part


def _hours(given: Any) -> Any:
    """`10` and `10 hours` are one thing."""
    if isinstance(given, str):
        number, _, unit = given.strip().partition(" ")
        if unit.strip() not in ("h", "hour", "hours"):
            raise PydanticCustomError("hours", '"{given}" is not a number of hours; write for example 10 hours', {"given": given})
        return number
    return given


Hours = Annotated[float, BeforeValidator(_hours), Field(ge=0, le=24, allow_inf_nan=False)]


class NonWear(Part):
    """Long runs of zero counts in activity per minute: the device was off.

    A run of at least `window` minutes of zeros is not worn. An interruption of at most `allowance` minutes of other counts
    is taken as part of the run where the `around` minutes before it and after it are all zeros.

    **Source:** Choi L, Liu Z, Matthews CE, Buchowski MS. Validation of accelerometer wear and nonwear time classification
    algorithm. Med Sci Sports Exerc 2011;43:357–364, doi:10.1249/MSS.0b013e3181ed61a3 (90, 2 and 30 minutes).
    Not handled: an interruption nearer than `around` minutes to the beginning or end of the record counts as worn.
    """

    rule: Literal["choi_2011"] = Field(default="choi_2011", description="The rule.")
    window: int = Field(default=90, ge=1, description="The shortest run, in minutes.")
    allowance: int = Field(default=2, ge=0, description="The longest interruption, in minutes.")
    around: int = Field(default=30, ge=1, description="The minutes of zeros on both sides of an interruption.")


class Measure(Part):
    """One measure. What is absent is taken from what is known of measures of that name."""

    codes: tuple[str, ...] = Field(default=(), description="FHIR: the codes of its Observations, as system|code.")
    unit: str | None = Field(default=None, description="The unit its values must be in; where the data give none, the unit that they are in.")
    total: bool | None = Field(default=None, description="Whether values of a day are added up (steps): the feature NAME_total.")
    epoch_minutes: int | None = Field(default=None, ge=1, le=1440, description="How long one sample stands for; absent: a minute.")
    min_wear: Hours | None = Field(default=None, description="Overrides the source's. 0: a single sample makes a day.")
    day: Literal["start", "end"] | None = Field(default=None, description="To which day an interval belongs; absent: start, and for sleep end.")
    non_wear: NonWear | None = Field(
        default=None, description="Activity counts per minute: when the device was not worn. Absent: worn where there are samples."
    )

    def known_as(self, name: str) -> Measure:
        """This measure with what is known of its name, and no option left open but the unit."""
        known = KNOWN.get(name, {})
        return self.model_copy(
            update={
                "codes": self.codes or known.get("codes", ()),
                "total": known.get("total", False) if self.total is None else self.total,
                "epoch_minutes": self.epoch_minutes or 1,
                "min_wear": known.get("min_wear") if self.min_wear is None else self.min_wear,
                "day": self.day or known.get("day", "start"),
            }
        )


LOINC = "http://loinc.org"
KNOWN: dict[str, dict[str, Any]] = {
    "steps": {"total": True, "codes": (f"{LOINC}|55423-8",)},
    "step_count": {"total": True, "codes": (f"{LOINC}|55423-8",)},
    "heart_rate": {"codes": (f"{LOINC}|8867-4",)},
    "respiratory_rate": {"codes": (f"{LOINC}|9279-1",)},
    "oxygen_saturation": {"codes": (f"{LOINC}|59408-5",)},
    "blood_glucose": {"codes": (f"{LOINC}|99504-3",)},
    "body_weight": {"min_wear": 0.0, "codes": (f"{LOINC}|29463-7",)},
    "body_height": {"min_wear": 0.0, "codes": (f"{LOINC}|8302-2",)},
    "systolic_blood_pressure": {"min_wear": 0.0, "codes": (f"{LOINC}|8480-6",)},
    "diastolic_blood_pressure": {"min_wear": 0.0, "codes": (f"{LOINC}|8462-4",)},
    "sleep_duration": {"min_wear": 0.0, "day": "end", "total": True, "codes": (f"{LOINC}|93832-4",)},
    "total_sleep_time": {"min_wear": 0.0, "day": "end", "total": True, "codes": (f"{LOINC}|93832-4",)},
    "physical_activity": {"min_wear": 0.0, "total": True},
}
"""Measures that are measured now and then make a day with one sample; a night's sleep belongs to the day it ends on."""
