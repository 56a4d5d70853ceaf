"""Ray: a local cluster that lives as long as the run, the one at an address, or the one this process is connected to.

The compiled cells are put into the object store once and fetched once per worker process. A bounded number of tasks is in
flight. A lost worker's task is tried again by Ray; what a protocol raises is not.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from typing import Any

from trialsim.errors import IncompleteRunError, TrialsimError, UsageError
from trialsim.execution.executors import RETRIES, n_cores
from trialsim.execution.tasks import ChunkDone, Done, Task, TaskQueue, Workshop, perform

ANSWER_WITHIN = 10.0
"""Seconds a cluster may take to answer at its address."""
LOOK_EVERY = 1.0
"""Seconds between looks at whether the cluster lives."""


class RayExecutor:
    """`workers` tasks of one core each at a time; None: as many as the cluster, or this machine, has cores.

    `address`: of a cluster that is there; None: `RAY_ADDRESS`, or a local cluster of its own.
    """

    name = "ray"

    def __init__(self, workers: int | None, address: str | None = None):
        self._asked, self._address = workers, address or os.environ.get("RAY_ADDRESS")
        self.workers = workers or n_cores()
        self.startup_seconds = 0.0

    def run(self, workshop: Workshop, queue: TaskQueue) -> Iterator[Done]:
        """See Executor. What Ray has to say about lost workers, which it would print among the data, goes to stderr."""
        with redirect_stdout(sys.stderr):
            yield from self._run(workshop, queue)

    def _run(self, workshop: Workshop, queue: TaskQueue) -> Iterator[Done]:
        start = time.perf_counter()
        ray = _import_ray()
        owns = not ray.is_initialized()
        if owns and self._address:
            _connect(ray, self._address)
        elif owns:
            _start_cluster(ray, self.workers)
        if self._asked is None:
            self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        flying: list[Any] = []
        try:
            constants = ray.put(workshop)
            remote = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False)(_perform)
            ray.get([ray.remote(num_cpus=1, max_retries=RETRIES)(_warm).remote([constants]) for _ in range(self.workers)])
            self.startup_seconds += time.perf_counter() - start
            while True:
                while len(flying) < self.workers and (task := queue.next(self.workers)):
                    flying.append(remote.remote([constants], task))
                if not flying:
                    return
                finished, flying = ray.wait(flying, num_returns=1, timeout=LOOK_EVERY)
                if not finished:
                    _require_node(ray)
                for done in ray.get(finished[0]) if finished else ():
                    _require_in_sight(workshop, done)
                    queue.observe(done)
                    yield done
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, TrialsimError | OSError):
                raise cause from None
            raise
        except ray.exceptions.RayError as error:
            raise IncompleteRunError(f"Ray lost a worker: {str(error).splitlines()[0]}; what was finished is stored") from None
        finally:
            if not _dead(ray):
                for reference in flying:
                    ray.cancel(reference, force=True)
            if owns:
                with _quiet():
                    ray.shutdown()


def _dead(ray: Any) -> list[str]:
    """The processes of the cluster started here that have died."""
    node = ray._private.worker._global_node
    return [] if node is None else [str(kind) for kind, _ in node.dead_processes()]


def _require_node(ray: Any) -> None:
    """IncompleteRunError where the cluster started here has lost a process it cannot do without: Ray would wait, and then end this process."""
    dead = _dead(ray)
    if dead:
        raise IncompleteRunError(f"Ray's own process died ({', '.join(dead)}); what was finished is stored")


def _require_in_sight(workshop: Workshop, done: Done) -> None:
    """UsageError when a worker on another machine has stored a chunk in a folder of that machine."""
    if isinstance(done, ChunkDone) and not workshop.directory.has_chunk(done.cell, workshop.cells[done.cell].key, done.chunk):
        raise UsageError(
            f"{workshop.directory.path}: what a Ray worker has stored there is not to be seen from here: "
            "give --out a folder that all machines share, or an object store (s3://…)"
        )


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    with _quiet():
        import ray
    return ray


def _start_cluster(ray: Any, workers: int) -> None:
    with _own_signals(), _quiet():
        ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


def _connect(ray: Any, address: str) -> None:
    try:
        host, colon, port = address.rpartition("://")[2].rpartition(":")
        if colon:  # Ray itself would try for minutes, and write about it
            socket.create_connection((host, int(port)), timeout=ANSWER_WITHIN).close()
        with _own_signals(), _quiet():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise IncompleteRunError(f"--address {address}: no Ray cluster answers ({said})") from None


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray installs a handler of SIGTERM that would end the process at once: ours stays."""
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_terminate)


def _quiet() -> Any:
    """Ray's own deprecation and resource warnings are not the user's business."""
    return warnings.catch_warnings(action="ignore")


@lru_cache(maxsize=1)
def _fetch(constants: Any) -> Workshop:
    """Once per worker process (an object reference is hashable)."""
    import ray

    found: Workshop = ray.get(constants)
    return found


def _warm(wrapped: list[Any]) -> None:
    _fetch(wrapped[0])


def _perform(wrapped: list[Any], task: Task) -> list[Done]:
    return list(perform(_fetch(wrapped[0]), task))
