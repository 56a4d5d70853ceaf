"""Work shared out over processes: the same bits for any number of them."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any, TypeVar

from trialsim.errors import IncompleteRunError

Out = TypeVar("Out")
Progress = Callable[[int, int], None]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for BLAS, OpenMP and torch; as before afterwards. The last bits of sums must not depend on the machine."""
    import sklearn.linear_model  # noqa: F401  # limits hold for the libraries that are loaded
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threads = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def share_out(work: Callable[[int], Out], n: int, *, workers: int, progress: Progress | None = None) -> list[Out]:
    """`[work(0), …, work(n − 1)]`, in this process (`workers` 1) or in spawned ones, each with one thread.

    `work` must be picklable for more than one worker. An error in a worker is raised here as itself; on it, and on
    Ctrl-C, the processes are ended at once. Raises IncompleteRunError where a process dies.
    """
    done = progress or (lambda finished, total: None)
    done(0, n)
    if workers <= 1 or n <= 1:
        out = []
        with one_thread():
            for index in range(n):
                out.append(work(index))
                done(index + 1, n)
        return out
    before = set(active_children())
    pool = ProcessPoolExecutor(min(workers, n), mp_context=get_context("spawn"), initializer=_start, initargs=(pickle.dumps(work),))
    try:
        flying = [_submit(pool, index) for index in range(n)]
        for finished, future in enumerate(as_completed(flying), start=1):
            future.result()
            done(finished, n)
        return [future.result() for future in flying]
    except BrokenProcessPool:
        raise IncompleteRunError("a worker process died (killed, or out of memory); fewer workers need less memory") from None
    except BaseException:
        for child in set(active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, index: int) -> Future[Any]:
    """Hands work to the pool. A process it may start inherits a blocked SIGINT, so that Ctrl-C is the parent's business alone."""
    if sys.platform == "win32":
        return pool.submit(_perform, index)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_perform, index)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_work: Callable[[int], Any]


def _start(work: bytes) -> None:
    """Runs once in every worker, which does not outlive its parent."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()
    _work = pickle.loads(work)


def _leave_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _perform(index: int) -> Any:
    with one_thread():
        return _work(index)
