"""`replay` as a user meets it: the stored numbers again, bit for bit, and one clear line for what is not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.execution import chunks
from trialsim.execution import replay as replaying
from trialsim.execution.manifest import Settings
from trialsim.execution.progress import Tally
from trialsim.execution.run import start_run
from trialsim.rng import Block
from trialsim.simulate import simulate
from trialsim.spec import load


def call(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_protocol_text) -> Path:
    """Two designs, two scenarios, 90 replicates in chunks of 64."""
    folder = tmp_path_factory.mktemp("replay")
    text = small_protocol_text.replace("parameters: {hr: 0.55}", "parameters: {hr: 0.55, n: 60}").replace("planned_enrollment: 60", "planned_enrollment: $n")
    text = text.replace("simulation:", "designs: {grid: {n: [56, 60]}}\nsimulation:").replace("replicates: 200}", "replicates: 90, keep: {patient_level: 90}}")
    (folder / "small.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK", 64)
        start_run(load(folder / "small.yaml"), only={}, replicates=None, out=folder / "run", settings=Settings(workers=1), progress=Tally())
    return folder / "run"


CELLS = {("n=56", "h0"): 0, ("n=56", "base"): 1, ("n=60", "h0"): 2, ("n=60", "base"): 3}


@pytest.mark.parametrize(("design", "scenario", "replicate"), [("n=56", "base", 0), ("n=60", "base", 75), ("n=60", "h0", 63), ("n=56", "h0", 89)])
def test_the_same_bits_as_the_chunk(finished, design, scenario, replicate):
    result = call("replay", finished, "--design", design, "--scenario", scenario, "--replicate", replicate, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["schema"], told["study"], told["seed"], told["design"], told["scenario"]) == ("trialsim.replay/1", "SMALL", 11, design, scenario)
    assert told["same_as_stored"] is True
    (chunk,) = (finished / "cells" / f"{CELLS[design, scenario]:03d}").glob("chunk-0-64*.parquet" if replicate < 64 else "chunk-64-26*.parquet")
    rows = pd.read_parquet(chunk)
    rows = rows[rows.replicate == replicate]
    assert [look["look"] for look in told["looks"]] == rows["look"].tolist()
    assert told["allocated"] == {arm: rows[f"allocated_{arm}"].iloc[0] for arm in ("experimental", "control")}
    for look, (_, row) in zip(told["looks"], rows.iterrows(), strict=True):
        finding = look["analyses"]["primary"]
        assert (look["look_time"], look["n_enrolled"], look["n_events"]["os"]) == (row.cut_time, row.n_enrolled, row.events_os)
        for column in ("z", "estimate", "std_error", "efficacy_z", "futility_z"):
            assert np.float64(finding[column]).tobytes() == (np.float64(row[column]) + 0.0).tobytes(), column
        assert (finding["n"], finding["n_events"]) == (row.n, row.n_events)


def test_reanalysis_of_the_kept_patients_gives_the_replayed_statistic(finished):
    for replicate in (3, 75):
        told = json.loads(call("replay", finished, "--design", "n=56", "--scenario", "base", "--replicate", replicate, "--json").stdout)
        data = finished / "cells" / "001" / "patients.parquet"
        again = call(
            "analyse", finished / "protocol.yaml", "--data", data, "--where", f"replicate={replicate}", "--map", "time=os_time,event=os_event", "--json"
        )
        assert again.exit_code == 0, again.output
        (row,) = json.loads(again.stdout)["results"]
        finding = told["looks"][-1]["analyses"]["primary"]
        assert row["statistic"] == pytest.approx(finding["z"], rel=1e-12)
        assert np.log(row["estimate"]) == pytest.approx(finding["estimate"], rel=1e-9)
        assert (row["n"], row["n_events"]) == (finding["n"], finding["n_events"])


def test_the_story_in_words(finished):
    result = call("replay", finished, "--design", "n=60", "--scenario", "base", "--replicate", 75)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    told = json.loads(call("replay", finished, "--design", "n=60", "--scenario", "base", "--replicate", 75, "--json").stdout)
    assert lines[0] == "SMALL, design n=60, scenario base, replicate 75"
    assert (
        lines[1] == f"{told['n_enrolled']} patients were randomised: {told['allocated']['experimental']} experimental, {told['allocated']['control']} control"
    )
    for look, (head, finding) in zip(told["looks"], zip(lines[2::2], lines[3::2], strict=False), strict=False):
        assert head == f"{look['name']}, month {look['look_time'] / 30.4375:.1f}: {look['n_enrolled']} patients, {look['n_events']['os']} events (os)"
        primary = look["analyses"]["primary"]
        assert finding.startswith(
            f"  primary: z = {primary['z']:.4f}; hazard ratio {np.exp(primary['estimate']):.3f}; efficacy from {primary['efficacy_z']:.4f}"
        )
    assert lines[-2] == f"stopped in month {told['duration'] / 30.4375:.1f}: {told['why']}"
    assert lines[-1] == "the numbers are those that the run has stored, bit for bit"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--design", "n=60", "--scenario", "bse", "--replicate", 1), '--scenario bse: no scenario "bse" in this run; did you mean "base"?'),
        (("--design", "n=6O", "--scenario", "base", "--replicate", 1), '--design n=6O: no design "n=6O" in this run; did you mean "n=60"?'),
        (("--scenario", "base", "--replicate", 1), "--design: this run has several; name one of: n=56, n=60"),
        (("--design", "n=60", "--replicate", 1), "--scenario: this run has several; name one of: h0, base"),
        (("--design", "n=60", "--scenario", "base", "--replicate", 90), "--replicate 90: n=60,base has the replicates 0 to 89; the nearest is 89"),
        (("--design", "n=60", "--scenario", "base", "--replicate", -1), "--replicate -1: n=60,base has the replicates 0 to 89; the nearest is 0"),
    ],
)
def test_what_is_not_there(finished, arguments, line):
    result = call("replay", finished, *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line + "\n")


def test_no_run_and_another_protocol(tmp_path, finished):
    result = call("replay", tmp_path / "nowhere", "--replicate", 0)
    assert (result.exit_code, result.stderr) == (2, f"{tmp_path / 'nowhere'}: holds no run (there is no manifest.json)\n")
    for name in ("manifest.json", "protocol.yaml"):
        (tmp_path / name).write_text((finished / name).read_text().replace("seed: 11", "seed: 12"))
    changed = call("replay", tmp_path, "--design", "n=60", "--scenario", "base", "--replicate", 0)
    assert changed.exit_code == 2
    assert "is not the protocol this run was started with" in changed.stderr


def test_a_trial_that_is_not_stored_or_not_the_same(tmp_path, finished, monkeypatch):
    for name in ("manifest.json", "protocol.yaml"):
        (tmp_path / name).write_text((finished / name).read_text())
    arguments = ("--design", "n=56", "--scenario", "h0", "--replicate", 2)
    assert json.loads(call("replay", tmp_path, *arguments, "--json").stdout)["same_as_stored"] is None
    # As if the engine had changed: the patients of another replicate.
    monkeypatch.setattr(replaying, "simulate", lambda trial, block: replace(simulate(trial, Block(block.first + 1, 1)), block=block))
    result = call("replay", finished, *arguments)
    assert result.exit_code == 1
    assert result.stderr == f"{finished}: this is not what the run has stored of replicate 2\n"
    assert "bit for bit" not in result.stdout
    assert json.loads(call("replay", finished, *arguments, "--json").stdout)["same_as_stored"] is False
