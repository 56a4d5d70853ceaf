"""`trialsim analyse`: the protocol's analyses on real data, with the kernels of the simulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from trialsim_cli.console import command, print_json, say

from trialsim.errors import DataError, NotSupportedError, Problem, ProtocolError, UsageError, did_you_mean

if TYPE_CHECKING:
    from trialsim.analysis import Analysis
    from trialsim.analysis.real_data import Question, Visit
    from trialsim.cohort.population import DataSource
    from trialsim.data import PatientTable
    from trialsim.spec import Study
    from trialsim.spec.protocol import Protocol


@command
def analyse(
    protocol: Annotated[Path, typer.Argument(help="The protocol (YAML). Needs arms, endpoints and analyses only.")],
    data: Annotated[Path, typer.Option("--data", help="Patient-level data: CSV or Parquet.")],
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="Roles of columns: time=days,event=cens,arm=treat; also value, baseline, visit, id, status. os.time=… for one endpoint."),
    ] = None,
    arms: Annotated[list[str] | None, typer.Option("--arms", help="Each arm's value in the arm column: experimental=1,control=0.")] = None,
    time_unit: Annotated[str | None, typer.Option("--time-unit", help="Unit of times in the data: days (default), weeks, months or years.")] = None,
    card: Annotated[Path | None, typer.Option("--card", help="The data's card (YAML); default: the protocol's, where it describes this file.")] = None,
    analysis: Annotated[list[str] | None, typer.Option("--analysis", help="Only this analysis (may be repeated).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Set a parameter of the protocol: name=value.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Analyse real data as the protocol says: estimate, interval, test."""
    from trialsim.analysis.result import SCHEMA

    mapping, values = _pairs(map_, "--map"), _pairs(arms, "--arms")
    results = analyse_file(
        protocol, data, mapping=mapping, arm_values=values, time_unit=time_unit, card=card, only=tuple(analysis or ()), sets=_pairs(set_, "--set")
    )
    if json:
        print_json({"schema": SCHEMA, "results": results})
    else:
        for row in results:
            print(_sentence(row))


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """`a=b,c=d` as a dictionary."""
    found: dict[str, str] = {}
    for pair in (piece for text in given or () for piece in text.split(",")):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            raise UsageError(f'{option}: "{pair.strip()}" is not of the form name=value')
        if key in found:
            raise UsageError(f'{option}: "{key}" is given twice')
        found[key] = value
    return found


