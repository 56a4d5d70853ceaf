"""What a synthetic cohort must reach: declared before looking, in a file, and printed with every verdict."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from trialsim.data import shown_path
from trialsim.data.part_file import read_part
from trialsim.parts import Part

Limit = float | None


class Thresholds(Part):
    """The limits of a check, each the largest value that passes; `null` is measured and shown, but not judged.

    A limit never asks for more than the data know: where `noise` standard errors of the real estimate are more than the limit, they
    are the limit. A model that has been fitted to the data follows them closely, so that this only helps where patients are few.
    Compared with data it was not fitted to, a model differs by their whole sampling error, and by the largest of many: the
    number of standard errors is then Šidák's bound over the comparisons of the measure, where that is more.
    """

    noise: float = Field(default=2.0, ge=0, description="Standard errors of the real estimate that are always allowed, except for effects overall.")
    margin: Limit = Field(default=0.05, gt=0, description="Kolmogorov–Smirnov distance of a number, total variation distance of a category.")
    wasserstein: Limit = Field(default=0.10, gt=0, description="Wasserstein distance of a number, in its standard deviations.")
    correlation: Limit = Field(default=0.05, gt=0, description="Absolute error of any correlation of two columns that no rule binds.")
    rule_exceptions: Limit = Field(default=0.01, ge=0, description="Exceptions to a rule of the data (share of patients) above those in the data.")
    missing_rate: Limit = Field(default=0.05, gt=0, description="Absolute error of a column's share of missing cells.")
    missing_correlation: Limit = Field(default=0.10, gt=0, description="Absolute error of the correlation of two columns' missing cells.")
    survival: Limit = Field(default=0.05, gt=0, description="Largest vertical distance between survival curves of an arm (or what chance explains, if more).")
    classifier_auc: Limit = Field(default=0.60, gt=0.5, lt=1, description="AUC of the better of two classifiers of real against synthetic.")
    prediction_loss: Limit = Field(default=0.05, gt=0, description="Loss of R², AUC or C from training on synthetic instead of real patients.")
    effect_log_hr: Limit = Field(default=0.03, gt=0, description="Absolute error of a log hazard ratio, overall.")
    effect_mean: Limit = Field(default=0.05, gt=0, description="Absolute error of a difference in means, overall, in SDs of the value.")
    effect_noise: float = Field(default=0.3, ge=0, description="Standard errors of the real effect that are always allowed overall.")
    subgroup_effects: Limit = Field(
        default=0.95, gt=0, lt=1, description="Confidence of the simultaneous bound on errors of subgroup effects, in standard errors."
    )
    subgroup_n: int = Field(default=300, ge=50, description="Patients that a subgroup needs for its effects to be compared.")
    subgroup_survival: Limit = Field(default=0.05, gt=0, description="Error of a subgroup's survival probability (or what chance explains, if more).")
    subgroup_mean: Limit = Field(default=0.10, gt=0, description="Error of a subgroup's mean in SDs of the value (or what chance explains, if more).")
    standardised_difference: Limit = Field(default=None, gt=0, description="Standardised difference of the synthetic patients from the target population.")


def load_thresholds(path: Path | str) -> Thresholds:
    """The thresholds in a YAML file; those it does not name have their defaults. Raises DataError with file, line and the nearest key."""
    return read_part(path, Thresholds, is_a="declared thresholds are a map of measure to limit, as classifier_auc: 0.6", shown=shown_path(path))
