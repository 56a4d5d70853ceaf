"""Ray: a local cluster that lives as long as the run, the one at an address, or the one this process is connected to.

The compiled cells are put into the object store once and fetched once per worker process. A bounded number of tasks is in
flight. A lost worker's task is tried again by Ray; what a protocol raises is not.

On the CPU a task goes to any free core. On CUDA a worker is an actor that holds its share of a GPU, the compiled cells and
their constants on the device until the run ends; a lost one is started again by Ray, and so is what it was doing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from typing import Any

import torch

from trialsim.errors import IncompleteRunError, TrialsimError, UsageError
from trialsim.execution.cluster.knock import knock
from trialsim.execution.executors import RETRIES, cluster_address, n_cores
from trialsim.execution.tasks import ChunkDone, Done, Task, TaskQueue, Workshop, perform

LOOK_EVERY = 1.0
"""Seconds between looks at whether the cluster lives."""


class RayExecutor:
    """`workers` tasks of one core each at a time; None: as many as the cluster, or this machine, has cores.

    `address`: of a cluster that is there; None: `RAY_ADDRESS`, or a local cluster of its own. `gpu_share`: in place of tasks,
    `workers` actors that take this share of a GPU each (0: none); None `workers`: as many as the GPUs hold at the start.
    """

    name = "ray"

    def __init__(self, workers: int | None, address: str | None = None, *, gpu_share: float | None = None):
        self._asked, self._address, self._gpu_share = workers, cluster_address(address), gpu_share
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
            self.workers = _fitting(ray.cluster_resources(), self._gpu_share)
        crew: _Tasks | _Actors | None = None
        try:
            constants = ray.put(workshop)
            crew = _Tasks(ray, constants, self.workers) if self._gpu_share is None else _Actors(ray, constants, self.workers, self._gpu_share)
            crew.assemble()
            self.startup_seconds += time.perf_counter() - start
            while True:
                while crew.has_room() and (task := queue.next(self.workers)):
                    crew.start(task)
                if crew.is_idle():
                    return
                for done in crew.wait():
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
            if crew is not None and not _dead(ray):
                crew.dismiss()
            if owns:
                with _quiet():
                    ray.shutdown()


class _Tasks:
    """A task of one core for every task of the queue, at most `workers` at a time."""

    def __init__(self, ray: Any, constants: Any, workers: int):
        self._ray, self._constants, self._workers = ray, constants, workers
        self._remote = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False)(_perform)
        self._flying: list[Any] = []

    def assemble(self) -> None:
        """Until the worker processes have what they need."""
        warm = self._ray.remote(num_cpus=1, max_retries=RETRIES)(_warm)
        self._ray.get([warm.remote([self._constants]) for _ in range(self._workers)])

    def has_room(self) -> bool:
        """Whether one more task may be started."""
        return len(self._flying) < self._workers

    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._flying

    def start(self, task: Task) -> None:
        self._flying.append(self._remote.remote([self._constants], task))

    def wait(self) -> list[Done]:
        """What the next finished task has done; nothing if none finishes soon. Raises what the task raised, and when Ray is dead."""
        finished, self._flying = self._ray.wait(self._flying, num_returns=1, timeout=LOOK_EVERY)
        if not finished:
            _require_node(self._ray)
        return self._ray.get(finished[0]) if finished else []

    def dismiss(self) -> None:
        """Ends what is under way."""
        for reference in self._flying:
            self._ray.cancel(reference, force=True)


class _Actors:
    """Persistent workers, each with its share of a GPU and one task at a time."""

    def __init__(self, ray: Any, constants: Any, workers: int, gpu_share: float):
        self._ray, self._constants, self._gpu_share = ray, constants, gpu_share
        kind = ray.remote(num_cpus=1, num_gpus=gpu_share, max_restarts=RETRIES, max_task_retries=RETRIES)(_Worker)
        self._all = [kind.remote(gpu_share) for _ in range(workers)]
        self._coming = {actor.warm.remote([constants]): actor for actor in self._all}
        self._free: list[Any] = []
        self._busy: dict[Any, Any] = {}

    def assemble(self) -> None:
        """Until the first one has its place; the others join when they have theirs."""
        if self._gpu_share > 0 and not self._ray.cluster_resources().get("GPU", 0):
            print("the Ray cluster has no GPU yet: waiting for one")  # an autoscaler may bring it
        while not self._free:
            self.wait()

    def has_room(self) -> bool:
        """Whether one more task may be started."""
        return bool(self._free)

    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._busy

    def start(self, task: Task) -> None:
        actor = self._free.pop()
        self._busy[actor.perform.remote([self._constants], task)] = actor

    def wait(self) -> list[Done]:
        """As `_Tasks.wait`; an actor that has found its place is free from then on."""
        finished, _ = self._ray.wait([*self._busy, *self._coming], num_returns=1, timeout=LOOK_EVERY)
        if not finished:
            _require_node(self._ray)
            return []
        done: list[Done] = self._ray.get(finished[0]) or []
        self._free.append((self._busy if finished[0] in self._busy else self._coming).pop(finished[0]))
        return done

    def dismiss(self) -> None:
        """Ends the actors, and what is under way with them."""
        for actor in self._all:
            self._ray.kill(actor)


class _Worker:
    """An actor. Its process keeps the workshop, and on the device what its trials have put there."""

    def __init__(self, gpu_share: float):
        if 0 < gpu_share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(gpu_share)

    def warm(self, wrapped: list[Any]) -> None:
        """Answers once the actor has its place, and what it needs."""
        _warm(wrapped)

    def perform(self, wrapped: list[Any], task: Task) -> list[Done]:
        return _perform(wrapped, task)


def _fitting(resources: dict[str, float], gpu_share: float | None) -> int:
    """How many workers find a place."""
    cores = resources.get("CPU", 1.0)
    return max(1, int(min(cores, resources.get("GPU", 0.0) / gpu_share + 1e-6) if gpu_share else cores))


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
        knock(address)
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
