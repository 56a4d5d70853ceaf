"""Rubin's rules against their formulas, number by number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trialsim.analysis.missing_data.pooling import rubin

ESTIMATES, ERRORS = np.array([1.0, 1.4, 0.9, 1.2]), np.array([0.5, 0.6, 0.55, 0.5])


def test_rubin_with_the_degrees_of_freedom_of_barnard_and_rubin():
    pooled = rubin(torch.from_numpy(ESTIMATES[None]), torch.from_numpy(ERRORS[None]), torch.tensor([50.0], dtype=torch.float64))
    within, between = (ERRORS**2).mean(), ESTIMATES.var(ddof=1)
    total = within + 1.25 * between
    share = 1.25 * between / total
    old, observed = 3 / share**2, 51 / 53 * 50 * (1 - share)
    assert pooled.estimate.item() == pytest.approx(ESTIMATES.mean(), rel=1e-15)
    assert pooled.std_error.item() == pytest.approx(np.sqrt(total), rel=1e-14)
    assert pooled.df.item() == pytest.approx(old * observed / (old + observed), rel=1e-13)


def test_without_missing_values_the_complete_analysis_is_left():
    same = torch.full((1, 4), 2.0, dtype=torch.float64)
    pooled = rubin(same, same / 4, torch.tensor([30.0], dtype=torch.float64))
    assert pooled.std_error.item() == pytest.approx(0.5)
    assert pooled.df.item() == pytest.approx(30.0)
    assert torch.isinf(rubin(same, same / 4, None).df)
