"""Precision targets name measures, and are positive numbers in the measure's own unit."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.errors import did_you_mean
from trialsim.evaluation.results import ALL_MEASURES
from trialsim.spec.names import Names
from trialsim.spec.nodes import Found
from trialsim.spec.protocol import Protocol

TIMES = ("duration", "look_time")


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    for measure, target in protocol.simulation.target_mcse.items():
        path = ("simulation", "target_mcse", measure)
        if measure not in ALL_MEASURES:
            yield Found(path, f'no measure "{measure}"{did_you_mean(measure, ALL_MEASURES)}', on_key=True)
        elif (wanted := "time" if measure.startswith(TIMES) else "") != target.dimension:
            yield Found(path, f"{target} should be {'a time, for example 3 days' if wanted else 'a bare number'}")
        elif target.value <= 0.0:
            yield Found(path, f"{target} should be above 0")
