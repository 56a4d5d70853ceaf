"""What evaluation is told about a cell's analyses: from the compiled trial and the true values of its estimands."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from trialsim.analysis import null_values
from trialsim.conduct.comparison import PlannedAnalysis
from trialsim.conduct.families import PlannedFamily
from trialsim.evaluation.results import Comparison
from trialsim.evaluation.trial_values import AnalysisLabels
from trialsim.evaluation.true_summaries import benefit_of
from trialsim.evaluation.truth import TrueValue, in_null_beyond
from trialsim.simulate import Trial
from trialsim.spec import Cell
from trialsim.spec.families import planned_families
from trialsim.spec.planning import planned_analyses, planned_looks

NO_FAMILIES: Mapping[str, PlannedFamily] = MappingProxyType({})


def comparisons_of(trial: Trial, truths: Mapping[str, TrueValue | None]) -> dict[str, Comparison]:
    """By comparison, as the keys of `TrialRecord.analyses`."""
    found = {}
    labels = analysis_labels(trial.analyses, trial.families)
    for name, plan in trial.analyses.items():
        true = truths.get(name)
        method = plan.method
        found[name] = Comparison(
            analysis=labels[name].analysis,
            endpoint=plan.endpoint,
            arm=plan.arm,
            scale=method.std_error_scale,
            alpha_one_sided=method.alpha_one_sided,
            sides=method.tested_sides,
            looks=tuple(look + 1 for look in plan.looks) or tuple(range(1, len(trial.looks) + 1)),
            futility=plan.monitoring.futility is not None,
            null=_all_alike(trial, plan)
            if plan.spans_arms
            else true is not None and in_null_beyond(true, _edges(plan), benefit=benefit_of(plan), sides=method.tested_sides),
            truth=true,
            families=labels[name].families,
        )
    return found


def _all_alike(trial: Trial, plan: PlannedAnalysis) -> bool:
    """Whether no arm of a trend or a contrast differs from the reference."""
    outcomes = trial.endpoints[plan.endpoint].outcomes
    return all(trial.twins.effect_is_identity(outcome, arm, plan.reference) for arm in plan.pooled for outcome in outcomes if arm != plan.reference)


def _edges(plan: PlannedAnalysis) -> tuple[float, ...]:
    return null_values(plan.method.type, plan.method.allowed_loss, favours=benefit_of(plan))


def analysis_labels(analyses: Mapping[str, PlannedAnalysis], families: Mapping[str, PlannedFamily] = NO_FAMILIES) -> dict[str, AnalysisLabels]:
    """What precision and paired differences are told: everything that does not need the true values."""
    found = {}
    for name, plan in analyses.items():
        spanning = tuple(
            family for family, members in families.items() if name in members.members and family not in {each.analysis for each in analyses.values()}
        )
        found[name] = AnalysisLabels(plan.analysis or name, plan.endpoint, plan.arm, plan.method.tested_sides, plan.method.std_error_scale, spanning)
    return found


def labels_in_cell(cell: Cell) -> dict[str, AnalysisLabels]:
    """The same of a cell that is not compiled."""
    analyses = planned_analyses(cell.protocol, planned_looks(cell.protocol), ignore_futility=cell.role == "null_hypothesis")
    return analysis_labels(analyses, planned_families(cell.protocol))
