"""The rows a run reports, and what evaluation has to be told about a cell to write them.

TrialRecord (stream) + CellLabels + Comparison, … ──► ResultRow, …
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from trialsim.evaluation.truth import TrueValue

MEASURES = (
    "power",
    "power_ignoring_futility",
    "power_all",
    "fwer",
    "reject",
    "stop_futility",
    "reject_wrong_direction",
    "n_enrolled",
    "n_events",
    "look_time",
    "duration",
    "estimate_mean",
    "model_se_mean",
    "empirical_se",
    "true_value",
    "bias",
    "rmse",
    "coverage",
    "convergence_failure",
    "target_not_reached",
    "allocated",
)
"""Every measure, in the order of reporting."""

QUANTILES = (0.1, 0.5, 0.9)
SIZED = ("n_enrolled", "n_events", "duration")
"""The measures that are accompanied by `<measure>_quantile_10`, `_50` and `_90`."""
ALL_MEASURES = (*MEASURES, *(f"{measure}_quantile_{p * 100:.0f}" for measure in SIZED for p in QUANTILES))


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One operating characteristic of one cell: its estimate, its Monte Carlo standard error, and over how many replicates."""

    design: str
    scenario: str
    role: str
    analysis: str | None
    endpoint: str | None
    arm: str | None
    look: int | None
    measure: str
    scale: str
    null: bool
    estimate: float
    mcse: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """The row as it stands in `results.json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CellLabels:
    """Which cell the rows are of."""

    design: str
    scenario: str
    role: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one entry of `TrialRecord.analyses` is: an analysis, or one arm of an analysis with several.

    `arm` is None where the analysis compares two arms. `scale` is that of inference (`log_hazard_ratio`), None where nothing
    is estimated. `looks` are those (from 1) at which it may be made. `futility` says whether it has a futility rule. `null`
    says whether the true effect lies in the null hypothesis. Bias and coverage need `truth`. `families` are those of the section
    `multiplicity` that it belongs to; the arms of an analysis are a family of their own, which has its name.
    """

    analysis: str
    endpoint: str | None
    arm: str | None
    scale: str | None
    alpha_one_sided: float
    sides: int
    looks: tuple[int, ...]
    futility: bool
    null: bool
    truth: TrueValue | None = None
    families: tuple[str, ...] = ()
