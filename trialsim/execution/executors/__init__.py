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


def make_executor(name: str, workers: int | None, address: str | None = None) -> Executor:
    """The executor of this name. `workers` None: `local` starts a pool when the work is long enough, `ray` uses all cores.

    `address`: of a Ray cluster that is there.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: must be at least 1")
    if address is not None and name != "ray":
        raise UsageError(f"--address {address}: is of a Ray cluster; add --executor ray")
    if name == "local":
        from trialsim.execution.executors.local import LocalExecutor

        return LocalExecutor(workers)
    if name == "ray":
        from trialsim.execution.executors.ray import RayExecutor

        return RayExecutor(workers, address)
    raise UsageError(f"--executor {name}: must be one of {', '.join(EXECUTORS)}")
