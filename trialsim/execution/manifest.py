"""What `manifest.json` says: enough to know what was run, with what, how it stands, and to carry on."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

from trialsim.block import Block
from trialsim.errors import UsageError

SCHEMA = "trialsim.manifest/1"
State = Literal["running", "complete", "incomplete", "failed"]


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell of the run: its labels, its hash, how many replicates it is to have, and the key its chunks are stored under."""

    design: str
    scenario: str
    role: str
    sha256: str
    replicates: int
    key: str

    def __str__(self) -> str:
        return self.scenario if self.design == "default" else f"{self.design},{self.scenario}"


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run. None of it changes a number, but `device` from the tenth digit on. `gpu_share`: of a GPU, for each worker."""

    executor: str = "local"
    address: str | None = None
    workers: int | None = None
    device: str = "cpu"
    gpu_share: float | None = None
    block_size: int | None = None
    command: tuple[str, ...] = ()


def engine_versions(device: str = "cpu") -> dict[str, str]:
    """What the bits of the results depend on, besides the protocol. `instructions`: which vector instructions torch uses here.

    On CUDA neither they nor how torch was built (`2.13.0+cpu`) count: who starts a run on a cluster may have no CUDA, and computes
    nothing.
    """
    import torch

    on_cpu = device == "cpu"
    return {
        "trialsim": version("trialsim"),
        "torch": version("torch") if on_cpu else version("torch").partition("+")[0],
        "numpy": version("numpy"),
        "scipy": version("scipy"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability() if on_cpu else device.upper(),
    }


def now() -> str:
    """UTC, to the second."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def new_manifest(
    *, study: str, sha256: str, seed: int, protocol: dict[str, Any], folder: str, cells: Sequence[PlannedCell], settings: Settings
) -> dict[str, Any]:
    """The manifest of a run that is about to start. `folder` is where the protocol's relative paths start."""
    return {
        "schema": SCHEMA,
        "study": study,
        "protocol_sha256": sha256,
        "seed": seed,
        "state": "running",
        "started": now(),
        "finished": None,
        "engine": engine_versions(settings.device),
        "device": settings.device,
        "command": list(settings.command),
        "folder": folder,
        "timing": {"replicates": 0, "seconds": 0.0, "wall_seconds": 0.0},
        "cells": [
            {
                "design": cell.design,
                "scenario": cell.scenario,
                "role": cell.role,
                "sha256": cell.sha256,
                "replicates": cell.replicates,
                "key": cell.key,
                "chunks": [],
            }
            for cell in cells
        ],
        "protocol": protocol,
    }


def planned_cells(manifest: dict[str, Any]) -> list[PlannedCell]:
    """The cells a manifest lists, in order."""
    names = ("design", "scenario", "role", "sha256", "replicates", "key")
    return [PlannedCell(**{name: cell[name] for name in names}) for cell in manifest["cells"]]


def grown(manifest: dict[str, Any], replicates: int) -> dict[str, Any]:
    """The manifest of a run that is to have so many replicates of every cell. UsageError where a cell has more already."""
    for cell in manifest["cells"]:
        if cell["replicates"] > replicates:
            raise UsageError(f"--replicates {replicates}: {cell['scenario']} has {cell['replicates']:,} already; a run can only grow")
    return {**manifest, "cells": [{**cell, "replicates": replicates} for cell in manifest["cells"]]}


def settled(manifest: dict[str, Any], cells: Sequence[PlannedCell]) -> dict[str, Any]:
    """The manifest with the replicates that cells need to be precise enough; what they might have had is kept as `ceiling`."""
    return {
        **manifest,
        "cells": [
            entry
            if cell.replicates == entry["replicates"]
            else {**entry, "replicates": cell.replicates, "ceiling": max(entry["replicates"], entry.get("ceiling", 0))}
            for entry, cell in zip(manifest["cells"], cells, strict=True)
        ],
    }


def with_chunks(manifest: dict[str, Any], done: Sequence[Sequence[Block]], **changes: Any) -> dict[str, Any]:
    """The manifest with the chunks that are stored now, and other entries replaced."""
    cells = [
        {**cell, "chunks": [[block.first, block.size] for block in sorted(blocks, key=lambda block: block.first)]}
        for cell, blocks in zip(manifest["cells"], done, strict=True)
    ]
    return {**manifest, "cells": cells, **changes}


__all__ = ["SCHEMA", "PlannedCell", "Settings", "State", "engine_versions", "grown", "new_manifest", "now", "planned_cells", "settled", "with_chunks"]
