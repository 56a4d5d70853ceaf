"""A cohort model fitted to data: draws baselines, knows the outcomes given them, and writes whole synthetic tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort.fitted.columns import Part
from trialsim.cohort.fitted.dependence import Dependence, Reducible
from trialsim.cohort.fitted.margins import Margin, SmoothMargin, SteppedMargin, held
from trialsim.cohort.fitted.rules import AnyRule, Copy, Rule
from trialsim.cohort.sampler import OutcomeRoles
from trialsim.errors import DataError, Problem, did_you_mean
from trialsim.records import Cohort
from trialsim.rng import Block, Streams

if TYPE_CHECKING:
    from trialsim.cohort.fitted.form import TableForm
    from trialsim.cohort.fitted.outcomes import FittedEvent, FittedOutcomes, FittedValue
    from trialsim.data import PatientTable

IN_CACHE = 8192  # patients worked on at a time


@dataclass(frozen=True, slots=True)
class FittedColumn:
    """One column: a margin (its place among scores in order), or a rule of another.

    `part` as in `Covariate`; only a `baseline` is a covariate of the patients of a trial. A column that is `alone` is
    independent of the others and has no score in the dependence.
    """

    name: str
    unit: str
    levels: tuple[str, ...]
    margin: Margin | None
    rule: AnyRule | None
    part: Part = "baseline"
    alone: bool = False

    @property
    def hidden(self) -> bool:
        """Whether it is no covariate of the patients of a trial."""
        return self.part != "baseline"

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

    Baselines: the dependence makes scores z_j of normals e_j from the streams `covariate/<id>` (and, where it needs them,
    f_m from `covariate/factor.<m>`), at index `attempt`; then x_j = Q_j(z_j), and columns that hang on others after them.
    `sample` draws the baselines of a trial's patients, in which nothing is missing. `synthesise` draws the whole table
    that the model was fitted to: arm, outcomes and missing cells too, in the data's own form (None in `form` where the
    model was not fitted to a table). It is a `CohortModel` and a `Sampler`.
    """

    columns: tuple[FittedColumn, ...]
    dependence: Dependence
    card: Mapping[str, Any]
    outcomes: FittedOutcomes | None = None
    form: TableForm | None = None

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

    @property
    def events(self) -> Mapping[str, FittedEvent]:
        """The event outcomes."""
        return {} if self.outcomes is None else self.outcomes.events

    @property
    def values(self) -> Mapping[tuple[str, str], FittedValue]:
        """The values after baseline, by outcome and visit."""
        return {} if self.outcomes is None else self.outcomes.values

    @property
    def id(self) -> str:
        """The model's name, which every synthetic row carries."""
        return str(self.card.get("model_id", ""))

    @property
    def modelled(self) -> tuple[str, ...]:
        """The columns of the table that are modelled, in the data's order."""
        return () if self.form is None else self.form.modelled

    @property
    def roles(self) -> OutcomeRoles:
        """Which columns of the table are the arm and the outcomes."""
        return OutcomeRoles(arm=None, events={}, values={}) if self.form is None else self.form.roles

    @cached_property
    def plan(self) -> tuple[FittedColumn, ...]:
        """The columns in an order in which each comes after those it hangs on."""
        order: list[FittedColumn] = []
        while len(order) < len(self.columns):
            known = {column.name for column in order}
            order += [column for column in self.columns if column.name not in known and set(column.hangs_on) <= known]
        return tuple(order)

    @cached_property
    def _rule_values(self) -> dict[str, Tensor]:
        rules = {column.name: column.rule for column in self.columns if column.rule is not None}
        return {name: torch.tensor(rule.values, dtype=torch.float64, device="cpu") for name, rule in rules.items() if not isinstance(rule, Copy)}

    @cached_property
    def _plain(self) -> frozenset[str]:
        """The stepped columns of which a cohort holds the levels' indices."""
        rules = {name for name, values in self._rule_values.items() if values.tolist() == list(range(len(values)))}
        return frozenset(rules | {c.name for c in self.columns if isinstance(c.margin, SteppedMargin) and c.margin.holds_levels})

    @cached_property
    def _for_trials(self) -> tuple[tuple[FittedColumn, ...], tuple[str, ...], Dependence]:
        """The covariates and what they hang on, in order; the names of those with scores; their dependence."""
        needed = set(self.names)
        for column in reversed(self.plan):
            if column.name in needed:
                needed |= set(column.hangs_on)
        scored = [column.name for column in self.columns if column.margin is not None and not column.alone]
        kept = [place for place, name in enumerate(scored) if name in needed]
        plan = tuple(column for column in self.plan if column.name in needed)
        if isinstance(self.dependence, Reducible) and len(kept) < len(scored):
            return plan, tuple(scored[place] for place in kept), self.dependence.marginal(kept)
        return plan, tuple(scored), self.dependence

    def sample(self, streams: Streams, block: Block, n: int, *, attempt: int = 0) -> Cohort:
        """The baselines `[replicate, patient]` of patients 0..n-1 at this attempt."""
        plan, scored, dependence = self._for_trials
        columns, _ = self._draw(streams, block, n, attempt=attempt, plan=plan, scored=scored, dependence=dependence)
        return Cohort(columns={name: columns[name] for name in self.names}, levels=self.levels)

    def draw(self, streams: Streams, block: Block, n: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Every column, hidden ones too, complete: what a cohort holds of it, and the level's index of each stepped one."""
        scored = tuple(column.name for column in self.columns if column.margin is not None and not column.alone)
        return self._draw(streams, block, n, attempt=0, plan=self.plan, scored=scored, dependence=self.dependence, with_levels=True)

    def _draw(
        self,
        streams: Streams,
        block: Block,
        n: int,
        *,
        attempt: int,
        plan: tuple[FittedColumn, ...],
        scored: tuple[str, ...],
        dependence: Dependence,
        with_levels: bool = False,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        factors = [streams(f"covariate/factor.{m}").normal(block, n, index=attempt) for m in range(dependence.n_factors)]
        drawn = {*scored, *(column.name for column in plan if column.alone)}
        names = [*(column.name for column in plan), *(name for name in scored if name not in {column.name for column in plan})]
        columns = {
            name: streams(f"covariate/{name}").normal(block, n, index=attempt)
            if name in drawn
            else torch.empty(block.size, n, dtype=torch.float64, device=streams.device)
            for name in names
        }
        stepped = [column.name for column in plan if isinstance(column.margin, SteppedMargin) or isinstance(column.rule, Rule)] if with_levels else []
        levels = {name: torch.empty(block.size, n, dtype=torch.float64, device=streams.device) for name in stepped}
        step = max(1, IN_CACHE // max(n, 1)) if streams.device == "cpu" else block.size
        for first in range(0, block.size, step):
            rows = slice(first, min(first + step, block.size))
            part = {name: column[rows] for name, column in columns.items()}
            dependence.mix([part[name] for name in scored], [factor[rows] for factor in factors])
            for name, level in self.from_scores(part, plan).items():
                if with_levels:
                    levels[name][rows] = level
        return columns, levels

    def from_scores(self, columns: Mapping[str, Float[Tensor, "*shape"]], plan: Iterable[FittedColumn] | None = None) -> dict[str, Float[Tensor, "*shape"]]:
        """Turns the normal scores of every column with a margin into its values, in place, and fills in the rules.

        Returns the levels' indices of the stepped columns.
        """
        level: dict[str, Float[Tensor, "*shape"]] = {}
        for column in self.plan if plan is None else plan:
            target = columns[column.name]
            if isinstance(column.rule, Copy):
                target.copy_(column.rule.value(columns[column.rule.source]))
            elif column.rule is not None:
                level[column.name] = column.rule.level(columns[column.rule.source])
                target.copy_(level[column.name] if column.name in self._plain else held(self._rule_values[column.name], level[column.name]))
            elif isinstance(column.margin, SmoothMargin):
                target.copy_(column.margin.quantile(target))
                for place, atom in enumerate(column.margin.atoms):
                    if atom == atom:
                        target.masked_fill_(level[column.margin.gate] == place, atom)
            elif isinstance(column.margin, SteppedMargin):
                level[column.name] = column.margin.level(target, [level[parent] for parent in column.margin.parents])
                target.copy_(level[column.name] if column.name in self._plain else column.margin.value(level[column.name]))
        return level

    def with_arms(self, arms: Mapping[str, str], *, file: str = "") -> FittedCohort:
        """The model for trials whose arms have other names: `arms` is new name → name here. It writes no tables.

        Raises DataError (with `file` as its place) for a name that the model does not have.
        """
        if self.outcomes is None:
            return self
        wrong = [
            Problem(f'the model has no arm "{name}"{did_you_mean(name, self.outcomes.names)}', file=file)
            for name in arms.values()
            if name not in self.outcomes.names
        ]
        if wrong:
            raise DataError(wrong)

        def renamed(numbers: Mapping[str, float]) -> dict[str, float]:
            return {new: numbers[old] for new, old in arms.items() if old in numbers}

        events = {name: replace(e, arm_log_hr=renamed(e.arm_log_hr), log_hr_sd=renamed(e.log_hr_sd)) for name, e in self.outcomes.events.items()}
        values = {key: replace(v, arm_difference=renamed(v.arm_difference), difference_sd=renamed(v.difference_sd)) for key, v in self.outcomes.values.items()}
        return replace(self, outcomes=replace(self.outcomes, names=tuple(arms), events=events, values=values), form=None)

    def synthesise(self, n: int, *, seed: int, complete: bool = False) -> PatientTable:
        """`n` synthetic patients in the data's own columns, units and levels; with `complete` nothing is missing. See `synthesis`."""
        from trialsim.cohort.fitted.synthesis import synthesise

        return synthesise(self, n, seed=seed, complete=complete)

    def save(self, path: Path | str) -> None:
        """Writes the model as one safetensors file (tensors, and a JSON card in its header), at once or not at all."""
        from trialsim.cohort.fitted.storage import save

        save(self, Path(path))

    @classmethod
    def load(cls, path: Path | str) -> FittedCohort:
        """The model in a file; DataError where it is not one."""
        from trialsim.cohort.fitted.storage import load

        return load(Path(path))
