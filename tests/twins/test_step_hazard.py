"""Both evaluations of a step hazard, by hinges and by search, against interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trialsim.twins.step_hazard import StepHazard


@pytest.mark.parametrize("hazards", [(0.01, 0.03, 0.002, 0.01), (0.01, 300.0, 0.002, 0.01), (0.5,)], ids=["hinges", "search", "one"])
def test_cumulative_hazard_interpolates_its_corners(hazards: tuple[float, ...]) -> None:
    breaks = (10.0, 25.0, 80.0)[: len(hazards) - 1]
    step = StepHazard(breaks, hazards)
    grid = np.array([0.0, *breaks, 1e4])
    reached = np.concatenate([[0.0], np.cumsum(np.diff(grid) * hazards)])
    times = np.sort(np.concatenate([np.linspace(0.01, 200, 333), breaks]))
    h = np.interp(times, grid, reached)
    np.testing.assert_allclose(step.cumulative_hazard(torch.from_numpy(times)).numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(step.inverse_cumulative_hazard(torch.from_numpy(h)).numpy(), times, rtol=1e-10)


def test_hinges_and_search_agree() -> None:
    hinged, searched = StepHazard((10.0, 25.0), (0.01, 0.04, 0.02)), StepHazard((10.0, 25.0), (0.01, 0.04, 0.02))
    assert hinged._hinges
    searched._hinges = False
    x = torch.linspace(0.001, 60, 999, dtype=torch.float64)
    torch.testing.assert_close(hinged.cumulative_hazard(x), searched.cumulative_hazard(x), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(hinged.inverse_cumulative_hazard(x), searched.inverse_cumulative_hazard(x), rtol=1e-12, atol=1e-12)
