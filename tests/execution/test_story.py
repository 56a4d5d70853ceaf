"""Why a trial stopped, from records of every kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trialsim.execution.story import story
from trialsim.records import TrialRecord
from trialsim.rng import Block
from trialsim.simulate import Trial, compile_trial, simulate
from trialsim.spec import load


@pytest.fixture
def trial(small_protocol: Path) -> Trial:
    study = load(small_protocol)
    return compile_trial(study.cells()[1], study.directory)


@pytest.fixture
def record(trial: Trial) -> TrialRecord:
    return simulate(trial, Block(100, 60))


def with_decisions(record: TrialRecord, *, reject=(), wrong=(), futile=(), stop: int = 2, missed: bool = False) -> TrialRecord:
    """The first trial of the record as if these looks (from 0) had crossed, stopped at look `stop` (from 1)."""
    analysis = record.analyses["primary"]

    def flags(looks: tuple[int, ...]) -> torch.Tensor:
        column = torch.zeros_like(analysis.reject)
        column[0, list(looks)] = True
        return column

    changed = replace(analysis, reject=flags(reject), reject_wrong_direction=flags(wrong), futile=flags(futile))
    target_not_reached, stop_look = record.target_not_reached.clone(), record.stop_look.clone()
    target_not_reached[0], stop_look[0] = missed, stop
    cut_time = torch.tensor([[300.0, 500.0]], dtype=torch.float64).expand(record.block.size, 2)
    return replace(record, analyses={"primary": changed}, target_not_reached=target_not_reached, stop_look=stop_look, cut_time=cut_time)


@pytest.mark.parametrize(
    ("what", "reason", "why", "decisions"),
    [
        ({"reject": (0,), "stop": 1}, "efficacy", "primary crossed its efficacy bound at look1", ["reject"]),
        ({"reject": (1,)}, "efficacy", "primary crossed its efficacy bound at final", ["continue", "reject"]),
        ({"futile": (0,), "stop": 1}, "futility", "primary crossed its futility bound at look1", ["stop_futility"]),
        (
            {"wrong": (1,)},
            "wrong_direction",
            "primary crossed its efficacy bound in the wrong direction at final",
            ["continue", "reject_wrong_direction"],
        ),
        ({}, "last_look", "final was the last look; primary did not cross its efficacy bound", ["continue", "not_rejected"]),
        (
            {"missed": True},
            "last_look",
            "final was the last look; its target was not reached; primary did not cross its efficacy bound",
            ["continue", "not_rejected"],
        ),
        (
            {"missed": True, "stop": 1},
            "target_not_reached",
            "the target of look1 was not reached, so that no look could follow; primary did not cross its efficacy bound",
            ["not_rejected"],
        ),
        (
            {"missed": True, "stop": 1, "reject": (0,)},
            "efficacy",
            "primary crossed its efficacy bound at look1; its target was not reached",
            ["reject"],
        ),
        ({"reject": (0,)}, "efficacy", "primary crossed its efficacy bound at look1", ["reject", "already_decided"]),
    ],
)
def test_why_it_stopped(trial, record, what, reason, why, decisions):
    told = story(trial, with_decisions(record, **what), 100)
    assert (told["reason"], told["why"]) == (reason, why)
    assert [look["analyses"]["primary"]["decision"] for look in told["looks"]] == decisions
    assert told["duration"] == told["looks"][-1]["look_time"]


def test_analyses_that_decide_differently(trial, record):
    one, other = (with_decisions(record, **what).analyses["primary"] for what in ({"reject": (0,)}, {"futile": (1,)}))
    both = replace(with_decisions(record), analyses={"primary": one, "second": other})
    plan = trial.analyses["primary"]
    told = story(replace(trial, analyses={"primary": plan, "second": plan}), both, 100)
    assert told["reason"] == "decided"
    assert told["why"] == "primary crossed its efficacy bound at look1; second crossed its futility bound at final"


def test_a_trial_without_looks_of_its_own(trial, record):
    """An analysis that names no looks is told where the trial ended, and nowhere else."""
    once = replace(trial, analyses={"primary": replace(trial.analyses["primary"], looks=())})
    told = story(once, with_decisions(record), 100)
    assert told["why"] == "final was the last look"
    assert [list(look["analyses"]) for look in told["looks"]] == [[], ["primary"]]
    assert told["looks"][1]["analyses"]["primary"]["decision"] == "not_rejected"


def test_numbers_are_the_record_s(trial, record):
    for replicate in (100, 131, 159):
        told, at = story(trial, record, replicate), replicate - 100
        stop = int(record.stop_look[at])
        assert told["allocated"] == {arm: int(n[at]) for arm, n in record.n_per_arm.items()}
        assert (told["stop_look"], len(told["looks"]), told["n_enrolled"]) == (stop, stop, sum(told["allocated"].values()))
        assert [look["analyses"]["primary"]["z"] for look in told["looks"]] == record.analyses["primary"].z[at, :stop].tolist()


def test_a_failed_analysis_has_no_number(trial, record):
    analysis = record.analyses["primary"]
    z, failure = analysis.z.clone(), analysis.failure.clone()
    z[0, 0], failure[0, 0] = torch.nan, 1
    failed = with_decisions(replace(record, analyses={"primary": replace(analysis, z=z, failure=failure)}))
    finding = story(trial, failed, 100)["looks"][0]["analyses"]["primary"]
    assert (finding["z"], finding["failure"]) == (None, "no events in the analysis")
