"""A cohort model fitted to data: draws baselines, and knows the outcomes given them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort.fitted.columns import Rule
from trialsim.cohort.fitted.dependence import Dependence
from trialsim.cohort.fitted.events import FittedEvent
from trialsim.cohort.fitted.margins import Margin, SmoothMargin, held
from trialsim.cohort.fitted.values import FittedValue
from trialsim.records import Cohort
from trialsim.rng import Block, Streams

IN_CACHE = 8192  # patients worked on at a time


@dataclass(frozen=True, slots=True)
class FittedColumn:
    """One column: a margin (its place among scores in order), or a rule of another. `hidden` ones (gates) are not covariates."""

    name: str
    unit: str
    levels: tuple[str, ...]
    margin: Margin | None
    rule: Rule | None
    hidden: bool = False

    @property
    def hangs_on(self) -> tuple[str, ...]:
        """The columns that must be drawn before."""
        if self.rule is not None:
            return (self.rule.source,)
        if isinstance(self.margin, SmoothMargin):
            return (self.margin.gate,) if self.margin.gate else ()
        return () if self.margin is None else self.margin.parents


@dataclass(frozen=True)
class FittedCohort:
    """A cohort model fitted to patient-level data; it holds tensors and a card, and no patient's row.

    Baselines: the dependence makes scores z_j of normals f_m from the streams `covariate/factor.<m>` and e_j from
    `covariate/<id>`, both at index `attempt`; then x_j = Q_j(z_j), and columns that hang on others after them. Outcomes
    are independent of each other given the baseline and the arm: what a value after baseline says about an event later
    is not modelled. Nothing is missing in a sampled cohort.
    """

    columns: tuple[FittedColumn, ...]
    dependence: Dependence
    events: Mapping[str, FittedEvent]
    values: Mapping[tuple[str, str], FittedValue]
    card: Mapping[str, Any]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The covariates, in the data's order."""
        return tuple(column.name for column in self.columns if not column.hidden)

    @cached_property
    def levels(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the levels of each categorical covariate."""
        return {column.name: column.levels for column in self.columns if column.levels and not column.hidden}

    @cached_property
    def units(self) -> Mapping[str, str]:
        """The dimension of each covariate: "time" (days), "" or the unit's label."""
        return {column.name: column.unit for column in self.columns if not column.hidden}

    @cached_property
    def _plan(self) -> tuple[FittedColumn, ...]:
        """The columns in an order in which each comes after those it hangs on."""
        order: list[FittedColumn] = []
        while len(order) < len(self.columns):
            known = {column.name for column in order}
            order += [column for column in self.columns if column.name not in known and set(column.hangs_on) <= known]
        return tuple(order)

    @cached_property
    def _scored(self) -> tuple[str, ...]:
        """The columns with a score, in the order of the dependence."""
        return tuple(column.name for column in self.columns if column.margin is not None)

    @cached_property
    def _rule_values(self) -> dict[str, Tensor]:
        return {column.name: torch.tensor(column.rule.values, dtype=torch.float64, device="cpu") for column in self.columns if column.rule is not None}

    def sample(self, streams: Streams, block: Block, n: int, *, attempt: int = 0) -> Cohort:
        """The baselines `[replicate, patient]` of patients 0..n-1 at this attempt."""
        factors = [streams(f"covariate/factor.{m}").normal(block, n, index=attempt) for m in range(self.dependence.n_factors)]
        columns = {
            column.name: torch.empty(block.size, n, dtype=torch.float64, device=streams.device)
            if column.margin is None
            else streams(f"covariate/{column.name}").normal(block, n, index=attempt)
            for column in self.columns
        }
        step = max(1, IN_CACHE // max(n, 1)) if streams.device == "cpu" else block.size
        for first in range(0, block.size, step):
            rows = slice(first, min(first + step, block.size))
            part = {name: column[rows] for name, column in columns.items()}
            self.dependence.mix([part[name] for name in self._scored], [factor[rows] for factor in factors])
            self.from_scores(part)
        return Cohort(columns={name: columns[name] for name in self.names}, levels=self.levels)

    def from_scores(self, columns: Mapping[str, Float[Tensor, "*shape"]]) -> dict[str, Float[Tensor, "*shape"]]:
        """Turns the normal scores of every column with a margin into its values, in place, and fills in the rules.

        Returns the levels' indices of the stepped columns.
        """
        level: dict[str, Float[Tensor, "*shape"]] = {}
        for column in self._plan:
            target = columns[column.name]
            if column.rule is not None:
                level[column.name] = column.rule.level(columns[column.rule.source])
                target.copy_(held(self._rule_values[column.name], level[column.name]))
            elif isinstance(column.margin, SmoothMargin):
                target.copy_(column.margin.quantile(target))
                for place, atom in enumerate(column.margin.atoms):
                    if atom == atom:
                        target.masked_fill_(level[column.margin.gate] == place, atom)
            elif column.margin is not None:
                level[column.name] = column.margin.level(target, [level[parent] for parent in column.margin.parents])
                target.copy_(column.margin.value(level[column.name]))
        return level

    def save(self, path: Path | str) -> None:
        """Writes the model as one safetensors file (tensors, and a JSON card in its header), at once or not at all."""
        from trialsim.cohort.fitted.storage import save

        save(self, Path(path))

    @classmethod
    def load(cls, path: Path | str) -> FittedCohort:
        """The model in a file; DataError where it is not one."""
        from trialsim.cohort.fitted.storage import load

        return load(Path(path))
