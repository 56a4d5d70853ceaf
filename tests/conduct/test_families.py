"""Families of hypotheses against one trial at a time, written from the rules with plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from scipy.stats import norm

from trialsim.analysis.methods.logrank import LogRank
from trialsim.analysis.methods.t_test import TTest
from trialsim.analysis.multiplicity import GraphProcedure, Multiplicity
from trialsim.conduct import Look
from trialsim.conduct.comparison import Observables, PlannedAnalysis
from trialsim.conduct.families import PlannedFamily
from trialsim.conduct.follow_up import follow, follow_to_visit
from trialsim.conduct.monitoring import MonitoringPlan
from trialsim.conduct.trial import conduct
from trialsim.design import FutilityZ, bounds
from trialsim.design.multiplicity import adjustment
from trialsim.design.spending import LanDeMetsOBrienFleming, LanDeMetsPocock
from trialsim.records import Block, Enrolment, TrialRecord

N_TRIALS, N, TARGETS = 80, 150, (40, 70, 100)
PFS_TARGET = 80
LAWS = {
    "low": LanDeMetsOBrienFleming(spending="lan_demets_obrien_fleming"),
    "high": LanDeMetsPocock(spending="lan_demets_pocock"),
    "pfs": None,
}
NAMES = tuple(LAWS)
WEIGHTS = {"low": 0.5, "high": 0.3, "pfs": 0.2}
TRANSITIONS = {"low": {"high": 0.5, "pfs": 0.5}, "high": {"low": 1.0}, "pfs": {"low": 0.3, "high": 0.7}}
GRAPH = GraphProcedure.model_validate({"graph": {"weights": WEIGHTS, "transitions": TRANSITIONS}})
LOOKS = {
    "first": {"when": {"events": TARGETS[0], "endpoint": "os"}, "not_after": "400 days"},
    "progression": {"when": {"all": [{"events": PFS_TARGET, "endpoint": "pfs"}, {"events": TARGETS[0] + 1, "endpoint": "os"}]}, "not_after": "430 days"},
    "second": {"when": {"events": TARGETS[1], "endpoint": "os"}, "not_after": "520 days"},
    "third": {"when": {"events": TARGETS[2], "endpoint": "os"}, "not_after": "620 days"},
}
OWN = {"low": (0, 2, 3), "high": (0, 2, 3), "pfs": (1,)}
FUTILITY = {"low": (0.0, 0.3), "high": (-0.2, 0.4), "pfs": None}


class Patients:
    """Three arms: reference 0, low 1, high 2."""

    def __init__(self, log_hr: tuple[float, float], seed: int = 4):
        rng = np.random.default_rng(seed)
        self.entry = np.sort(rng.uniform(0, 250, (N_TRIALS, N)), -1)
        self.arm = rng.permuted(np.tile(np.arange(N) % 3, (N_TRIALS, 1)), axis=-1)
        effect = np.array([0.0, *log_hr])[self.arm]
        self.death = rng.exponential(350 / np.exp(effect))
        self.progression = np.minimum(self.death, rng.exponential(300 / np.exp(effect)))

    def observables(self) -> Observables:
        entry = torch.from_numpy(self.entry)
        events = {"os": follow(torch.from_numpy(self.death), None, entry), "pfs": follow(torch.from_numpy(self.progression), None, entry)}
        enrolment = Enrolment(entry_time=entry, arm=torch.from_numpy(self.arm.astype(np.int8)), stratum=None, n_strata=1)
        return Observables(enrolment=enrolment, events=events, values={}, covariates={}, strata={})


def z_at(time: np.ndarray, entry: np.ndarray, arm: np.ndarray, test: int, cut: float) -> float:
    """The log-rank z of an arm against arm 0, positive where it lives longer."""
    there = (entry <= cut) & ((arm == 0) | (arm == test))
    event, seen, group = entry + time <= cut, np.minimum(time, cut - entry), arm == test
    u = v = 0.0
    for t in np.sort(seen[event & there]):
        at_risk = there & (seen >= t)
        n, n1 = at_risk.sum(), (at_risk & group).sum()
        u += float((there & event & group & (seen == t)).sum() - n1 / n)
        v += n1 / n * (1 - n1 / n)
    return -u / math.sqrt(v)


def shares(gone: frozenset[str]) -> dict[str, float]:
    """Bretz et al. 2009, one after the other."""
    w = dict(WEIGHTS)
    g = {(i, k): TRANSITIONS[i].get(k, 0.0) for i in NAMES for k in NAMES}
    left = list(NAMES)
    for j in sorted(gone):
        left.remove(j)
        w = {i: w[i] + w[j] * g[j, i] for i in left}
        g = {(i, k): (g[i, k] + g[i, j] * g[j, k]) / (1 - g[i, j] * g[j, i]) if i != k else 0.0 for i in left for k in left}
    return w


def bound_at(name: str, share: float, information: list[float], *, last: bool) -> float:
    if share == 0.0:
        return math.inf
    level = 0.025 * share
    if name == "pfs":
        return float(norm.isf(level))
    grown = [value for k, value in enumerate(information) if all(value < later for later in information[k + 1 :])]
    found = bounds(efficacy=LAWS[name], futility=None, alpha=level, sides=1, information=[value / TARGETS[-1] for value in grown], final=last)
    return float(found.efficacy_z[-1])


def one_trial(patients: Patients, i: int, *, obey: bool) -> tuple[dict[str, int], dict[str, int], int]:
    """Looks of rejection and of futility by hypothesis, and where the trial stopped."""
    entry, arm = patients.entry[i], patients.arm[i]
    calendar = {"os": np.sort(entry + patients.death[i]), "pfs": np.sort(entry + patients.progression[i])}
    wanted = [calendar["os"][TARGETS[0] - 1], max(calendar["pfs"][PFS_TARGET - 1], calendar["os"][TARGETS[0]])]
    wanted += [calendar["os"][TARGETS[1] - 1], calendar["os"][TARGETS[2] - 1]]
    latest = [400.0, 430.0, 520.0, 620.0]
    cuts = np.maximum.accumulate([min(a, b) for a, b in zip(wanted, latest, strict=True)])
    reached = [a <= b for a, b in zip(wanted, latest, strict=True)]
    rejected: dict[str, int] = {}
    futile: dict[str, int] = {}
    information: dict[str, list[float]] = {name: [] for name in NAMES}
    statistic: dict[str, float] = {}
    over: set[str] = set()
    for look in range(4):
        for name in NAMES:
            if look in OWN[name] and name not in rejected and name not in futile:
                time, test = (patients.progression[i], 1) if name == "pfs" else (patients.death[i], 1 if name == "low" else 2)
                statistic[name] = z_at(time, entry, arm, test, cuts[look])
                own = OWN[name].index(look)
                information[name].append(float(TARGETS[own]) if reached[look] else float((calendar["os"] <= cuts[look]).sum()))
        while True:
            held = shares(frozenset(rejected))
            hits = [
                name
                for name in NAMES
                if name in statistic
                and name not in rejected
                and name not in futile
                and statistic[name] >= bound_at(name, held[name], information[name], last=len(information[name]) == len(OWN[name]))
            ]
            if not hits:
                break
            rejected |= dict.fromkeys(hits, look)
        for name in NAMES:
            if look in OWN[name] and look == OWN[name][-1]:
                over.add(name)
            rule = FUTILITY[name]
            asked = obey and look in OWN[name][:-1] and name not in rejected and name not in futile
            if asked and rule is not None and statistic[name] < rule[OWN[name].index(look)]:
                futile[name] = look
        if all(name in over or name in rejected or name in futile for name in NAMES):
            return rejected, futile, look
    raise AssertionError


def plans(*, futility: bool) -> dict[str, PlannedAnalysis]:
    found = {}
    for name in NAMES:
        endpoint, test = ("pfs", 1) if name == "pfs" else ("os", 1 if name == "low" else 2)
        method = LogRank.model_validate({"method": "logrank", "endpoint": endpoint, "treatment": {"test": "low", "reference": "r"}})
        rule = FUTILITY[name] if futility else None
        targets = (1.0,) if name == "pfs" else tuple(map(float, TARGETS))
        monitoring = MonitoringPlan(
            alpha=0.025, sides=1, efficacy=LAWS[name], futility=None if rule is None else FutilityZ(z=rule), targets=targets, planned=targets[-1]
        )
        found[name] = PlannedAnalysis(
            method=method,
            endpoint=endpoint,
            test=test,
            reference=0,
            favours=-1,
            looks=OWN[name],
            monitoring=monitoring,
            ignore_futility=rule is not None,
            pooled=() if name == "pfs" else (0, 1, 2),
            informing=() if name == "pfs" else (0, 1, 2),
        )
    return found


def run(patients: Patients, *, futility: bool, rows: slice = slice(None)) -> TrialRecord:
    observed = patients.observables()
    if rows != slice(None):
        events = {name: type(each)(each.time[rows], each.calendar_event[rows]) for name, each in observed.events.items()}
        enrolment = Enrolment(observed.enrolment.entry_time[rows], observed.enrolment.arm[rows], None, 1)
        observed = Observables(enrolment=enrolment, events=events, values={}, covariates={}, strata={})
    return conduct(
        Block(0, len(observed.enrolment.arm)),
        observed,
        arms=("r", "low", "high"),
        looks={name: Look.model_validate(look) for name, look in LOOKS.items()},
        analyses=plans(futility=futility),
        primary_endpoint="os",
        families={"main": PlannedFamily(members=NAMES, names=NAMES, alpha=0.025, sides=1, procedure=GRAPH)},
    )


@pytest.mark.parametrize("futility", [False, True])
@pytest.mark.parametrize("log_hr", [(-0.6, -0.5), (-0.5, -0.9)])
def test_a_graph_is_carried_from_look_to_look(log_hr: tuple[float, float], futility: bool) -> None:
    patients = Patients(log_hr)
    record = run(patients, futility=futility)
    late = inherited = dropped = 0
    for i in range(N_TRIALS):
        rejected, futile, stop = one_trial(patients, i, obey=futility)
        freely, _, _ = one_trial(patients, i, obey=False)
        assert record.stop_look[i].item() == stop + 1
        for name in NAMES:
            analysis = record.analyses[name]
            assert analysis.reject[i].nonzero()[:, 0].tolist() == ([rejected[name]] if name in rejected else [])
            assert analysis.futile[i].nonzero()[:, 0].tolist() == ([futile[name]] if name in futile else [])
            if futility and analysis.ignoring_futility is not None:
                assert analysis.ignoring_futility[i].item() == (name in freely)
            late += name in rejected and rejected[name] not in OWN[name]
        inherited += len(rejected) > 1
        dropped += len(futile)
    assert inherited > 10
    assert 5 < record.target_not_reached.sum() < N_TRIALS - 5  # information is then what all three arms have
    assert late > 0  # progression, rejected after its own look with alpha that came later
    assert dropped > 5 or not futility


def test_a_family_does_not_depend_on_the_block() -> None:
    patients = Patients((-0.6, -0.5))
    whole = run(patients, futility=True)
    for start in range(0, N_TRIALS, 7):
        part = run(patients, futility=True, rows=slice(start, start + 7))
        for name in NAMES:
            for field in ("z", "efficacy_z", "reject", "futile", "ignoring_futility"):
                here, there = getattr(part.analyses[name], field), getattr(whole.analyses[name], field)
                assert here is there is None or torch.equal(here.nan_to_num(9.0), there[start : start + 7].nan_to_num(9.0))


# Decisions from all statistics together ---------------------------------------------------------------------------------


def values(effects: tuple[float, ...], n_trials: int = 300, n: int = 60, seed: int = 2) -> tuple[Observables, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    arms = len(effects)
    arm = rng.permuted(np.tile(np.arange(n) % arms, (n_trials, 1)), axis=-1)
    value = rng.normal(np.array(effects)[arm])
    entry = torch.zeros((1, n), dtype=torch.float64)
    enrolment = Enrolment(entry_time=entry, arm=torch.from_numpy(arm.astype(np.int8)), stratum=None, n_strata=1)
    seen = {("y", "v"): follow_to_visit(torch.from_numpy(value), 7.0, None, entry)}
    return Observables(enrolment=enrolment, events={}, values=seen, covariates={}, strata={}), arm, value


def decided(observed: Observables, procedure: Multiplicity, *, sides: int = 1, alpha: float = 0.05, looks: tuple[int, ...] = (0,)) -> Mapping[str, np.ndarray]:
    n_arms = int(observed.enrolment.arm.max()) + 1
    names = tuple(f"arm{j}" for j in range(1, n_arms))
    multiplicity = "dunnett" if procedure == "dunnett" else "none"
    method = TTest.model_validate(
        {"method": "t_test", "endpoint": "y", "treatment": {"test": list(names), "reference": "r"}, "variance": "pooled", "multiplicity": multiplicity}
    )
    monitoring = MonitoringPlan(alpha=alpha, sides=sides, efficacy=None, futility=None, targets=(1.0,), planned=1.0)
    analyses = {
        name: PlannedAnalysis(
            method=method,
            endpoint="y",
            test=j,
            reference=0,
            favours=1,
            looks=looks,
            monitoring=monitoring,
            visit="v",
            is_event=False,
            others=tuple(k for k in range(1, n_arms) if k != j) if method.joint else (),
            pooled=tuple(range(n_arms)),
            informing=tuple(range(n_arms)),
        )
        for j, name in enumerate(names, start=1)
    }
    record = conduct(
        Block(0, len(observed.enrolment.arm)),
        observed,
        arms=("r", *names),
        looks={"final": Look.model_validate({"when": {"calendar": "10 days"}})},
        analyses=analyses,
        primary_endpoint=None,
        families={"f": PlannedFamily(names, names, alpha, sides, procedure, (tuple(range(len(names))),), (1.0,) * len(names))},
    )
    return {
        "z": np.stack([record.analyses[name].z[:, 0].numpy() for name in names], axis=-1),
        "reject": np.stack([record.analyses[name].reject[:, 0].numpy() for name in names], axis=-1),
        "wrong": np.stack([record.analyses[name].reject_wrong_direction[:, 0].numpy() for name in names], axis=-1),
    }


@pytest.mark.parametrize("procedure", ["bonferroni", "sidak", "holm", "hochberg", "hommel", "fixed_sequence"])
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("looks", [(0,), ()])
def test_rejected_is_what_has_an_adjusted_p_value_of_at_most_alpha(procedure: str, sides: int, looks: tuple[int, ...]) -> None:
    observed, _, _ = values((0.0, 0.7, -0.9, 0.8))
    found = decided(observed, procedure, sides=sides, looks=looks)  # type: ignore[arg-type]
    p = norm.sf(found["z"]) if sides == 1 else 2 * norm.sf(np.abs(found["z"]))
    hit = getattr(adjustment, procedure)(p) <= 0.05
    assert np.array_equal(found["reject"], hit & (found["z"] > 0))
    assert np.array_equal(found["wrong"], hit & (found["z"] < 0))
    assert 100 < hit.sum() < 800


def test_dunnett_pools_the_variance_of_all_arms() -> None:
    """Against the linear model with an intercept and an indicator of every arm, and the step-down test from its distribution."""
    from trialsim.design.multiplicity import dunnett

    observed, arm, value = values((0.0, 0.4, 0.8, 0.6), n=40)
    found = decided(observed, "dunnett")
    for i in range(0, 300, 10):
        design = np.stack([np.ones(40), *((arm[i] == j) * 1.0 for j in (1, 2, 3))], axis=1)
        beta, residual, _, _ = np.linalg.lstsq(design, value[i], rcond=None)
        covariance = np.linalg.inv(design.T @ design) * residual[0] / 36
        t = beta[1:] / np.sqrt(np.diag(covariance)[1:])
        b = np.sqrt(np.array([(arm[i] == j).sum() for j in (1, 2, 3)]) / np.array([((arm[i] == j) | (arm[i] == 0)).sum() for j in (1, 2, 3)]))
        adjusted = dunnett.step_down(t[None], b[None], np.array([36.0]))[0]
        assert np.array_equal(found["reject"][i], adjusted <= 0.05)
    assert 100 < found["reject"].sum() < 700
