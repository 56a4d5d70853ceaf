"""What a trial raises in a worker process reaches the user as if it had been raised here, and is not tried again."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest
import torch

from trialsim.errors import IncompleteRunError, InvalidInputError, UsageError
from trialsim.execution import tasks
from trialsim.execution.executors import make_executor, n_cores
from trialsim.execution.executors.local import LocalExecutor, _work_through
from trialsim.execution.executors.ray import RayExecutor, _fitting
from trialsim.execution.manifest import PlannedCell, engine_versions
from trialsim.execution.store import create_directory
from trialsim.execution.tasks import ChunkDone, TaskQueue, Workshop
from trialsim.rng import Block
from trialsim.simulate import compile_trial
from trialsim.spec import load
from trialsim.units import Quantity

KEY = "0" * 32


@pytest.fixture
def doomed(small_protocol, tmp_path):
    """A workshop whose one trial has lost, after compilation, every patient who could be eligible."""
    text = small_protocol.read_text()
    small_protocol.write_text(
        text.replace(
            "population: {planned_enrollment: 60}",
            "population:\n  planned_enrollment: 60\n  covariates: {age: {dist: normal, mean: 60 years, sd: 5 years}}\n"
            "  eligibility: {I01: {category: inclusion, covariate: age, min: 50 years}}",
        )
    )
    study = load(small_protocol)
    cell = study.cells({"scenario": "base"})[0]
    trial = compile_trial(cell, study.directory)
    criterion = trial.eligibility["I01"]
    trial = replace(trial, eligibility={"I01": criterion.model_copy(update={"min": Quantity.parse("200 years")})})
    planned = PlannedCell(cell.design, cell.scenario, cell.role, cell.sha256, 300, KEY)
    return Workshop((planned,), (trial,), create_directory(tmp_path / "run", study="S", sha256=study.sha256), block_size=64, engine=engine_versions())


def test_the_same_error_from_every_executor(doomed, ray_cluster):
    chunks = [Block(0, 100), Block(100, 100), Block(200, 100)]

    def error_of(executor):
        with pytest.raises(InvalidInputError) as raised:
            list(executor.run(doomed, TaskQueue([chunks], {0: chunks})))
        return type(raised.value), raised.value.problems

    here = error_of(LocalExecutor(1))
    assert "I01" in str(here[1][0]) or "eligib" in str(here[1][0])
    assert error_of(LocalExecutor(2)) == here
    assert error_of(RayExecutor(2)) == here
    assert error_of(RayExecutor(2, gpu_share=0.5)) == here
    assert doomed.directory.stored_chunks(0, KEY) == []


def test_what_a_protocol_raises_in_an_actor_is_not_tried_again(doomed, ray_cluster, tmp_path):
    class Trap:
        def __init__(self, log):
            self.log = log

        def admits(self, cohort):
            with self.log.open("a") as file:
                file.write("sprung\n")
            raise ValueError("no patient passes a trap")

    log, chunks = tmp_path / "log.txt", [Block(0, 100)]
    object.__setattr__(doomed.trials[0], "eligibility", {"I01": Trap(log)})
    with pytest.raises(ValueError, match="no patient passes a trap"):
        list(RayExecutor(2, gpu_share=0.5).run(doomed, TaskQueue([chunks], {0: chunks})))
    assert log.read_text() == "sprung\n"


def test_actors_fill_the_gpus_and_need_a_core_each():
    assert _fitting({"CPU": 16, "GPU": 2}, None) == 16
    assert _fitting({"CPU": 16, "GPU": 2}, 1.0) == 2
    assert _fitting({"CPU": 16, "GPU": 2}, 0.1) == 16
    assert _fitting({"CPU": 30, "GPU": 1}, 0.1) == 10
    assert _fitting({"CPU": 16}, 0.5) == 1  # an autoscaler may bring a GPU when an actor asks for it
    assert _fitting({"CPU": 0, "GPU": 0}, 0.5) == 1


def test_a_gpu_that_is_too_small_is_told_how_to_go_on(doomed, monkeypatch):
    def full(trial, block):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(tasks, "simulate", full)
    chunks = [Block(0, 100)]
    with pytest.raises(IncompleteRunError, match=r"too small for blocks of 64 trials: use --block-size 16"):
        list(LocalExecutor(1).run(doomed, TaskQueue([chunks], {0: chunks})))


def test_a_worker_without_cuda_says_so(doomed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    chunks = [Block(0, 100)]
    elsewhere = replace(doomed, trials=(replace(doomed.trials[0], device="cuda"),))
    with pytest.raises(UsageError, match=r"--device cuda: .* on .+; use --device cpu"):
        list(LocalExecutor(1).run(elsewhere, TaskQueue([chunks], {0: chunks})))


def test_executors_by_name():
    assert isinstance(make_executor("local", None), LocalExecutor)
    assert isinstance(ray := make_executor("ray", None), RayExecutor)
    assert ray.workers == n_cores()
    assert make_executor("local", None, device="cuda")._asked == 1  # no pool unasked: one process has the GPU
    assert make_executor("local", 3, device="cuda")._asked == 3
    assert make_executor("ray", None, device="cuda")._gpu_share == 1.0
    assert make_executor("ray", None, device="cuda", gpu_share=0.25)._gpu_share == 0.25
    assert ray._gpu_share is None
    for share in (0.0, 1.5):
        with pytest.raises(UsageError, match=rf"--gpu-share {share:g}: must be above 0 and at most 1"):
            make_executor("ray", None, device="cuda", gpu_share=share)
    for name, device in (("ray", "cpu"), ("local", "cuda")):
        with pytest.raises(UsageError, match=r"--gpu-share 0\.5: is for --executor ray with --device cuda"):
            make_executor(name, None, device=device, gpu_share=0.5)
    with pytest.raises(UsageError, match=r"--address 10\.0\.0\.1:6379: is of a Ray cluster; add --executor ray"):
        make_executor("local", None, "10.0.0.1:6379")
    with pytest.raises(UsageError, match="must be one of local, ray"):
        make_executor("slurm", None)


def test_a_long_run_moves_to_a_pool_unasked_and_a_short_one_does_not(run_small, monkeypatch):
    from trialsim.execution.executors import local

    monkeypatch.setattr(local, "n_cores", lambda: 2)
    assert run_small("short", workers=None)[1]["engine"]["workers"] == 1
    monkeypatch.setattr(local, "WORTH_A_POOL", 0.0)
    _, results = run_small("long", workers=None)
    assert results["engine"]["workers"] == 2
    assert results["results"] == run_small("one", workers=1)[1]["results"]


class Counting(TaskQueue):
    """Notes how many tasks were under way at once."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.under_way, self.most = [], 0

    def next(self, workers):
        task = super().next(workers)
        if task is not None:
            self.under_way.append({"cell"} if task.evaluate else set(task.chunks))
            self.most = max(self.most, len(self.under_way))
        return task

    def observe(self, done):
        item = done.chunk if isinstance(done, ChunkDone) else "cell"
        (task,) = (task for task in self.under_way if item in task)
        task.remove(item)
        self.under_way = [task for task in self.under_way if task]
        super().observe(done)


