"""Starting the command costs nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
