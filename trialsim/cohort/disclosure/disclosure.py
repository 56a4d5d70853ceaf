"""What a check of disclosure found: the membership gate, and what is shown beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class GroupAuc:
    """The membership AUC among the `n` patients of one group, with its simultaneous interval."""

    name: str
    n: int
    estimate: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, slots=True)
class MembershipAuc:
    """The area under the ROC curve of the stronger membership attack, averaged over refits.

    0.5 is a model that tells nobody's membership. `ci_low` and `ci_high` hold at 95 % simultaneously over all patients
    and all of `subgroups`, of which `worst_subgroup` is one that fails, else the one with the highest upper bound
    (None: no subgroup has 50 patients).
    `std_error` counts patients and refits as drawn at random. `attacks` has the mean AUC of each attack by itself,
    `tracing` among them, which sees aggregates and takes no part in the gate unless asked to.
    """

    estimate: float
    ci_low: float
    ci_high: float
    std_error: float
    worst_subgroup: GroupAuc | None
    subgroups: tuple[GroupAuc, ...]
    attacks: Mapping[str, float]
    refits: int


@dataclass(frozen=True, slots=True)
class Disclosure:
    """The verdict of the membership gate, and further measures that are information only.

    `n_needed` is the number of patients at which the interval would settle the verdict at these estimates (None where
    it is settled, or where no number would settle it). `reasons` are sentences. `n_synthetic` is the length of the synthetic tables
    that were attacked: a longer release was not checked. The further measures are maps of
    numbers as their own modules describe them.
    """

    verdict: Verdict
    membership_auc: MembershipAuc
    n_needed: int | None
    reasons: tuple[str, ...]
    n_synthetic: int
    copies: Mapping[str, float]
    distances: Mapping[str, float]
    unique_values: Mapping[str, Mapping[str, float]]
    singling_out: Mapping[str, Mapping[str, float]]
    linkability: Mapping[str, float]
    attribute_inference: Mapping[str, Mapping[str, float]]

    def as_json(self) -> dict[str, Any]:
        """The whole as maps, lists, words and numbers."""
        return asdict(self)
