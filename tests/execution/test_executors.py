"""What a trial raises in a worker process reaches the user as if it had been raised here, and is not tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trialsim.errors import InvalidInputError, UsageError
from trialsim.execution.executors import make_executor, n_cores
from trialsim.execution.executors.local import LocalExecutor
from trialsim.execution.executors.ray import RayExecutor
from trialsim.execution.manifest import PlannedCell, engine_versions
from trialsim.execution.store import create_directory
from trialsim.execution.tasks import TaskQueue, Workshop
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
    assert doomed.directory.stored_chunks(0, KEY) == []


def test_executors_by_name():
    assert isinstance(make_executor("local", None), LocalExecutor)
    assert isinstance(ray := make_executor("ray", None), RayExecutor)
    assert ray.workers == n_cores()
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
