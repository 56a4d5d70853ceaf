"""A whole run by the path that CUDA takes: it says what it was made on, and its results are the CPU's to 1e-9."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from trialsim.execution import chunks
from trialsim.execution.compare import compare_designs
from trialsim.execution.manifest import Settings
from trialsim.execution.plan import plan_run
from trialsim.execution.progress import Tally
from trialsim.execution.replay import replay_trial
from trialsim.execution.run import resume_run, start_run
from trialsim.spec import load

KEEP = "simulation: {seed: 11, replicates: 80, keep: {patient_level: 3, example_trials: 2}}"


@pytest.fixture
def runs(small_protocol, tmp_path, monkeypatch, cuda):
    """The small trial run on the CPU and on the pretended device, in chunks of 64."""
    monkeypatch.setattr(chunks, "CHUNK", 64)
    text = small_protocol.read_text()
    small_protocol.write_text(text[: text.index("simulation:")] + KEEP)
    found = {}
    for device in ("cpu", "cuda"):
        settings = Settings(workers=1 if device == "cpu" else None, device=device)
        path, results = start_run(load(small_protocol), only={}, replicates=None, out=tmp_path / device, settings=settings, progress=Tally())
        found[device] = Path(path), results
    return found


def test_a_run_on_cuda(runs, small_protocol):
    (here, expected), (there, found) = runs["cpu"], runs["cuda"]
    manifests = [json.loads((path / "manifest.json").read_text()) for path in (here, there)]
    assert [manifest["device"] for manifest in manifests] == ["cpu", "cuda"]
    assert (found["engine"]["device"], found["engine"]["workers"]) == ("cuda", 1)
    assert all(a["key"] != b["key"] for a, b in zip(manifests[0]["cells"], manifests[1]["cells"], strict=True))
    assert len(found["results"]) == len(expected["results"])
    for a, b in zip(expected["results"], found["results"], strict=True):
        assert {**a, "estimate": 0, "mcse": 0} == {**b, "estimate": 0, "mcse": 0}
        assert b["estimate"] == pytest.approx(a["estimate"], rel=1e-9, abs=1e-9)
        assert b["mcse"] == pytest.approx(a["mcse"], rel=1e-7, abs=1e-9)

    one, two = (pq.read_table(path / "cells" / "000" / "patients.parquet").to_pandas() for path in (here, there))
    pd.testing.assert_frame_equal(one, two, rtol=1e-9, atol=1e-9)
    stories = [json.loads((path / "cells" / "000" / "examples.json").read_text())["trials"] for path in (here, there)]
    assert [trial["why"] for trial in stories[0]] == [trial["why"] for trial in stories[1]]

    # It goes on where it was made, whatever the session says, and is made again there.
    _, grown = resume_run(there, settings=Settings(workers=1), progress=Tally(), replicates=100)
    assert grown["engine"]["device"] == "cuda"
    assert {row["n"] for row in grown["results"] if row["measure"] == "power"} == {100}
    alone = replay_trial(there, design=None, scenario="base", replicate=75)
    on_cpu = replay_trial(there, design=None, scenario="base", replicate=75, device="cpu")
    assert alone.story["why"] == on_cpu.story["why"]
    assert alone.story["duration"] == pytest.approx(on_cpu.story["duration"], rel=1e-9)
    compared = compare_designs(here, there)
    assert "device cpu and cuda" in compared.notes[0]
    assert all(abs(row.difference) < 1e-9 for row in compared.rows if row.measure == "power")
    assert plan_run(load(small_protocol), only={"scenario": "base"}, device="auto").device == "cuda"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_an_actor_per_share_of_a_gpu(small_protocol, tmp_path, monkeypatch):
    """Two actors share a GPU: the results of one process on it."""
    monkeypatch.setattr(chunks, "CHUNK", 64)
    found = {}
    for name, settings in {
        "alone": Settings(workers=1, device="cuda"),
        "actors": Settings(executor="ray", workers=2, device="cuda", gpu_share=0.5),
    }.items():
        _, found[name] = start_run(load(small_protocol), only={}, replicates=None, out=tmp_path / name, settings=settings, progress=Tally())
    assert (found["actors"]["engine"]["device"], found["actors"]["engine"]["workers"]) == ("cuda", 2)
    assert found["actors"]["results"] == found["alone"]["results"]
