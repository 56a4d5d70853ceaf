"""Outcomes with values that the language has and the engine cannot run yet.

`nonlinear_mixed`, `twin_trajectory`, `pkpd`, `ode` and `joint` accept any keys: their parameters are fixed when the engine
learns to run them, and until then a protocol that uses one is refused as a whole.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from trialsim.twins.process import OutcomeProcess


class _OpenModel(OutcomeProcess):
    """A model whose keys are not fixed yet."""

    model_config = ConfigDict(extra="allow")
    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("percent_slowing", "difference", "shift", "ratio", "hr", "acceleration")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("slope", "shift", "hr")


class NonlinearMixed(_OpenModel):
    """A nonlinear trajectory per patient (Emax, Gompertz, bounded)."""

    model: Literal["nonlinear_mixed"] = Field("nonlinear_mixed", description="A nonlinear trajectory per patient: Emax, Gompertz or bounded.")


class TwinTrajectory(_OpenModel):
    """The trajectory that a trained digital twin predicts."""

    model: Literal["twin_trajectory"] = Field("twin_trajectory", description="The trajectory of a trained digital twin.")


class PharmacokineticPharmacodynamic(_OpenModel):
    """Dose to concentration to effect."""

    model: Literal["pkpd"] = Field("pkpd", description="Pharmacokinetics and pharmacodynamics.")


class OrdinaryDifferentialEquation(_OpenModel):
    """A mechanistic model."""

    model: Literal["ode"] = Field("ode", description="A mechanistic model, as ordinary differential equations.")


class Joint(_OpenModel):
    """A hazard driven by a trajectory."""

    model: Literal["joint"] = Field("joint", description="A hazard driven by a longitudinal trajectory.")
