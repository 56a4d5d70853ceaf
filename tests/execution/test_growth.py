"""A run that grows keeps its trials, and ends in the bits of a run that was that large from the start."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.errors import IncompleteRunError, UsageError
from trialsim.execution import tasks
from trialsim.execution.manifest import Settings
from trialsim.execution.run import resume_run
from trialsim.execution.status import run_status


def grow(path, quiet, replicates, **settings):
    return resume_run(path, settings=Settings(**{"workers": 1, **settings}), progress=quiet(), replicates=replicates)[1]["results"]


@pytest.fixture
def simulated(monkeypatch):
    """The replicates that are simulated from now on."""
    seen = []
    real = tasks.simulate

    def simulate(trial, block):
        seen.extend((trial.scenario, replicate) for replicate in range(block.first, block.first + block.size))
        return real(trial, block)

    monkeypatch.setattr(tasks, "simulate", simulate)
    return seen


def test_it_ends_in_the_bits_of_an_undisturbed_run(run_small, quiet, simulated):
    path, _ = run_small("small", replicates=200)
    kept = {chunk.name: chunk.read_bytes() for chunk in path.rglob("chunk-*-64-*")}
    assert len(kept) == 6
    del simulated[:]
    grown = grow(path, quiet, 500, block_size=7)
    assert sorted(simulated) == sorted((scenario, replicate) for scenario in ("h0", "base") for replicate in range(200, 500))
    del simulated[:]
    whole, results = run_small("large", replicates=500)
    assert grown == results["results"]
    chunks = {chunk.relative_to(path): chunk.read_bytes() for chunk in path.rglob("chunk-*")}
    assert chunks == {chunk.relative_to(whole): chunk.read_bytes() for chunk in whole.rglob("chunk-*")}  # the short last ones are gone
    assert kept.items() <= {name.name: content for name, content in chunks.items()}.items()
    assert sorted(pd.read_parquet(path / "cells" / "000").replicate.unique()) == list(range(500))
    assert [cell.stored for cell in run_status(path).cells] == [500, 500]
    assert json.loads((path / "manifest.json").read_text())["cells"][0]["replicates"] == 500


def test_growing_may_be_interrupted_and_may_begin_with_damage(run_small, quiet, simulated, monkeypatch):
    path, _ = run_small("small", replicates=200)
    short = next(path.glob("cells/001/chunk-192-8-*"))
    short.write_bytes(short.read_bytes()[:-1])

    class Interrupting(quiet):
        def stored(self, cell, n, rejected, *, fresh=True):
            super().stored(cell, n, rejected, fresh=fresh)
            if fresh:
                raise KeyboardInterrupt

    with pytest.raises(IncompleteRunError, match=r"interrupted: [\d,]+ of 600 replicates are stored"):
        resume_run(path, settings=Settings(workers=1), progress=Interrupting(), replicates=300)
    status = run_status(path)
    assert (status.state, [cell.replicates for cell in status.cells]) == ("incomplete", [300, 300])
    assert [cell.stored for cell in status.cells] == [256, 192]
    del simulated[:]
    grown = grow(path, quiet, None)
    assert sorted(simulated) == [("base", replicate) for replicate in range(192, 300)] + [("h0", replicate) for replicate in range(256, 300)]
    assert grown == run_small("large", replicates=300)[1]["results"]
    assert not list(path.rglob("chunk-192-8-*"))


def test_a_run_cannot_shrink_and_may_stay(run_small, quiet, simulated):
    path, results = run_small("small", replicates=100)
    with pytest.raises(UsageError, match="--replicates 90: h0 has 100 already; a run can only grow"):
        grow(path, quiet, 90)
    assert run_status(path).state == "complete"
    del simulated[:]
    assert grow(path, quiet, 100) == results["results"]
    assert simulated == []


def test_at_the_command_line_with_chunks_of_their_real_size(small_protocol, tmp_path):
    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in (*arguments, "--json", "--workers", 1)])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)["results"]

    only = ("--only", "scenario=base")
    invoke("run", small_protocol, *only, "--replicates", 5000, "--out", tmp_path / "small")
    grown = invoke("resume", tmp_path / "small", "--replicates", 9000)
    assert grown == invoke("run", small_protocol, *only, "--replicates", 9000, "--out", tmp_path / "large")
    assert {(row["measure"], row["n"]) for row in grown if row["measure"] == "power"} == {("power", 9000)}
