"""Starting the command costs nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trialsim.block import Block
from trialsim.execution.manifest import PlannedCell, Settings, new_manifest
from trialsim.execution.store import MANIFEST, create_directory

HEAVY = ("torch", "ray", "pyro", "numpy", "pandas", "scipy")
HELP = """
import sys
from typer.testing import CliRunner
from trialsim_cli.main import app
result = CliRunner().invoke(app, sys.argv[1:])
assert result.exit_code == 0, result.output
print(*(name for name in {heavy!r} if name in sys.modules))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["analyse", "--help"], ["design", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    found = subprocess.run([sys.executable, "-c", HELP.format(heavy=HEAVY), *arguments], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_status_needs_no_torch(tmp_path, synthetic_record) -> None:
    """How a run stands is asked again and again while it works; counting and checksums need no torch."""
    directory = create_directory(tmp_path / "run", study="S", sha256="0" * 64)
    cell = PlannedCell("default", "base", "alternative", "0" * 64, 5000, "abc")
    directory.write_json(MANIFEST, new_manifest(study="S", sha256="0" * 64, seed=1, protocol={}, folder=".", cells=[cell], settings=Settings()))
    directory.write_chunk(0, "abc", synthetic_record(Block(0, 4096)))
    snippet = HELP.format(heavy=("torch", "ray", "pyro", "pandas", "scipy")).replace("print(", "print(result.output)\nprint(")
    found = subprocess.run([sys.executable, "-c", snippet, "status", str(tmp_path / "run")], capture_output=True, text=True, check=True)
    *said, heavy = found.stdout.splitlines()
    assert "  base: 4,096 of 5,000 replicates" in said
    assert heavy == ""
