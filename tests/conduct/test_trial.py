"""The conduct of trials against one trial at a time, written from the rules with plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trialsim.analysis.methods.logrank import LogRank
from trialsim.conduct import Look
from trialsim.conduct.comparison import Observables, PlannedAnalysis
from trialsim.conduct.follow_up import follow
from trialsim.conduct.monitoring import MonitoringPlan
from trialsim.conduct.trial import conduct
from trialsim.design import FutilityZ, HazardRatioAbove, bounds
from trialsim.design.spending import LanDeMetsOBrienFleming
from trialsim.records import Block, Enrolment, TrialRecord

N_TRIALS, N, TARGETS = 60, 80, (20, 35, 50)
SPENDING = LanDeMetsOBrienFleming(spending="lan_demets_obrien_fleming")


def logrank_z(time: np.ndarray, event: np.ndarray, test: np.ndarray) -> float:
    u = v = 0.0
    for t in np.unique(time[event]):
        at_risk = time >= t
        n, n1, d = at_risk.sum(), (at_risk & test).sum(), (event & (time == t)).sum()
        u += (event & (time == t) & test).sum() - d * n1 / n
        v += d * n1 / n * (1 - n1 / n) * (n - d) / max(n - 1, 1)
    return -u / math.sqrt(v)


def score_at(log_hr: float, time: np.ndarray, event: np.ndarray, test: np.ndarray) -> float:
    u = 0.0
    for t, is_test in zip(time[event], test[event], strict=True):
        at_risk = time >= t
        m1, m0 = (at_risk & test).sum() * math.exp(log_hr), (at_risk & ~test).sum()
        u += is_test - m1 / (m0 + m1)
    return u


def make(log_hr: float, seed: int = 1, n_deaths_possible: float = 1.0) -> tuple[Observables, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    entry = np.sort(rng.uniform(0, 200, (N_TRIALS, N)), -1)
    test = rng.permuted(np.tile(np.arange(N) % 2, (N_TRIALS, 1)), axis=-1).astype(bool)
    time = rng.exponential(300 / np.exp(log_hr * test))
    drop = rng.exponential(300 * n_deaths_possible, (N_TRIALS, N))
    arm = torch.from_numpy((~test).astype(np.int8))  # the test arm comes first in the protocol
    entry_time = torch.from_numpy(entry)
    observables = Observables(
        enrolment=Enrolment(entry_time=entry_time, arm=arm, stratum=None, n_strata=1),
        events={"os": follow(torch.from_numpy(time), torch.from_numpy(drop), entry_time)},
        values={},
        covariates={},
        strata={},
    )
    return observables, entry, test, time, drop


def run(observables: Observables, futility: FutilityZ | HazardRatioAbove | None, *, ignore: bool = True, sides: int = 1) -> TrialRecord:
    looks = {f"look{k + 1}": Look.model_validate({"when": {"events": d, "endpoint": "os"}, "not_after": "900 days"}) for k, d in enumerate(TARGETS)}
    method = LogRank.model_validate({"method": "logrank", "endpoint": "os", "treatment": {"test": "t", "reference": "r"}})
    monitoring = MonitoringPlan(
        alpha=0.025 * sides, sides=sides, efficacy=SPENDING, futility=futility, targets=tuple(map(float, TARGETS)), planned=float(TARGETS[-1])
    )
    plan = PlannedAnalysis(
        method=method, endpoint="os", test=0, reference=1, favours=-1, looks=(0, 1, 2), monitoring=monitoring, ignore_futility=ignore and futility is not None
    )
    once = PlannedAnalysis(
        method=method,
        endpoint="os",
        test=0,
        reference=1,
        favours=-1,
        looks=(),
        monitoring=MonitoringPlan(alpha=0.025, sides=1, efficacy=None, futility=None, targets=(1.0,), planned=1.0),
    )
    return conduct(Block(0, N_TRIALS), observables, arms=("t", "r"), looks=looks, analyses={"primary": plan, "again": once}, primary_endpoint="os")


@pytest.mark.parametrize("log_hr", [0.0, -0.7])
@pytest.mark.parametrize("rule", ["none", "z", "hazard_ratio"])
@pytest.mark.parametrize("possible", [1.0, 0.25])
def test_every_trial_goes_as_the_rules_say(log_hr: float, rule: str, possible: float) -> None:
    observables, entry, test, time, drop = make(log_hr, n_deaths_possible=possible)
    futility = {"none": None, "z": FutilityZ(z=(0.2, 0.5)), "hazard_ratio": HazardRatioAbove(hazard_ratio_above=(0.95, 0.9))}[rule]
    record = run(observables, futility)
    planned = bounds(efficacy=SPENDING, futility=None, alpha=0.025, sides=1, information=[d / TARGETS[-1] for d in TARGETS])
    stopped_for = {"efficacy": 0, "futility": 0, "end": 0, "early": 0}
    for i in range(N_TRIALS):
        death = np.where(time[i] <= drop[i], entry[i] + time[i], np.inf)
        leaving = entry[i] + np.minimum(time[i], drop[i])
        outcome, ever, spent_looks = None, False, []
        for k, target in enumerate(TARGETS):
            possible_cut = np.sort(death)[target - 1]
            cut = min(possible_cut if np.isfinite(possible_cut) else leaving.max(), 900.0)
            out_of_reach = cut < possible_cut
            final = k == 2 or out_of_reach
            event = death <= cut
            seen = np.where(event, time[i], np.minimum(np.minimum(time[i], drop[i]), cut - entry[i]))
            there = entry[i] <= cut
            z = logrank_z(seen[there], event[there], test[i][there])
            bound = planned.efficacy_z[k]
            if out_of_reach:
                # A last look without a new event repeats the last test: both together spend alpha at the latter's bound.
                information = [d / TARGETS[-1] for d in (*(d for d in TARGETS[:k] if d < event.sum()), event.sum())]
                bound = bounds(efficacy=SPENDING, futility=None, alpha=0.025, sides=1, information=information).efficacy_z[-1]
            if outcome is None:
                spent_looks.append(cut)
                assert record.cut_time[i, k].item() == cut
                assert record.analyses["primary"].z[i, k].item() == pytest.approx(z, abs=1e-9)
                assert record.analyses["primary"].efficacy_z[i, k].item() == pytest.approx(bound, abs=1e-6)
                assert record.n_enrolled[i, k].item() == there.sum()
                assert record.n_events["os"][i, k].item() == event.sum()
            if z >= bound:
                ever = True
                outcome = outcome or ("efficacy", k)
            elif final:
                outcome = outcome or ("early" if k < 2 else "end", k)
            elif (rule == "z" and z < (0.2, 0.5)[k]) or (
                rule == "hazard_ratio" and score_at(math.log((0.95, 0.9)[k]), seen[there], event[there], test[i][there]) > 0
            ):
                outcome = outcome or ("futility", k)
            if final or ever:
                break
        assert outcome is not None
        why, k = outcome
        stopped_for[why] += 1
        assert record.stop_look[i].item() == k + 1
        assert record.analyses["primary"].reject[i].any().item() == (why == "efficacy")
        assert record.analyses["primary"].futile[i].any().item() == (why == "futility")
        if futility is not None:
            assert record.analyses["primary"].ignoring_futility is not None
            assert record.analyses["primary"].ignoring_futility[i].item() == ever
        assert record.analyses["again"].z[i, k].item() == record.analyses["primary"].z[i, k].item()
        assert record.analyses["again"].efficacy_z[i, k].item() == pytest.approx(1.959963985, abs=1e-8)
    assert stopped_for["end"] + stopped_for["early"] + stopped_for["efficacy"] > 10
    if rule != "none" and log_hr == 0.0 and possible == 1.0:
        assert stopped_for["futility"] > 10
    if possible < 1:
        assert stopped_for["early"] > 5


def test_a_third_arm_is_not_in_a_comparison_of_two() -> None:
    observables, entry, test, time, drop = make(-0.5)
    arm = torch.from_numpy(np.where(np.arange(N) % 5 == 0, 2, ~test).astype(np.int8))
    three = Observables(enrolment=Enrolment(observables.enrolment.entry_time, arm, None, 1), events=observables.events, values={}, covariates={}, strata={})
    method = LogRank.model_validate({"method": "logrank", "endpoint": "os", "treatment": {"test": "t", "reference": "r"}})
    monitoring = MonitoringPlan(alpha=0.025, sides=1, efficacy=None, futility=None, targets=(1.0,), planned=1.0)
    plan = PlannedAnalysis(method=method, endpoint="os", test=0, reference=1, favours=-1, looks=(0,), monitoring=monitoring)
    record = conduct(
        Block(0, N_TRIALS),
        three,
        arms=("t", "r", "x"),
        looks={"final": Look.model_validate({"when": {"calendar": "500 days"}})},
        analyses={"a": plan},
        primary_endpoint="os",
    )
    for i in range(N_TRIALS):
        inside = arm[i].numpy() < 2
        event = (time[i] <= drop[i]) & (entry[i] + time[i] <= 500)
        seen = np.minimum(np.minimum(time[i], drop[i]), 500 - entry[i])
        assert record.analyses["a"].z[i, 0].item() == pytest.approx(logrank_z(seen[inside], event[inside], test[i][inside]), abs=1e-9)
        assert record.analyses["a"].n[i, 0].item() == inside.sum()
        assert record.n_per_arm["x"][i].item() == (~inside).sum()
        assert record.n_events["os"][i, 0].item() == event.sum()


def test_two_sided_tests_stop_in_either_direction() -> None:
    record = run(make(1.2)[0], None, sides=2)
    primary = record.analyses["primary"]
    assert primary.reject_wrong_direction.any(-1).sum() > N_TRIALS / 2
    assert not (primary.reject & primary.reject_wrong_direction).any()
    assert torch.equal(primary.reject_wrong_direction, primary.z <= -primary.efficacy_z)
