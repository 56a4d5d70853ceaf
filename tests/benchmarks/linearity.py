"""Whether time grows with the number of replicates, and memory does not: whole runs of the fixed survival trial, one worker.

    .venv/bin/python tests/benchmarks/linearity.py [ROUNDS] [PROTOCOL]

Runs 10,000, 100,000 and 1,000,000 replicates by turns, each in a process of its own (start-up, storing and evaluation
included), and takes the least of the rounds. A run costs a start and so much a replicate; what each replicate costs between
10,000 and 100,000, and between 100,000 and 1,000,000, is to be the same within 10 per cent. CPU seconds are told beside those
of the clock, since they suffer less from whatever else the machine does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

SIZES = (10_000, 100_000, 1_000_000)
WITHIN = 0.10
TRIALSIM = Path(sys.executable).with_name("trialsim")
PROTOCOL = Path(__file__).parent / "protocols" / "fixed_survival.yaml"


def measured(protocol: Path, replicates: int) -> tuple[float, float, float]:
    """Seconds by the clock, CPU seconds and peak memory (MiB) of one run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [TRIALSIM, "run", protocol, "--replicates", str(replicates), "--workers", "1", "--out", f"{folder}/run"]
        began = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main(rounds: int = 3, protocol: Path = PROTOCOL) -> None:
    least = {n: (float("inf"), float("inf")) for n in SIZES}
    memory = dict.fromkeys(SIZES, 0.0)
    for _ in range(rounds):
        for n in SIZES:
            clock, cpu, peak = measured(protocol, n)
            least[n] = min(least[n][0], clock), min(least[n][1], cpu)
            memory[n] = max(memory[n], peak)
    print(f"{protocol.stem}, the least of {rounds} rounds\n{'replicates':>12} {'seconds':>9} {'CPU':>9} {'MiB':>6}")
    for n in SIZES:
        print(f"{n:12,} {least[n][0]:9.2f} {least[n][1]:9.2f} {memory[n]:6.0f}")
    for which, name in enumerate(("clock", "CPU")):
        first, second = ((least[b][which] - least[a][which]) / (b - a) for a, b in pairwise(SIZES))
        start = least[SIZES[0]][which] - first * SIZES[0]
        verdict = "linear" if abs(second / first - 1) <= WITHIN else "NOT linear"
        print(
            f"{name}: a start of {start:.1f} s, then {1e6 * first:.1f} µs a replicate, beyond 100,000 {1e6 * second:.1f} µs ({second / first - 1:+.1%}): {verdict}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, Path(sys.argv[2]) if len(sys.argv) > 2 else PROTOCOL)
