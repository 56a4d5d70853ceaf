"""`trialsim cohort check`: is a cohort model good, safe and fair enough to be released?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from trialsim_cli.console import command, print_json

from trialsim.errors import UsageError


@command
def check(
    model: Annotated[Path, typer.Argument(help="A model made by `trialsim cohort fit`.")],
    data: Annotated[Path, typer.Option("--data", help="The data it was fitted to (CSV or Parquet). With other data the report says so.")],
    card: Annotated[
        Path | None, typer.Option("--card", help="The data's card (YAML); default: NAME.card.yaml beside NAME.csv, else what the model knows.")
    ] = None,
    thresholds: Annotated[Path | None, typer.Option("--thresholds", help="Declared thresholds (YAML); those not named have their defaults.")] = None,
    target: Annotated[
        Path | None, typer.Option("--target", help="A target population: margins (YAML or CSV: mean, sd, proportions, goals), or patients (CSV, Parquet).")
    ] = None,
    refits: Annotated[int, typer.Option("--refits", help="Refits of the membership gate; 0 leaves disclosure unchecked (then nothing passes).")] = 20,
    n: Annotated[int | None, typer.Option("--n", help="The largest table that is to be released; default: half as many as there are real patients.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes for the refits; default: as many as there are processors.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="The seed: the same seed gives the same report.")] = 1,
    on: Annotated[str | None, typer.Option("--on", help="The day for which consent must hold (ISO 8601); default: today.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the report as one HTML page.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, trialsim.cohort_check/1.")] = False,
) -> None:
    """Check a cohort model: fidelity, disclosure, fairness, effects, against declared thresholds. Exit 0 whatever the verdict."""
    from trialsim_cli.cohort.checked import model_and_data, run_check

    if out is not None:  # before the long part
        from trialsim.cohort.fitted.publishing import card_path, require_apart, require_folder
        from trialsim.data.governance.manifest import manifest_path

        if out.is_dir():
            raise UsageError(f"{out} is a folder")
        beside = data.with_name(f"{data.stem}.card.yaml")
        require_apart(out, model, manifest_path(model), card_path(model), data, card or beside, thresholds, target)
        require_folder(out)
    report = run_check(model_and_data(model, data, card, on=on), thresholds=thresholds, target=target, refits=refits, workers=workers, seed=seed, n_release=n)
    if out is not None:
        from trialsim.report.cohort_page import write_cohort_page

        write_cohort_page(report, out)
    if json:
        print_json(report.as_json())
        return
    print(f"{report.model['id']}: {report.verdict}")
    for reason in report.reasons:
        print(reason)
    for criterion in report.criteria:
        print(f"{'met   ' if criterion.met else 'MISSED'}  {criterion.section}: {criterion.name}: {criterion.sentence}")
    if report.too_few:
        print(f"too few to say: {', '.join(f'{group.name} ({group.n_real})' for group in report.too_few)}")
    if out is not None:
        print(f"report: {out}")
