"""A run from beginning to end, and the rest of one that was interrupted.

    cells × chunks ──► executor ──► stored chunks ──► evaluation ──► results.json

Everything that can be refused is refused before a directory exists. Whatever ends a run early leaves the chunks that are
done and a manifest that says so; `resume_run` computes only what is missing and ends in the same results, bit for bit.
"""

from __future__ import annotations

import contextlib
import shlex
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trialsim.errors import IncompleteRunError, TrialsimError, UsageError
from trialsim.evaluation.results import ResultRow
from trialsim.execution.chunks import chunks_of
from trialsim.execution.device import resolve_device
from trialsim.execution.executors import Executor, cluster_address, make_executor
from trialsim.execution.keys import cell_key
from trialsim.execution.lock import Lock
from trialsim.execution.manifest import PlannedCell, Settings, engine_versions, grown, new_manifest, now, planned_cells, settled, with_chunks
from trialsim.execution.progress import Progress
from trialsim.execution.storage import open_storage
from trialsim.execution.store import MANIFEST, DamagedChunkError, RunDirectory, create_directory, open_directory
from trialsim.execution.tasks import CellDone, TaskQueue, Workshop, n_rejected, precision_of
from trialsim.execution.until_precise import CellPrecision, PreciseQueue, require_results
from trialsim.records import Block
from trialsim.simulate import Trial, compile_trial
from trialsim.spec import Cell, Study, load
from trialsim.spec.resolution import to_yaml

RESULTS_SCHEMA = "trialsim.results/1"
MANIFEST_EVERY = 10.0
PROTOCOL = "protocol.yaml"


class InterruptedRunError(IncompleteRunError):
    """Stopped by the user; resumable."""

    exit_code = 130


def start_run(
    study: Study, *, only: Mapping[str, str], replicates: int | None, out: Path | str | None, settings: Settings, progress: Progress
) -> tuple[Path | str, dict[str, Any]]:
    """Run a study in a new directory (a path or an fsspec URL); returns it and the results object (`trialsim.results/1`)."""
    began = time.perf_counter()
    settings = _on_device(settings, settings.device)
    if out is not None:
        open_storage(out)  # what lacks a package is refused before a cohort is fitted
    executor = _executor(settings)
    study.require_runnable()
    cells = study.cells(only)
    if not cells:
        raise UsageError("--only: no cell is left to run")
    trials = [compile_trial(cell, study.directory, device=settings.device) for cell in cells]
    require_results(trials)
    keys = _keys(cells, trials, settings.device)
    planned = [
        PlannedCell(cell.design, cell.scenario, cell.role, cell.sha256, replicates or cell.replicates, key) for cell, key in zip(cells, keys, strict=True)
    ]
    directory = create_directory(out, study=study.id, sha256=study.sha256)
    executor = _within_reach(directory, executor, settings)
    with directory.locked() as lock:
        manifest = new_manifest(
            study=study.id,
            sha256=study.sha256,
            seed=trials[0].seed,
            protocol=study.resolved(),
            folder=str(study.directory.resolve()),
            cells=planned,
            settings=settings,
        )
        try:
            directory.write_text(PROTOCOL, to_yaml(study.resolved()))
            directory.write_json(MANIFEST, manifest)
        except OSError as error:
            raise UsageError(f"{directory.path}: cannot be written: {error.strerror or error}") from None
        return directory.path, _Run(directory, manifest, trials, settings, executor, progress, began, lock).carry_out()


def resume_run(path: Path | str, *, settings: Settings, progress: Progress, replicates: int | None = None) -> tuple[Path | str, dict[str, Any]]:
    """Compute what an interrupted run has not stored, and finish it. Damaged chunks are named and computed again.

    `replicates`: of every cell, at least as many as the run has; what is stored is kept.
    """
    began = time.perf_counter()
    directory = open_directory(path)
    manifest = directory.manifest()
    _require_same_engine(path, manifest)
    settings = _on_device(settings, manifest["device"])
    executor = _within_reach(directory, _executor(settings), settings)
    study = stored_study(directory, manifest)
    by_name = {(cell.design, cell.scenario): cell for cell in study.cells({})}
    folder, planned = Path(manifest["folder"]), planned_cells(manifest)
    cells = [by_name[cell.design, cell.scenario] for cell in planned]
    trials = [compile_trial(cell, folder, device=settings.device) for cell in cells]
    if _keys(cells, trials, settings.device) != [cell.key for cell in planned]:
        raise UsageError(f"{path}: the data of its cohort have changed since it was started; start a new run")
    with directory.locked() as lock:
        manifest = directory.manifest()  # another process may have let the run grow meanwhile
        if replicates is not None:
            manifest = grown(manifest, replicates)
        manifest = {**manifest, "state": "running", "finished": None, "error": None}
        try:
            directory.storage.remove_leftovers()
            directory.write_json(MANIFEST, manifest)
        except OSError as error:
            raise IncompleteRunError(f"{directory.path}: cannot be written: {error.strerror or error}; continue with {_how_to_resume(directory)}") from None
        return directory.path, _Run(directory, manifest, trials, settings, executor, progress, began, lock).carry_out()


