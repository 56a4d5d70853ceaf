"""Whom does a cohort represent, and how well?"""

from __future__ import annotations

from trialsim.cohort.fairness.calibration import SubgroupCalibration, subgroup_calibration
from trialsim.cohort.fairness.representativeness import Representativeness, representativeness
from trialsim.cohort.fairness.subgroups import FEWEST_PATIENTS, Subgroup, subgroups
from trialsim.cohort.fairness.target import Target, load_target

__all__ = [
    "FEWEST_PATIENTS",
    "Representativeness",
    "Subgroup",
    "SubgroupCalibration",
    "Target",
    "load_target",
    "representativeness",
    "subgroup_calibration",
    "subgroups",
]
