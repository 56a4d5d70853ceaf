"""The typed protocol of one cell: every section, every `$name` replaced.

The parts live where their behaviour lives; this file only puts them together.
"""

from __future__ import annotations

from pydantic import Field

from trialsim.cohort import Population
from trialsim.conduct import Accrual, Interims, Look, Randomization
from trialsim.parts import Part
from trialsim.spec.sections.analyses import AnyAnalysis
from trialsim.spec.sections.costs import Costs
from trialsim.spec.sections.dose_escalation import DoseEscalation
from trialsim.spec.sections.endpoints import Endpoint
from trialsim.spec.sections.estimands import Estimand
from trialsim.spec.sections.interventions import Arm, Intervention
from trialsim.spec.sections.multiplicity import Family
from trialsim.spec.sections.simulation import Simulation
from trialsim.spec.sections.study import StudyIdentification
from trialsim.spec.sections.visits import Visits
from trialsim.twins import Truth

LANGUAGE = "trialsim/1"


class Protocol(Part):
    """One study under one design and one scenario. Every section may be missing; a command says which it needs.

    In the protocol of a cell `looks` holds the long form and `interims` is None, except where the long form cannot be
    known (the targets of a bare boundary, which `design` reads from `interims`).
    """

    study: StudyIdentification | None = Field(default=None, description="What the trial is called, and where its assumptions come from.")
    population: Population | None = Field(default=None, description="Who is enrolled, and how many.")
    interventions: dict[str, Intervention] = Field(default_factory=dict, description="Intervention -> what is given.")
    arms: dict[str, Arm] = Field(default_factory=dict, description="Arm -> what its patients are given. The order is the order of allocation.")
    visits: Visits = Field(default_factory=dict, description="Visit -> when it is, in time since randomisation.")
    endpoints: dict[str, Endpoint] = Field(default_factory=dict, description="Endpoint -> what is measured.")
    estimands: dict[str, Estimand] = Field(default_factory=dict, description="Estimand -> what the trial wants to know (ICH E9(R1)).")
    truth: Truth | None = Field(default=None, description="The mechanism that generates the data.")
    accrual: Accrual | None = Field(default=None, description="When patients are randomised.")
    randomization: Randomization | None = Field(default=None, description="How they are allocated to arms.")
    analyses: dict[str, AnyAnalysis] = Field(default_factory=dict, description="Analysis -> method and options.")
    multiplicity: dict[str, Family] = Field(default_factory=dict, description="Family -> hypotheses that span analyses and share one error rate.")
    interims: Interims | None = Field(default=None, description="Short form of the looks of one analysis.")
    looks: dict[str, Look] = Field(default_factory=dict, description="Look -> when the data are cut.")
    dose_escalation: DoseEscalation | None = Field(default=None, description="Rule of a phase I trial.")
    costs: Costs | None = Field(default=None, description="What the trial costs.")
    simulation: Simulation = Field(default_factory=Simulation, description="How often, from which seed, and what is kept.")
