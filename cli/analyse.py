"""`trialsim analyse`: the protocol's analyses on real data, with the kernels of the simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from trialsim_cli.console import command, print_json, say

from trialsim.errors import UsageError

MAP = "Roles of columns: time=days,event=cens,arm=treat; also value, baseline, visit, id, status. os.time=days for the endpoint os alone."
NOTHING: Mapping[str, str] = MappingProxyType({})


@command
def analyse(
    protocol: Annotated[Path, typer.Argument(help="The protocol (YAML). Needs arms, endpoints and analyses only.")],
    data: Annotated[Path, typer.Option("--data", help="Patient-level data: CSV or Parquet.")],
    map_: Annotated[list[str] | None, typer.Option("--map", help=MAP)] = None,
    arms: Annotated[list[str] | None, typer.Option("--arms", help="Each arm's value in the arm column: experimental=1,control=0.")] = None,
    time_unit: Annotated[str | None, typer.Option("--time-unit", help="Unit of times in the data: days (default), weeks, months or years.")] = None,
    card: Annotated[Path | None, typer.Option("--card", help="The data's card (YAML); default: the protocol's, where it describes this file.")] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help="Only rows of the data in which a column has a value: replicate=3 (may be repeated).")
    ] = None,
    analysis: Annotated[list[str] | None, typer.Option("--analysis", help="Only this analysis (may be repeated).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Set a parameter of the protocol: name=value.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Analyse real data as the protocol says: estimate, interval, test."""
    from trialsim.analysis.result import SCHEMA

    results = analyse_file(
        protocol,
        data,
        mapping=_pairs(map_, "--map"),
        arm_values=_pairs(arms, "--arms"),
        time_unit=time_unit,
        card=card,
        where=_pairs(where, "--where"),
        only=tuple(analysis or ()),
        sets=dict(_pair(text, "--set") for text in set_ or ()),
    )
    if json:
        print_json({"schema": SCHEMA, "results": results})
    else:
        for row in results:
            print(_sentence(row))


