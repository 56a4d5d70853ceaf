"""No name is used that does not exist. Ruff's own check is off in the project: it takes the words of a shape for names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _undefined(*folders: Path | str) -> list[str]:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--target-version", "py311", "--select", "F821", "--output-format", "json"]
    found = json.loads(subprocess.run([*command, *map(str, folders)], cwd=ROOT, capture_output=True, text=True).stdout)
    lines: dict[str, list[str]] = {}
    out = []
    for item in found:
        row, column = item["location"]["row"], item["location"]["column"]
        text = lines.setdefault(item["filename"], Path(item["filename"]).read_text(encoding="utf-8").splitlines())[row - 1]
        if text[: column - 1].count('"') % 2 == 0:  # outside a string, that is not the shape of a tensor
            out.append(f"{item['filename']}:{row} {item['message']}")
    return out


def test_every_name_is_defined():
    assert _undefined("trialsim", "cli") == []


def test_an_undefined_name_is_found(tmp_path: Path):
    (tmp_path / "wrong.py").write_text('def f(x: Float[Tensor, "replicate patient"]):\n    return y\n')
    assert [line.split(" ", 1)[1] for line in _undefined(tmp_path)] == [
        "Undefined name `Float`",
        "Undefined name `Tensor`",
        "Undefined name `y`",
    ]
