"""`trialsim cohort`: each command is one file of this folder; none imports torch, Pyro or DuckDB before it runs."""

from __future__ import annotations

import typer
from trialsim_cli.cohort.audit import audit
from trialsim_cli.cohort.check import check
from trialsim_cli.cohort.export import export
from trialsim_cli.cohort.fit import fit
from trialsim_cli.cohort.ingest import ingest
from trialsim_cli.cohort.sample import sample
from trialsim_cli.cohort.withdraw import withdraw

app = typer.Typer(name="cohort", no_args_is_help=True, help="Cohort models: from real-world data to virtual patients that may be used.")

app.command()(audit)
app.command()(ingest)
app.command()(fit)
app.command()(sample)
app.command()(check)
app.command()(export)
app.command()(withdraw)
