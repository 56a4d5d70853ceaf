"""`trialsim cohort sample`: synthetic patients of a fitted model, as a table."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Annotated

import typer
from trialsim_cli.console import command, print_json

from trialsim.errors import UsageError

SCHEMA = "trialsim.cohort_sample/1"


@command
def sample(
    model: Annotated[Path, typer.Argument(help="A model made by `trialsim cohort fit`.")],
    n: Annotated[int, typer.Option("--n", help="How many patients.")],
    out: Annotated[Path, typer.Option("--out", help="The table to write: CSV, or Parquet where the name ends in .parquet.")],
    seed: Annotated[int, typer.Option("--seed", help="The seed: the same seed gives the same patients.")] = 1,
    complete: Annotated[bool, typer.Option("--complete", help="Leave no cell missing.")] = False,
    audit: Annotated[Path | None, typer.Option("--audit", help="The audit log; default: $TRIALSIM_AUDIT, else cohort-audit.jsonl beside the model.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a file that is no synthetic table.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw synthetic patients; every row names the model it comes from."""
    if n < 1:
        raise UsageError(f"--n {n}: at least 1 patient must be drawn")
    from trialsim.cohort.fitted import FittedCohort
    from trialsim.cohort.fitted.publishing import card_path, require_apart
    from trialsim.cohort.fitted.writing import LABEL, require_free, write_synthetic
    from trialsim.data.governance import audit as log
    from trialsim.data.governance.manifest import manifest_path, require_fresh

    loaded = FittedCohort.load(model)
    require_fresh(model)
    log_file = audit or log.default_path(model)
    require_apart(out, model, manifest_path(model), card_path(model), log_file)
    require_free(out, replace=replace)
    began = time.perf_counter()
    table = loaded.synthesise(n, seed=seed, complete=complete)
    seconds = time.perf_counter() - began
    write_synthetic(table, out, model=loaded)
    with out.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    details = {"model": str(model.absolute()), "model_id": loaded.id, "n": n, "seed": seed, "complete": complete, "out": str(out.absolute()), "sha256": sha256}
    log.append(log_file, "sample", details)
    missing = {name: int((column != column).sum()) for name, column in table.columns.items() if (column != column).any()}
    if json:
        print_json({"schema": SCHEMA, **details, "columns": [*table.names, LABEL], "missing": missing, "seconds": round(seconds, 3), "audit": str(log_file)})
        return
    print(f"{out}: {n:,} synthetic patients of the model {loaded.id}, {len(table.names)} columns and {LABEL}")
    if missing:
        print(f"missing cells as in the data: {', '.join(f'{name} {count}' for name, count in missing.items())}")
