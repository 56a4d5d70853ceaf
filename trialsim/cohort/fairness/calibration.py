"""Whether outcomes come out as often in each subgroup as in the data: a model may be right on average and wrong for the few.

For an event the probability of surviving to a horizon (Kaplan–Meier), for a value its mean, each in the real and in the
synthetic patients of the subgroup. The horizon of an outcome is the median of the real follow-up times, rounded to two digits.
Subgroups with fewer than 50 real patients (or fewer than 50 synthetic ones) are named as too few to say.

**Source:** Van Calster et al. 2019, BMC Med 17:230, doi 10.1186/s12916-019-1466-7 (calibration in subgroups).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trialsim.cohort.fairness.subgroups import FEWEST_PATIENTS, Subgroup
from trialsim.cohort.fidelity.measured import Measured, finite
from trialsim.cohort.fidelity.side_by_side import Array, Mask, SideBySide
from trialsim.cohort.fidelity.survival import survival_curve


@dataclass(frozen=True, slots=True)
class SubgroupCalibration:
    """One outcome in one subgroup; `error` is synthetic − real. `unit`: a probability, or SDs of the value in all real patients."""

    outcome: str
    quantity: str
    subgroup: str
    real: float
    synthetic: float
    error: Measured
    unit: Literal["probability", "value"]
    sd: float

    @property
    def phrase(self) -> str:
        """The quantity in words."""
        what = f"{self.quantity} without {self.outcome}" if self.unit == "probability" else f"the mean of {self.outcome}"
        return f"{what} among {self.subgroup}"

    @property
    def z(self) -> float:
        """The error in standard errors."""
        return self.error.estimate / self.error.se if self.error.se > 0 else float("nan")

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "quantity": self.quantity,
            "subgroup": self.subgroup,
            "real": finite(self.real),
            "synthetic": finite(self.synthetic),
            "error": self.error.as_json(),
        }


def subgroup_calibration(pair: SideBySide, groups: Sequence[Subgroup]) -> tuple[SubgroupCalibration, ...]:
    """Every outcome in every subgroup that has enough patients with a known outcome."""
    found = []
    for outcome in pair.roles.events:
        real, synthetic = pair.follow_up(outcome, "real"), pair.follow_up(outcome, "synthetic")
        horizon = _two_digits(float(np.nanmedian(real[0])))
        found += [_of_event(outcome, group, real, synthetic, horizon) for group in groups]
    for column in pair.columns:
        if column.role == "value" and len(column.levels) <= 2:
            known = column.real[~np.isnan(column.real)]
            sd = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
            found += [_of_value(column.name, group, column.real, column.synthetic, sd) for group in groups]
    return tuple(each for each in found if each is not None)


def too_few(groups: Sequence[Subgroup]) -> tuple[Subgroup, ...]:
    """The subgroups about which nothing is said."""
    return tuple(group for group in groups if group.n_real < FEWEST_PATIENTS)


def _two_digits(value: float) -> float:
    if not value > 0:
        return value
    power = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(value / power) * power


def _of_event(outcome: str, group: Subgroup, real: tuple[Array, Mask], synthetic: tuple[Array, Mask], horizon: float) -> SubgroupCalibration | None:
    estimates, errors, sizes = [], [], []
    for (time, event), rows in ((real, group.real), (synthetic, group.synthetic)):
        known = rows & ~np.isnan(time)
        sizes.append(int(known.sum()))
        if sizes[-1] < FEWEST_PATIENTS:
            return None
        curve = survival_curve(time[known], event[known])
        estimates.append(float(curve.at(horizon)))
        errors.append(curve.se(horizon))
    error = Measured(estimates[1] - estimates[0], math.hypot(*errors), sizes[0], sizes[1])
    return SubgroupCalibration(outcome, f"survival to {horizon:g}", group.name, estimates[0], estimates[1], error, "probability", 1.0)


def _of_value(name: str, group: Subgroup, real: Array, synthetic: Array, sd: float) -> SubgroupCalibration | None:
    ours, theirs = (side[rows & ~np.isnan(side)] for side, rows in ((real, group.real), (synthetic, group.synthetic)))
    if min(len(ours), len(theirs)) < FEWEST_PATIENTS:
        return None
    se = float(np.sqrt(ours.var(ddof=1) / len(ours) + theirs.var(ddof=1) / len(theirs)))
    error = Measured(float(theirs.mean() - ours.mean()), se, len(ours), len(theirs))
    return SubgroupCalibration(name, "mean", group.name, float(ours.mean()), float(theirs.mean()), error, "value", sd)
