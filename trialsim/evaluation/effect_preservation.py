"""Do synthetic patients give the effects that the real ones gave? Hazard ratios and differences in means, overall and by subgroup.

The kernels are those of trials: the Cox model with the arm as its only covariate (ties by Efron) and the difference in
means with Welch's standard error, each arm against the reference. The synthetic estimate is from a large table, so that
its Monte Carlo error is small beside the real standard error; both travel with it.

A real estimate is itself uncertain, and in a subgroup very much so: a model that repeated it exactly would have memorised
noise. Errors in subgroups are therefore judged in real standard errors, and all together:

- none may exceed the Šidák bound: the z that the largest of K independent standard normals exceeds with probability 0.05 (for
  correlated ones, as of overlapping subgroups, the probability is smaller);
- no more than the 0.99 quantile of Binomial(K, 0.0455) may exceed 2 (errors that share patients with the fit are smaller than
  independent ones, so that this errs towards passing; it finds a model that has no interactions where there are many).

**Source:** Cox 1972, doi 10.1111/j.2517-6161.1972.tb00899.x; Welch 1947, doi 10.1093/biomet/34.1-2.28; Šidák 1967, J Am Stat
Assoc 62:626, doi 10.1080/01621459.1967.10482935.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from trialsim.analysis.arm_hazard_ratio import cox_arm_only
from trialsim.analysis.methods.t_test import TTest
from trialsim.cohort.fairness.subgroups import Subgroup
from trialsim.cohort.fidelity.measured import finite
from trialsim.cohort.fidelity.side_by_side import Mask, SideBySide
from trialsim.records import FAILURES, EventData, ValueData

Array = NDArray[np.float64]
Scale = Literal["log_hazard_ratio", "difference_in_means"]

FEWEST = 300
BEYOND = 2.0
WELCH = TTest.model_validate({"method": "t_test", "endpoint": "value", "treatment": {"test": "test", "reference": "reference"}})


@dataclass(frozen=True, slots=True)
class Effect:
    """One arm against the reference, of one outcome, in everybody (`subgroup` None) or a subgroup; `error` = synthetic − real.

    `real_se` is the standard error of the real estimate, `mcse` that of the synthetic one. `sd` is what a difference in means is
    measured by: the SD of the value among the real patients (1 for hazard ratios).
    """

    outcome: str
    arm: str
    reference: str
    scale: Scale
    subgroup: str | None
    real: float
    synthetic: float
    real_se: float
    mcse: float
    n_real: int
    n_synthetic: int
    sd: float

    @property
    def name(self) -> str:
        """The effect in words."""
        what = "log hazard ratio" if self.scale == "log_hazard_ratio" else "difference in means"
        return f"{self.outcome}: {what}, {self.arm} against {self.reference}"

    @property
    def phrase(self) -> str:
        """The effect in a sentence."""
        what = "log hazard ratio" if self.scale == "log_hazard_ratio" else "difference in means"
        return f"the {what} of {self.outcome} ({self.arm} against {self.reference}){'' if self.subgroup is None else f' among {self.subgroup}'}"

    @property
    def error(self) -> float:
        return self.synthetic - self.real

    @property
    def z(self) -> float:
        """The error in standard errors of the real estimate (and the Monte Carlo error of the synthetic one)."""
        return self.error / float(np.hypot(self.real_se, self.mcse))

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "subgroup": self.subgroup,
            "real": self.real,
            "synthetic": self.synthetic,
            "error": self.error,
            "real_se": self.real_se,
            "outcome": self.outcome,
            "arm": self.arm,
            "reference": self.reference,
            "scale": self.scale,
            "synthetic_se": finite(self.mcse),
            "n_real": self.n_real,
            "n_synthetic": self.n_synthetic,
        }


@dataclass(frozen=True, slots=True)
class Abstention:
    """An effect that is not given, and why."""

    name: str
    subgroup: str | None
    n_real: int
    why: str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "subgroup": self.subgroup, "n_real": self.n_real, "why": self.why}


@dataclass(frozen=True)
class EffectPreservation:
    """Every effect, overall first, and those that were not given."""

    effects: tuple[Effect, ...]
    abstained: tuple[Abstention, ...]

    @property
    def overall(self) -> tuple[Effect, ...]:
        return tuple(effect for effect in self.effects if effect.subgroup is None)

    @property
    def in_subgroups(self) -> tuple[Effect, ...]:
        return tuple(effect for effect in self.effects if effect.subgroup is not None)

    @property
    def beyond(self) -> tuple[Effect, ...]:
        """The subgroup effects whose error is beyond two standard errors."""
        return tuple(effect for effect in self.in_subgroups if abs(effect.z) > BEYOND)


def simultaneous_bound(k: int, level: float = 0.95) -> float:
    """The z that the largest of k absolute independent standard normals stays below with this probability (Šidák)."""
    return float(stats.norm.isf((1 - level ** (1 / max(k, 1))) / 2))


def most_beyond(k: int, level: float = 0.99) -> int:
    """The number of k independent standard normals beyond ±2 that is not exceeded with this probability."""
    return int(stats.binom.ppf(level, k, 2 * stats.norm.sf(BEYOND))) if k else 0


def preservation(pair: SideBySide, groups: Sequence[Subgroup], *, fewest: int = FEWEST) -> EffectPreservation:
    """Every outcome's effect of every arm against the reference (`pair.arms[0]`), overall and in subgroups of at least `fewest` real patients."""
    effects: list[Effect] = []
    abstained: list[Abstention] = []
    everybody = Subgroup("", "", np.ones(pair.n_real, dtype=bool), np.ones(pair.n_synthetic, dtype=bool))
    for question in _questions(pair):
        for group in (everybody, *groups):
            subgroup = None if group is everybody else group.name
            if subgroup is not None and group.n_real < fewest:
                continue
            effect = _effect(question, group, subgroup)
            if isinstance(effect, Effect):
                effects.append(effect)
            else:
                abstained.append(Abstention(question.name, subgroup, group.n_real, effect))
    small = tuple(Abstention("every effect", group.name, group.n_real, f"fewer than {fewest} patients") for group in groups if group.n_real < fewest)
    effects.sort(key=lambda effect: effect.subgroup is not None)
    return EffectPreservation(tuple(effects), (*abstained, *(small if len(pair.arms) > 1 else ())))


