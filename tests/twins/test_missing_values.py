"""Missing values: rates, what they depend on, and that patients may come back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special

from trialsim.rng import Block
from trialsim.twins.missing_values import intercept

WIDE, N = Block(0, 300), 150
VISITS = {"w0": 0.0, "w12": 84.0, "w24": 168.0}
LINE = {"model": "linear_mixed", "baseline": "age", "slope": "3 / year", "slope_sd": "20 / year", "residual": {"sd": 15}}


def masks(twins: Any, missing: dict[str, Any]) -> tuple[Any, dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor]:
    world = twins(LINE, visits=VISITS, missing_data={"y": missing})
    world.model.calibrate_missing_values({"y": ["w12", "w24"]}, lambda streams, block, n: world.cohort_model.sample(streams, block, n))
    values = {visit: world.values(visit, "assigned", block=WIDE) for visit in ("w12", "w24")}
    cohort = world.cohort(WIDE, N)
    found = world.model.missing_values("y", values, cohort.columns["age"], streams=world.streams, block=WIDE, n=N, cohort=cohort)
    return world, values, found, cohort.columns["age"]


@pytest.mark.parametrize(
    "missing",
    [
        {"mechanism": "mcar", "rate": "20 %"},
        {"mechanism": "mar", "rate": "20 %", "log_odds_per_unit": 0.0005},
        {"mechanism": "mar", "rate": "20 %", "depends_on": "marker", "log_odds_per_unit": 1.0},
        {"mechanism": "mnar", "rate": "20 %", "log_odds_per_unit": 0.0005},
    ],
)
def test_the_declared_share_is_missing_at_every_visit(twins: Any, missing: dict[str, Any]) -> None:
    _, _, found, _ = masks(twins, missing)
    n = 300 * N
    for visit in ("w12", "w24"):
        # The intercept is found on 60,000 other twins: their MCSE adds.
        assert abs(float(found[visit].double().mean()) - 0.2) < 4 * 0.4 * math.sqrt(1 / n + 1 / 60_000)
    assert bool((found["w12"] & ~found["w24"]).any())


@pytest.mark.parametrize("mechanism", ["mar", "mnar"])
def test_the_odds_depend_on_what_is_declared(twins: Any, mechanism: str) -> None:
    """The share missing within bands of the driver is the mean of the formula there."""
    world, values, found, age = masks(twins, {"mechanism": mechanism, "rate": 0.3, "log_odds_per_unit": 0.0005})
    last = torch.where(found["w12"], age, values["w12"])
    for visit, x in (("w12", age if mechanism == "mar" else values["w12"]), ("w24", last if mechanism == "mar" else values["w24"])):
        a, centre = world.model._missing_values["y"].intercepts[visit]
        chance = special.expit(a + 0.0005 * (x - centre).numpy()).ravel()
        missing = found[visit].numpy().ravel()
        for band in np.array_split(np.argsort(x.numpy().ravel()), 5):
            expected, n = chance[band].mean(), len(band)
            assert abs(missing[band].mean() - expected) < 4 * math.sqrt(expected * (1 - expected) / n)
        assert chance.min() < 0.2
        assert chance.max() > 0.4


def test_the_intercept_gives_the_rate() -> None:
    x = torch.linspace(-3, 8, 1001, dtype=torch.float64)
    a, centre = intercept(x, 0.1, 1.3)
    assert float(special.expit(a + 1.3 * (x - centre).numpy()).mean()) == pytest.approx(0.1, abs=1e-12)
    assert intercept(None, 0.25, 0.0)[0] == pytest.approx(math.log(1 / 3))


def test_masks_do_not_depend_on_the_block(twins: Any) -> None:
    world, values, found, age = masks(twins, {"mechanism": "mar", "rate": 0.3, "log_odds_per_unit": 0.0005})
    few = {visit: value[40:47] for visit, value in values.items()}
    block = Block(40, 7)
    part = world.model.missing_values("y", few, age[40:47], streams=world.streams, block=block, n=N, cohort=world.cohort(block, N))
    for visit in few:
        assert torch.equal(part[visit], found[visit][40:47])