def analyse_file(
    protocol_file: Path,
    data_file: Path,
    *,
    mapping: Mapping[str, str],
    arm_values: Mapping[str, str],
    time_unit: str | None = None,
    card: Path | None = None,
    only: tuple[str, ...] = (),
    sets: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The rows of `trialsim.analysis/1`, one per analysis, in the protocol's order."""
    from trialsim.analysis.real_data import ROLES, event_data, value_data
    from trialsim.analysis.result import result_row
    from trialsim.data import load_card, read_table
    from trialsim.spec import load

    study = load(protocol_file, sets or {})
    protocol = study.cells()[0].protocol
    analyses = _chosen(protocol, only)
    for key in mapping:
        endpoint, _, role = key.rpartition(".")
        if role not in ROLES:
            raise UsageError(f'--map: "{role}" is not a role of a column{did_you_mean(role, ROLES)}')
        if endpoint and endpoint not in protocol.endpoints:
            raise UsageError(f'--map: "{endpoint}" is not an endpoint{did_you_mean(endpoint, protocol.endpoints)}')
    for arm in arm_values:
        if arm not in protocol.arms:
            raise UsageError(f'--arms: "{arm}" is not an arm of the protocol{did_you_mean(arm, protocol.arms)}')
    source = _source(protocol)
    if card is None and source is not None and source.card is not None and _same_file(study.directory / source.data, data_file):
        card = study.directory / source.card
    table = read_table(data_file, None if card is None else load_card(card))
    rows, said = [], set()
    for name, method in analyses.items():
        endpoint_name, visit = _variable(protocol, method)
        endpoint = protocol.endpoints[endpoint_name]
        kind = "time_to_event" if endpoint.is_event else endpoint.type
        if kind not in method.endpoint_types:
            raise ProtocolError(
                Problem(
                    f"{_word(method)} analyses {' or '.join(method.endpoint_types)} endpoints; {endpoint_name} is {endpoint.type}",
                    path=f"analyses.{name}.method",
                )
            )
        question = _question(study, protocol, method, table, endpoint_name, visit, mapping=mapping, arm_values=arm_values, time_unit=time_unit)
        data = event_data(table, question) if endpoint.is_event else value_data(table, question)
        for note in question.notes:
            if (endpoint_name, note) not in said:
                say(f"{name}: {note}")
                said.add((endpoint_name, note))
        rows.append(
            result_row(
                name,
                method,
                data,
                favours=1 if endpoint.direction == "higher_is_better" else -1,
                test=question.test,
                reference=question.reference,
                visit=None if visit is None else visit.id,
                population="all_randomized",
            )
        )
    return rows


def _chosen(protocol: Protocol, only: tuple[str, ...]) -> dict[str, Analysis]:
    """The analyses asked for; refuses what the engine cannot do."""
    from trialsim.parts import walk

    missing = [section for section in ("arms", "endpoints", "analyses") if not getattr(protocol, section)]
    if missing:
        raise ProtocolError([Problem(f"analyse needs the section {section}", path=section) for section in missing])
    for name in only:
        if name not in protocol.analyses:
            raise UsageError(f'--analysis: "{name}" is not an analysis{did_you_mean(name, protocol.analyses)}')
    chosen = {name: method for name, method in protocol.analyses.items() if not only or name in only}
    cannot = []
    for name, method in chosen.items():
        parts: list[Any] = [method] if method.estimand is None else [method, protocol.estimands[method.estimand]]
        for found in (phrase for part in parts for _, inner in walk(part) for phrase in inner.unsupported()):
            cannot.append(f"analyses.{name}: {found}")
    if cannot:
        raise NotSupportedError(cannot)
    return dict(chosen)


def _word(method: Analysis) -> str:
    return f"method {getattr(method, 'method', '')}"


def _source(protocol: Protocol) -> DataSource | None:
    """Where the protocol says its patients come from, if that is a data file."""
    from trialsim.cohort.population import DataSource

    source = None if protocol.population is None else protocol.population.source
    return source if isinstance(source, DataSource) else None


def _same_file(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)


def _variable(protocol: Protocol, method: Analysis) -> tuple[str, Visit | None]:
    """The endpoint of an analysis and its visit, where the endpoint has any: as named, else the last."""
    from trialsim.analysis.real_data import Visit

    estimand = None if method.estimand is None else protocol.estimands[method.estimand]
    endpoint = method.endpoint if estimand is None else estimand.endpoint
    assert endpoint is not None
    at = protocol.endpoints[endpoint].at
    name = (None if estimand is None else estimand.visit) or (max(at, key=lambda visit: _day(protocol, visit)) if at else None)
    if name is None or protocol.endpoints[endpoint].is_event:
        return endpoint, None
    visit = protocol.visits.get(name)
    return endpoint, Visit(id=name, at=None if visit is None else visit.at, window=(visit.window or 0.0) if visit is not None else 0.0)


def _day(protocol: Protocol, visit: str) -> float:
    found = protocol.visits.get(visit)
    return 0.0 if found is None or found.at is None else found.at


def _question(
    study: Study,
    protocol: Protocol,
    method: Analysis,
    table: PatientTable,
    endpoint_name: str,
    visit: Visit | None,
    *,
    mapping: Mapping[str, str],
    arm_values: Mapping[str, str],
    time_unit: str | None,
) -> Question:
    from trialsim.analysis.real_data import Question

    endpoint = protocol.endpoints[endpoint_name]
    treatment = method.treatment if method.estimand is None else protocol.estimands[method.estimand].treatment
    assert treatment is not None
    columns = _from_source(_source(protocol), endpoint.outcome, visit, endpoint.change_from)
    columns.update({role: column for role, column in mapping.items() if "." not in role})
    columns.update({key.rpartition(".")[2]: column for key, column in mapping.items() if key.rpartition(".")[0] == endpoint_name})
    for column in columns.values():
        table.require(column)
    source = _source(protocol)
    return Question(
        test=treatment.tests[0],
        reference=treatment.reference,
        arms={**(source.arms if source is not None else {}), **arm_values},
        columns=columns,
        covariates=method.covariates,
        stratify_by=method.stratify_by,
        visit=visit,
        change=endpoint.change_from is not None,
        days=_days(time_unit, table, columns.get("time")),
    )


def _from_source(source: DataSource | None, outcome: str | None, visit: Visit | None, change_from: str | None) -> dict[str, str]:
    """The columns that `population.source` gives to an outcome."""
    from trialsim.cohort.population import EventColumns

    if source is None:
        return {}
    found = {} if source.arm is None else {"arm": source.arm}
    given = source.outcomes.get(outcome or "")
    if isinstance(given, EventColumns):
        found |= {"time": given.time, "event": given.event}
    elif given is not None:
        for role, at in (("value", None if visit is None else visit.id), ("baseline", change_from)):
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
    unit = table.meaning[column].unit if column in table.meaning else ""
    if unit and unit not in TIME_UNITS:
        raise DataError(Problem(f'the card gives the times in "{column}" the unit "{unit}", which is not a unit of time; say --time-unit', file=table.file))
    return TIME_UNITS.get(unit, 1.0)


def _sentence(row: Mapping[str, Any]) -> str:
    """A result in one line of text."""
    words = [f"{row['analysis']} ({row['method']}): {row['test']} against {row['reference']}" + (f" at {row['visit']}" if row["visit"] else "")]
    if row["estimate"] is not None:
        words.append(f"{row['scale'].replace('_', ' ')} {row['estimate']:.4g} ({_span(row['ci_low'], row['ci_high'])})")
    statistic = "z" if row["df"] is None else f"t({row['df']:.4g})"
    words.append(f"{statistic} = {row['statistic']:.3f}, p = {row['p_value']:.3g}")
    words.append(f"{row['n']} patients" + ("" if row["n_events"] is None else f", {row['n_events']} events"))
    return "; ".join(words)


def _span(*limits: float | None) -> str:
    return " to ".join("∞" if limit is None else f"{limit:.4g}" for limit in limits)


__all__: Iterable[str] = ["analyse", "analyse_file"]
