"""Accrual against the closed form and against a step-by-step inverse of the intensity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from trialsim.conduct import Accrual
from trialsim.rng import Block, Streams

MONTH = 30.4375


def test_uniform_accrual_is_evenly_spaced_and_the_same_everywhere() -> None:
    times = Accrual(uniform="12 months").entry_times(Streams(1), Block(0, 7), 48)  # type: ignore[arg-type]
    np.testing.assert_allclose(times, (np.arange(1, 49) - 0.5)[None] * 12 * MONTH / 48, rtol=1e-15)


@pytest.mark.parametrize(
    "pieces",
    [
        [(6, 15), (None, 30)],
        [(2, 0), (5, 10), (None, 20)],
        [(3, 10), (4, 0), (None, 5)],
        [(None, 20)],
    ],
)
def test_poisson_accrual_inverts_the_cumulative_intensity(pieces: list[tuple[float | None, float]]) -> None:
    rate = [{"until": f"{until} months", "value": f"{value} / month"} if until else {"value": f"{value} / month"} for until, value in pieces]
    times = Accrual.model_validate({"rate": rate}).entry_times(Streams(2), Block(0, 3), 120)
    targets = Streams(2)("accrual").exponential(Block(0, 3), 120).numpy().cumsum(-1)
    for row in range(3):
        for patient in (0, 1, 30, 119):
            left, start, found = targets[row, patient], 0.0, None
            for until, value in pieces:
                end = np.inf if until is None else until * MONTH
                gained = value / MONTH * (end - start) if value else 0.0
                if value and left <= gained:
                    found = start + left * MONTH / value
                    break
                left, start = left - gained, end
            assert times[row, patient].item() == pytest.approx(found, rel=1e-12)


def test_poisson_counts_have_the_variance_of_a_poisson() -> None:
    times = Accrual.model_validate({"rate": "20 / month"}).entry_times(Streams(3), Block(0, 4000), 400)
    count = (times <= 10 * MONTH).sum(-1).double()
    # mean 200, variance 200; standard errors sqrt(200/4000) and 200 sqrt(2/4000).
    assert abs(count.mean().item() - 200) < 4 * 0.2236
    assert abs(count.var().item() - 200) < 4 * 200 * (2 / 4000) ** 0.5


def test_same_bits_at_any_block_size_and_enrolment() -> None:
    accrual = Accrual.model_validate({"rate": [{"until": "6 months", "value": "15 / month"}, {"value": "30 / month"}]})
    whole = accrual.entry_times(Streams(4), Block(0, 20), 300)
    assert torch.equal(torch.cat([accrual.entry_times(Streams(4), Block(first, 1), 200) for first in range(20)]), whole[:, :200])


@pytest.mark.parametrize(
    "given, words",
    [
        ({}, "exactly one of"),
        ({"uniform": "1 year", "rate": "3 / day"}, "exactly one of"),
        ({"rate": "-3 / day"}, "greater than or equal to 0"),
        ({"rate": [{"until": "2 days", "value": "3 / day"}, {"value": "0 / day"}]}, "must be positive"),
        ({"rate": [{"until": "2 days", "value": "3 / day"}, {"until": "1 day", "value": "3 / day"}, {"value": "1 / day"}]}, "must increase"),
        ({"uniform": 12}, "needs a unit of time"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Accrual.model_validate(given)
