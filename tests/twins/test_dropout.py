"""Loss to follow-up: one law, a law per arm, none."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from trialsim.rng import Block

OUTCOME = {"dist": "exponential", "median": "12 months"}


def test_one_law_is_the_same_under_every_arm_and_apart_from_the_outcome(twins: Any) -> None:
    world = twins(OUTCOME, censoring={"dropout": {"dist": "exponential", "rate": "0.01 / day"}})
    expected = world.streams("dropout").exponential(Block(0, 20), 150) * 100.0
    for arm in (0, 1, 2, "assigned"):
        torch.testing.assert_close(world.dropout(arm), expected, rtol=1e-14, atol=0)
    assert world.model.dropout_survival(2, 50.0).item() == pytest.approx(math.exp(-0.5))


def test_a_law_per_arm_is_seen_bit_for_bit_when_assigned(twins: Any) -> None:
    laws = {
        "experimental": {"dist": "weibull", "shape": 2, "median": "1 year"},
        "third": {"dist": "exponential", "cumulative": 0.1, "by": "1 year", "prognostic": {"marker": {"hr": 3.0}}},
    }
    world = twins(OUTCOME, censoring={"dropout": laws})
    each = torch.stack([world.dropout(arm) for arm in range(3)])
    assert torch.isinf(each[1]).all()
    assert torch.equal(world.dropout(), each.gather(0, world.assigned(Block(0, 20), 150).long()[None])[0])
    assert torch.equal(torch.cat([world.dropout(block=Block(0, 7)), world.dropout(block=Block(7, 13))]), world.dropout())
    assert world.model.dropout_survival(1, 400.0).item() == 1.0
    assert world.model.dropout_survival(0, 365.25).item() == pytest.approx(0.5)


def test_no_declared_dropout_is_none(twins: Any) -> None:
    world = twins(OUTCOME)
    assert world.dropout() is None
    assert world.model.dropout_survival(0, 1e6).item() == 1.0
