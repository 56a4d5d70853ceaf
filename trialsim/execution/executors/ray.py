"""Ray: a local cluster that lives as long as the run, or the one this process is already connected to.

The compiled cells are put into the object store once and fetched once per worker process. A bounded number of tasks is in
flight. A lost worker's task is tried again by Ray; what a protocol raises is not.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from trialsim.errors import IncompleteRunError, TrialsimError
from trialsim.execution.tasks import Done, Task, TaskQueue, Workshop, perform

RETRIES_OF_LOST_WORKERS = 3


class RayExecutor:
    """`workers` tasks of one core each at a time."""

    name = "ray"

    def __init__(self, workers: int):
        self.workers = workers
        self.startup_seconds = 0.0

    def run(self, workshop: Workshop, queue: TaskQueue) -> Iterator[Done]:
        """See Executor."""
        start = time.perf_counter()
        ray = _import_ray()
        owns = not ray.is_initialized()
        if owns:
            _start_cluster(ray, self.workers)
        flying: list[Any] = []
        try:
            constants = ray.put(workshop)
            remote = ray.remote(num_cpus=1, max_retries=RETRIES_OF_LOST_WORKERS, retry_exceptions=False)(_perform)
            ray.get([ray.remote(num_cpus=1)(_warm).remote([constants]) for _ in range(self.workers)])
            self.startup_seconds += time.perf_counter() - start
            while True:
                while len(flying) < self.workers and (task := queue.next(self.workers)):
                    flying.append(remote.remote([constants], task))
                if not flying:
                    return
                finished, flying = ray.wait(flying, num_returns=1)
                for done in ray.get(finished[0]):
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
            for reference in flying:
                ray.cancel(reference, force=True)
            if owns:
                with _quiet():
                    ray.shutdown()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    with _quiet():
        import ray
    return ray


def _start_cluster(ray: Any, workers: int) -> None:
    on_terminate = signal.getsignal(signal.SIGTERM)
    with _quiet():
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_terminate)  # Ray installs its own handler, which would end the process at once


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
