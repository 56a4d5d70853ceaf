"""Progression and death, with a death hazard that changes at progression."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.twins.events.cure_mixture import Uncured
from trialsim.twins.process import OutcomeProcess

TRANSITIONS = ("progression", "death", "death_after_progression")


class IllnessDeath(OutcomeProcess):
    """Three event times of a patient: T_p to progression and T_d to death, from randomisation, and T_a from progression to death.

    `progression` happens at T_p where T_p < T_d, else never, and death ends its follow-up; `death` at T_d where that comes
    first, else at T_p + T_a; `death_after_progression` at T_p + T_a where the patient progressed, else never. An effect on
    `death` is on the hazard of death without progression. An effect on the process's own id is one on each of the three
    that has none of its own. What a law states is of the reference arm; `prognostic` of the process moves all three, that of a law its own.

    **Source:** Fix & Neyman 1951, Hum Biol 23:205; Meira-Machado et al. 2009, SMMR 18:195, doi 10.1177/0962280208092301.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("hr",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("hr",)

    dist: Literal["illness_death"] = Field("illness_death", description="Progression, death, and death after progression.")
    progression: Uncured = Field(description="The law of the time to progression.")
    death: Uncured = Field(description="The law of the time to death without progression.")
    death_after_progression: Uncured = Field(description="The law of the time from progression to death.")

    def targets(self, outcome: str) -> tuple[str, ...]:
        return (outcome, *TRANSITIONS)
