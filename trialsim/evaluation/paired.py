"""Differences between two designs under common random numbers, formed replicate by replicate, with the MCSE of the difference.

Replicate r of both designs has the same patients and the same noise, so that what they share cancels. With a_r and b_r the
values of replicate r and d_r = a_r - b_r,

    difference = mean(d)          MCSE = sd(d) / sqrt(n)
    had the designs been simulated independently: sqrt(MCSE(a)^2 + MCSE(b)^2)

and the ratio of the second to the first is what sharing has gained: independent simulation would need its square times as
many replicates for the same precision. Only pairs in which both trials have a value count; the others are counted.

Of a share, where no pair differs (or all differ alike), sd(d) is 0, and the MCSE is that of 0 or n successes (see
`evaluation.mcse`): never 0. A measured quantity that differs by a constant has MCSE 0 and no ratio.

Source: Glasserman and Yao (1992), doi 10.1287/mnsc.38.6.884, for common random numbers; Morris, White and Crowther (2019),
doi 10.1002/sim.8086, table 6, for the standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from trialsim.evaluation.exact_sums import Moments
from trialsim.evaluation.mcse import mean_mcse, proportion_mcse
from trialsim.evaluation.trial_values import MEANS, SHARES, AnalysisLabels, Column, trial_values
from trialsim.records import TrialRecord


@dataclass(frozen=True, slots=True)
class PairedRow:
    """One measure of both designs, and their difference. `n` pairs; in `n_unpaired` one of the two trials has no value.

    `a` and `b` are means over the same pairs. `mcse_ratio` is None where `mcse` is 0; `correlation`, of the two values of a
    pair, where one of them is constant.
    """

    scenario: str
    role: str
    analysis: str | None
    endpoint: str | None
    arm: str | None
    measure: str
    scale: str
    a: float
    b: float
    difference: float
    mcse: float
    independent_mcse: float
    mcse_ratio: float | None
    correlation: float | None
    n: int
    n_unpaired: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class _Pair:
    a: Moments = field(default_factory=Moments)
    b: Moments = field(default_factory=Moments)
    difference: Moments = field(default_factory=Moments)
    n_unpaired: int = 0

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        both = ~(np.isnan(a) | np.isnan(b))
        self.a.add(a[both])
        self.b.add(b[both])
        self.difference.add(a[both] - b[both])
        self.n_unpaired += int(np.count_nonzero(~both))


@dataclass(slots=True)
class PairedDifferences:
    """Both designs under one scenario, from chunks of the same replicates in replicate order. Memory does not grow with them."""

    scenario: str
    role: str
    labels_a: Mapping[str, AnalysisLabels]
    labels_b: Mapping[str, AnalysisLabels]
    _pairs: dict[Column, _Pair] = field(default_factory=dict)

    def add(self, a: TrialRecord, b: TrialRecord) -> None:
        """Counts a chunk. Of records of different length, the replicates that both have."""
        assert a.block.first == b.block.first
        n = min(a.block.size, b.block.size)
        of_a, of_b = trial_values(a, self.labels_a), trial_values(b, self.labels_b)
        for column in of_a:
            if column in of_b:
                self._pairs.setdefault(column, _Pair()).add(of_a[column][:n], of_b[column][:n])

    def rows(self) -> Iterator[PairedRow]:
        """The rows that are defined, in the order of reporting: of the analyses, then of the trial."""
        order = (*SHARES, *MEANS)
        analyses: dict[str | None, int] = {column.analysis: place for place, column in enumerate(self._pairs) if column.analysis is not None}
        for column, pair in sorted(
            self._pairs.items(),
            key=lambda item: (analyses.get(item[0].analysis, math.inf), item[0].arm or "", order.index(item[0].measure), item[0].endpoint or ""),
        ):
            row = self._row(column, pair)
            if row is not None:
                yield row

    def _row(self, column: Column, pair: _Pair) -> PairedRow | None:
        a, b, difference, n = pair.a, pair.b, pair.difference, pair.difference.n
        errors = [_mcse(column.measure, moments) for moments in (a, b)]
        mcse = mean_mcse(difference.sd, n)
        if mcse is None or errors[0] is None or errors[1] is None:
            return None
        if mcse == 0.0 and column.measure in SHARES:
            mcse = proportion_mcse(0, n) or 0.0
        independent = math.hypot(errors[0], errors[1])
        spread = 2.0 * a.sd * b.sd
        return PairedRow(
            scenario=self.scenario,
            role=self.role,
            analysis=column.analysis,
            endpoint=column.endpoint,
            arm=column.arm,
            measure=column.measure,
            scale=column.scale,
            a=a.mean,
            b=b.mean,
            difference=difference.mean,
            mcse=mcse,
            independent_mcse=independent,
            mcse_ratio=independent / mcse if mcse > 0.0 else None,
            correlation=(a.sd**2 + b.sd**2 - difference.sd**2) / spread if spread > 0.0 else None,
            n=n,
            n_unpaired=pair.n_unpaired,
        )


def _mcse(measure: str, moments: Moments) -> float | None:
    """Of one design alone."""
    return proportion_mcse(round(moments.mean * moments.n), moments.n) if measure in SHARES and moments.n else mean_mcse(moments.sd, moments.n)
