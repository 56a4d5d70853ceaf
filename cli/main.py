"""The command `trialsim`. Each command is one file of this folder; none imports torch, Ray or Pyro before it runs."""

from __future__ import annotations

import typer
from trialsim_cli.analyse import analyse
from trialsim_cli.cohort import app as cohort
from trialsim_cli.compare import compare
from trialsim_cli.design import design
from trialsim_cli.doctor import doctor
from trialsim_cli.explain import explain
from trialsim_cli.plan import plan
from trialsim_cli.replay import replay
from trialsim_cli.report import report
from trialsim_cli.resolve import resolve
from trialsim_cli.resume import resume
from trialsim_cli.run import run
from trialsim_cli.schema import schema
from trialsim_cli.status import status
from trialsim_cli.submit import submit
from trialsim_cli.validate import validate

app = typer.Typer(
    name="trialsim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="In-silico clinical trials: a protocol in YAML becomes evidence.",
)


@app.callback()
def root() -> None:
    """In-silico clinical trials: a protocol in YAML becomes evidence."""


# In the order a user meets them.
app.command()(validate)
app.command()(explain)
app.command()(resolve)
app.command()(schema)
app.command()(design)
app.command()(plan)
app.command()(run)
app.command()(resume)
app.command()(status)
app.command()(replay)
app.command()(report)
app.command()(compare)
app.command()(analyse)
app.command()(submit)
app.add_typer(cohort)
app.command()(doctor)


def main() -> None:
    """Entry point of the console script."""
    app()
