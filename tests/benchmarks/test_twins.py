"""What twins cost: one block of 128 trials of 400 patients, on top of drawing the noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.twins import Truth, TwinModel

BLOCK, N = Block(0, 128), 400
EXPONENTIAL = {"dist": "exponential", "median": "12 months"}
WEIBULL = {"dist": "weibull", "shape": 1.1, "median": "12 months", "prognostic": {"ecog": {"hr": 1.5, "level": "1"}}}
FOUR_PIECES = [{"until": f"{3 * k} months", "rate": f"{0.05 + 0.01 * k} / month"} for k in (1, 2, 3)] + [{"rate": "0.04 / month"}]
DELAYED = {"hr": [{"until": "3 months", "value": 1.0}, {"value": 0.6}]}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "canonical_exponential": (EXPONENTIAL, {"hr": 0.7}),
    "weibull_covariate_delayed": (WEIBULL, DELAYED),
    "piecewise_exponential": ({"dist": "piecewise_exponential", "pieces": FOUR_PIECES}, {"hr": 0.7}),
}


class _Ecog:
    names = ("ecog",)
    levels: Mapping[str, tuple[str, ...]] = {"ecog": ("0", "1")}
    units: Mapping[str, str] = {"ecog": ""}

    def sample(self, streams: Streams, block: Block, n: int, *, attempt: int = 0) -> Cohort:
        return Cohort({"ecog": (streams("covariate/ecog").uniform(block, n) < 0.6).double()}, self.levels)


@pytest.fixture
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.benchmark(group="event times, 128 x 400")
def test_noise_alone(benchmark: Any, one_thread: None) -> None:
    stream = Streams(1)("outcome/death")
    times = benchmark(lambda: stream.exponential(BLOCK, N))
    assert times.shape == (128, 400)


@pytest.mark.benchmark(group="event times, 128 x 400")
@pytest.mark.parametrize("case", list(CASES))
def test_event_times(benchmark: Any, one_thread: None, case: str) -> None:
    outcome, effect = CASES[case]
    truth = Truth.model_validate({"outcomes": {"death": outcome}, "effects": {"test": {"death": effect}}})
    model, streams = TwinModel(truth, arms=("test", "control"), cohort=_Ecog()), Streams(1)
    cohort = _Ecog().sample(streams, BLOCK, N)
    arm = (streams("allocation").uniform(BLOCK, N) < 0.5).to(torch.int8)
    times = benchmark(lambda: model.event_time("death", streams=streams, block=BLOCK, n=N, cohort=cohort, arm=arm))
    assert times.shape == (128, 400)
    assert bool((times > 0).all())
