"""Ray under fire: workers, a worker's whole machine, and the head's raylet, killed for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.execution import run
from trialsim.execution.executors.ray import RayExecutor
from trialsim.execution.manifest import Settings
from trialsim.execution.run import resume_run
from trialsim.execution.status import run_status

DRIVER = """\
import os, signal, sys, time
from pathlib import Path
from trialsim.errors import IncompleteRunError
from trialsim.execution import chunks
from trialsim.execution.manifest import Settings
from trialsim.execution.progress import Tally
from trialsim.execution.run import start_run
from trialsim.spec import load

chunks.CHUNK = 64

def children(pid):
    for folder in Path(f"/proc/{pid}/task").iterdir():
        for child in folder.joinpath("children").read_text().split():
            yield int(child)
            yield from children(int(child))

def kill(words):
    for pid in children(os.getpid()):
        name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\\0")[0]
        if name.startswith(words) or name.endswith(words):
            os.kill(pid, signal.SIGKILL)
            return True
    return False

class Killing(Tally):
    killed = ()
    def stored(self, cell, n, rejected, *, fresh=True):
        super().stored(cell, n, rejected, fresh=fresh)
        if not self.killed:
            deadline = time.monotonic() + 20
            while not kill(b"ray::_perform") and time.monotonic() < deadline:
                time.sleep(0.001)
            self.killed = ("worker",)
        elif sum(self.n) >= 384 and "raylet" not in self.killed:
            self.killed += ("raylet",) if kill(b"/raylet") else ()

progress = Killing()
settings = Settings(executor="ray", workers=2, block_size=2)
try:
    start_run(load(sys.argv[1]), only={}, replicates=500, out=sys.argv[2], settings=settings, progress=progress)
except IncompleteRunError as error:
    print("after the death of", *progress.killed, "with", sum(progress.n), "of 1000:", error)
"""


def test_a_killed_worker_is_replaced_and_a_killed_raylet_leaves_a_resumable_run(small_protocol, small_chunks, run_small, quiet, tmp_path):
    run = subprocess.run([sys.executable, "-c", DRIVER, str(small_protocol), str(tmp_path / "run")], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("after the death of worker raylet with "), run.stdout  # the run went on after the worker's death
    assert "Ray's own process died (raylet); what was finished is stored:" in run.stdout
    assert "of 1,000 replicates are stored; continue with `trialsim resume" in run.stdout
    status = run_status(tmp_path / "run")
    assert (status.state, status.damaged) == ("incomplete", ())
    assert 384 <= sum(cell.stored for cell in status.cells) < 1000
    resumed = resume_run(tmp_path / "run", settings=Settings(workers=1), progress=quiet())[1]["results"]
    assert resumed == run_small("undisturbed", replicates=500)[1]["results"]


@pytest.fixture
def second_machine(ray_cluster):
    """The address of the session's cluster, which has a second node of two CPUs for a while; the process of its raylet."""
    import ray

    address = ray.get_runtime_context().gcs_address
    command = [str(Path(sys.executable).with_name("ray")), "start", f"--address={address}", "--num-cpus=2", "--block", "--disable-usage-stats"]
    node = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def alive():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sum(node["Alive"] for node in ray.nodes())

    def until(n):
        deadline = time.monotonic() + 120
        while alive() != n and time.monotonic() < deadline:
            time.sleep(0.1)
        assert alive() == n

    until(2)
    (raylet,) = (
        int(pid) for pid in Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split() if b"/raylet\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    yield address, raylet
    node.terminate()
    node.wait(60)
    until(1)


def test_the_death_of_a_machine_is_survived(second_machine, run_small, quiet):
    _, raylet = second_machine

    class Killing(quiet):
        def stored(self, cell, n, rejected, *, fresh=True):
            if not any(self.n):
                os.kill(raylet, signal.SIGKILL)
            super().stored(cell, n, rejected, fresh=fresh)

    progress = Killing()
    path, results = run_small("ray", executor="ray", workers=4, block_size=2, replicates=500, progress=progress)
    assert progress.n == [500, 500]
    assert results["results"] == run_small("undisturbed", replicates=500)[1]["results"]
    assert run_status(path).state == "complete"


def processes_below(pid):
    for folder in Path(f"/proc/{pid}/task").iterdir():
        for child in folder.joinpath("children").read_text().split():
            yield int(child)
            yield from processes_below(int(child))


def test_a_killed_actor_is_replaced_and_so_is_what_it_was_doing(ray_cluster, run_small, quiet, monkeypatch):
    """The workers of a run on CUDA, here with shares of a GPU that is not there."""
    monkeypatch.setattr(run, "make_executor", lambda *_, **__: RayExecutor(2, gpu_share=0.5))

    class Killing(quiet):
        calls = killed = 0

        def stored(self, cell, n, rejected, *, fresh=True):
            super().stored(cell, n, rejected, fresh=fresh)
            self.calls += 1
            if self.calls in (1, 4):
                actors = [pid for pid in processes_below(os.getpid()) if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::_Worker")]
                os.kill(actors[-1], signal.SIGKILL)
                self.killed += 1

    progress = Killing()
    path, results = run_small("actors", executor="ray", workers=2, block_size=2, replicates=250, progress=progress)
    assert progress.killed == 2
    assert progress.n == [250, 250]
    assert results["engine"]["workers"] == 2
    assert results["results"] == run_small("undisturbed", replicates=250)[1]["results"]
    assert run_status(path).state == "complete"


def test_a_cluster_at_an_address(ray_cluster, small_protocol, tmp_path):
    import ray

    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-c", "from trialsim_cli.main import main; main()", "run", str(small_protocol), "--json", "--executor", "ray"]
    run = subprocess.run([*command, "--address", address], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["engine"]["executor"], found["engine"]["workers"]) == ("ray", 2)  # the cluster's cores
    local = CliRunner().invoke(app, ["run", str(small_protocol), "--json", "--out", str(tmp_path / "local")])
    assert found["results"] == json.loads(local.stdout)["results"]
