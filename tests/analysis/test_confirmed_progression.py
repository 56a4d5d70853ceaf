"""Confirmed progression against the definition in a loop, and by hand."""

from __future__ import annotations

import math

import pytest
import torch

from trialsim.analysis.confirmed_progression import confirmed_progression
from trialsim.records import VisitData

NAN = math.nan


def _data(rows: list[list[float]], baseline: float = 0.0) -> VisitData:
    value = torch.tensor([rows], dtype=torch.float64)
    return VisitData(value, torch.zeros(value.shape[:2], dtype=torch.int8), at=0, baseline=torch.full(value.shape[:2], baseline, dtype=torch.float64))


def by_definition(change: list[float], when: list[float], threshold: float, window: float) -> tuple[float | None, float | None]:
    """Onset and confirmation time, None without confirmed progression."""
    seen = [k for k, c in enumerate(change) if not math.isnan(c)]
    for place, v in enumerate(seen):
        if change[v] < threshold:
            continue
        for w in seen[place + 1 :]:
            if change[w] < threshold:
                break
            if when[w] - when[v] >= window:
                return when[v], when[w]
    return None, None


def test_by_hand():
    when = torch.tensor([84.0, 168.0, 252.0, 336.0], dtype=torch.float64)
    rows = [
        [1, 1, 0, 0],  # confirmed at 168
        [1, 0, 1, 1],  # a relapse at 84 that goes away; onset 252
        [0, 0, 0, 1],  # nothing confirms the last visit
        [1, NAN, 1, 0],  # a missing visit is passed over
        [1, NAN, NAN, NAN],
        [NAN, NAN, NAN, NAN],
        [0, 1, NAN, 0],
    ]
    found = confirmed_progression(_data(rows), when, threshold=1.0, window=84.0)
    assert found.event[0].tolist() == [True, True, False, True, False, False, False]
    assert found.time[0].tolist() == [84.0, 252.0, 336.0, 84.0, 84.0, 0.0, 336.0]
    later = confirmed_progression(_data(rows), when, threshold=1.0, window=84.0, event_at="confirmation")
    assert later.time[0].tolist() == [168.0, 336.0, 336.0, 252.0, 84.0, 0.0, 336.0]
    longer = confirmed_progression(_data(rows), when, threshold=1.0, window=168.0)
    assert longer.event[0].tolist() == [False, False, False, True, False, False, False]


@pytest.mark.parametrize("worse", ["higher", "lower"])
@pytest.mark.parametrize("window", [0.0, 60.0, 84.0, 200.0])
@pytest.mark.parametrize("event_at", ["onset", "confirmation"])
def test_it_is_the_definition(worse, window, event_at):
    generator = torch.Generator().manual_seed(int(window))
    shape = (3, 60, 7)
    value = torch.randn(shape, generator=generator, dtype=torch.float64).cumsum(-1) * 0.5
    value[torch.rand(shape, generator=generator) < 0.2] = NAN
    baseline = torch.randn(shape[:2], generator=generator, dtype=torch.float64) * 0.2
    baseline[0, :3] = NAN
    when = (torch.rand(shape, generator=generator, dtype=torch.float64) * 60 + 20).cumsum(-1)
    limits = 0.5 + torch.rand(shape[:2], generator=generator, dtype=torch.float64)
    data = VisitData(value, torch.zeros(shape[:2], dtype=torch.int8), at=0, baseline=baseline)
    found = confirmed_progression(data, when, threshold=limits, window=window, worse=worse, event_at=event_at)
    sign = 1.0 if worse == "higher" else -1.0
    n_events = 0
    for r in range(3):
        for i in range(60):
            if math.isnan(baseline[r, i].item()):
                assert (found.time[r, i].item(), found.event[r, i].item()) == (-1.0, False)
                continue
            change = (sign * (value[r, i] - baseline[r, i])).tolist()
            times = when[r, i].tolist()
            expected = by_definition(change, times, limits[r, i].item(), window)[event_at == "confirmation"]
            last = max((t for t, c in zip(times, change, strict=True) if not math.isnan(c)), default=0.0)
            assert found.event[r, i].item() == (expected is not None)
            assert found.time[r, i].item() == (last if expected is None else expected)
            n_events += expected is not None
    assert 5 <= n_events < 170


def test_a_replicate_does_not_depend_on_the_block():
    value = torch.randn((9, 20, 5), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    data = VisitData(value, torch.zeros((9, 20), dtype=torch.int8), at=0, baseline=torch.zeros((9, 20), dtype=torch.float64))
    when = torch.arange(1, 6, dtype=torch.float64) * 30
    whole = confirmed_progression(data, when, threshold=0.5, window=30.0)
    one = confirmed_progression(VisitData(value[4:5], data.group[4:5], at=0, baseline=data.baseline[4:5]), when, threshold=0.5, window=30.0)
    assert torch.equal(one.time[0], whole.time[4])
    assert torch.equal(one.event[0], whole.event[4])
