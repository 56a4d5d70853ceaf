"""Twins: outcome processes, treatment effects and prognosis. A twin is a patient plus everything that would happen to them under every arm."""

from trialsim.twins.effects import Effect
from trialsim.twins.events import EventProcess, EventTimeLaw
from trialsim.twins.model import TwinModel
from trialsim.twins.problems import problems
from trialsim.twins.process import EventLaw, OutcomeProcess
from trialsim.twins.truth import Truth
from trialsim.twins.values import Longitudinal, SingleValue

__all__ = ["Effect", "EventLaw", "EventProcess", "EventTimeLaw", "Longitudinal", "OutcomeProcess", "SingleValue", "Truth", "TwinModel", "problems"]
