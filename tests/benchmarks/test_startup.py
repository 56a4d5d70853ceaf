"""How long `trialsim --help` and a validation take, from outside. Nothing is asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRIALSIM = str(Path(sys.executable).with_name("trialsim"))
PROTOCOL = str(Path(__file__).parent / "protocols" / "fixed_survival.yaml")


@pytest.mark.parametrize("arguments", [["--help"], ["validate", PROTOCOL]], ids=["help", "validate"])
def test_startup(benchmark: Any, arguments: list[str]) -> None:
    benchmark.pedantic(lambda: subprocess.run([TRIALSIM, *arguments], check=True, capture_output=True), rounds=5, warmup_rounds=1)
