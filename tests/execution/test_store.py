from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from trialsim.errors import UsageError
from trialsim.execution.store import DamagedChunkError, RunDirectory, create_directory, default_directory, open_directory
from trialsim.rng import Block


@pytest.fixture
def directory(tmp_path):
    return create_directory(tmp_path / "run", study="S", sha256="0" * 64)


def test_a_chunk_comes_back(directory, synthetic_record):
    record = synthetic_record(Block(4096, 64))
    directory.write_chunk(3, "abc", record)
    assert directory.stored_chunks(3, "abc") == [Block(4096, 64)]
    assert directory.read_chunk(3, "abc", Block(4096, 64)).analyses["primary"].z.nan_to_num().equal(record.analyses["primary"].z.nan_to_num())
    assert directory.stored_chunks(4, "abc") == []
    assert len(pd.read_parquet(directory.path / "cells" / "003")) == int(record.reached.sum())


def test_a_chunk_that_cannot_be_written_leaves_nothing(directory, synthetic_record, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        directory.write_chunk(0, "abc", synthetic_record(Block(0, 8)))
    assert list((directory.path / "cells" / "000").iterdir()) == []


def test_truncated_and_bit_flipped_chunks_are_named(directory, synthetic_record):
    chunk = Block(0, 64)
    directory.write_chunk(0, "abc", synthetic_record(chunk))
    path = directory.path / directory.chunk_name(0, "abc", chunk)
    sound = path.read_bytes()
    for damaged in (sound[: len(sound) // 2], b"", sound[:2000] + bytes([sound[2000] ^ 1]) + sound[2001:]):
        path.write_bytes(damaged)
        with pytest.raises(DamagedChunkError, match=str(path)):
            directory.read_chunk(0, "abc", chunk)


def test_a_chunk_of_another_cell_or_another_range_is_refused(directory, synthetic_record):
    directory.write_chunk(0, "abc", synthetic_record(Block(0, 8)))
    assert directory.stored_chunks(0, "xyz") == []
    first, second, other = (directory.path / directory.chunk_name(0, *what) for what in (("abc", Block(0, 8)), ("abc", Block(8, 8)), ("xyz", Block(0, 8))))
    shutil.copy(first, other)
    with pytest.raises(DamagedChunkError, match="of another run"):
        directory.read_chunk(0, "xyz", Block(0, 8))
    first.rename(second)
    with pytest.raises(DamagedChunkError, match="of another run"):
        directory.read_chunk(0, "abc", Block(8, 8))


def test_half_written_files_are_no_chunks_and_are_cleared(directory, synthetic_record):
    directory.write_chunk(0, "abc", synthetic_record(Block(0, 8)))
    leftover = directory.path / "cells" / "000" / ".chunk-8-8.parquet.writing-123"
    leftover.write_bytes(b"half")
    assert directory.stored_chunks(0, "abc") == [Block(0, 8)]
    directory.storage.remove_leftovers()
    assert not leftover.exists()
    assert (directory.path / directory.chunk_name(0, "abc", Block(0, 8))).exists()


def test_directories_with_content_are_refused(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.doc").write_text("x")
    with pytest.raises(UsageError, match="is not empty"):
        create_directory(foreign, study="S", sha256="0" * 64)
    (foreign / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="already holds a run; continue it with `trialsim resume"):
        create_directory(foreign, study="S", sha256="0" * 64)
    with pytest.raises(UsageError, match="holds no run"):
        open_directory(tmp_path)
    with pytest.raises(UsageError, match=r"Not a directory|File exists"):
        create_directory(foreign / "thesis.doc", study="S", sha256="0" * 64)
    assert (foreign / "thesis.doc").read_text() == "x"


def test_a_directory_that_cannot_be_made_is_named_with_the_reason(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match=f"^--out {tmp_path}/file/run: the run directory cannot be created: Not a directory$"):
        create_directory(tmp_path / "file" / "run", study="S", sha256="0" * 64)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("x")
    with pytest.raises(UsageError, match=r"^runs/S-00000000-.*Z: the run directory cannot be created: File exists$"):
        create_directory(None, study="S", sha256="0" * 64)


def test_default_directories_never_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = [create_directory(None, study="ONC 301/B", sha256="deadbeef" * 8).path for _ in range(3)]
    assert len(set(made)) == 3
    assert made[0].parent == Path("runs")
    assert made[0].name.startswith("ONC-301-B-deadbeef-")
    assert default_directory("///", "0" * 64).name.startswith("study-00000000-")


def _hold(path, locked, release):
    with RunDirectory(Path(path)).locked():
        locked.set()
        release.wait(30)


def test_a_lock_keeps_others_out_and_dies_with_its_process(directory):
    context = multiprocessing.get_context("spawn")
    locked, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(str(directory.path), locked, release))
    holder.start()
    assert locked.wait(30)
    assert directory.is_running()
    with pytest.raises(UsageError, match=f"another trialsim process \\(pid {holder.pid}\\) is running here"), directory.locked():
        pass
    holder.kill()
    holder.join()
    assert not directory.is_running()
    with directory.locked():
        assert directory.is_running()


def test_results_are_written_as_json_and_as_a_table(directory):
    row = {
        "design": "default",
        "scenario": "base",
        "role": "alternative",
        "analysis": None,
        "endpoint": None,
        "arm": None,
        "look": None,
        "measure": "duration",
        "scale": "days",
        "null": False,
        "estimate": 1.5,
        "mcse": 0.1,
        "n": 10,
    }
    directory.write_results({"schema": "trialsim.results/1", "results": [row, {**row, "look": 1, "analysis": "primary"}]})
    assert json.loads((directory.path / "results.json").read_text())["results"][0] == row
    frame = pd.read_parquet(directory.path / "results.parquet")
    assert frame.estimate.tolist() == [1.5, 1.5]
    assert frame.analysis.tolist() == [None, "primary"]
