"""What each analysis of a protocol asks of a data file: which arms, endpoint, visit and columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim.errors import DataError, NotSupportedError, Problem, ProtocolError, UsageError, did_you_mean

if TYPE_CHECKING:
    from trialsim.analysis import Analysis
    from trialsim.analysis.real_data import Question, Visit
    from trialsim.cohort import DataSource
    from trialsim.data import PatientTable
    from trialsim.spec import Protocol, Study
    from trialsim.spec.sections.endpoints import Endpoint


def chosen_analyses(protocol: Protocol, only: tuple[str, ...]) -> dict[str, Analysis]:
    """The analyses asked for, all if none is named. Refuses what the engine cannot do and an endpoint the method cannot analyse."""
    from trialsim.parts import walk

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


def visit_of(protocol: Protocol, method: Analysis) -> Visit | None:
    """The visit of an analysis, where its endpoint has visits: as the estimand names it, else the last."""
    from trialsim.analysis.real_data import Visit

    _, endpoint = endpoint_of(protocol, method)
    named = None if method.estimand is None else protocol.estimands[method.estimand].visit
    if endpoint.is_event or not (named or endpoint.at):
        return None
    days = {visit: found.at for visit, found in protocol.visits.items() if found.at is not None}
    name = named or max(endpoint.at, key=lambda visit: days.get(visit, 0.0))
    window = protocol.visits[name].window if name in protocol.visits else None
    return Visit(id=name, at=days.get(name), window=window or 0.0)


def question_of(
    study: Study,
    protocol: Protocol,
    method: Analysis,
    table: PatientTable,
    *,
    mapping: Mapping[str, str],
    arm_values: Mapping[str, str],
    time_unit: str | None,
) -> Question:
    """The analysis in the words of the data. Columns: those of `population.source`, then `--map`, then `--map endpoint.role`."""
    from trialsim.analysis.real_data import PROGNOSIS, Question

    name, endpoint = endpoint_of(protocol, method)
    visit = visit_of(protocol, method)
    treatment = method.treatment if method.estimand is None else protocol.estimands[method.estimand].treatment
    assert treatment is not None
    source = data_source(protocol)
    columns = {} if source is None else _columns_of(source, endpoint, visit)
    columns.update({role: column for role, column in mapping.items() if "." not in role})
    columns.update({key.rpartition(".")[2]: column for key, column in mapping.items() if key.rpartition(".")[0] == name})
    for column in columns.values():
        table.require(column)
    prognosis = None
    if PROGNOSIS in method.covariates:
        prognosis = _prognosis(study, protocol, table, endpoint, visit)
    return Question(
        test=treatment.tests[0],
        reference=treatment.reference,
        arms={**({} if source is None else source.arms), **arm_values},
        columns=columns,
        covariates=method.covariates,
        stratify_by=method.stratify_by,
        visit=visit,
        change=endpoint.change_from is not None,
        days=_days(time_unit, table, columns.get("time") if endpoint.is_event else None),
        prognosis=prognosis,
    )


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
