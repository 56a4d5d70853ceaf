"""Small protocols and cohorts for the tests of twins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.twins import Truth, TwinModel

LEVELS = {"ecog": ("0", "1"), "region": ("asia", "europe", "america")}


class Covariates:
    """A cohort model with a category of two, one of three, an age in days and a 0/1 marker; the marker is sometimes missing."""

    names = ("ecog", "region", "age", "marker")
    levels: Mapping[str, tuple[str, ...]] = LEVELS
    units: Mapping[str, str] = {"ecog": "", "region": "", "age": "time", "marker": ""}

    def sample(self, streams: Streams, block: Block, n: int, *, attempt: int = 0) -> Cohort:
        uniform = {name: streams(f"covariate/{name}").uniform(block, n, index=attempt) for name in self.names}
        marker = (uniform["marker"] < 0.4).double()
        marker[uniform["marker"] > 0.95] = torch.nan
        columns = {
            "ecog": (uniform["ecog"] < 0.6).double(),
            "region": (uniform["region"] * 3).floor(),
            "age": 365.25 * (40 + 40 * uniform["age"]),
            "marker": marker,
        }
        return Cohort(columns, LEVELS)


class Twins:
    """A twin model of outcome `y` with arms experimental, control and third, and a fixed seed."""

    def __init__(
        self,
        outcome: dict[str, Any],
        effects: Mapping[str, Any] | None = None,
        *,
        visits: Mapping[str, float] | None = None,
        cohort: Any = None,
        seed: int = 7,
        **sections: Any,
    ):
        effects = {arm: {"y": effect} for arm, effect in (effects or {}).items()}
        self.truth = Truth.model_validate({"outcomes": {"y": outcome}, "effects": effects, **sections})
        self.cohort_model = cohort or Covariates()
        self.model = TwinModel(
            self.truth, arms=("experimental", "control", "third"), visits=visits or {"w0": 0.0, "w12": 84.0, "w24": 168.0}, cohort=self.cohort_model
        )
        self.streams = Streams(seed)

    def cohort(self, block: Block, n: int) -> Cohort:
        return self.cohort_model.sample(self.streams, block, n)  # type: ignore[no-any-return]

    def assigned(self, block: Block, n: int) -> torch.Tensor:
        return (self.streams("allocation").uniform(block, n) * 3).floor().to(torch.int8)

    def times(self, arm: Any = "assigned", block: Block = Block(0, 20), n: int = 150) -> torch.Tensor:  # noqa: B008
        return self.model.event_time("y", **self._where(arm, block, n))

    def values(self, visit: str | None, arm: Any = "assigned", block: Block = Block(0, 20), n: int = 150) -> torch.Tensor:  # noqa: B008
        return self.model.value("y", visit, **self._where(arm, block, n))

    def dropout(self, arm: Any = "assigned", block: Block = Block(0, 20), n: int = 150) -> torch.Tensor | None:  # noqa: B008
        return self.model.dropout_time(**self._where(arm, block, n))

    def _where(self, arm: Any, block: Block, n: int) -> dict[str, Any]:
        arm = self.assigned(block, n) if isinstance(arm, str) else arm
        return {"streams": self.streams, "block": block, "n": n, "cohort": self.cohort(block, n), "arm": arm}


@pytest.fixture(scope="session")
def twins() -> type[Twins]:
    """`twins({"dist": "exponential", …}, {"experimental": {"hr": 0.7}})`."""
    return Twins
