"""From a table of real patients to the records of the kernels: the same kernels as in simulation, one replicate.

A *column map* says which column plays which role (`ROLES`); a role that is not mapped is the column of the same name, and
so is every covariate and stratum. Nothing doubtful is analysed: a negative or missing time, an event code that is not
known, a number whose square is beyond floating point, a patient twice, an arm without patients are errors that name their
rows (counted from 1 below the file's header).
"""

from trialsim.analysis.real_data.events import event_data
from trialsim.analysis.real_data.hierarchy import Tier, hierarchy_data
from trialsim.analysis.real_data.question import PROGNOSIS, ROLES, Question, Visit
from trialsim.analysis.real_data.record import record_for
from trialsim.analysis.real_data.recurrent import recurrent_data
from trialsim.analysis.real_data.values import value_data
from trialsim.analysis.real_data.visits import visit_data

__all__ = [
    "PROGNOSIS",
    "ROLES",
    "Question",
    "Tier",
    "Visit",
    "event_data",
    "hierarchy_data",
    "record_for",
    "recurrent_data",
    "value_data",
    "visit_data",
]
