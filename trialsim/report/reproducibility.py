"""What it takes to get the same numbers again."""

from __future__ import annotations

import shlex
from typing import Any

from trialsim.report.source import FinishedRun


def reproducibility(run: FinishedRun) -> list[tuple[str, str]]:
    """(name, value), in the order of reading."""
    manifest, results = run.manifest, run.results
    engine: dict[str, Any] = {
        **manifest.get("engine", {}),
        **{key: results["engine"][key] for key in ("executor", "workers", "device") if key in results["engine"]},
    }
    versions = ", ".join(f"{name} {value}" for name, value in engine.items() if name not in ("executor", "workers", "device", "machine"))
    rate = results.get("replicates_per_second")
    facts = [
        ("Protocol (SHA-256)", str(results["protocol_sha256"])),
        ("Seed", str(results["seed"])),
        ("Versions", versions),
        ("Device", f"{engine.get('device', '')}, {engine.get('machine', '')}".rstrip(", ")),
        ("Executor", f"{engine.get('executor', '')}, {engine.get('workers', '')} workers".replace(", 1 workers", ", 1 worker")),
        ("Command", shlex.join(manifest.get("command", []))),
        ("Started", str(manifest.get("started", ""))),
        ("Finished", str(manifest.get("finished", ""))),
        ("Wall time", f"{results['wall_seconds']:,.1f} s" + (f" ({rate:,.0f} replicates/s)" if rate else "")),
    ]
    return [(name, value) for name, value in facts if value]
