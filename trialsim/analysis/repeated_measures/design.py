"""The mean of repeated measures: factors of a patient, each with a coefficient at every visit or one for all visits.

The mean of patient i at visit t is  Σ_a x_ia β_a(t):  the constant and each arm have a coefficient at every visit (which is
`arm * visit` in R's language, another coding of the same model), a covariate has one coefficient (`+ covariate`) or one
at every visit (`+ covariate * visit`). In the constrained model the arms have none at visit 0, the baseline.

**Source:** Mallinckrodt et al. 2008 (doi 10.1177/009286150804200402); Liang & Zeger 2000 and Liu et al. 2009 (doi
10.1002/sim.3607) for equal means at baseline.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.analysis.failures import complete_cases
from trialsim.records import VisitData


@dataclass(frozen=True, slots=True)
class Factor:
    """A number of every patient, and how its coefficient depends on the visit."""

    name: str
    by_visit: bool = True
    from_visit: int = 0
    """The first visit at which it matters."""

    def width(self, n_visits: int) -> int:
        """How many coefficients it has."""
        return n_visits - self.from_visit if self.by_visit else 1


@dataclass(frozen=True, slots=True)
class Design:
    """Values and factors of every patient, patients not in the analysis marked in `there`.

    Coefficients ("columns") are ordered by factor, then by visit.
    """

    value: Float[Tensor, "replicate patient visit"]
    there: Bool[Tensor, "replicate patient"]
    observed: Bool[Tensor, "replicate patient visit"]
    x: Float[Tensor, "factor replicate patient"]
    factors: tuple[Factor, ...]
    group: Int[Tensor, "replicate patient"]
    n_groups: int
    n_visits: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_visits", self.value.shape[-1])

    @property
    def n_columns(self) -> int:
        """The number of coefficients."""
        return sum(factor.width(self.n_visits) for factor in self.factors)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the coefficients: "arm 1 at visit 3", "covariate 0"."""
        names: list[str] = []
        for factor in self.factors:
            visits = range(factor.from_visit, self.n_visits)
            names += [f"{factor.name} at visit {visit}" for visit in visits] if factor.by_visit else [factor.name]
        return tuple(names)

    def column(self, name: str) -> int:
        """The place of a coefficient."""
        return self.names.index(name)


def repeated_measures_design(
    data: VisitData, *, covariate_by_visit: bool = False, constrained: bool = False, weight: Float[Tensor, "replicate patient"] | None = None
) -> Design:
    """Factors `constant`, `covariate 0`, …, `arm 1`, …; patients with a missing covariate or without a value are left out.

    `constrained` puts the baseline before the visits, with equal means in all arms. `weight` is 0 for patients to leave out
    and 1 for the others; it may have more replicates than `data` has, if `data` has one.
    """
    value, group, covariates = data.value, data.group, data.covariates
    if constrained:
        if data.baseline is None:
            raise ValueError("constrained longitudinal data analysis needs the baseline of the endpoint")
        value = torch.cat([data.baseline[..., None], value], dim=-1)
    there = torch.ones(group.shape, dtype=torch.bool, device=value.device)
    complete = complete_cases(covariates)
    if complete is not None:
        there = complete
    if weight is not None:
        there = there & (weight > 0)
        value, group = value.expand(len(there), -1, -1), group.expand(len(there), -1)
        covariates = None if covariates is None else covariates.expand(len(there), -1, -1)
    observed = ~torch.isnan(value) & there[..., None]
    there = observed.any(-1)
    factors, columns = [Factor("constant")], [torch.ones(group.shape, dtype=value.dtype, device=value.device)]
    for k, column in enumerate(() if covariates is None else covariates.unbind(-1)):
        factors.append(Factor(f"covariate {k}", by_visit=covariate_by_visit))
        columns.append(torch.where(there, column, 0.0))
    for arm in range(1, data.n_groups):
        factors.append(Factor(f"arm {arm}", from_visit=1 if constrained else 0))
        columns.append((group == arm).to(value.dtype))
    return Design(
        value=value, there=there, observed=observed, x=torch.stack(columns), factors=tuple(factors), group=group, n_groups=data.n_groups
    )  # fmt: skip
