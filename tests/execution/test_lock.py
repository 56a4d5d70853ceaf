"""Locks in object stores: held by a heartbeat, lost without one. (File locks: see test_store.)"""

from __future__ import annotations

import json
import time
import uuid

import pytest

from trialsim.errors import IncompleteRunError, UsageError
from trialsim.execution import lock
from trialsim.execution.manifest import Settings
from trialsim.execution.run import resume_run
from trialsim.execution.storage import open_storage


@pytest.fixture
def storage():
    return open_storage(f"memory://lock-{uuid.uuid4().hex}")


def until(holds):
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def said(storage):
    return json.loads(storage.read("run.lock"))


def test_one_holder_at_a_time(storage):
    assert not storage.lock().is_held()
    with storage.lock() as held:
        assert storage.lock().is_held()
        with pytest.raises(UsageError, match=r"another trialsim process \(pid \d+ on .+\) is running here"), storage.lock():
            pass
        held.check()
        assert storage.lock().is_held()  # the refused one has not taken it away
    assert not storage.lock().is_held()
    assert storage.names() == []
    with storage.lock():
        pass


def test_a_heartbeat_keeps_it(storage, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT", 0.02)
    with storage.lock():
        first = said(storage)["renewed"]
        assert until(lambda: said(storage)["renewed"] > first)


def test_a_dead_holder_loses_it(storage, monkeypatch):
    storage.write("run.lock", lambda file: file.write(json.dumps({"owner": "x", "holder": "pid 1 on moon", "renewed": time.time() - 10}).encode()))
    with pytest.raises(UsageError, match="pid 1 on moon"), storage.lock():
        pass
    monkeypatch.setattr(lock, "DEAD_AFTER", 5.0)
    assert not storage.lock().is_held()
    with storage.lock():
        assert said(storage)["holder"] != "pid 1 on moon"


def test_a_lock_that_was_taken_away_is_noticed(storage, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT", 0.02)
    with storage.lock() as held:
        storage.write("run.lock", lambda file: file.write(json.dumps({"owner": "x", "holder": "pid 1 on moon", "renewed": time.time()}).encode()))

        def lost():
            try:
                held.check()
            except IncompleteRunError as error:
                return "the lock was lost to pid 1 on moon" in str(error)
            return False

        assert until(lost)
    assert said(storage)["holder"] == "pid 1 on moon"  # not ours to remove


def test_a_run_that_lost_its_lock_stops_and_resumes(run_small, quiet, monkeypatch):
    url = f"memory://lock-{uuid.uuid4().hex}/run"
    storage = open_storage(url)

    class Robbed(quiet):
        def stored(self, cell, n, rejected, *, fresh=True):
            super().stored(cell, n, rejected, fresh=fresh)
            storage.write("run.lock", lambda file: file.write(json.dumps({"owner": "x", "holder": "pid 1 on moon", "renewed": time.time()}).encode()))
            time.sleep(0.2)

    with monkeypatch.context() as patch:
        patch.setattr(lock, "HEARTBEAT", 0.02)
        with pytest.raises(IncompleteRunError, match=r"the lock was lost to pid 1 on moon: [\d,]+ of 400 replicates are stored"):
            run_small(url, progress=Robbed())
    with pytest.raises(UsageError, match="pid 1 on moon"):
        resume_run(url, settings=Settings(), progress=quiet())
    storage.remove("run.lock")
    assert resume_run(url, settings=Settings(), progress=quiet())[1]["results"] == run_small("local")[1]["results"]
