"""A run's memory does not grow with its replicates: 24 cells of 100,000 replicates of a ten-patient trial."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1024
PROTOCOL = """\
spec: trialsim/1
study: {id: TEN}
parameters: {hr: 0.5, median: 6 months}
arms: {new: {type: experimental}, old: {type: placebo_comparator}}
population: {planned_enrollment: 10}
endpoints: {os: {type: time_to_event, outcome: death}}
truth: {outcomes: {death: {dist: exponential, median: $median}}, effects: {new: {death: {hr: $hr}}}}
accrual: {uniform: 6 months}
randomization: {method: permuted_block, block_size: 2}
analyses: {primary: {endpoint: os, treatment: {test: new, reference: old}, method: logrank, sides: 1}}
interims: {timing: {information: events, final: 8}}
scenarios:
"""
RUN = """\
import sys
from trialsim_cli.main import main
try:
    main()
finally:  # of this process alone: what ran before it in the same process number does not count
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(peak.split()[1], file=sys.stderr)
"""


def peak_kib(folder: Path, *, cells: int, replicates: int) -> int:
    """The largest memory of a run in one process."""
    path = folder / f"{cells}x{replicates}"
    path.mkdir()
    scenarios = "".join(f"  s{i}: {{set: {{hr: {0.4 + 0.02 * i:.2f}, median: {5 + i} months}}}}\n" for i in range(cells))
    (path / "ten.yaml").write_text(PROTOCOL + scenarios)
    arguments = ["run", "ten.yaml", "--seed", "1", "--replicates", str(replicates), "--out", "run", "--workers", "1", "--json"]
    run = subprocess.run([sys.executable, "-c", RUN, *arguments], cwd=path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=1800)
    assert run.returncode == 0, run.stderr
    return int(run.stderr.split()[-1])


def test_memory_does_not_grow_with_replicates(tmp_path):
    small, large = (peak_kib(tmp_path, cells=2, replicates=n) for n in (8_192, 65_536))
    assert large - small < 24 * MIB, f"{small} KiB, then {large} KiB for eight times as many"


@pytest.mark.slow
def test_twenty_four_cells_of_a_hundred_thousand(tmp_path):
    small, large = peak_kib(tmp_path, cells=24, replicates=4_096), peak_kib(tmp_path, cells=24, replicates=100_000)
    print(f"{small / MIB:.0f} MiB for 4,096 replicates of 24 cells, {large / MIB:.0f} MiB for 100,000")
    assert large - small < 48 * MIB
    assert large < 1024 * MIB