def test_constants_travel_once_and_few_tasks_are_under_way(small_protocol, tmp_path, monkeypatch, ray_cluster):
    study = load(small_protocol)
    cell = study.cells({"scenario": "base"})[0]
    trial = compile_trial(cell, study.directory)
    planned = PlannedCell(cell.design, cell.scenario, cell.role, cell.sha256, 120, KEY)
    pickled = []
    monkeypatch.setattr(Workshop, "__getstate__", lambda self: pickled.append(self) or self.__dict__, raising=False)
    chunks = [Block(4 * i, 4) for i in range(30)]
    for name, executor, most in (("pool", LocalExecutor(2), 3), ("tasks", RayExecutor(2), 2), ("actors", RayExecutor(2, gpu_share=0.5), 2)):
        directory = create_directory(tmp_path / name, study="S", sha256=study.sha256)
        queue = Counting([chunks], {0: chunks})
        del pickled[:]
        done = list(executor.run(Workshop((planned,), (trial,), directory, block_size=4, engine=engine_versions()), queue))
        assert len(done) == 31
        assert len(pickled) == 1, name
        assert queue.under_way == []
        assert 2 <= queue.most <= most, name


def test_a_worker_with_another_engine_refuses(doomed):
    other = replace(doomed, engine={**engine_versions(), "torch": "1.0", "instructions": "AVX1024"})
    chunks = [Block(0, 100)]
    with pytest.raises(
        IncompleteRunError, match=r"a worker on .+ has torch .+ \(the run: 1\.0\), instructions .+ \(the run: AVX1024\); .* set ATEN_CPU_CAPABILITY"
    ):
        list(LocalExecutor(1).run(other, TaskQueue([chunks], {0: chunks})))


def test_a_folder_that_workers_elsewhere_write_to_must_be_seen_from_here(doomed):
    from trialsim.execution.executors.ray import _require_in_sight

    done = ChunkDone(0, Block(0, 100), 0, 1.0)
    with pytest.raises(UsageError, match=r"is not to be seen from here: give --out a folder that all machines share, or an object store"):
        _require_in_sight(doomed, done)


def test_an_address_where_nobody_answers():
    from trialsim.execution.executors import ray

    with pytest.raises(IncompleteRunError, match=r"--address 127\.0\.0\.1:1: no Ray cluster answers \(nothing answers at 127\.0\.0\.1:1 \(.*refused\)\)$"):
        ray._connect(ray._import_ray(), "127.0.0.1:1")
    with pytest.raises(IncompleteRunError, match="--address here:there: no Ray cluster answers"):
        ray._connect(ray._import_ray(), "here:there")


def test_a_cluster_that_is_gone_is_told_within_seconds(monkeypatch):
    """`auto` finds the address that a cluster left behind when it was killed; Ray would wait for it for minutes."""
    from ray._private import services

    from trialsim.execution.executors import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda temp_dir: "127.0.0.1:1")
    start = time.perf_counter()
    with pytest.raises(IncompleteRunError, match=r"--address auto: no Ray cluster answers \(nothing answers at 127\.0\.0\.1:1 "):
        ray._connect(ray._import_ray(), "auto")
    monkeypatch.setattr(services, "find_bootstrap_address", lambda temp_dir: None)
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    with pytest.raises(IncompleteRunError, match=r"--address auto: no Ray cluster answers \(no cluster has been started on this machine\)"):
        ray._connect(ray._import_ray(), "auto")
    assert time.perf_counter() - start < 20.0


def test_a_pool_that_is_broken_when_it_is_given_a_task_loses_nothing():
    chunks = [Block(0, 64), Block(64, 64), Block(128, 64)]
    queue, again, taken = TaskQueue([chunks], {0: chunks}), deque(), []

    def submit(task):
        if len(taken) == 1:
            raise BrokenProcessPool("a worker died while this one was on its way")
        taken.append(task)
        return Future()

    with pytest.raises(BrokenProcessPool):
        list(_work_through(queue, 2, submit, again))
    rest = [*again, *iter(lambda: queue.next(2), None)]
    assert sorted(chunk.first for task in rest if not task.evaluate for chunk in task.chunks) == [0, 64, 128]
