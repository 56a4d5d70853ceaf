"""The chain of hashes: whatever is done to the lines of a log is found, and named with its line."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trialsim.data.governance import audit
from trialsim.data.governance.audit import append, default_path, entries, head_path, verify
from trialsim.errors import DataError

N = 6


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    """Six entries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIALSIM_ACTOR", "ann")
    for n in range(N):
        append(Path("log.jsonl"), "fit", {"model": f"/m/{n}", "n": n, "share": n / 7, "words": "Übung|\u2028\ud800"})
    return Path("log.jsonl")


def _said(log: Path) -> list[str]:
    return [str(problem) for problem in verify(log)]


def _lines(log: Path) -> list[bytes]:
    return log.read_bytes().splitlines(keepends=True)


def _rehashed(line: bytes, **changes: object) -> bytes:
    """The line with other values and a hash that fits them, by another implementation of the hash."""
    entry = json.loads(line) | changes
    del entry["hash"]
    entry["hash"] = hashlib.sha256(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_a_log_holds(log):
    assert verify(log) == []
    found = entries(log)
    assert [entry.sequence for entry in found] == list(range(1, N + 1))
    assert {entry.actor for entry in found} == {"ann"}
    assert [entry.previous for entry in found[1:]] == [entry.hash for entry in found[:-1]]
    assert found[0].previous == "0" * 64
    assert found[3].details == {"model": "/m/3", "n": 3, "share": 3 / 7, "words": "Übung|\u2028\ud800"}
    assert _rehashed(_lines(log)[2]) == _lines(log)[2]  # a second implementation agrees on the hash


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_edit_of_one_byte_is_found(log, data):
    whole = log.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != whole[place]))
    try:
        log.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
        line = whole[:place].count(b"\n") + 1
        assert line in {problem.line for problem in verify(log)}
    finally:
        log.write_bytes(whole)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_byte_removed_or_added_is_found(log, data):
    whole = log.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    added = data.draw(st.one_of(st.just(None), st.integers(0, 255)))
    try:
        log.write_bytes(whole[:place] + (b"" if added is None else bytes([added])) + whole[place + (added is None) :])
        assert verify(log)
    finally:
        log.write_bytes(whole)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(N)).filter(lambda order: order != sorted(order)), st.integers(1, N))
def test_any_other_order_and_any_removal_is_found(log, order, kept):
    whole, lines = log.read_bytes(), _lines(log)
    try:
        log.write_bytes(b"".join(lines[place] for place in order))
        assert verify(log)
        log.write_bytes(b"".join(lines[place] for place in sorted(order[:kept])))
        assert bool(verify(log)) == (kept < N)
    finally:
        log.write_bytes(whole)


def test_every_single_removal_is_named(log):
    lines = _lines(log)
    for gone in range(N):
        log.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
        if gone == N - 1:
            assert _said(log) == ["log.jsonl:5  the log ends with entry 5, its head record says 6: the end was cut"]
        else:
            assert _said(log) == [f"log.jsonl:{gone + 1}  entry {gone + 1} is missing before entry {gone + 2}: lines were removed or put in another order"]


def test_several_lines_removed(log):
    lines = _lines(log)
    log.write_bytes(lines[0] + b"".join(lines[4:]))
    assert _said(log) == ["log.jsonl:2  entries 2 to 4 are missing before entry 5: lines were removed or put in another order"]


def test_two_lines_swapped(log):
    lines = _lines(log)
    log.write_bytes(b"".join([lines[0], lines[2], lines[1], *lines[3:]]))
    assert _said(log) == [
        "log.jsonl:2  entry 2 is missing before entry 3: lines were removed or put in another order",
        "log.jsonl:3  entry 2 comes after entry 3: lines were put in another order, or one is there twice",
    ]


def test_an_edit_with_a_new_hash_breaks_the_next_line(log):
    lines = _lines(log)
    log.write_bytes(b"".join([*lines[:2], _rehashed(lines[2], actor="eve"), *lines[3:]]))
    assert _said(log) == ["log.jsonl:4  entry 4 does not continue the entry before it: one of the two was replaced"]


def test_the_last_line_with_a_new_hash(log):
    lines = _lines(log)
    log.write_bytes(b"".join([*lines[:-1], _rehashed(lines[-1], actor="eve")]))
    assert _said(log) == ["log.jsonl:6  the last entry is not the one of the head record log.jsonl.head"]


def test_an_edited_line_is_named_once(log):
    log.write_bytes(log.read_bytes().replace(b'"n":2', b'"n":3'))
    assert _said(log) == ["log.jsonl:3  the entry was edited: its hash does not fit its content"]


@pytest.mark.parametrize("other", [b"{}\n", b"nonsense\n", b'{"sequence": NaN}\n', b"[" * 100_000 + b"\n", b"\xff\n", b"\n"])
def test_a_line_that_is_no_entry(log, other):
    lines = _lines(log)
    log.write_bytes(b"".join([*lines[:3], other, *lines[4:]]))
    assert _said(log) == ["log.jsonl:4  is not an entry of an audit log: it was edited or cut"]
    with pytest.raises(DataError, match=r"log.jsonl:4  is not an entry of an audit log"):
        entries(log)


