"""When the data are cut, and what an analysis decides there: the language of looks.

A protocol may write the short form `interims`; `resolve` turns it into `looks` (one data cut each, in calendar order)
and the analysis's own `looks`, `information`, `efficacy` and `futility` (`Monitoring`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from trialsim.design import Efficacy, Futility
from trialsim.parts import Part
from trialsim.units import Duration, PositiveTime, Quantity, Share


class EventsTrigger(Part):
    """The cut falls at the calendar time of the given event, pooled over the arms."""

    events: int = Field(gt=0, description="Number of pooled events that triggers the look.")
    endpoint: str | None = Field(default=None, description="Time-to-event endpoint whose events are counted; default: the analysis's own.")


class CompletersTrigger(Part):
    """The cut falls when the given number of patients have reached a visit under observation."""

    completers: int = Field(gt=0, description="Number of patients who have reached the visit.")
    at_visit: str = Field(description="The visit that has to be reached.")


class EnrolledTrigger(Part):
    """The cut falls at the randomisation of the given patient."""

    enrolled: int = Field(gt=0, description="Number of randomised patients that triggers the look.")


class CalendarTrigger(Part):
    """The cut falls at a fixed time after the opening of accrual."""

    calendar: PositiveTime = Field(description="Time since accrual opened.")


class AfterLastPatientInTrigger(Part):
    """The cut falls a fixed time after the last planned patient was randomised."""

    after_last_patient_in: Duration = Field(description="Time since the last planned patient was randomised.")


class AllTrigger(Part):
    """The cut falls when every one of the conditions holds: the latest of them."""

    all: list[Trigger] = Field(min_length=1, description="Conditions that must all hold.")


class AnyTrigger(Part):
    """The cut falls when the first of the conditions holds: the earliest of them."""

    any: list[Trigger] = Field(min_length=1, description="Conditions of which one must hold.")


TRIGGERS: dict[str, type[Part]] = {
    "events": EventsTrigger,
    "completers": CompletersTrigger,
    "enrolled": EnrolledTrigger,
    "calendar": CalendarTrigger,
    "after_last_patient_in": AfterLastPatientInTrigger,
    "all": AllTrigger,
    "any": AnyTrigger,
}


def _trigger_key(value: Any) -> str | None:
    for key, kind in TRIGGERS.items():
        if isinstance(value, kind) or (isinstance(value, dict) and key in value):
            return key
    return None


Trigger = Annotated[
    Annotated[EventsTrigger, Tag("events")]
    | Annotated[CompletersTrigger, Tag("completers")]
    | Annotated[EnrolledTrigger, Tag("enrolled")]
    | Annotated[CalendarTrigger, Tag("calendar")]
    | Annotated[AfterLastPatientInTrigger, Tag("after_last_patient_in")]
    | Annotated[AllTrigger, Tag("all")]
    | Annotated[AnyTrigger, Tag("any")],
    Discriminator(_trigger_key, custom_error_type="trigger", custom_error_message="needs one of: " + ", ".join(TRIGGERS)),
]
AllTrigger.model_rebuild()
AnyTrigger.model_rebuild()


class Look(Part):
    """One data cut. `adaptations` change the trial afterwards."""

    when: Trigger = Field(description="What triggers the data cut.")
    not_after: PositiveTime | None = Field(default=None, description="The cut is made at this calendar time at the latest.")
    adaptations: dict[str, Any] | None = Field(default=None, description="What may be changed after this look.")
    decision_lag: Duration = Field(default=0.0, description="Time between the cut and the decision; patients enrolled meanwhile count as enrolled.")

    def unsupported(self) -> Any:
        if self.adaptations:
            yield "adaptations: " + ", ".join(self.adaptations)
        if self.decision_lag:
            yield "decision_lag"


class Information(Part):
    """The total against which information fractions are measured."""

    planned: float = Field(gt=0, description="Planned information at the final look: events for time-to-event analyses, else patients.")


class Monitoring(Part):
    """What every analysis may say about its looks. Combined with each analysis method."""

    looks: list[str] | None = Field(
        default=None, description="The looks at which this analysis is made, in calendar order; none: once, where the trial ends, at its full alpha."
    )
    information: Information | None = Field(default=None, description="The planned information of this analysis.")
    efficacy: Efficacy | None = Field(default=None, description="The efficacy rule; none: all alpha at the final look.")
    futility: Futility | None = Field(default=None, description="The futility rule.")


class AndAtLeast(Part):
    """A condition that may delay the final look."""

    after_last_patient_in: Duration = Field(description="The final look is made at least this long after the last planned patient was randomised.")


class Timing(Part):
    """When the looks of the short form are made."""

    information: Literal["events", "enrolled", "completers", "calendar"] = Field(description="What is counted.")
    endpoint: str | None = Field(default=None, description="Endpoint whose events are counted; default: the analysis's.")
    at_visit: str | None = Field(default=None, description="Visit that completers have reached.")
    fractions: list[Share] | None = Field(default=None, description="Information fractions of the interim looks; the final look always follows.")
    at: list[Quantity] | None = Field(default=None, description="Targets of the interim looks; without `final` the last entry is the final look.")
    final: Quantity | None = Field(default=None, description="Target of the final look: events, patients or a calendar time.")
    and_at_least: AndAtLeast | None = Field(default=None, description="Delays the final look.")
    not_after: PositiveTime | None = Field(default=None, description="Every look is made at this calendar time at the latest.")


class Interims(Part):
    """The short form of looks, for one analysis."""

    short_form: ClassVar[bool] = True
    analysis: str | None = Field(
        default=None, description="The analysis that is made at these looks; default: the only one, else the first on a primary endpoint."
    )
    timing: Timing = Field(description="When the looks are made.")
    efficacy: Efficacy | None = Field(default=None, description="The efficacy rule; none: all alpha at the final look.")
    futility: Futility | None = Field(default=None, description="The futility rule.")
    adaptations: dict[str, Any] | None = Field(default=None, description="What may be changed at an interim look.")

    def unsupported(self) -> Any:
        if self.adaptations:
            yield "adaptations: " + ", ".join(self.adaptations)