@dataclass(frozen=True)
class _Question:
    """One outcome on both sides, restricted to two arms: (value or time, event or None, in the test arm, in one of the two arms)."""

    outcome: str
    arm: str
    reference: str
    scale: Scale
    sides: tuple[tuple[Array, Mask | None, Mask, Mask], tuple[Array, Mask | None, Mask, Mask]]

    @property
    def name(self) -> str:
        return f"{self.outcome}, {self.arm} against {self.reference}"


def _questions(pair: SideBySide) -> list[_Question]:
    found = []
    for place, arm in enumerate(pair.arms[1:], start=1):
        in_real, in_synthetic = ((group == place, (group == place) | (group == 0)) for group in (pair.real_arm, pair.synthetic_arm))
        for outcome in pair.roles.events:
            sides = (*pair.follow_up(outcome, "real"), *in_real), (*pair.follow_up(outcome, "synthetic"), *in_synthetic)
            found.append(_Question(outcome, arm, pair.arms[0], "log_hazard_ratio", sides))
        for column in pair.columns:
            if column.role == "value" and len(column.levels) <= 2:
                values = (column.real, None, *in_real), (column.synthetic, None, *in_synthetic)
                found.append(_Question(column.name, arm, pair.arms[0], "difference_in_means", values))
    return found


def _effect(question: _Question, group: Subgroup, subgroup: str | None) -> Effect | str:
    """The effect, or why there is none."""
    fits: list[tuple[float, float, int]] = []
    for where, (values, event, test, in_two), rows in zip(("real", "synthetic"), question.sides, (group.real, group.synthetic), strict=True):
        known = rows & in_two & ~np.isnan(values)
        estimate, error, failure = _estimate(values[known], None if event is None else event[known], test[known])
        if failure:
            return f"{FAILURES[failure]} among the {where} patients"
        fits.append((estimate, error, int(known.sum())))
    values, event, _, in_two = question.sides[0]
    return Effect(
        outcome=question.outcome,
        arm=question.arm,
        reference=question.reference,
        scale=question.scale,
        subgroup=subgroup,
        real=fits[0][0],
        synthetic=fits[1][0],
        real_se=fits[0][1],
        mcse=fits[1][1],
        n_real=fits[0][2],
        n_synthetic=fits[1][2],
        sd=1.0 if event is not None else float(np.nanstd(values[in_two], ddof=1)),
    )


def _estimate(values: Array, event: Mask | None, test: Mask) -> tuple[float, float, int]:
    """(estimate, standard error, failure) of the test arm against the reference."""
    if not len(values):
        return float("nan"), float("nan"), 2
    column, arm = torch.from_numpy(np.ascontiguousarray(values))[None], torch.from_numpy(test.astype(np.int64))[None]
    if event is not None:
        fit = cox_arm_only(EventData(time=column, event=torch.from_numpy(event)[None], group=arm))
        return float(fit.estimate), float(fit.std_error), int(fit.failure)
    found = WELCH.estimate(ValueData(value=column, group=arm), favours=1)
    assert found.estimate is not None
    assert found.std_error is not None
    return float(found.estimate), float(found.std_error), int(found.failure)
