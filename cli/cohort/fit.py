"""`trialsim cohort fit`: a model of a whole table of patients."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from trialsim_cli.console import command, print_json

from trialsim.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from trialsim.cohort.fitted import FittedCohort
    from trialsim.cohort.population import OutcomeColumns
    from trialsim.data import PatientTable
    from trialsim.data.card import Purpose

SCHEMA = "trialsim.cohort_fit/1"
PURPOSES = ("train", "simulate", "external_control", "commercial", "genomic")
OUTCOME = (
    "A time-to-event outcome, time=days,event=cens, or a value after baseline, value=cd420,baseline=cd40,visit=w20; may be repeated. "
    "Also name=os, and once arm=treat (the arm column) and reference=0 (its reference arm)."
)
_KEYS = ("name", "time", "event", "value", "baseline", "visit", "arm", "reference")


@command
def fit(
    data: Annotated[Path, typer.Argument(help="Patient-level data: CSV or Parquet.")],
    out: Annotated[Path, typer.Option("--out", help="The model's file; its manifest and card are written beside it.")],
    card: Annotated[
        Path | None, typer.Option("--card", help="The data's card (YAML); default: NAME.card.yaml beside NAME.csv. Without one nothing is fitted.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="How columns go together: copula, latent_class or flow.")] = "copula",
    outcome: Annotated[list[str] | None, typer.Option("--outcome", help=OUTCOME)] = None,
    purpose: Annotated[str, typer.Option("--purpose", help=f"What the model is for: {', '.join(PURPOSES)}. Only rows that permit it are used.")] = "simulate",
    randomised: Annotated[bool, typer.Option("--randomised", help="The arm was randomised: it is drawn independently of the covariates.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="The seed of fits that draw random numbers.")] = 0,
    on: Annotated[str | None, typer.Option("--on", help="The day for which consent must hold (ISO 8601); default: today.")] = None,
    audit: Annotated[Path | None, typer.Option("--audit", help="The audit log; default: $TRIALSIM_AUDIT, else cohort-audit.jsonl beside the model.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a model that is there.")] = False,
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", help="Fit with differential privacy of this ε for every patient; needs --delta and --bounds.")
    ] = None,
    delta: Annotated[float | None, typer.Option("--delta", help="The δ of differential privacy, far below 1 over the number of patients.")] = None,
    bounds: Annotated[
        Path | None, typer.Option("--bounds", help="YAML: column → [low, high] or [low, high, step] of every column of numbers; not read off these data.")
    ] = None,
    without: Annotated[list[str] | None, typer.Option("--without", help="With --epsilon: a column to leave out; may be repeated.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit a model of a whole table: covariates, arm, outcomes, missing cells."""
    outcomes, arm, reference = parse_outcomes(outcome or [])
    if purpose not in PURPOSES:
        raise UsageError(f'--purpose "{purpose}" is not one{did_you_mean(purpose, PURPOSES)}')
    day = _day(on)
    declared = _privacy(epsilon, delta, bounds, without)

    from trialsim.cohort.fitted import fit_table
    from trialsim.cohort.fitted.dependence import DEPENDENCES
    from trialsim.cohort.fitted.publishing import publish, require_apart, require_place
    from trialsim.data import load_card, read_table, shown_path
    from trialsim.data.governance import audit as log
    from trialsim.data.governance.consent import permitted
    from trialsim.data.governance.persons import ids_of
    from trialsim.errors import DataError, Problem

    if model not in DEPENDENCES:
        raise UsageError(f'--model "{model}" is not one{did_you_mean(model, DEPENDENCES)}')
    card_file = card or data.with_name(f"{data.stem}.card.yaml")
    if card is None and not card_file.exists():
        raise DataError(Problem("has no card (--card), so no model is fitted to it", file=shown_path(data)))
    wanted = cast("Purpose", purpose)
    known = load_card(card_file, shown=shown_path(card_file))
    known.require(wanted, file=shown_path(card_file))
    log_file = audit or log.default_path(out)
    require_apart(out, data, card_file, bounds, log_file)
    require_place(out, replace=replace)
    began = time.perf_counter()
    table = read_table(data, known, shown=shown_path(data))
    permission = permitted(table, wanted, on=day, card_file=shown_path(card_file))
    ids = ids_of(permission.apply(table))
    if declared is None:
        fitted = fit_table(table, model=model, outcomes=outcomes, arm=arm, purpose=wanted, on=day, randomised=randomised, reference=reference, seed=seed)
    else:
        fitted = _fit_private(table, declared, model=model, outcomes=outcomes, arm=arm, purpose=wanted, on=day, reference=reference, without=without or [])
    published = publish(fitted, out, data=data, ids=ids, log=log_file, replace=replace)
    found = describe(fitted, seconds=time.perf_counter() - began)
    if json:
        print_json({"schema": SCHEMA, "model": str(out), **published, **found})
        return
    for line in _lines(fitted, out, permission.summary(), shown_path(data)):
        print(line)
    if declared is not None:
        spent = fitted.card["privacy"]
        print(f"differential privacy: ε = {spent['epsilon']:.3g} at δ = {spent['delta']:.3g} in {len(spent['releases'])} releases (the ledger is in the card)")
    if not published["found_by_withdrawals"]:
        print(f"the log beside {shown_path(data)} cannot be written to: a withdrawal finds this model only with --models")


