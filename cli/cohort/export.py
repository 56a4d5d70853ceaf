"""`trialsim cohort export`: a release of synthetic patients, refused where the check is not passed."""

from __future__ import annotations

import hashlib
import io
import json as json_text
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from trialsim_cli.console import command, print_json

from trialsim.errors import DataError, Problem, UsageError

if TYPE_CHECKING:
    from trialsim_cli.cohort.checked import Checked

SCHEMA = "trialsim.cohort_export/1"


@command
def export(
    model: Annotated[Path, typer.Argument(help="A model made by `trialsim cohort fit`.")],
    data: Annotated[Path, typer.Option("--data", help="The data it was fitted to (CSV or Parquet).")],
    n: Annotated[int, typer.Option("--n", help="How many patients.")],
    out: Annotated[Path, typer.Option("--out", help="The table to write: CSV, or Parquet where the name ends in .parquet. Its card is written beside it.")],
    check: Annotated[
        Path | None, typer.Option("--check", help="A report of `cohort check --json` of this model and these data; default: the check is run.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option("--card", help="The data's card (YAML); default: NAME.card.yaml beside NAME.csv, else what the model knows.")
    ] = None,
    thresholds: Annotated[Path | None, typer.Option("--thresholds", help="Declared thresholds (YAML) of the check that is run.")] = None,
    refits: Annotated[int, typer.Option("--refits", help="Refits of the membership gate of the check that is run.")] = 20,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes for the refits; default: as many as there are processors.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="The seed: the same seed gives the same patients.")] = 1,
    on: Annotated[str | None, typer.Option("--on", help="The day for which consent must hold (ISO 8601); default: today.")] = None,
    audit: Annotated[Path | None, typer.Option("--audit", help="The audit log; default: $TRIALSIM_AUDIT, else cohort-audit.jsonl beside the model.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a file that is no synthetic table.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Release synthetic patients of a model that passes its check; every row is labelled. Refused (exit 3) where it does not."""
    if n < 1:
        raise UsageError(f"--n {n}: at least 1 patient must be released")
    if check is not None and thresholds is not None:
        raise UsageError("give --check (a report, with its own thresholds) or --thresholds, not both")
    from trialsim_cli.cohort.checked import model_and_data, run_check

    from trialsim.cohort.fitted.publishing import card_path, require_apart
    from trialsim.cohort.fitted.writing import require_free
    from trialsim.data import shown_path
    from trialsim.data.governance import audit as log
    from trialsim.data.governance.manifest import manifest_path, require_fresh

    require_fresh(model)
    log_file = audit or log.default_path(model)
    needed = (model, manifest_path(model), card_path(model), data, card or data.with_name(f"{data.stem}.card.yaml"), check, thresholds, log_file)
    for file in (out, out.with_name(f"{out.stem}.card.yaml")):
        require_apart(file, *needed)
    require_free(out, replace=replace)
    checked = model_and_data(model, data, card, on=on)
    if check is not None:
        report = read_report(check, checked)
    else:
        report = run_check(checked, thresholds=thresholds, target=None, refits=refits, workers=workers, seed=1, n_release=n).as_json()
    refused = refusals(report, checked, n)
    about = {
        "model": str(model.absolute()),
        "model_id": checked.model.id,
        "data_sha256": checked.table.sha256,
        "n": n,
        "seed": seed,
        "verdict": report["verdict"],
        "check_sha256": hashlib.sha256(json_text.dumps(report, sort_keys=True).encode()).hexdigest(),
    }
    if refused:
        log.append(log_file, "export refused", about | {"reasons": refused})
        raise DataError([Problem(f"not released: {reason}", file=shown_path(model)) for reason in refused])
    done = release(checked, report, out, n=n, seed=seed, log_file=log_file, about=about)
    if json:
        print_json({"schema": SCHEMA, **done, "audit": str(log_file)})
        return
    print(f"{out}: {n:,} synthetic patients of the model {checked.model.id}, whose check is passed")
    print(f"{done['card']}: licence, terms, purposes, verdict and thresholds of the release")


def read_report(file: Path, checked: Checked) -> dict[str, Any]:
    """A report of `cohort check --json`, if it is one of this model and these data; DataError where it is not."""
    from trialsim.data import shown_path
    from trialsim.evaluation.cohort_check import SCHEMA as CHECK

    shown = shown_path(file)
    try:
        report = json_text.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=shown)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(Problem(f"is not a report: {' '.join(str(error).split())}", file=shown)) from None
    if not isinstance(report, dict) or report.get("schema") != CHECK:
        raise DataError(Problem(f"is not a report of the schema {CHECK}", file=shown))
    try:
        model, own = report["model"], report["data"]
        differs = [
            what
            for what, theirs, ours in (
                ("another model", model["id"], checked.about_model["id"]),
                ("another file of the model", model["sha256"], checked.about_model["sha256"]),
                ("other data", own["sha256"], checked.table.sha256),
                ("other permitted rows", own["permission"]["n_permitted"], checked.permission.n_permitted),
            )
            if theirs != ours
        ]
        report["verdict"], report["reasons"], report["thresholds"], report["disclosure"]["verdict"], report["same_data"]
    except (KeyError, TypeError):
        raise DataError(Problem(f"is not a whole report of the schema {CHECK}", file=shown)) from None
    if differs:
        raise DataError([Problem(f"is a report of {what} than is to be released", file=shown) for what in differs])
    return report


def refusals(report: Mapping[str, Any], checked: Checked, n: int) -> list[str]:
    """Why nothing may be released, in sentences; empty where it may."""
    found = list(checked.blocked)
    if not checked.same_data:
        found.append("The model was fitted to other data than these, so that they say nothing of whom it tells.")
    if report["verdict"] != "pass" or report["disclosure"]["verdict"] != "pass":
        found += report["reasons"] or [f"The verdict of the check is {report['verdict']}."]
    elif n > (most := report["disclosure"]["n_synthetic"]):
        found.append(f"Disclosure was checked of tables of {most:,} patients, and {n:,} are to be released: check with --n {n}.")
    return list(dict.fromkeys(found))


def release(checked: Checked, report: Mapping[str, Any], out: Path, *, n: int, seed: int, log_file: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the table and its card, and the line of the audit log: the files appear when the line is written."""
    from trialsim_cli.cohort.checked import sha256_of

    from trialsim.cohort.fitted.writing import write_synthetic
    from trialsim.data.governance import audit as log
    from trialsim.data.governance.files import write_whole

    table = labelled(checked.model.synthesise(n, seed=seed), out)
    card_file = out.with_name(f"{out.stem}.card.yaml")
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name[:40]}.") as folder:
        made, made_card = Path(folder) / out.name, Path(folder) / card_file.name
        write_synthetic(table, made, model=checked.model)
        details = {**about, "out": str(out.absolute()), "sha256": sha256_of(made)}
        write_whole(made_card, release_card(checked, report, details))
        log.append(log_file, "export", details)
        os.replace(made_card, card_file)
        os.replace(made, out)
    return {**details, "card": str(card_file)}


def labelled(table: Any, out: Path) -> Any:
    """The table with a column `synthetic` that is true in every row (`synthetic_model` is added where it is written)."""
    from dataclasses import replace

    from trialsim.data import Column

    if "synthetic" in table.meaning:
        raise DataError(Problem('the data have a column "synthetic" of their own, so a release cannot be labelled', file=str(out)))
    words = {**table.text, "synthetic": ("true",) * table.n}
    return replace(table, text=words, meaning={**table.meaning, "synthetic": Column(type="text", role="post_baseline")})


def release_card(checked: Checked, report: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    """The card of the release (YAML): the source's licence, terms and purposes, and what was checked."""
    from ruamel.yaml import YAML

    source, form = checked.card, checked.model.form
    assert form is not None
    columns: dict[str, Any] = {}
    for column in form.columns:
        columns[column.name] = {key: value for key, value in column.meaning.model_dump(mode="json").items() if value not in ("", [], ())}
    for name in ("synthetic", "synthetic_model"):
        columns[name] = {"type": "text", "role": "post_baseline"}
    disclosure = report["disclosure"]
    card = {
        "id": f"{source.id}-synthetic",
        "title": f"Synthetic patients after: {source.title}",
        "source": f"drawn from the cohort model {checked.model.id}, fitted to: {source.source}",
        "licence": source.licence,
        "purposes": list(source.purposes),
        "citation": source.citation,
        "columns": columns,
        "ingested": {
            "synthetic": "every row is synthetic: no row is a person; not to be pooled with, or passed off as, real patients",
            **details,
            "terms": "those of the source data: its licence and purposes hold for what was made from it",
            "reasons": list(report["reasons"]),
            "thresholds": dict(report["thresholds"]),
            "membership_auc": {key: disclosure["membership_auc"][key] for key in ("estimate", "ci_low", "ci_high")},
            "checked_for_tables_of": disclosure["n_synthetic"],
            "limits": "the check is of single tables up to that length; several releases of one model together tell more",
        },
    }
    text = io.StringIO()
    writer = YAML()
    writer.width = 140
    writer.dump(card, text)
    return text.getvalue()
