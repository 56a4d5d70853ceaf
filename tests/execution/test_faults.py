"""Faults for real: processes killed, disks full, bits flipped. Afterwards `status` tells the truth and `resume` ends in the same bits."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trialsim.errors import IncompleteRunError, UsageError
from trialsim.execution.executors import local
from trialsim.execution.manifest import Settings
from trialsim.execution.run import resume_run
from trialsim.execution.status import run_status


@pytest.fixture(scope="module")
def expected(tmp_path_factory, small_protocol_text):
    """The rows of the small trial, undisturbed."""
    from trialsim.execution import chunks
    from trialsim.execution.progress import Tally
    from trialsim.execution.run import start_run
    from trialsim.spec import load

    folder = tmp_path_factory.mktemp("expected")
    (folder / "small.yaml").write_text(small_protocol_text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK", 64)
        study = load(folder / "small.yaml")
        return start_run(study, only={}, replicates=None, out=folder / "run", settings=Settings(workers=1), progress=Tally())[1]["results"]


def resumed(path, quiet, **more):
    return resume_run(path, settings=Settings(workers=1), progress=quiet(), **more)[1]["results"]


class Killer:
    """Kills one worker process with every chunk that is stored, `times` in all."""

    def __init__(self, times):
        self.left = times

    def __call__(self):
        children = multiprocessing.active_children()
        if self.left and children:
            self.left -= 1
            os.kill(children[0].pid, signal.SIGKILL)
            children[0].join()


def progress_with(quiet, blow):
    class Blowing(quiet):
        def stored(self, cell, n, rejected, *, fresh=True):
            super().stored(cell, n, rejected, fresh=fresh)
            if fresh:
                blow()

    return Blowing()


def test_a_killed_worker_is_replaced_and_the_bits_are_the_same(run_small, expected, quiet):
    progress = progress_with(quiet, Killer(1))
    path, results = run_small("killed", workers=2, progress=progress)
    assert results["results"] == expected
    assert progress.n == [200, 200]  # no chunk is reported twice
    assert run_status(path).state == "complete"


def test_workers_that_keep_dying_leave_a_resumable_run(run_small, expected, quiet, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "RETRIES", 0)
    with pytest.raises(IncompleteRunError, match=r"worker processes died 1 times \(.*\); what was finished is stored: .* continue with"):
        run_small("dying", workers=2, progress=progress_with(quiet, Killer(1)))
    status = run_status(tmp_path / "dying")
    assert status.state == "incomplete"
    assert 64 <= sum(cell.stored for cell in status.cells) <= 400
    assert resumed(tmp_path / "dying", quiet) == expected


DRIVER = """\
import os, signal, sys
from pathlib import Path
from trialsim.execution import chunks
from trialsim.execution.manifest import Settings
from trialsim.execution.progress import Tally
from trialsim.execution.run import start_run
from trialsim.spec import load

chunks.CHUNK = 64
{blow}
start_run(load(sys.argv[1]), only={{}}, replicates=None, out=sys.argv[2], settings=Settings(workers=1), progress=Tally())
"""
KILL_MID_WRITE = """
sync, calls = os.fsync, iter(range(1000))
def fsync(descriptor):  # the bytes are written, their name is not theirs yet
    sync(descriptor)
    if next(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
"""


def drive(protocol: Path, out: Path, blow: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", DRIVER.format(blow=blow), str(protocol), str(out)], capture_output=True, text=True, timeout=120)


def test_a_driver_killed_in_the_middle_of_a_write(small_protocol, small_chunks, expected, quiet, tmp_path):
    path = tmp_path / "run"
    assert drive(small_protocol, path, KILL_MID_WRITE).returncode == -signal.SIGKILL
    (half,) = path.rglob(".chunk-*.writing-*")
    status = run_status(path)
    assert status.state == "incomplete"
    assert [cell.stored for cell in status.cells] == [192, 0]  # the fourth chunk was being written
    assert resumed(path, quiet) == expected
    assert not half.exists()
    assert run_status(path).state == "complete"


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 KiB; `grow()` makes it larger. Root can have one (and must, so that this is tested); others skip."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)], check=True)
    yield path, lambda: subprocess.run(["mount", "-o", "remount,size=16m", str(path)], check=True)
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk(small_protocol, small_chunks, expected, quiet, small_disk, run_small):
    disk, grow = small_disk
    filler = disk / "filler"
    filler.write_bytes(bytes(200 * 1024))
    with pytest.raises(IncompleteRunError, match=r"No space left on device: [\d,]+ of 400 replicates are stored; continue with `trialsim resume"):
        run_small(disk / "run")
    status = run_status(disk / "run")
    assert status.state == "incomplete"
    assert 0 < sum(cell.stored for cell in status.cells) < 400
    assert status.damaged == ()
    with pytest.raises(IncompleteRunError, match="No space left on device"):  # and it is still full
        resumed(disk / "run", quiet)
    assert run_status(disk / "run").state == "incomplete"
    grow()
    assert resumed(disk / "run", quiet) == expected
    assert run_status(disk / "run").state == "complete"


PLACES = [("000", "64-64"), ("000", "128-64"), ("000", "192-8"), ("001", "0-64"), ("001", "64-64")]


def test_truncated_flipped_and_missing_chunks_are_named_and_computed_again(run_small, expected, quiet):
    path, _ = run_small("run")
    flipped, footer, truncated, empty, lost = (next(path.glob(f"cells/{cell}/chunk-{part}-*")) for cell, part in PLACES)
    for damaged, change in (
        (flipped, lambda data: data[:1000] + bytes([data[1000] ^ 4]) + data[1001:]),
        (footer, lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]),
        (truncated, lambda data: data[:-1]),
        (empty, lambda data: b""),
    ):
        damaged.write_bytes(change(damaged.read_bytes()))
    lost.unlink()
    status = run_status(path)
    assert status.state == "incomplete"
    assert status.verified
    assert sum(cell.stored for cell in status.cells) == 400 - 64 * 4 - 8
    assert [line.partition(": ")[0] for line in status.damaged] == [str(name) for name in (flipped, footer, truncated, empty)]
    progress = quiet()
    assert resume_run(path, settings=Settings(workers=1), progress=progress)[1]["results"] == expected
    assert len(progress.said) == 4
    for line, name in zip(progress.said, (flipped, footer, truncated, empty), strict=True):
        assert line.startswith(f"{name}: cannot be used: ")
        assert line.endswith("it is computed again")
    assert run_status(path).damaged == ()
    assert run_status(path).state == "complete"


def test_two_runs_into_one_directory(small_protocol, expected, quiet, tmp_path, run_small):
    second = []

    def meanwhile():
        if not second:
            for attempt in (lambda: run_small("run"), lambda: resumed(tmp_path / "run", quiet)):
                with pytest.raises(UsageError) as refused:
                    attempt()
                second.append(str(refused.value))
            assert run_status(tmp_path / "run").state == "running"

    _, results = run_small("run", progress=progress_with(quiet, meanwhile))
    assert "already holds a run" in second[0]
    assert second[1].endswith(f"another trialsim process (pid {os.getpid()}) is running here")
    assert results["results"] == expected
