"""The record that a method takes, of real patients."""

from __future__ import annotations

from trialsim.analysis.analysis import Takes
from trialsim.analysis.real_data.events import event_data
from trialsim.analysis.real_data.question import Question
from trialsim.analysis.real_data.recurrent import recurrent_data
from trialsim.analysis.real_data.values import value_data
from trialsim.analysis.real_data.visits import visit_data
from trialsim.data import PatientTable
from trialsim.records import AnalysisData, EventData, RecurrentData, ValueData, VisitData


def record_for(takes: Takes, table: PatientTable, question: Question, *, kind: str) -> AnalysisData:
    """The endpoint of type `kind` as the record that the method takes; a hierarchy has `hierarchy_data`. Raises DataError."""
    if takes is EventData:
        return event_data(table, question)
    if takes is ValueData:
        return value_data(table, question, kind=kind)
    if takes is VisitData:
        return visit_data(table, question)
    assert takes is RecurrentData
    return recurrent_data(table, question)
