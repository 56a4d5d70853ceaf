"""What evaluation is told about a cell's analyses: from the compiled trial and the true values of its estimands."""

from __future__ import annotations

from collections.abc import Mapping

from trialsim.analysis import null_values
from trialsim.conduct.comparison import PlannedAnalysis
from trialsim.evaluation.results import Comparison
from trialsim.evaluation.trial_values import AnalysisLabels
from trialsim.evaluation.truth import TrueValue, in_null_beyond
from trialsim.simulate import Trial
from trialsim.spec import Cell
from trialsim.spec.planning import planned_analyses, planned_looks


def comparisons_of(trial: Trial, truths: Mapping[str, TrueValue | None]) -> dict[str, Comparison]:
    """By analysis, as the keys of `TrialRecord.analyses`."""
    found = {}
    for name, plan in trial.analyses.items():
        true = truths.get(name)
        method = plan.method
        found[name] = Comparison(
            analysis=name,
            endpoint=plan.endpoint,
            arm=None,
            scale=method.std_error_scale,
            alpha_one_sided=method.alpha_one_sided,
            sides=method.tested_sides,
            looks=tuple(look + 1 for look in plan.looks) or tuple(range(1, len(trial.looks) + 1)),
            futility=plan.monitoring.futility is not None,
            null=true is not None and in_null_beyond(true, _edges(plan), benefit=plan.favours, sides=method.tested_sides),
            truth=true,
        )
    return found


def _edges(plan: PlannedAnalysis) -> tuple[float, ...]:
    return null_values(plan.method.type, plan.method.allowed_loss, favours=plan.favours)


def analysis_labels(analyses: Mapping[str, PlannedAnalysis]) -> dict[str, AnalysisLabels]:
    """What precision and paired differences are told: everything that does not need the true values."""
    return {name: AnalysisLabels(name, plan.endpoint, None, plan.method.tested_sides, plan.method.std_error_scale) for name, plan in analyses.items()}


def labels_in_cell(cell: Cell) -> dict[str, AnalysisLabels]:
    """The same of a cell that is not compiled."""
    return analysis_labels(planned_analyses(cell.protocol, planned_looks(cell.protocol), ignore_futility=cell.role == "null_hypothesis"))
