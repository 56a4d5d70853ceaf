"""The finished run that a report is about, read from its directory.

manifest.json   what was run, with what
protocol.yaml   the resolved protocol
results.json    the operating characteristics (`trialsim.results/1`)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trialsim.errors import IncompleteRunError, UsageError
from trialsim.report.sentences.scenarios import described_cell
from trialsim.spec import Cell, Study, load

MANIFEST, RESULTS, PROTOCOL = "manifest.json", "results.json", "protocol.yaml"


@dataclass(frozen=True)
class FinishedRun:
    """A complete run: its manifest, results, study, and the folder where the protocol's relative paths start."""

    path: Path
    manifest: dict[str, Any]
    results: dict[str, Any]
    study: Study
    folder: Path
    protocol_text: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The result rows, in the order of the run."""
        return list(self.results["results"])

    @cached_property
    def described(self) -> Cell:
        """The cell whose values the prose gives."""
        return described_cell(self.study, {(cell["design"], cell["scenario"]) for cell in self.manifest["cells"]})


def read_run(path: Path) -> FinishedRun:
    """Raises UsageError where there is no run, IncompleteRunError where it is not finished."""
    if not (path / MANIFEST).is_file():
        raise UsageError(f"{path}: holds no run (there is no {MANIFEST})")
    manifest = _read_json(path / MANIFEST)
    if manifest.get("state") != "complete" or not (path / RESULTS).is_file():
        raise IncompleteRunError(
            f"{path}: the run is not complete (it is {manifest.get('state', 'without a state')}); continue it with `trialsim resume {path}`"
        )
    results = _read_json(path / RESULTS)
    study = load(path / PROTOCOL)
    return FinishedRun(
        path=path,
        manifest=manifest,
        results=results,
        study=study,
        folder=Path(manifest.get("folder") or path),
        protocol_text=(path / PROTOCOL).read_text(encoding="utf-8"),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