def analyse_file(
    protocol_file: Path,
    data_file: Path,
    *,
    mapping: Mapping[str, str],
    arm_values: Mapping[str, str],
    time_unit: str | None = None,
    card: Path | None = None,
    where: Mapping[str, str] = NOTHING,
    only: tuple[str, ...] = (),
    sets: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The rows of `trialsim.analysis/1`, one per analysis, in the protocol's order; what was left out is said on stderr."""
    from trialsim_cli.questions import Asking, card_of, check_mapping, chosen_analyses, endpoint_of

    from trialsim.analysis.methods.gee import Gee
    from trialsim.analysis.methods.logrank import LogRank
    from trialsim.analysis.real_data import event_data, hierarchy_data, record_for
    from trialsim.analysis.result import Labels, any_difference_row, result_row
    from trialsim.conduct.multiplicity import adjust, of_family
    from trialsim.data import load_card, read_table
    from trialsim.records import AnalysisData, HierarchyData, Noise, VisitData, patients
    from trialsim.rng import Block, Stream
    from trialsim.spec import load
    from trialsim.spec.families import arms_of, as_made, families, hypotheses
    from trialsim.spec.planning import favours_of

    study = load(protocol_file, sets or {})
    study.require("arms", "endpoints", "analyses")
    protocol = study.cells()[0].protocol
    analyses = chosen_analyses(protocol, only)
    check_mapping(protocol, mapping, arm_values)
    card = card or card_of(study, protocol, data_file)
    table = read_table(data_file, None if card is None else load_card(card))
    for column, value in where.items():
        table = table.where(column, value)
    if "frequency" in mapping:
        table = table.repeated(mapping["frequency"])
    asking = Asking(study, protocol, table, mapping, arm_values, time_unit)
    rows: list[dict[str, Any]] = []
    said: set[str] = set()
    tested: dict[str, tuple[dict[str, Any], list[int]]] = {}
    for name in analyses:
        method = as_made(protocol, name)
        tests, reference = arms_of(protocol, method)
        compared: list[dict[str, Any]] = []
        for hypothesis, arm in hypotheses(protocol, name).items():
            test = arm or tests[0]
            if method.takes is HierarchyData:
                tiers = asking.tiers(method, test)
                question, sign = tiers[0].question, 1
                data: AnalysisData = hierarchy_data(table, tiers)
            else:
                endpoint_name, endpoint = endpoint_of(protocol, method)
                question, sign = asking.question(method, endpoint_name, test), favours_of(protocol, endpoint_name)
                data = record_for(method.record, table, question, kind=endpoint.type)
                if isinstance(data, VisitData) and method.imputation is not None:
                    stream = Stream(protocol.simulation.seed or 0, f"imputation/{name}")
                    data = replace(data, noise=Noise(stream, Block(0, 1)))
            for note in question.notes:
                if note not in said:
                    say(f"{name}: {note}")
                    said.add(note)
            labels = Labels(name, test, reference, None if question.visit is None or isinstance(method, Gee) else question.visit.id)
            compared.append(result_row(labels, method.comparing(test), data, favours=sign))
            tested[hypothesis] = compared[-1], [int(count[0]) for count in patients(data)]
        if isinstance(method, LogRank) and method.weights is None and len(compared) > 1:
            question = replace(asking.question(method, endpoint_name, tests[0]), others=tests[1:])
            compared.append(any_difference_row(Labels(name, None, reference, None), method, event_data(table, question)))
        rows += compared
    for family in families(protocol).values():
        if family.procedure != "none" and all(member in tested for member in family.members):
            found = [tested[member] for member in family.members]
            made = [protocol.analyses[row["analysis"]] for row, _ in found]
            adjusted = adjust(
                [of_family(row["p_value"], tested_sides=each.tested_sides, sides=family.sides) for (row, _), each in zip(found, made, strict=True)],
                family.names,
                family.procedure,
                sides=family.sides,
                n=[size[1] for _, size in found],
                n_reference=[size[0] for _, size in found],
                df=found[0][0]["df"],
                groups=family.groups,
            )
            for (row, _), corrected in zip(found, adjusted, strict=True):
                row["adjusted_p_value"] = corrected
    return rows


def _pair(text: str, option: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals and value):
        raise UsageError(f'{option}: "{text.strip()}" is not of the form name=value')
    return key, value


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """`a=b,c=d`, in one option or several, as a dictionary."""
    found: dict[str, str] = {}
    for text in given or ():
        for piece in text.split(","):
            key, value = _pair(piece, option)
            if key in found:
                raise UsageError(f'{option}: "{key}" is given twice')
            found[key] = value
    return found


def _sentence(row: Mapping[str, Any]) -> str:
    """A result in one line of text."""
    if row["test"] is None:
        return f"{row['analysis']} ({row['method']}): any difference between the arms; chi-squared({row['df']:g}) = {row['statistic']:.3f}, p = {row['p_value']:.3g}"
    words = [f"{row['analysis']} ({row['method']}): {row['test']} against {row['reference']}" + (f" at {row['visit']}" if row["visit"] else "")]
    if row["estimate"] is not None:
        limits = " to ".join("beyond floating point" if row[limit] is None else f"{row[limit]:z.4g}" for limit in ("ci_low", "ci_high"))
        words.append(f"{row['scale'].replace('_', ' ')} {row['estimate']:z.4g} ({limits})")
    statistic = "z" if row["df"] is None else f"t({row['df']:.4g})"
    words.append(
        f"{statistic} = {row['statistic']:z.3f}, p = {row['p_value']:.3g}"
        + ("" if row.get("adjusted_p_value") is None else f", adjusted {row['adjusted_p_value']:.3g}")
    )
    words.append(f"{row['n']} patients" + ("" if row["n_events"] is None else f", {row['n_events']} events"))
    return "; ".join(words)
