"""One imputation by conditional means, with a jackknife over patients."""

from __future__ import annotations

from collections.abc import Callable

from trialsim.analysis.missing_data.strategies import Strategy
from trialsim.records import Estimates, VisitData


def by_conditional_means(estimate: Callable[..., Estimates], data: VisitData, strategy: Strategy, delta: float, *, favours: int) -> Estimates:
    """Not written yet."""
    raise NotImplementedError
