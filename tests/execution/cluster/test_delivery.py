"""Files come back through a log as they were, or with a word that they did not."""

from __future__ import annotations

import os

import pytest

from trialsim.errors import TrialsimError
from trialsim.execution.cluster.delivery import BEGIN, packed, unpacked


def test_files_through_a_log():
    files = {"results.json": b'{"results": []}', "report.html": os.urandom(300_000)}
    log = f"INFO something of Ray\nprogress\n{BEGIN}\na table\n{packed(files)}more of Ray\n"
    assert unpacked(log) == files
    assert max(map(len, log.splitlines())) <= 4000


def test_names_that_nobody_asked_for_are_not_taken():
    assert unpacked(packed({"../../.bashrc": b"x", "/etc/passwd": b"y", "results.json": b"{}"})) == {"results.json": b"{}"}


def test_nothing_and_damage():
    assert unpacked("a log of a job that failed\n") == {}
    block = packed({"results.json": b'{"power": 0.9}'})
    lines = block.splitlines()
    changed = ("A" if lines[1][20] != "A" else "B").join((lines[1][:20], lines[1][21:]))
    with pytest.raises(TrialsimError, match="damaged"):
        unpacked("\n".join([lines[0], changed, *lines[2:]]))
    assert unpacked(block[: len(block) // 2]) == {}  # a log that ends early carries nothing


def test_the_last_delivery_counts():
    assert unpacked(packed({"results.json": b"1"}) + packed({"results.json": b"2"})) == {"results.json": b"2"}
