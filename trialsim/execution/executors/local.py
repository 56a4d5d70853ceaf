"""This process alone, or a pool of processes on this machine.

A pool costs seconds to start (every worker imports torch), so that without a stated number of workers the first chunks are
done here, and a pool of one worker per core takes over only when what is left would take this process long. When a worker is
killed, its pool is replaced and what was under way is handed out again.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from typing import Any

import torch

from trialsim.errors import IncompleteRunError
from trialsim.execution.chunks import Stopped
from trialsim.execution.executors import RETRIES, n_cores
from trialsim.execution.tasks import Done, Task, TaskQueue, Workshop, perform

WORTH_A_POOL = 20.0
"""Seconds of work left for which a pool is started unasked."""


class LocalExecutor:
    """`workers` 1: in this process. More: a pool. None: this process, then a pool if it is worth it."""

    name = "local"

    def __init__(self, workers: int | None):
        self._asked = workers
        self.workers = workers or 1
        self.startup_seconds = 0.0

    def run(self, workshop: Workshop, queue: TaskQueue) -> Iterator[Done]:
        """See Executor."""
        if self._asked is None or self._asked == 1:
            yield from self._here(workshop, queue)
        if queue:
            self.workers = self._asked or n_cores()
            yield from self._pool(workshop, queue)

    def _here(self, workshop: Workshop, queue: TaskQueue) -> Iterator[Done]:
        threads = torch.get_num_threads()
        try:
            while task := queue.next(workers=1):
                for done in perform(workshop, task):
                    queue.observe(done)
                    yield done
                if self._asked is None and n_cores() > 1 and queue.seconds_left() > WORTH_A_POOL:
                    return
        finally:
            torch.set_num_threads(threads)

    def _pool(self, workshop: Workshop, queue: TaskQueue) -> Iterator[Done]:
        # Pickled here, once: multiprocessing's own pickling of tensors would share their memory between the processes.
        constants, again = pickle.dumps(workshop), deque[Task]()
        for _ in range(RETRIES + 1):
            try:
                yield from self._one_pool(constants, queue, again)
                return
            except BrokenProcessPool:
                continue
        raise IncompleteRunError(f"worker processes died {RETRIES + 1} times (killed, or out of memory); what was finished is stored")

    def _one_pool(self, constants: bytes, queue: TaskQueue, again: deque[Task]) -> Iterator[Done]:
        """A pool until the work is done or a worker dies. `again`: tasks that were lost, first in line."""
        start = time.perf_counter()
        context = get_context("spawn")
        stop, ready = context.Event(), context.Semaphore(0)
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start_worker, initargs=(constants, stop, ready))
        try:
            _await_start(pool, ready, self.workers)
            self.startup_seconds += time.perf_counter() - start
            yield from _work_through(queue, self.workers, lambda task: _submit(pool, _perform, task), again)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _work_through(queue: TaskQueue, workers: int, submit: Callable[[Task], Future[list[Done]]], again: deque[Task]) -> Iterator[Done]:
    """Keeps one task more than there are workers in flight. When the pool breaks, `again` holds the tasks that were."""
    flying: dict[Future[list[Done]], Task] = {}
    try:
        while True:
            while len(flying) <= workers and (task := again.popleft() if again else queue.next(workers)):
                again.appendleft(task)  # a pool that is already broken refuses it: it must not be lost
                future = submit(task)
                flying[future] = again.popleft()
            if not flying:
                return
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                found = future.result()
                del flying[future]
                for done in found:
                    queue.observe(done)
                    yield done
    except BrokenProcessPool:
        again.extend(flying.values())
        raise


def _submit(pool: ProcessPoolExecutor, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Hands work to the pool, which may start a process: it inherits a blocked SIGINT, so that Ctrl-C finds no half-imported worker."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(work, *arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _await_start(pool: ProcessPoolExecutor, ready: Any, workers: int) -> None:
    """Waits until every worker has imported what it needs."""
    pings = [_submit(pool, os.getpid) for _ in range(workers)]  # a process is started for every task that finds none idle
    started = 0
    while started < workers and not all(ping.done() for ping in pings):
        started += ready.acquire(timeout=0.1)
    for ping in pings:
        ping.result()  # raises when the pool is broken


_workshop: Workshop
_stop: Any


def _start_worker(workshop: bytes, stop: Any, ready: Any) -> None:
    """Runs once in every worker process. Ctrl-C is the parent's business; a worker does not outlive its parent."""
    global _workshop, _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _workshop, _stop = pickle.loads(workshop), stop
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()
    ready.release()


def _leave_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _perform(task: Task) -> list[Done]:
    try:
        return list(perform(_workshop, task, stop=_stop.is_set))
    except Stopped:
        return []
