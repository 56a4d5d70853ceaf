"""Follow-up and cuts against a patient-by-patient reading of the conventions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trialsim.conduct import Look
from trialsim.conduct.cuts import Conditions, cut_time
from trialsim.conduct.follow_up import ValueFollowUp, follow, follow_to_visit, n_enrolled

GENERATOR = np.random.default_rng(3)
ENTRY = torch.from_numpy(np.sort(GENERATOR.uniform(0, 300, (5, 60)), axis=-1))
TIME = torch.from_numpy(GENERATOR.exponential(200, (5, 60)))
DROPOUT = torch.from_numpy(GENERATOR.exponential(600, (5, 60)))


def test_every_patient_is_seen_as_the_conventions_say() -> None:
    cut = torch.tensor([0.5, 90.0, 200.0, 400.0, 5000.0], dtype=torch.float64)
    seen, event = follow(TIME, DROPOUT, ENTRY).at(cut, ENTRY)
    for row in range(5):
        for patient in range(60):
            entry, death, drop, end = (x[row, patient].item() for x in (ENTRY, TIME, DROPOUT, cut[:, None].expand(5, 60)))
            if entry > end:
                assert seen[row, patient] < 0
                assert not event[row, patient]
                continue
            expected_event = death <= drop and entry + death <= end
            assert event[row, patient].item() == expected_event
            assert seen[row, patient].item() == pytest.approx(min(death, drop, end - entry), rel=1e-12)


def test_the_deciding_event_is_in_its_own_cut() -> None:
    followed = follow(TIME, DROPOUT, ENTRY)
    conditions = Conditions(entry_time=ENTRY, events={"os": followed}, visits={}, n_replicates=5)
    for target in range(1, 40):
        cut, reached = cut_time(Look.model_validate({"when": {"events": target, "endpoint": "os"}}), conditions, None)
        _, event = followed.at(cut, ENTRY)
        assert reached.all()
        assert (event.sum(-1) == target).all()


def test_event_and_dropout_at_the_same_time_is_an_event() -> None:
    same = torch.tensor([[5.0]], dtype=torch.float64)
    seen, event = follow(same, same, torch.zeros_like(same)).at(torch.tensor([5.0], dtype=torch.float64), torch.zeros_like(same))
    assert event.item()
    assert seen.item() == 5.0


def test_a_target_out_of_reach_is_met_when_no_patient_is_left_at_risk() -> None:
    followed = follow(TIME, DROPOUT, ENTRY)
    conditions = Conditions(entry_time=ENTRY, events={"os": followed}, visits={}, n_replicates=5)
    cut, reached = cut_time(Look.model_validate({"when": {"events": 60, "endpoint": "os"}}), conditions, None)
    last = (ENTRY + torch.minimum(TIME, DROPOUT)).amax(-1)
    assert not reached.any()
    assert torch.equal(cut, last)
    cut, reached = cut_time(Look.model_validate({"when": {"events": 60, "endpoint": "os"}, "not_after": "100 days"}), conditions, None)
    assert not reached.any()
    assert (cut == 100).all()


def test_triggers_combine() -> None:
    followed = follow(TIME, None, ENTRY)
    conditions = Conditions(entry_time=ENTRY, events={"os": followed}, visits={"w4": ENTRY + 28.0}, n_replicates=5)

    def at(when: dict[str, object]) -> list[float]:
        return cut_time(Look.model_validate({"when": when}), conditions, "os")[0].tolist()

    events, calendar, last_in = {"events": 20}, {"calendar": "150 days"}, {"after_last_patient_in": "10 days"}
    assert at(last_in) == (ENTRY[:, -1] + 10).tolist()
    assert at({"enrolled": 7}) == ENTRY[:, 6].tolist()
    assert at({"completers": 7, "at_visit": "w4"}) == (ENTRY[:, 6] + 28).tolist()
    assert at({"all": [events, calendar]}) == [max(a, b) for a, b in zip(at(events), at(calendar), strict=True)]
    assert at({"any": [events, last_in]}) == [min(a, b) for a, b in zip(at(events), at(last_in), strict=True)]


def test_values_are_seen_at_the_visit_unless_dropped_out_before() -> None:
    value = torch.from_numpy(GENERATOR.normal(size=(5, 60)))
    cut = torch.full((5,), 250.0, dtype=torch.float64)
    seen = follow_to_visit(value, 28.0, DROPOUT, ENTRY).at(cut)
    expected = (cut[:, None] >= ENTRY + 28.0) & (DROPOUT >= 28.0)
    assert torch.equal(~seen.isnan(), expected)
    assert torch.equal(seen[expected], value[expected])
    assert isinstance(follow_to_visit(value, 28.0, None, ENTRY[:1]), ValueFollowUp)


def test_enrolled_counts_include_the_patient_randomised_at_the_cut() -> None:
    cut = ENTRY[:, 9].clone()
    assert n_enrolled(ENTRY, cut).tolist() == [10] * 5
    assert n_enrolled(ENTRY[:1], torch.tensor([math.inf, 0.0], dtype=torch.float64)).tolist() == [60, 0]
