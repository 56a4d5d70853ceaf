"""Several analyses in one trial, and looks that are not made at their planned information."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trialsim.analysis.methods.logrank import LogRank
from trialsim.conduct import Look
from trialsim.conduct.comparison import Observables, PlannedAnalysis
from trialsim.conduct.follow_up import follow
from trialsim.conduct.monitoring import MonitoringPlan
from trialsim.conduct.trial import conduct
from trialsim.design import bounds
from trialsim.design.spending import LanDeMetsOBrienFleming
from trialsim.records import Block, Enrolment, TrialRecord
from trialsim.spec.planning import information_target

SPENDING = LanDeMetsOBrienFleming(spending="lan_demets_obrien_fleming")
FULL_ALPHA = 1.959963985
N_TRIALS, N = 200, 120


def observables(log_hr: float = -0.4) -> Observables:
    rng = np.random.default_rng(8)
    entry = torch.from_numpy(np.sort(rng.uniform(0, 200, (N_TRIALS, N)), -1))
    test = rng.permuted(np.tile(np.arange(N) % 2, (N_TRIALS, 1)), axis=-1)
    death = torch.from_numpy(rng.exponential(400 / np.exp(log_hr * test)))
    progression = torch.minimum(death, torch.from_numpy(rng.exponential(150 / np.exp(log_hr * test))))
    arm = torch.from_numpy((1 - test).astype(np.int8))
    events = {"pfs": follow(progression, None, entry), "os": follow(death, None, entry)}
    return Observables(enrolment=Enrolment(entry, arm, None, 1), events=events, values={}, covariates={}, strata={})


def plan(endpoint: str, looks: tuple[int, ...], targets: tuple[float, ...], *, by_calendar: bool = False) -> PlannedAnalysis:
    method = LogRank.model_validate({"method": "logrank", "endpoint": endpoint, "treatment": {"test": "t", "reference": "r"}})
    monitoring = MonitoringPlan(
        alpha=0.025, sides=1, efficacy=SPENDING if len(looks) > 1 else None, futility=None, targets=targets, planned=targets[-1], by_calendar=by_calendar
    )
    return PlannedAnalysis(method=method, endpoint=endpoint, test=0, reference=1, favours=-1, looks=looks, monitoring=monitoring)


def run(looks: dict[str, dict[str, object]], analyses: dict[str, PlannedAnalysis]) -> TrialRecord:
    return conduct(
        Block(0, N_TRIALS),
        observables(),
        arms=("t", "r"),
        looks={name: Look.model_validate(look) for name, look in looks.items()},
        analyses=analyses,
        primary_endpoint="os",
    )


PFS_THEN_OS: dict[str, dict[str, object]] = {"a": {"when": {"events": 90, "endpoint": "pfs"}}, "b": {"when": {"events": 80, "endpoint": "os"}}}


def test_an_analysis_spends_its_alpha_at_its_own_last_look() -> None:
    record = run(PFS_THEN_OS, {"pfs": plan("pfs", (0,), (90.0,)), "os": plan("os", (0, 1), (45.0, 80.0), by_calendar=True)})
    pfs, overall = record.analyses["pfs"], record.analyses["os"]
    assert torch.allclose(pfs.efficacy_z[:, 0], torch.tensor(FULL_ALPHA, dtype=torch.float64), atol=1e-8)
    assert torch.equal(pfs.reject[:, 0], pfs.z[:, 0] >= pfs.efficacy_z[:, 0])
    assert pfs.reject.any()
    assert not pfs.reject[:, 1].any()
    assert pfs.z[:, 1].isnan().all()
    # Progression is decided at look a in every trial, so a trial stops there exactly when survival is too.
    assert torch.equal(record.stop_look == 1, overall.reject[:, 0])
    assert 0 < (record.stop_look == 1).sum() < N_TRIALS
    for row in range(0, N_TRIALS, 20):
        seen = overall.n_events[row].tolist()  # type: ignore[index]
        first = bounds(efficacy=SPENDING, futility=None, alpha=0.025, sides=1, information=[seen[0] / 80], final=False)
        assert overall.efficacy_z[row, 0].item() == pytest.approx(first.efficacy_z[0], abs=1e-6)


def test_an_analysis_whose_look_never_comes_is_made_where_the_trial_ends() -> None:
    looks = {name: {**look, "not_after": "150 days"} for name, look in PFS_THEN_OS.items()}
    record = run(looks, {"pfs": plan("pfs", (0,), (90.0,)), "os": plan("os", (1,), (80.0,))})
    assert (record.stop_look == 1).all()
    assert record.target_not_reached.all()
    assert (record.cut_time[:, 0] == 150).all()
    for analysis in record.analyses.values():
        assert torch.allclose(analysis.efficacy_z[:, 0], torch.tensor(FULL_ALPHA, dtype=torch.float64), atol=1e-8)
        assert torch.equal(analysis.reject[:, 0], analysis.z[:, 0] >= FULL_ALPHA)


def test_a_look_cut_short_by_its_own_limit_spends_what_it_saw_and_ends_nothing() -> None:
    looks = {"a": {"when": {"events": 60, "endpoint": "os"}, "not_after": "200 days"}, "b": {"when": {"events": 80, "endpoint": "os"}}}
    record = run(looks, {"os": plan("os", (0, 1), (60.0, 80.0))})
    found = record.analyses["os"]
    late = record.cut_time[:, 0] == 200
    assert late.any()
    assert (record.stop_look == 2)[~found.reject[:, 0]].all()
    for row in late.nonzero()[:, 0].tolist()[:8]:
        seen = int(record.n_events["os"][row, 0])
        assert seen < 60
        first = bounds(efficacy=SPENDING, futility=None, alpha=0.025, sides=1, information=[seen / 80], final=False)
        assert found.efficacy_z[row, 0].item() == pytest.approx(first.efficacy_z[0], abs=1e-6)
        if record.stop_look[row] == 2:
            both = bounds(efficacy=SPENDING, futility=None, alpha=0.025, sides=1, information=[seen / 80, 1.0])
            assert found.efficacy_z[row, 1].item() == pytest.approx(both.efficacy_z[1], abs=1e-6)


@pytest.mark.parametrize(
    "when, expected",
    [
        ({"events": 200, "endpoint": "os"}, 200),
        ({"events": 200, "endpoint": "pfs"}, None),
        ({"any": [{"events": 200, "endpoint": "os"}, {"calendar": "6 months"}]}, None),
        ({"any": [{"events": 200, "endpoint": "os"}, {"events": 150, "endpoint": "os"}]}, 150),
        ({"all": [{"events": 200, "endpoint": "os"}, {"calendar": "6 months"}]}, 200),
        ({"all": [{"events": 200, "endpoint": "os"}, {"events": 250, "endpoint": "os"}]}, 250),
        ({"calendar": "6 months"}, None),
        ({"enrolled": 200}, None),
    ],
)
def test_information_of_a_trigger_is_known_only_where_it_is_sure(when: dict[str, object], expected: float | None) -> None:
    assert information_target(Look.model_validate({"when": when}).when, endpoint="os", is_event=True) == expected
