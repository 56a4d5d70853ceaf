"""What each analysis of a protocol asks of a data file: which arms, endpoint, visit and columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim.errors import DataError, NotSupportedError, Problem, ProtocolError, UsageError, did_you_mean

if TYPE_CHECKING:
    from trialsim.analysis import Analysis
    from trialsim.analysis.real_data import Question, Tier, Visit
    from trialsim.cohort import DataSource
    from trialsim.data import PatientTable
    from trialsim.spec import Protocol, Study
    from trialsim.spec.sections.endpoints import Endpoint


def chosen_analyses(protocol: Protocol, only: tuple[str, ...]) -> dict[str, Analysis]:
    """The analyses asked for, all if none is named. Refuses what the engine cannot do and an endpoint the method cannot analyse."""
    from trialsim.parts import walk
    from trialsim.records import HierarchyData

    for name in only:
        if name not in protocol.analyses:
            raise UsageError(f'--analysis: "{name}" is not an analysis{did_you_mean(name, protocol.analyses)}')
    chosen: dict[str, Analysis] = {name: method for name, method in protocol.analyses.items() if not only or name in only}
    cannot: list[str] = []
    for name, method in chosen.items():
        parts: list[Any] = [method] if method.estimand is None else [method, protocol.estimands[method.estimand]]
        cannot += [f"analyses.{name}: {phrase}" for part in parts for _, inner in walk(part) for phrase in inner.unsupported()]
    if cannot:
        raise NotSupportedError(cannot)
    for name, method in chosen.items():
        if method.takes is HierarchyData:
            continue
        endpoint_name, endpoint = endpoint_of(protocol, method)
        if ("time_to_event" if endpoint.is_event else endpoint.type) not in method.endpoint_types:
            able = " or ".join(method.endpoint_types)
            raise ProtocolError(Problem(f"the method analyses {able} endpoints; {endpoint_name} is {endpoint.type}", path=f"analyses.{name}.method"))
    return chosen


def check_mapping(protocol: Protocol, mapping: Mapping[str, str], arm_values: Mapping[str, str]) -> None:
    """UsageError where `--map` or `--arms` names something that is not there."""
    from trialsim.analysis.real_data import ROLES

    for key in mapping:
        prefix, _, role = key.rpartition(".")
        if role not in ROLES:
            raise UsageError(f'--map: "{role}" is not a role of a column{did_you_mean(role, ROLES)}')
        if prefix and prefix not in protocol.endpoints:
            raise UsageError(f'--map: "{prefix}" is not an endpoint{did_you_mean(prefix, protocol.endpoints)}')
    for arm in arm_values:
        if arm not in protocol.arms:
            raise UsageError(f'--arms: "{arm}" is not an arm of the protocol{did_you_mean(arm, protocol.arms)}')


def data_source(protocol: Protocol) -> DataSource | None:
    """The data file that the protocol's patients come from, if there is one."""
    from trialsim.cohort import DataSource

    source = None if protocol.population is None else protocol.population.source
    return source if isinstance(source, DataSource) else None


def card_of(study: Study, protocol: Protocol, data_file: Path) -> Path | None:
    """The card that the protocol names, where it describes this very file."""
    from trialsim.data import shown_path

    source = data_source(protocol)
    if source is None or source.card is None:
        return None
    own = study.directory / source.data
    return Path(shown_path(study.directory / source.card)) if own.exists() and data_file.exists() and own.samefile(data_file) else None


def endpoint_of(protocol: Protocol, method: Analysis) -> tuple[str, Endpoint]:
    """The endpoint of an analysis."""
    name = method.endpoint if method.estimand is None else protocol.estimands[method.estimand].endpoint
    assert name is not None
    return name, protocol.endpoints[name]


def visit_of(protocol: Protocol, method: Analysis, endpoint: Endpoint) -> Visit | None:
    """The visit of an analysis: the method's `at`, else as the estimand names it, else the endpoint's last; None: not by visit."""
    own = getattr(method, "at", None)
    named = own if isinstance(own, str) else None if method.estimand is None else protocol.estimands[method.estimand].visit
    if endpoint.is_event or not (named or endpoint.at):
        return None
    days = {visit: found.at for visit, found in protocol.visits.items() if found.at is not None}
    return _visit(protocol, named or max(endpoint.at, key=lambda visit: days.get(visit, 0.0)))


def _visit(protocol: Protocol, name: str, column: str | None = None) -> Visit:
    from trialsim.analysis.real_data import Visit

    found = protocol.visits.get(name)
    return Visit(id=name, at=None if found is None else found.at, window=(found.window if found is not None else None) or 0.0, column=column)