def _on_device(settings: Settings, asked: str) -> Settings:
    """With the device settled."""
    elsewhere = settings.executor == "ray" and cluster_address(settings.address) is not None
    return replace(settings, device=resolve_device(asked, elsewhere=elsewhere))


def _executor(settings: Settings) -> Executor:
    return make_executor(settings.executor, settings.workers, settings.address, device=settings.device, gpu_share=settings.gpu_share)


def stored_study(directory: RunDirectory, manifest: Mapping[str, Any]) -> Study:
    """The study of a run, from the protocol stored with it. UsageError where that is not the one it was started with."""
    with directory.on_disk() as folder:
        study = load(folder / PROTOCOL)
    if study.sha256 != manifest["protocol_sha256"]:
        raise UsageError(f"{directory.path}/{PROTOCOL}: is not the protocol this run was started with (its hash differs)")
    return study


def _how_to_resume(directory: RunDirectory) -> str:
    return f"`trialsim resume {shlex.quote(str(directory.path))}`"


def _keys(cells: Sequence[Cell], trials: Sequence[Trial], device: str) -> list[str]:
    """Under which keys the chunks of the cells are stored."""
    engine = engine_versions(device)
    return [cell_key(cell.sha256, cell.role, trial, engine=engine, device=device) for cell, trial in zip(cells, trials, strict=True)]


def _within_reach(directory: RunDirectory, executor: Executor, settings: Settings) -> Executor:
    """The executor, if its workers can write there. UsageError where only this process could."""
    if directory.storage.shared:
        return executor
    if settings.executor == "local" and settings.workers in (None, 1):
        return make_executor("local", 1)
    raise UsageError(f"{directory.path}: lies in the memory of this process, where no other can write: use --executor local --workers 1")


def _require_same_engine(path: Path | str, manifest: Mapping[str, Any]) -> None:
    words = other_engine(manifest)
    if words:
        raise UsageError(f"{path}: was made with {words}; its numbers could not be continued to the bit: start a new run")


def other_engine(manifest: Mapping[str, Any]) -> str:
    """What the run was made with that is not what is here and may change bits: `torch 2.12 (here 2.13)`; empty: nothing."""
    here = engine_versions(manifest["device"])
    other = {name: given for name, given in manifest["engine"].items() if name != "python" and here.get(name) != given}
    return ", ".join(f"{name} {given} (here {here.get(name)})" for name, given in other.items())


