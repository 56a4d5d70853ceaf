"""What tests of several folders share: a small trial, synthetic trial records, and one Ray cluster for the session."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from trialsim.records import AnalysisRecord, TrialRecord
from trialsim.rng import Block

PROTOCOL = """\
spec: trialsim/1
study: {id: SMALL, title: a small group sequential trial}
parameters: {hr: 0.55}
arms:
  experimental: {type: experimental}
  control: {type: placebo_comparator}
population: {planned_enrollment: 60}
endpoints: {os: {type: time_to_event, outcome: death, level: primary}}
truth:
  outcomes: {death: {dist: exponential, median: 10 months}}
  effects: {experimental: {death: {hr: $hr}}}
  censoring: {dropout: {dist: exponential, rate: 0.005 / month}}
accrual: {rate: 5 / month}
randomization: {ratio: {experimental: 1, control: 1}, method: permuted_block, block_size: 4}
analyses:
  primary:
    endpoint: os
    treatment: {test: experimental, reference: control}
    method: logrank
    estimate: cox
    alpha: 0.025
    sides: 1
interims:
  timing: {information: events, endpoint: os, final: 40, fractions: [0.5]}
  efficacy: {spending: lan_demets_obrien_fleming}
  futility: {z: [0.0], binding: false}
scenarios:
  h0: {role: null_hypothesis, set: {hr: 1.0}}
  base: {role: alternative}
simulation: {seed: 11, replicates: 200}
"""


@pytest.fixture(scope="session")
def small_protocol_text() -> str:
    """A small group sequential trial: 60 patients, two looks, a null and an alternative, 200 replicates."""
    return PROTOCOL


@pytest.fixture
def small_protocol(tmp_path: Path) -> Path:
    """A small group sequential trial, as a file."""
    path = tmp_path / "small.yaml"
    path.write_text(PROTOCOL)
    return path


def _record(
    block: Block,
    *,
    seed: int = 1,
    n_looks: int = 3,
    analyses: tuple[str, ...] = ("primary",),
    estimates: bool = True,
    df: bool = False,
    two_sided: bool = False,
    failure_rate: float = 0.0,
    ignoring: bool = True,
) -> TrialRecord:
    """A block of made-up trials that keeps every rule of records.py. Replicate r is the same in every block."""
    per_replicate = [_trial(r, seed, n_looks, analyses, df, two_sided, failure_rate) for r in range(block.first, block.first + block.size)]

    def column(name: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([trial[name] for trial in per_replicate]))

    return TrialRecord(
        block=block,
        looks=tuple(f"look{k + 1}" for k in range(n_looks)),
        cut_time=column("cut_time"),
        n_enrolled=column("n_enrolled"),
        reached=column("reached"),
        stop_look=column("stop_look"),
        target_not_reached=column("target_not_reached"),
        n_events={"os": column("events")},
        n_per_arm={"experimental": column("n_test"), "control": column("n_control")},
        analyses={
            name: AnalysisRecord(
                z=column(f"{name}.z"),
                estimate=column(f"{name}.estimate") if estimates else None,
                std_error=column(f"{name}.std_error") if estimates else None,
                df=column(f"{name}.df") if df else None,
                n=column(f"{name}.n"),
                n_events=column("events"),
                efficacy_z=column(f"{name}.efficacy_z"),
                futility_z=column(f"{name}.futility_z"),
                reject=column(f"{name}.reject"),
                reject_wrong_direction=column(f"{name}.wrong"),
                futile=column(f"{name}.futile"),
                ignoring_futility=column(f"{name}.ignoring") if ignoring else None,
                failure=column(f"{name}.failure"),
            )
            for name in analyses
        },
    )


def _trial(r: int, seed: int, n_looks: int, analyses: tuple[str, ...], df: bool, two_sided: bool, failure_rate: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, r])
    bound, futility = np.linspace(3.0, 2.0, n_looks), np.linspace(-0.5, 0.5, n_looks)
    z = np.cumsum(rng.normal(0.0 if two_sided else 0.9, 1.0, (len(analyses), n_looks)), axis=1) / np.sqrt(np.arange(1, n_looks + 1))
    failed = rng.random((len(analyses), n_looks)) < failure_rate
    up, down = (z >= bound) & ~failed, (z <= -bound) & ~failed if two_sided else np.zeros_like(failed)
    futile = (z < futility) & ~failed & ~up & ~down & (np.arange(n_looks) < n_looks - 1)
    stops = np.flatnonzero((up | down | futile)[0])
    stop = int(stops[0]) if len(stops) else n_looks - 1
    reached = np.arange(n_looks) <= stop
    cuts = np.where(reached, 300.0 + np.cumsum(rng.gamma(50.0, 2.0, n_looks)), np.nan)
    events = np.where(reached, 50 * np.arange(1, n_looks + 1) + rng.integers(0, 3, n_looks), 0)
    enrolled = np.where(reached, np.minimum(200, 120 + 40 * np.arange(1, n_looks + 1)), 0)
    n_test = int(enrolled[stop] // 2 + rng.integers(0, 2))
    trial = {
        "cut_time": cuts,
        "n_enrolled": enrolled,
        "reached": reached,
        "stop_look": np.int64(stop + 1),
        "target_not_reached": np.bool_(rng.random() < 0.03),
        "events": events,
        "n_test": np.int64(n_test),
        "n_control": np.int64(enrolled[stop] - n_test),
    }
    for i, name in enumerate(analyses):
        usable = reached & ~failed[i]
        se = np.sqrt(4.0 / (50.0 * np.arange(1, n_looks + 1))) * (1.0 + 0.02 * rng.random(n_looks))
        trial |= {
            f"{name}.z": np.where(usable, z[i], np.nan),
            f"{name}.estimate": np.where(usable, -z[i] * se, np.nan),
            f"{name}.std_error": np.where(usable, se, np.nan),
            f"{name}.df": np.where(usable, 5.0 + 3.0 * np.arange(n_looks), np.nan),
            f"{name}.n": np.where(reached, enrolled, 0),
            f"{name}.efficacy_z": np.where(reached, bound, np.nan),
            f"{name}.futility_z": np.where(reached, futility, np.nan),
            f"{name}.reject": up[i] & reached,
            f"{name}.wrong": down[i] & reached,
            f"{name}.futile": futile[i] & reached,
            f"{name}.ignoring": np.bool_(up[i].any()),
            f"{name}.failure": np.where(reached & failed[i], 5, 0).astype(np.int8),
        }
    return trial


@pytest.fixture(scope="session")
def synthetic_record() -> Callable[..., TrialRecord]:
    """`synthetic_record(Block(0, 100), n_looks=3, …)`: made-up trials in the shape that conduct hands on."""
    return _record


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray cluster of two CPUs, and a GPU that is not there, for all tests that need one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

        ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.shutdown()
