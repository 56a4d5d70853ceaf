"""`trialsim doctor` says what is here. What it says of a cluster that answers is tested with `submit`."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from trialsim_cli.main import app
from typer.testing import CliRunner


@pytest.fixture
def doctor(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIALSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return lambda *words: CliRunner().invoke(app, ["doctor", *words])


def test_what_is_here(doctor, tmp_path):
    result = doctor("--json", "--address", "http://127.0.0.1:1")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["schema"] == "trialsim.doctor/1"
    assert found["python"] == platform.python_version()
    assert found["versions"]["torch"] == version("torch")
    assert found["versions"]["trialsim"] == version("trialsim")
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["memory_bytes"] == pytest.approx(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), rel=0.01)
    assert 0 < found["memory_free_bytes"] <= found["memory_bytes"]
    assert found["torch_threads"] == torch.get_num_threads()
    assert (found["cuda"] is not None) == torch.cuda.is_available()
    assert (found["cache"], found["cache_writable"]) == (str(tmp_path / "cache"), True)
    assert (found["ray_address"], found["ray_reachable"], found["ray"]) == ("http://127.0.0.1:1", False, "no Ray job server answers")


def test_a_cache_that_cannot_be_one(doctor, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("TRIALSIM_CACHE", str(tmp_path / "file" / "cache"))
    assert json.loads(doctor("--json", "--address", "http://127.0.0.1:1").stdout)["cache_writable"] is False


def test_plain_lines(doctor):
    lines = doctor("--address", "http://127.0.0.1:1").stdout.splitlines()
    assert lines[0].startswith(f"python        {platform.python_version()} on ")
    assert lines[-1] == "ray cluster   http://127.0.0.1:1: not reachable: no Ray job server answers"
    assert [line.split()[0] for line in lines].count("torch") == 2  # its version, its threads


@pytest.mark.parametrize(
    ("address", "said"), [("127.0.0.1:1", "nothing answers at 127.0.0.1:1 (Connection refused)"), ("nowhere", "write auto, HOST:6379 or http://HOST:8265")]
)
def test_an_address_that_does_not_answer_costs_no_minutes(tmp_path, address, said):
    """In a process that is connected to no cluster."""
    command = [Path(sys.executable).parent / "trialsim", "doctor", "--address", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"ray cluster   {address}: not reachable: {said}"


def test_a_cluster_this_process_is_connected_to(doctor, ray_cluster):
    import ray

    found = json.loads(doctor("--json").stdout)
    assert (found["ray_reachable"], found["ray"]) == (True, "1 machines, 2 cores, 1 GPUs")
    assert ray.is_initialized()