def _privacy(epsilon: float | None, delta: float | None, bounds: Path | None, without: list[str] | None) -> tuple[float, float, Path] | None:
    """What is asked of differential privacy (None: nothing); UsageError where it is asked for by halves."""
    if epsilon is not None and delta is not None and bounds is not None:
        return epsilon, delta, bounds
    if epsilon is None and delta is None and bounds is None and not without:
        return None
    raise UsageError("differential privacy needs --epsilon, --delta and --bounds (and may have --without)")


def _fit_private(table: PatientTable, declared: tuple[float, float, Path], **options: Any) -> FittedCohort:
    from trialsim.cohort.fitted.private import fit_private
    from trialsim.cohort.fitted.private_bounds import load_bounds
    from trialsim.data import shown_path

    epsilon, delta, file = declared
    return fit_private(table, epsilon=epsilon, delta=delta, bounds=load_bounds(file, shown=shown_path(file)), **options)


def parse_outcomes(texts: list[str]) -> tuple[dict[str, OutcomeColumns], str | None, str | None]:
    """(outcomes, arm column, reference arm) of the options `--outcome`; UsageError names what is wrong with which."""
    from trialsim.cohort.population import EventColumns, ValueColumns

    outcomes: dict[str, OutcomeColumns] = {}
    once: dict[str, str] = {}
    for text in texts:
        given = _pairs(text)
        for key in ("arm", "reference"):
            if key in given and once.setdefault(key, given[key]) != given.pop(key):
                raise UsageError(f'--outcome "{text}" gives another {key} than before')
        if not given:
            continue
        name = given.pop("name", None)
        if "time" in given or "event" in given:
            if given.keys() != {"time", "event"}:
                raise UsageError(f'--outcome "{text}": a time-to-event outcome has time and event (and no value)')
            name = name or ("event" if "event" not in outcomes else given["event"])
            _once(name, outcomes, text)
            outcomes[name] = EventColumns(time=given["time"], event=given["event"])
        elif "value" in given:
            name = name or given.get("baseline", given["value"])
            visit = given.get("visit", "after")
            before = outcomes.get(name)
            columns = dict(before.columns) if isinstance(before, ValueColumns) else {}
            if before is not None and not columns:
                _once(name, outcomes, text)
            if visit in columns or visit == "baseline":
                raise UsageError(f'--outcome "{text}": the outcome {name} has a visit "{visit}" already')
            if "baseline" in given and columns.setdefault("baseline", given["baseline"]) != given["baseline"]:
                raise UsageError(f'--outcome "{text}" gives {name} another baseline than before')
            outcomes[name] = ValueColumns(columns={**columns, visit: given["value"]})
        else:
            raise UsageError(f'--outcome "{text}" names neither time and event nor a value')
    return outcomes, once.get("arm"), once.get("reference")


def _pairs(text: str) -> dict[str, str]:
    """key=column, separated by commas."""
    given: dict[str, str] = {}
    for part in text.split(","):
        key, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column:
            raise UsageError(f'--outcome "{text}": "{part}" is not key=column')
        if key not in _KEYS:
            raise UsageError(f'--outcome "{text}": unknown key "{key}"{did_you_mean(key, _KEYS)}')
        if key in given:
            raise UsageError(f'--outcome "{text}" gives {key} twice')
        given[key] = column
    return given


def _once(name: str, outcomes: Mapping[str, Any], text: str) -> None:
    if name in outcomes:
        raise UsageError(f'--outcome "{text}": there is an outcome "{name}" already; give it another name=')


def _day(on: str | None) -> date:
    try:
        return datetime.now(UTC).date() if on is None else date.fromisoformat(on)
    except ValueError:
        raise UsageError(f'--on "{on}" is not a day such as 2026-03-31') from None


def describe(model: FittedCohort, *, seconds: float) -> dict[str, Any]:
    """What a caller wants to know of the model, for JSON."""
    names = ("model_id", "purpose", "permission", "n", "covariates", "companions", "constants", "left_out", "rules", "missing", "events", "values")
    roles = model.roles
    return {
        **{name: model.card[name] for name in names},
        "kind": model.card["model"],
        "data": model.card["data"],
        "arm": roles.arm,
        "modelled": list(model.modelled),
        "largest_correlation_error": model.card["largest_correlation_error"],
        "seconds": round(seconds, 3),
    }


def _lines(model: FittedCohort, out: Path, permission: str, data: str) -> list[str]:
    """The model in words."""
    card, roles = model.card, model.roles
    lines = [f"{out}: model {model.id} of {card['n']:,} patients of {data}", permission]
    lines.append(f"{len(card['covariates'])} covariates{f', arm {roles.arm}' if roles.arm else ''}; with outcomes {len(model.modelled)} columns")
    for name, event in card["events"].items():
        effects = [f"log HR {log_hr:.3f} (SD {event['log_hr_sd'][arm]:.3f}) of {arm}" for arm, log_hr in event["log_hr"].items() if arm in event["log_hr_sd"]]
        lines.append(f"outcome {name}: {'; '.join(effects) or 'one arm'}" + (f", against {event['reference']}" if effects else ""))
    for name, value in card["values"].items():
        effects = [
            f"{difference:+.4g} (SD {value['difference_sd'][arm]:.3g}) in {arm}"
            for arm, difference in value["difference"].items()
            if arm in value["difference_sd"]
        ]
        lines.append(f"value {name}: {'; '.join(effects) or 'one arm'}" + (f", against {value['reference']}" if effects else ""))
    lines += [f"left out: {name} ({why})" for name, why in card["left_out"].items() if name not in card["constants"]]
    lines.append(f"largest error of a correlation between covariates: {card['largest_correlation_error']:.3f}")
    return lines
