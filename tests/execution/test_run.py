"""Runs, interruptions and resumptions for real: the rows must be the same floats, whatever happened on the way."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from trialsim.errors import NotSupportedError, UsageError
from trialsim.execution import tasks
from trialsim.execution.manifest import Settings
from trialsim.execution.run import InterruptedRunError, resume_run
from trialsim.execution.status import run_status


@pytest.fixture
def undisturbed(run_small):
    return run_small("undisturbed")


def find(results, measure, scenario, look=None):
    (row,) = [row for row in results["results"] if (row["measure"], row["scenario"], row["look"]) == (measure, scenario, look) and row["arm"] is None]
    return row


def test_a_run_leaves_everything_it_promises(undisturbed):
    path, results = undisturbed
    assert results["schema"] == "trialsim.results/1"
    assert results == json.loads((path / "results.json").read_text())
    assert list(results) == ["schema", "study", "protocol_sha256", "seed", "engine", "replicates_per_second", "wall_seconds", "results"]
    assert results["replicates_per_second"] > 0
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["state"], manifest["study"], manifest["seed"], manifest["device"]) == ("complete", "SMALL", 11, "cpu")
    assert manifest["protocol_sha256"] == results["protocol_sha256"]
    assert [cell["chunks"] for cell in manifest["cells"]] == [[[0, 64], [64, 64], [128, 64], [192, 8]]] * 2
    assert manifest["finished"] is not None
    assert manifest["engine"]["torch"]
    assert len(pd.read_parquet(path / "results.parquet")) == len(results["results"])
    assert not list(path.rglob("*.writing-*"))
    assert run_status(path).state == "complete"


def test_the_rows_agree_with_the_stored_trials(undisturbed):
    path, results = undisturbed
    for index, scenario in enumerate(("h0", "base")):
        frame = pd.read_parquet(path / "cells" / f"{index:03d}")
        trials = frame.groupby("replicate")
        assert trials.ngroups == 200
        assert find(results, "power", scenario)["estimate"] == trials.reject.any().mean()
        assert find(results, "duration", scenario)["estimate"] == pytest.approx(trials.cut_time.last().mean(), rel=1e-13)
        assert find(results, "n_events", scenario)["estimate"] == pytest.approx(trials.events_os.last().mean(), rel=1e-13)
        assert find(results, "estimate_mean", scenario)["estimate"] == pytest.approx(trials.estimate.last().mean(), rel=1e-12)
        assert find(results, "stop_futility", scenario, look=1)["estimate"] == frame[frame.look == 1].futile.sum() / 200
    assert find(results, "power_ignoring_futility", "h0")["null"]
    assert not any(row["measure"] == "power_ignoring_futility" and row["scenario"] == "base" for row in results["results"])
    assert find(results, "true_value", "base")["estimate"] == pytest.approx(math.log(0.55))
    assert find(results, "bias", "h0")["estimate"] == pytest.approx(find(results, "estimate_mean", "h0")["estimate"])


@pytest.mark.parametrize("block_size", [1, 7, 64])
def test_same_bits_at_any_block_size(run_small, undisturbed, block_size):
    assert run_small("again", block_size=block_size)[1]["results"] == undisturbed[1]["results"]


def test_same_bits_from_a_pool(run_small, undisturbed):
    _, results = run_small("pool", workers=2)
    assert results["results"] == undisturbed[1]["results"]
    assert (results["engine"]["executor"], results["engine"]["workers"]) == ("local", 2)


def test_same_bits_from_ray(run_small, undisturbed, ray_cluster):
    path, results = run_small("ray", executor="ray", workers=2)
    assert results["results"] == undisturbed[1]["results"]
    assert (results["engine"]["executor"], results["engine"]["workers"]) == ("ray", 2)
    assert run_status(path).state == "complete"


def test_more_replicates_begin_with_the_same_trials(run_small):
    few, many = (pd.read_parquet(run_small(f"n{n}", replicates=n)[0] / "cells" / "001") for n in (64, 200))
    pd.testing.assert_frame_equal(few, many[many.replicate < 64].reset_index(drop=True))


def interrupting(quiet, after, blow):
    class Interrupting(quiet):
        def stored(self, cell, n, rejected, *, fresh=True):
            super().stored(cell, n, rejected, fresh=fresh)
            if fresh and sum(self.n) >= after:
                blow()

    return Interrupting()


def ctrl_c():
    raise KeyboardInterrupt


@pytest.mark.parametrize("after", [64, 200, 264])
def test_an_interrupted_run_resumes_to_the_same_bits(run_small, undisturbed, quiet, tmp_path, after):
    with pytest.raises(InterruptedRunError, match=r"interrupted: [\d,]+ of 400 replicates are stored; continue with `trialsim resume .*cut`"):
        run_small("cut", progress=interrupting(quiet, after, ctrl_c))
    status = run_status(tmp_path / "cut")
    assert status.state == "incomplete"
    assert sum(cell.stored for cell in status.cells) >= after
    assert json.loads((tmp_path / "cut" / "manifest.json").read_text())["state"] == "incomplete"
    assert not (tmp_path / "cut" / "results.json").exists()
    progress = quiet()
    _, results = resume_run(tmp_path / "cut", settings=Settings(workers=1, block_size=7), progress=progress)
    assert results["results"] == undisturbed[1]["results"]
    assert sum(progress.n) == 400
    assert run_status(tmp_path / "cut").state == "complete"


def test_resuming_what_is_complete_computes_nothing(undisturbed, quiet, monkeypatch):
    path, results = undisturbed
    monkeypatch.setattr(tasks, "simulate", None)
    assert resume_run(path, settings=Settings(workers=1), progress=quiet())[1]["results"] == results["results"]


def test_damaged_and_missing_chunks_are_named_and_computed_again(undisturbed, quiet):
    path, results = undisturbed
    flipped, lost = next(path.glob("cells/000/chunk-64-64-*")), next(path.glob("cells/001/chunk-0-64-*"))
    bytes_ = bytearray(flipped.read_bytes())
    bytes_[1000] ^= 4
    flipped.write_bytes(bytes_)
    lost.unlink()
    assert run_status(path).state == "incomplete"
    progress = quiet()
    assert resume_run(path, settings=Settings(workers=1), progress=progress)[1]["results"] == results["results"]
    (said,) = progress.said
    assert str(flipped) in said
    assert said.endswith("it is computed again")


def test_what_a_trial_raises_fails_the_run_and_nothing_is_tried_again(run_small, tmp_path, monkeypatch):
    calls = []

    def broken(trial, block):
        calls.append(block)
        raise NotSupportedError("this and that")

    monkeypatch.setattr(tasks, "simulate", broken)
    with pytest.raises(NotSupportedError):
        run_small("broken")
    assert len(calls) == 1
    status = run_status(tmp_path / "broken")
    assert (status.state, status.error) == ("failed", "not supported yet: this and that")


def test_resume_refuses_another_protocol_and_another_engine(undisturbed, quiet):
    path, _ = undisturbed
    protocol, manifest = path / "protocol.yaml", path / "manifest.json"
    original = protocol.read_text()
    protocol.write_text(original.replace("seed: 11", "seed: 12"))
    with pytest.raises(UsageError, match="is not the protocol this run was started with"):
        resume_run(path, settings=Settings(), progress=quiet())
    protocol.write_text(original)
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**told, "engine": {**told["engine"], "torch": "1.0"}}))
    with pytest.raises(UsageError, match=r"was made with torch 1\.0 \(here .*start a new run"):
        resume_run(path, settings=Settings(), progress=quiet())


def test_executors_and_workers_are_checked_before_anything_is_written(run_small, tmp_path):
    with pytest.raises(UsageError, match="--executor slurm: must be one of local, ray"):
        run_small("none", executor="slurm")
    with pytest.raises(UsageError, match="--workers 0: must be at least 1"):
        run_small("none", workers=0)
    assert not (tmp_path / "none").exists()
