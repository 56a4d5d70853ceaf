"""The check of a cohort model: is it good, safe and fair enough to be released?

    fail           a declared threshold is missed, or the disclosure gate fails
    inconclusive   nothing fails, but the disclosure gate cannot tell (or was not asked)
    pass           everything holds

Fidelity, effects and fairness are measured between the real patients and one large synthetic table; disclosure by refits of
the model's recipe (`cohort.disclosure`). A model passes for the data it was fitted to; compared with other data the
thresholds allow for sampling error, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trialsim.cohort.disclosure import Disclosure, check_disclosure
from trialsim.cohort.disclosure.workers import one_thread
from trialsim.cohort.fairness import (
    FEWEST_PATIENTS,
    Representativeness,
    Subgroup,
    SubgroupCalibration,
    load_target,
    representativeness,
    subgroup_calibration,
    subgroups,
)
from trialsim.cohort.fidelity import Fidelity, SideBySide, measure_fidelity, side_by_side
from trialsim.cohort.fidelity.side_by_side import Mask
from trialsim.cohort.sampler import Recipe, Sampler
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem
from trialsim.evaluation.cohort_criteria import Criterion, criteria
from trialsim.evaluation.cohort_thresholds import Thresholds
from trialsim.evaluation.effect_preservation import EffectPreservation, preservation

SCHEMA = "trialsim.cohort_check/1"
N_SYNTHETIC = 100_000
FEWEST = 50

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class CheckReport:
    """Everything that the check found. `model` and `data` say of what (ids, hashes, counts); `same_data`: the model was fitted to these data.

    `pair` holds the compared tables, for figures; it is not in the JSON.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    criteria: tuple[Criterion, ...]
    thresholds: Thresholds
    fidelity: Fidelity
    effects: EffectPreservation
    calibration: tuple[SubgroupCalibration, ...]
    too_few: tuple[Subgroup, ...]
    target: Representativeness | None
    disclosure: Disclosure | None
    same_data: bool
    seed: int
    pair: SideBySide
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The report of schema trialsim.cohort_check/1; no patient's row is in it."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "fidelity": self.fidelity.as_json(),
            "disclosure": {"verdict": None, "membership_auc": None} if self.disclosure is None else _without_nan(self.disclosure.as_json()),
            "fairness": {
                "subgroup_calibration": [each.as_json() for each in self.calibration],
                "too_few_to_say": [{"subgroup": group.name, "n_real": group.n_real} for group in self.too_few],
                "effects_not_given": [each.as_json() for each in self.effects.abstained],
                "target": None if self.target is None else self.target.as_json(),
            },
            "effects": [effect.as_json() for effect in self.effects.effects],
            "criteria": [criterion.as_json() for criterion in self.criteria],
            "thresholds": self.thresholds.model_dump(mode="json"),
            "model": dict(self.model),
            "data": dict(self.data),
            "same_data": self.same_data,
            "seed": self.seed,
        }


