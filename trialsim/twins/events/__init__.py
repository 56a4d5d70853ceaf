"""Laws and processes of event times, one file each; `EventProcess` is the registry, keyed by `dist`."""

from trialsim.twins.events.cure_mixture import CureMixture
from trialsim.twins.events.exponential import Exponential
from trialsim.twins.events.fitted import FittedEventTime
from trialsim.twins.events.from_curve import FromCurve
from trialsim.twins.events.gamma import Gamma
from trialsim.twins.events.gompertz import Gompertz
from trialsim.twins.events.illness_death import IllnessDeath
from trialsim.twins.events.loglogistic import LogLogistic
from trialsim.twins.events.lognormal import LogNormal
from trialsim.twins.events.piecewise_exponential import HazardPiece, PiecewiseExponential
from trialsim.twins.events.recurrent import Recurrent
from trialsim.twins.events.weibull import Weibull

EventTimeLaw = Exponential | Weibull | Gompertz | LogNormal | LogLogistic | Gamma | PiecewiseExponential | CureMixture
"""A law with a cumulative hazard: what an event outcome or dropout can follow."""
EventProcess = EventTimeLaw | FittedEventTime | FromCurve | Recurrent | IllnessDeath
"""Every event process of the language."""

__all__ = [
    "CureMixture",
    "EventProcess",
    "EventTimeLaw",
    "Exponential",
    "FittedEventTime",
    "FromCurve",
    "Gamma",
    "Gompertz",
    "HazardPiece",
    "IllnessDeath",
    "LogLogistic",
    "LogNormal",
    "PiecewiseExponential",
    "Recurrent",
    "Weibull",
]