@dataclass(frozen=True, slots=True)
class Asking:
    """The protocol, the data and how the user maps one to the other: what every question of an analysis is made from."""

    study: Study
    protocol: Protocol
    table: PatientTable
    mapping: Mapping[str, str]
    arm_values: Mapping[str, str]
    time_unit: str | None = None

    def question(self, method: Analysis, endpoint_name: str, test: str) -> Question:
        """One comparison of an analysis in the words of the data.

        Columns: those of `population.source`, then of the method's options, then `--map`, then `--map endpoint.role`.
        """
        from trialsim.analysis.real_data import PROGNOSIS, Question
        from trialsim.spec.families import arms_of

        protocol, endpoint = self.protocol, self.protocol.endpoints[endpoint_name]
        visit = visit_of(protocol, method, endpoint)
        tests, reference = arms_of(protocol, method)
        outcome = None if protocol.truth is None else protocol.truth.outcomes.get(endpoint.outcome or "")
        source = data_source(protocol)
        columns = {} if source is None else _columns_of(source, endpoint, visit)
        columns |= {role: column for role in ("id", "exposure") if isinstance(column := getattr(method, role, None), str)}
        columns |= {role: column for role, column in self.mapping.items() if "." not in role}
        columns |= {key.rpartition(".")[2]: column for key, column in self.mapping.items() if key.rpartition(".")[0] == endpoint_name}
        for column in columns.values():
            self.table.require(column)
        return Question(
            test=test,
            reference=reference,
            others=tuple(arm for arm in tests if arm != test) if method.joint else (),
            arms={**({} if source is None else source.arms), **self.arm_values},
            columns=columns,
            covariates=method.covariates,
            stratify_by=method.stratify_by,
            visit=visit,
            visits=self._visits(endpoint, source),
            change=endpoint.change_from is not None,
            days=_days(self.time_unit, self.table, columns.get("time") if endpoint.is_event else None),
            cause=self._cause(method, endpoint, columns),
            impute=method.imputation is not None,
            from_baseline=bool(getattr(method, "constrained", False)),
            levels=self._levels(),
            categories=tuple(getattr(outcome, "probs", ())) if endpoint.type == "ordinal" else (),
            prognosis=_prognosis(self.study, protocol, self.table, endpoint, visit) if PROGNOSIS in method.covariates else None,
        )

    def tiers(self, method: Analysis, test: str) -> tuple[Tier, ...]:
        """The endpoints of a hierarchy, as questions."""
        from trialsim.analysis.real_data import Tier
        from trialsim.spec.planning import tiers_of

        return tuple(
            Tier(
                endpoint=tier.endpoint,
                question=self.question(method, tier.endpoint, test),
                kind=self.protocol.endpoints[tier.endpoint].type,
                favours=tier.favours,
                threshold=tier.threshold,
            )
            for tier in tiers_of(self.protocol, method)
        )

    def _levels(self) -> dict[str, tuple[str, ...]]:
        """The levels of the covariates that the protocol declares as categorical, by which a run makes their columns."""
        declared = {} if self.protocol.population is None else self.protocol.population.covariates
        return {name: law.levels for name, law in declared.items() if len(law.levels) > 2}

    def _visits(self, endpoint: Endpoint, source: DataSource | None) -> tuple[Visit, ...]:
        """The endpoint's visits in order of time, with their columns where the data are wide."""
        from trialsim.cohort import ValueColumns

        given = None if source is None else source.outcomes.get(endpoint.outcome or "")
        columns = given.columns if isinstance(given, ValueColumns) else {}
        days = {name: found.at for name, found in self.protocol.visits.items() if found.at is not None}
        return tuple(_visit(self.protocol, name, columns.get(name)) for name in sorted(endpoint.at, key=lambda name: days.get(name, 0.0)))

    def _cause(self, method: Analysis, endpoint: Endpoint, columns: Mapping[str, str]) -> str | None:
        """The event of interest in the words of the data: an outcome of several is its number among them, unless the data have its name."""
        cause = getattr(method, "cause", None)
        if not hasattr(method, "cause"):
            return None
        if cause is None:
            return "1"
        column = columns.get("event", columns.get("status", "event"))
        if cause in endpoint.components and not (column in self.table.meaning and self.table.equals(column, cause).any()):
            return str(endpoint.components.index(cause) + 1)
        return str(cause)


def _columns_of(source: DataSource, endpoint: Endpoint, visit: Visit | None) -> dict[str, str]:
    """The columns that `population.source` gives to an endpoint's outcome."""
    from trialsim.cohort import EventColumns

    found = {} if source.arm is None else {"arm": source.arm}
    given = source.outcomes.get(endpoint.outcome or "")
    if isinstance(given, EventColumns):
        found |= {"time": given.time, "event": given.event}
    elif given is not None:
        for role, at in (("value", None if visit is None else visit.id), ("baseline", endpoint.change_from)):
            if at in given.columns:
                found[role] = given.columns[at]
    return found


def _days(time_unit: str | None, table: PatientTable, column: str | None) -> float:
    """Days in the data's unit of time: as asked, else as the card says, else days."""
    from trialsim.units import TIME_UNITS

    if time_unit is not None:
        if time_unit not in TIME_UNITS:
            raise UsageError(f'--time-unit: "{time_unit}" is not a unit of time{did_you_mean(time_unit, TIME_UNITS)}')
        return TIME_UNITS[time_unit]
    unit = table.meaning[column].unit if column is not None and column in table.meaning else ""
    if unit and unit not in TIME_UNITS:
        raise DataError(Problem(f'the card gives the times in "{column}" the unit "{unit}", which is not a unit of time; say --time-unit', file=table.file))
    return TIME_UNITS.get(unit, 1.0)


def _prognosis(study: Study, protocol: Protocol, table: PatientTable, endpoint: Endpoint, visit: Visit | None) -> Any:
    """The twin's expected outcome of every row under the reference arm, from the protocol's cohort model and truth."""
    from trialsim.analysis.baseline_in_data import cohort_in_data
    from trialsim.twins import TwinModel

    population, truth = protocol.population, protocol.truth
    if population is None or truth is None or endpoint.outcome is None or not (population.source or population.covariates):
        return None
    model = population.cohort_model(study.directory)
    visits = {name: found.at for name, found in protocol.visits.items() if found.at is not None}
    twins = TwinModel(truth, arms=tuple(protocol.arms), visits=visits, cohort=model)
    expected = twins.prognosis(endpoint.outcome, None if visit is None else visit.id, cohort_in_data(table, model))
    return expected[0].expand(table.n).numpy()