class _Run:
    """One session of work on a locked run directory."""

    def __init__(
        self,
        directory: RunDirectory,
        manifest: dict[str, Any],
        trials: Sequence[Trial],
        settings: Settings,
        executor: Executor,
        progress: Progress,
        began: float,
        lock: Lock,
    ):
        self.directory, self.manifest, self.trials = directory, manifest, tuple(trials)
        self.settings, self.executor, self.progress, self.began, self.lock = settings, executor, progress, began, lock
        self.cells = planned_cells(manifest)
        self.stored: list[list[Block]] = [[] for _ in self.cells]
        self.begun: dict[tuple[int, int], Block] = {}
        self.superseded: list[tuple[int, Block]] = []
        self.precision = [CellPrecision(chunks_of(cell.replicates), trial.target_mcse) for cell, trial in zip(self.cells, self.trials, strict=True)]
        self.computed, self.seconds = 0, 0.0

    def carry_out(self) -> dict[str, Any]:
        self.progress.start(self.cells)
        try:
            rows = self._work(self._queue())
            results = self._results([row for index in range(len(self.cells)) for row in rows[index]])
            self.directory.write_results(results)
            self._write_manifest(state="complete", finished=now())
            beyond = [(index, chunk) for index, cell in enumerate(self.cells) for chunk in self.stored[index] if chunk.first >= cell.replicates]
            for index, chunk in (*self.superseded, *beyond):
                self.directory.remove_chunk(index, self.cells[index].key, chunk)
            return results
        except KeyboardInterrupt:
            raise self._ended(InterruptedRunError("interrupted")) from None
        except IncompleteRunError as error:
            raise self._ended(error) from None
        except OSError as error:
            raise self._ended(IncompleteRunError(f"{error.filename or self.directory.path}: {error.strerror or error}")) from None
        except BaseException as error:
            self._write_manifest(state="failed", finished=now(), error=str(error) if isinstance(error, TrialsimError) else repr(error))
            raise
        finally:
            self.progress.stop()

    def _queue(self) -> TaskQueue:
        """The work that is left: of all replicates, or until precise enough."""
        missing = self._missing()
        if not any(trial.target_mcse for trial in self.trials):
            return TaskQueue([chunks_of(cell.replicates) for cell in self.cells], missing)
        for index in range(len(self.cells)):
            self._settle(index)
        return PreciseQueue(self.precision, missing)

    def _settle(self, index: int) -> bool:
        """Takes a cell to be as large as it needs to be, once that is known; whether that is less than was thought."""
        n = self.precision[index].n_replicates
        if n is None or n >= self.cells[index].replicates:
            return False
        self.cells[index] = replace(self.cells[index], replicates=n)
        self.progress.settled(index, n)
        return True

    def _missing(self) -> dict[int, list[Block]]:
        """The chunks that are not stored, by cell; those that are have been read and are sound."""
        missing: dict[int, list[Block]] = {}
        for index, cell in enumerate(self.cells):
            there = set(self.directory.stored_chunks(index, cell.key))
            wanted = chunks_of(cell.replicates)
            for shorter in sorted(there.difference(wanted), key=lambda chunk: chunk.size):  # the last ones of when the run was smaller
                self.begun[index, shorter.first] = shorter
                self.superseded.append((index, shorter))
            for chunk in wanted:
                if chunk in there:
                    try:
                        record = self.directory.read_chunk(index, cell.key, chunk)
                    except DamagedChunkError as error:
                        self.progress.say(f"{error}; it is computed again")
                    else:
                        self.stored[index].append(chunk)
                        self.progress.stored(index, chunk.size, n_rejected(record), fresh=False)
                        self.precision[index].add(chunk, precision_of(self.trials[index], record))
                        continue
                missing.setdefault(index, []).append(chunk)
        return missing

    def _work(self, queue: TaskQueue) -> dict[int, tuple[ResultRow, ...]]:
        """Simulate what is missing and evaluate every cell; the rows by cell."""
        rows: dict[int, tuple[ResultRow, ...]] = {}
        workshop = Workshop(tuple(self.cells), self.trials, self.directory, self.settings.block_size, self.manifest["engine"], self.begun)
        start = saved = time.perf_counter()
        work = self.executor.run(workshop, queue)
        try:
            for done in work:
                self.lock.check()
                if isinstance(done, CellDone):
                    rows[done.cell] = done.rows
                    continue
                self.stored[done.cell].append(done.chunk)
                self.computed += done.chunk.size
                self.seconds = time.perf_counter() - start - self.executor.startup_seconds
                if done.chunk.first < self.cells[done.cell].replicates:
                    self.progress.stored(done.cell, done.chunk.size, done.rejected)
                if self._settle(done.cell) or time.perf_counter() - saved > MANIFEST_EVERY:
                    saved = time.perf_counter()
                    self._write_manifest()
        finally:
            work.close()  # type: ignore[attr-defined]
        return rows

    def _timing(self) -> dict[str, Any]:
        """Of all sessions of this run together."""
        before = self.manifest["timing"]
        return {
            "replicates": before["replicates"] + self.computed,
            "seconds": before["seconds"] + self.seconds,
            "wall_seconds": before["wall_seconds"] + time.perf_counter() - self.began,
        }

    def _write_manifest(self, **changes: Any) -> None:
        self.lock.check()
        done = [[chunk for chunk in chunks if chunk.first < cell.replicates] for chunks, cell in zip(self.stored, self.cells, strict=True)]
        self.directory.write_json(MANIFEST, with_chunks(settled(self.manifest, self.cells), done, timing=self._timing(), **changes))

    def _ended(self, error: IncompleteRunError) -> IncompleteRunError:
        """Leaves a resumable directory; a second Ctrl-C does not get in between."""
        deaf = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if deaf else None
        try:
            for index, cell in enumerate(self.cells):  # workers may have stored more than they have reported
                wanted = set(chunks_of(cell.replicates))
                self.stored[index] = [chunk for chunk in self.directory.stored_chunks(index, cell.key) if chunk in wanted]
            done, asked = sum(block.size for blocks in self.stored for block in blocks), sum(cell.replicates for cell in self.cells)
            # A full disk: the manifest still says "running", the lock says that nobody is. A lost lock: another run writes it.
            with contextlib.suppress(OSError, IncompleteRunError):
                self._write_manifest(state="incomplete", finished=now())
            how = f"{done:,} of {asked:,} replicates are stored; continue with {_how_to_resume(self.directory)}"
            return type(error)(f"{error}: {how}")
        finally:
            if deaf:
                signal.signal(signal.SIGINT, before)

    def _results(self, rows: Sequence[ResultRow]) -> dict[str, Any]:
        timing = self._timing()
        engine = {name: self.manifest["engine"][name] for name in ("trialsim", "torch", "numpy", "python")}
        return {
            "schema": RESULTS_SCHEMA,
            "study": self.manifest["study"],
            "protocol_sha256": self.manifest["protocol_sha256"],
            "seed": self.manifest["seed"],
            "engine": {**engine, "device": self.manifest["device"], "executor": self.executor.name, "workers": self.executor.workers},
            "replicates_per_second": round(timing["replicates"] / timing["seconds"], 1) if timing["seconds"] > 0 else None,
            "wall_seconds": round(timing["wall_seconds"], 2),
            "results": [row.as_dict() for row in rows],
        }