def _without_nan(value: Any) -> Any:
    """The same JSON with null where a number is not finite."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def check_cohort(
    model: Sampler,
    table: PatientTable,
    *,
    recipe: Recipe | None,
    thresholds: Thresholds | None = None,
    target: Path | None = None,
    refits: int = 20,
    workers: int = 1,
    seed: int = 1,
    same_data: bool = True,
    blocked: Sequence[str] = (),
    n_release: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    reference: str | None = None,
    n_synthetic: int = N_SYNTHETIC,
    n_draws: int = 5,
    about_model: Mapping[str, Any] | None = None,
    about_data: Mapping[str, Any] | None = None,
) -> CheckReport:
    """Checks a model against the permitted rows of its data. Deterministic in `seed`, whatever `workers`.

    `recipe` makes models like it from other rows; with None, or `refits` 0, disclosure is not checked and nothing can pass.
    Disclosure is checked of synthetic tables of `n_release` patients where that is more than half of the real ones, else of half
    of them: a release should not be longer. `blocked` are reasons to fail that were known before (a stale model).
    `reference` is the label of the reference arm (default: the smallest); `n_draws` synthetic samples of the real size meet
    the classifiers; `progress` is called with the refits done and in all. Raises DataError where the tables cannot be
    compared: a column is missing, no row has an arm of the model, fewer than 50 patients.
    """
    thresholds = thresholds or Thresholds()
    synthetic = model.synthesise(n_synthetic, seed=seed)
    pair, rows = side_by_side(table, synthetic, modelled=model.modelled, roles=model.roles, reference=reference)
    if pair.n_real < FEWEST:
        raise DataError(Problem(f"{pair.n_real} patients are too few to check a cohort model against; at least {FEWEST} are needed", file=table.file))
    groups = subgroups(pair)
    against = None if target is None else representativeness(pair, load_target(target, pair))  # read before the long part: its problems come first
    with one_thread():  # the same bits everywhere, and no threads that wait for each other on a busy machine
        fidelity = measure_fidelity(pair, seed=seed, n_draws=n_draws)
    effects = preservation(pair, groups, fewest=thresholds.subgroup_n)
    calibration = subgroup_calibration(pair, groups)
    judged = criteria(thresholds, fidelity, effects, calibration, against, same_data=same_data)
    disclosure = None
    if recipe is not None and refits > 0:
        disclosure = check_disclosure(
            recipe,
            table.take(rows),
            refits=refits,
            seed=seed,
            workers=workers,
            subgroups=_baseline_levels(pair, table),
            n_synthetic=_longer(n_release, pair.n_real // 2),
            progress=progress,
        )
    verdict, reasons = conclude(judged, disclosure, same_data=same_data, blocked=blocked)
    return CheckReport(
        verdict=verdict,
        reasons=reasons,
        criteria=judged,
        thresholds=thresholds,
        fidelity=fidelity,
        effects=effects,
        calibration=calibration,
        too_few=tuple(group for group in groups if group.n_real < FEWEST_PATIENTS),
        target=against,
        disclosure=disclosure,
        same_data=same_data,
        seed=seed,
        pair=pair,
        model=dict(about_model or {}),
        data={**(about_data or {}), "n_compared": pair.n_real},
    )


def _baseline_levels(pair: SideBySide, table: PatientTable) -> dict[str, Mask]:
    """The groups that the gate looks into: levels of the arm and of covariates. What is known only after baseline makes no group."""
    known = [column for column in pair.columns if column.levels and (column.role in ("covariate", "arm") or table.meaning[column.name].role == "arm")]
    known.sort(key=lambda column: column.role != "arm")
    return {f"{column.name} = {label}": column.real == place for column in known for place, label in enumerate(column.levels)}


def _longer(n: int | None, than: int) -> int | None:
    return n if n is not None and n > than else None


def conclude(judged: tuple[Criterion, ...], disclosure: Disclosure | None, *, same_data: bool, blocked: Sequence[str] = ()) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and its reasons, the gravest first."""
    missed = [_sentence(criterion.sentence) for criterion in judged if not criterion.met]
    notes = [] if same_data else ["The model was fitted to other data than these: differences may be between the two data sets."]
    if disclosure is not None and disclosure.verdict == "fail":
        return "fail", (*blocked, *_of_gate(disclosure), *missed, *notes)
    if missed or blocked:
        return "fail", (*blocked, *missed, *notes)
    if disclosure is None:
        return "inconclusive", ("Disclosure was not checked, so nobody can say whether the model tells whom it was fitted to.", *notes)
    if disclosure.verdict == "inconclusive":
        return "inconclusive", (*_of_gate(disclosure), *notes)
    return "pass", (f"All {len(judged)} declared thresholds are met.", *_of_gate(disclosure), *notes)


def _of_gate(disclosure: Disclosure) -> tuple[str, ...]:
    auc = disclosure.membership_auc
    judged = {"pass": "passes", "fail": "fails", "inconclusive": "is inconclusive at"}[disclosure.verdict]
    words = f"The model {judged} the membership gate: AUC {auc.estimate:.3f} in all patients (simultaneous 95 % interval {auc.ci_low:.3f} to {auc.ci_high:.3f})"
    return (f"{words}.", *(_sentence(reason) for reason in disclosure.reasons if reason))


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
