"""Who does the work: this process, a pool of processes, or Ray. The results are the same bits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from trialsim.errors import UsageError
from trialsim.execution.tasks import Done, TaskQueue, Workshop

EXECUTORS = ("local", "ray")
RETRIES = 3
"""How often what a lost worker was doing is handed out again. What a protocol raises is never tried again."""


class Executor(Protocol):
    """Works through a queue. `workers` and `startup_seconds` (not work) are final when `run` has ended."""

    name: str
    workers: int
    startup_seconds: float

    def run(self, workshop: Workshop, queue: TaskQueue) -> Iterator[Done]:
        """Yields every chunk as it is stored and every cell as it is evaluated, and tells the queue. Closing the iterator stops the workers.

        What a worker raises is raised here and nothing is tried again. A worker that is lost (killed, its machine gone) is
        replaced and its task handed out again, `RETRIES` times; then IncompleteRunError. At most one task more than there are
        workers is under way.
        """


def n_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cluster_address(address: str | None) -> str | None:
    """The address of the Ray cluster to work on: the one given, or RAY_ADDRESS; None: a cluster of one's own."""
    return address or os.environ.get("RAY_ADDRESS")


def make_executor(name: str, workers: int | None, address: str | None = None, *, device: str = "cpu", gpu_share: float | None = None) -> Executor:
    """The executor of this name. `workers` None: `local` starts a pool when the work is long enough, `ray` uses all cores.

    `address`: of a Ray cluster that is there. On CUDA `local` starts no pool unasked, and `ray` has one persistent worker per
    `gpu_share` of a GPU (None: a whole one) in place of one task per core.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: must be at least 1")
    if address is not None and name != "ray":
        raise UsageError(f"--address {address}: is of a Ray cluster; add --executor ray")
    if gpu_share is not None:
        if not 0 < gpu_share <= 1:
            raise UsageError(f"--gpu-share {gpu_share:g}: must be above 0 and at most 1")
        if (name, device) != ("ray", "cuda"):
            raise UsageError(f"--gpu-share {gpu_share:g}: is for --executor ray with --device cuda")
    if name == "local":
        from trialsim.execution.executors.local import LocalExecutor

        return LocalExecutor(1 if device == "cuda" and workers is None else workers)
    if name == "ray":
        from trialsim.execution.executors.ray import RayExecutor

        return RayExecutor(workers, address, gpu_share=(gpu_share or 1.0) if device == "cuda" else None)
    raise UsageError(f"--executor {name}: must be one of {', '.join(EXECUTORS)}")
