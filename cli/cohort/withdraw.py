"""`trialsim cohort withdraw`: persons who withdraw their consent, and the models that have read them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from trialsim_cli.console import command, print_json

if TYPE_CHECKING:
    from trialsim.data.governance.withdrawal import Person, Withdrawal

SCHEMA = "trialsim.cohort_withdrawal/1"


@command
def withdraw(
    data: Annotated[Path, typer.Option("--data", help="The data (CSV or Parquet).")],
    ids: Annotated[list[str] | None, typer.Argument(help="The identifiers of the persons who withdraw, as the data have them.", metavar="ID")] = None,
    ids_file: Annotated[Path | None, typer.Option("--ids", help="A file with an identifier on each line.")] = None,
    card: Annotated[Path | None, typer.Option("--card", help="The card of the data; default: NAME.card.yaml beside NAME.csv.")] = None,
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "--models",
            help="A folder with models, or a model (may be repeated); default: the data's folder, and every model that its audit log, or --audit, names.",
        ),
    ] = None,
    audit: Annotated[Path | None, typer.Option("--audit", help="The audit log; default: $TRIALSIM_AUDIT, else cohort-audit.jsonl beside the data.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Withdraw persons from a dataset: their rows are never read again, and models that have read them become stale."""
    from trialsim.data import load_card, read_table, shown_path
    from trialsim.data.governance import audit as log
    from trialsim.data.governance.manifest import manifest_path
    from trialsim.data.governance.withdrawal import manifests_below, models_in_log, withdraw

    persons = _persons(ids or [], ids_file)
    card_file = card or data.with_name(f"{data.stem}.card.yaml")
    table = read_table(data, load_card(card_file, shown=shown_path(card_file)), shown=shown_path(data))
    log_file = audit or log.default_path(data)

    def found() -> tuple[list[Path], list[Path]]:
        if models:
            return manifests_below(models), []
        logs = {log_file, log.default_path(data), data.absolute().parent / log.NAME}
        named, gone = (sorted(set().union(*parts)) for parts in zip(*map(models_in_log, logs), strict=True))
        return sorted({*manifests_below([data.absolute().parent]), *(manifest_path(model) for model in named)}), gone

    manifests, gone = found()
    done = withdraw(persons, table=table, manifests=manifests, log=log_file, on=datetime.now(UTC).date())
    again, gone = found()
    if set(again) - set(manifests):  # fitted before the list was written, and published after the first look
        done = withdraw(persons, table=table, manifests=again, log=log_file, on=datetime.now(UTC).date())
    if json:
        print_json({"schema": SCHEMA, **done.as_dict(), "not_found": [str(model) for model in gone], "audit": str(log_file)})
        return
    for line in _lines(done, gone):
        print(line)


def _lines(done: Withdrawal, gone: list[Path]) -> list[str]:
    """What was done, in words."""
    from trialsim.data import shown_path

    already = done.n_persons - done.n_new
    lines = [
        f"{_people(done.n_new)} withdrawn from {shown_path(done.data)} (list: {shown_path(done.list_file)})"
        + (f"; {_people(already)} had withdrawn before" if already else "")
    ]
    for dependent in done.stale:
        whose = "fitted without identifiers, so it may have read them" if dependent.n is None else f"it has read {_people(dependent.n)} of them"
        lines.append(f"stale: {shown_path(dependent.model)} ({whose})")
    lines += [f"cannot be told: {shown_path(model)} (without identifiers, or of other data with the same identifier)" for model in done.undecided]
    lines += [f"not found: {shown_path(model)} (named by the audit log; give its new place with --models)" for model in gone]
    if not done.stale:
        lines.append(f"no model became stale ({done.n_models} looked at)")
    return lines


def _people(n: int) -> str:
    return f"{n} {'person' if n == 1 else 'persons'}"


def _persons(ids: list[str], file: Path | None) -> list[Person]:
    """The identifiers of the command line and of a file, each with its place."""
    from trialsim.data import shown_path
    from trialsim.data.governance.withdrawal import Person
    from trialsim.errors import DataError, Problem, UsageError

    persons = [Person(given.strip(), file=f"identifier {number} of the command line") for number, given in enumerate(ids, start=1) if given.strip()]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(Problem(f"cannot be read: {error}", file=shown_path(file))) from None
        persons += [Person(line.strip(), file=shown_path(file), line=number) for number, line in enumerate(lines, start=1) if line.strip()]
    if not persons:
        raise UsageError("give an identifier, or a file of them with --ids")
    return persons
