"""Every function that differs by device gives the CPU's answer on CUDA; and the pretended device is strict."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from trialsim import tensors
from trialsim.records import Cohort

ROWS, PATIENTS = 12, 70


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(20)


def tied_times(draw: np.random.Generator, digits: int) -> torch.Tensor:
    """Follow-up with ties, zeros, and a tenth of the patients not in the analysis."""
    time = np.round(draw.exponential(10.0, (ROWS, PATIENTS)), digits)
    time[draw.random(time.shape) < 0.05] = 0.0
    time[draw.random(time.shape) < 0.1] = -1.0
    return torch.from_numpy(time)


def test_a_device_refuses_tensors_of_another(cuda):
    there, here = cuda(torch.arange(4.0)), torch.arange(4.0)
    assert there.device.type == "cuda"
    assert (there + 1).device.type == "cuda"
    assert (there + torch.tensor(1.0)).tolist() == [1.0, 2.0, 3.0, 4.0]
    for wrong in (lambda: there + here, lambda: torch.cat([there, here]), lambda: torch.stack([there, here]), lambda: here[there.long()]):
        with pytest.raises(RuntimeError, match="same device"):
            wrong()
    with pytest.raises(TypeError, match="to numpy"):
        there.numpy()
    assert there[torch.tensor([2])].tolist() == [2.0]
    there[1:2].add_(5.0)
    assert there.cpu().tolist() == [0.0, 6.0, 2.0, 3.0]


@pytest.mark.parametrize("n_strata", [1, 3, 64])
@pytest.mark.parametrize("digits", [0, 2, 15])
def test_sorting_for_risk_sets(cuda, draw, digits, n_strata):
    time = tied_times(draw, digits)
    event = torch.from_numpy(draw.random(time.shape) < 0.6) & (time >= 0)
    group = torch.from_numpy(draw.integers(0, 2, time.shape).astype(np.int8))
    stratum = torch.from_numpy(draw.integers(0, n_strata, time.shape)) if n_strata > 1 else None
    here = tensors.sort_longest_first(time, event, group, stratum, n_strata)
    there = tensors.sort_longest_first(*(None if x is None else cuda(x) for x in (time, event, group, stratum)), n_strata)
    assert digits == 15 or here[3].any()
    for a, b in zip(here, there, strict=True):
        assert (a is None) == (b is None)
        assert a is None or (b.device.type == "cuda" and torch.equal(a.long(), b.cpu().long()))
    order = tensors.order_longest_first(cuda(time), cuda(event)).cpu()
    expected = tensors.order_longest_first(time, event)
    for column in (time, event):
        assert torch.equal(column.gather(-1, order), column.gather(-1, expected))


@pytest.mark.parametrize("size", [1, 4, 8, 9, 40])
def test_ranks_and_orders(cuda, draw, size):
    numbers = torch.from_numpy(np.round(draw.random((6, 5, size)), 1))  # with ties: the earlier first
    here, there = tensors.rank_last(numbers), tensors.rank_last(cuda(numbers))
    assert torch.equal(here.long(), there.cpu().long())
    assert torch.equal(torch.from_numpy(np.argsort(np.argsort(numbers.numpy(), -1, kind="stable"), -1)), here.long())
    assert torch.equal(tensors.argsort_last(numbers), tensors.argsort_last(cuda(numbers)).cpu())
    assert torch.equal(tensors.sort_last(numbers), tensors.sort_last(cuda(numbers)).cpu())


def test_selection_and_counts(cuda, draw):
    times = torch.from_numpy(draw.exponential(1.0, (ROWS, PATIENTS)))
    times[0, 3:] = torch.inf
    limit = torch.from_numpy(draw.exponential(1.0, (ROWS, 1)))
    for k in (1, 5, PATIENTS, PATIENTS + 1):
        assert torch.equal(tensors.kth_smallest(times, k), tensors.kth_smallest(cuda(times), k).cpu())
    here, there = tensors.at_most(times, limit), tensors.at_most(cuda(times), cuda(limit))
    assert torch.equal(here, there.cpu())
    assert torch.equal(tensors.count_last(here), tensors.count_last(there).cpu())


def test_a_constant_is_copied_once_and_forgotten_with_it(cuda):
    constant, device = torch.arange(3.0), cuda(torch.zeros(1)).device
    assert tensors.resident(constant, torch.device("cpu")) is constant
    copy = tensors.resident(constant, device)
    assert copy.device.type == "cuda"
    assert tensors.resident(constant, device) is copy
    known = len(tensors._elsewhere)
    del constant, copy
    gc.collect()
    assert len(tensors._elsewhere) == known - 1


def test_records_come_home(cuda):
    at_home = Cohort(columns={"age": torch.ones(2, 3)}, levels={"sex": ("f", "m")})
    assert tensors.on_cpu(at_home) is at_home
    away = Cohort(columns={"age": cuda(torch.ones(2, 3))}, levels={"sex": ("f", "m")})
    home = tensors.on_cpu(away)
    assert home.columns["age"].device.type == "cpu"
    assert home.levels is away.levels
