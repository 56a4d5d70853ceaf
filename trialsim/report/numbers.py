"""How a Monte Carlo number is written: as many decimals as its standard error carries, never more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trialsim.report.wording import fixed
from trialsim.units import DAYS

MEASURES = {
    "power": "Power",
    "power_ignoring_futility": "Power, futility ignored",
    "power_all": "Power, all arms",
    "fwer": "Family-wise error rate",
    "reject": "Efficacy declared",
    "stop_futility": "Stopped for futility",
    "reject_wrong_direction": "Efficacy declared against the test arm",
    "n_enrolled": "Patients randomised",
    "n_events": "Events",
    "look_time": "Time of the look",
    "duration": "Duration",
    "estimate_mean": "Mean estimate",
    "model_se_mean": "Mean model standard error",
    "empirical_se": "Empirical standard error",
    "true_value": "True value",
    "bias": "Bias",
    "rmse": "Root mean squared error",
    "coverage": "Coverage",
    "convergence_failure": "Analysis failed",
    "target_not_reached": "Target not reached",
    "selected": "Arm selected",
    "allocated": "Patients allocated",
}
NULL_MEASURES = {"power": "Type I error", "power_ignoring_futility": "Type I error, futility ignored"}
SCALES = {"log_hazard_ratio": "log hazard ratio", "log_odds_ratio": "log odds ratio", "log_rate_ratio": "log rate ratio"}


def measure_name(row: Mapping[str, Any]) -> str:
    """What a row is called: `power` is a type I error exactly where the null hypothesis is true."""
    measure = str(row["measure"])
    base, quantile, level = measure.partition("_quantile_")
    if row["null"] and measure in NULL_MEASURES:
        return NULL_MEASURES[measure]
    name = MEASURES.get(base, base.replace("_", " "))
    return f"{name}, {level} % quantile" if quantile else name


def scale_name(row: Mapping[str, Any]) -> str:
    """The unit of a row as shown: times are shown in months."""
    return "months" if row["scale"] == "days" else SCALES.get(row["scale"], str(row["scale"]).replace("_", " "))


@dataclass(frozen=True, slots=True)
class Figure:
    """A Monte Carlo number in words: estimate, standard error, number of replicates."""

    estimate: str
    mcse: str
    n: str
    value: float

    @property
    def spread(self) -> str:
        """`± 0.023, n 400`; what is known without simulation is exact."""
        return "exact" if self.n == "0" else f"±\u00a0{self.mcse}, n\u00a0{self.n}"

    def __str__(self) -> str:
        return f"{self.estimate} ({self.spread})"


def figure(row: Mapping[str, Any] | None) -> Figure | None:
    """A row as it is shown, times in months."""
    if row is None:
        return None
    factor = 1.0 / DAYS["month"] if row["scale"] == "days" else 1.0
    estimate, mcse = row["estimate"] * factor, row["mcse"] * factor
    places = decimals(mcse, estimate)
    return Figure(fixed(estimate, places), fixed(mcse, places) if mcse > 0 else "0", f"{row['n']:,}", estimate)


def decimals(mcse: float, estimate: float) -> int:
    """Two significant digits of the standard error; without one, enough for four digits of the estimate (none if it is whole)."""
    if mcse > 0 and math.isfinite(mcse):
        return min(6, max(0, 1 - math.floor(math.log10(mcse))))
    if float(estimate).is_integer():
        return 0
    return min(6, max(0, 3 - math.floor(math.log10(abs(estimate)))))