def test_the_same_values_written_otherwise_are_an_edit(log):
    lines = _lines(log)
    log.write_bytes(b"".join([*lines[:3], json.dumps(json.loads(lines[3]), sort_keys=True).encode() + b"\n", *lines[4:]]))
    assert _said(log) == ["log.jsonl:4  the entry was edited: its hash does not fit its content"]


@pytest.mark.parametrize("head", [None, "", "{}", '{"count": 6}', '{"count": "6", "hash": ""}', "[1]", '{"count": 6, "hash": "00"}\n'])
def test_a_head_record_that_is_missing_or_broken(log, head):
    if head is None:
        head_path(log).unlink()
    else:
        head_path(log).write_text(head)
    assert [problem.file for problem in verify(log)] == ["log.jsonl.head"]
    with pytest.raises(DataError, match="nothing is added to a broken log"):
        append(log, "fit", {})
    assert len(_lines(log)) == N


def test_nothing_is_added_after_a_cut_end(log):
    lines = _lines(log)
    for rest in (b"".join(lines[:-1]), b"".join(lines)[:-1], b"", b"".join(lines) + lines[0]):
        log.write_bytes(rest)
        with pytest.raises(DataError, match="does not end where its head record says; nothing is added to a broken log"):
            append(log, "fit", {})
        assert log.read_bytes() == rest
    log.unlink()
    with pytest.raises(DataError, match="nothing is added to a broken log"):
        append(log, "fit", {})


def test_an_append_that_was_cut_short_before_the_head_record(log):
    before = head_path(log).read_text()
    append(log, "fit", {"n": 7})
    head_path(log).write_text(before)
    assert "entries were added by other means, or writing was cut short" in _said(log)[0]
    append(log, "fit", {"n": 8})
    assert verify(log) == []
    assert len(entries(log)) == N + 2


def test_long_entries_are_read_from_the_back(log):
    append(log, "withdraw", {"persons": ["f" * 64] * 5000})
    append(log, "fit", {})
    assert verify(log) == []


def test_what_json_cannot_say_is_not_written(log):
    before = log.read_bytes()
    for details in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            append(log, "fit", details)
    assert log.read_bytes() == before
    assert verify(log) == []


_FULL = """
import resource, sys
from pathlib import Path
from trialsim.data.governance.audit import append
from trialsim.errors import DataError
log = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 100,) * 2)
for _ in range(2):
    try:
        append(log, "fit", {"x": "x" * 300})
    except DataError as error:
        print(error)
"""


def test_a_disk_that_is_full_leaves_the_log_as_it_was(log):
    before = log.read_bytes()
    done = subprocess.run([sys.executable, "-c", _FULL, str(log)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [f"{log}  cannot be written: File too large"] * 2
    assert log.read_bytes() == before
    assert verify(log) == []
    assert append(log, "fit", {}).sequence == N + 1


def test_a_head_record_that_cannot_be_written_takes_its_entry_back(log, monkeypatch):
    def full(path: Path, text: str) -> None:
        raise DataError("the disk is full")

    before = log.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(audit, "write_whole", full)
        for _ in range(3):
            with pytest.raises(DataError, match="full"):
                append(log, "fit", {})
    assert log.read_bytes() == before
    assert append(log, "fit", {}).sequence == N + 1
    assert verify(log) == []


_MANY = (
    "import sys; from pathlib import Path; from trialsim.data.governance.audit import append\nfor n in range(15): append(Path(sys.argv[1]), 'fit', {'n': n})"
)


def test_writers_wait_for_each_other(tmp_path):
    path = tmp_path / "log.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", _MANY, str(path)]) for _ in range(4)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0, 0]
    assert verify(path) == []
    assert [entry.sequence for entry in entries(path)] == list(range(1, 61))
    assert sorted(entry.details["n"] for entry in entries(path)) == sorted([*range(15)] * 4)


def test_where_the_log_is(tmp_path, monkeypatch):
    monkeypatch.delenv("TRIALSIM_AUDIT", raising=False)
    assert default_path(tmp_path / "m.safetensors") == tmp_path / "cohort-audit.jsonl"
    assert default_path(tmp_path) == tmp_path / "cohort-audit.jsonl"
    monkeypatch.setenv("TRIALSIM_AUDIT", str(tmp_path / "all.jsonl"))
    assert default_path(tmp_path / "m.safetensors") == tmp_path / "all.jsonl"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        append(tmp_path / "file" / "log.jsonl", "fit", {})


def test_no_log(tmp_path):
    for read in (verify, entries):
        with pytest.raises(DataError, match="there is no such file"):
            read(tmp_path / "none.jsonl")
