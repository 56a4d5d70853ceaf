"""Operating characteristics of one cell, from a stream of its simulated trials.

The stream is read several times and never held: chunks of a fixed number of replicates in replicate order. Totals over
chunks are exact, so that the rows are the same bits at any block size, executor, worker count and order of arrival.

What is counted, over all replicates unless said otherwise:

- `power`, `reject` (per look) and `power_ignoring_futility`: efficacy declared; a two-sided test counts both directions.
- sizes and times: at the cut where the trial stopped, or (rows with a look) at that cut, over the trials that reached it.
- estimates: of the last look at which the analysis was made, or (rows with a look) at that look, over the trials that
  reached it; replicates whose analysis failed have none and are counted in `convergence_failure`.

An undefined result (no replicate, or a standard error from a single one) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from trialsim.evaluation.decisions import ComparisonDecisions, FamilyDecisions
from trialsim.evaluation.estimation import Estimation
from trialsim.evaluation.quantiles import Quantile, stream_quantiles
from trialsim.evaluation.results import MEASURES, QUANTILES, SIZED, CellLabels, Comparison, ResultRow
from trialsim.evaluation.trial_sizes import TrialSizes, stopping_values
from trialsim.records import TrialRecord

Chunks = Callable[[], Iterable[TrialRecord]]
"""Yields the chunks of a cell afresh at each call, in replicate order."""


def size_quantiles(chunks: Chunks, endpoints: Sequence[str], n: int) -> dict[str, list[Quantile]]:
    """The 10 %, 50 % and 90 % quantiles at the stopping cut of `duration`, `n_enrolled` and `n_events/<endpoint>`."""

    def passes() -> Iterator[Mapping[str, np.ndarray]]:
        for record in chunks():
            yield stopping_values(record)

    return stream_quantiles(passes, ("duration", "n_enrolled", *(f"n_events/{endpoint}" for endpoint in endpoints)), n, QUANTILES)


def median_duration(quantiles: Mapping[str, Sequence[Quantile]]) -> float:
    """The median calendar time of the cut where trials stopped, in days."""
    return next(quantile.estimate for quantile in quantiles["duration"] if quantile.p == 0.5)


def operating_characteristics(
    chunks: Chunks, *, labels: CellLabels, comparisons: Mapping[str, Comparison], quantiles: Mapping[str, Sequence[Quantile]]
) -> list[ResultRow]:
    """The result rows of a cell. `comparisons` has the keys of `TrialRecord.analyses`; `quantiles` is from `size_quantiles`."""
    sizes = TrialSizes()
    decisions = {name: ComparisonDecisions(comparison) for name, comparison in comparisons.items()}
    families = [FamilyDecisions(name, members) for name, members in _families(comparisons).items()]
    estimations = {name: Estimation(comparison) for name, comparison in comparisons.items()}
    for record in chunks():
        sizes.add(record)
        for name in comparisons:
            decisions[name].add(record, record.analyses[name])
            estimations[name].add(record, record.analyses[name])
        for family in families:
            family.add(record)
    rows = [*sizes.rows(labels, quantiles)]
    parts: list[FamilyDecisions | ComparisonDecisions | Estimation] = [*families, *decisions.values(), *estimations.values()]
    for part in parts:
        rows.extend(part.rows(labels))
    return sorted(rows, key=_reporting_order(comparisons))


def _families(comparisons: Mapping[str, Comparison]) -> dict[str, dict[str, Comparison]]:
    """The analyses that compare several arms, each with its comparisons, and the families that span analyses."""
    by_analysis: dict[str, dict[str, Comparison]] = {}
    spanning: dict[str, dict[str, Comparison]] = {}
    for name, comparison in comparisons.items():
        by_analysis.setdefault(comparison.analysis, {})[name] = comparison
        for family in comparison.families:
            spanning.setdefault(family, {})[name] = comparison
    return {analysis: members for analysis, members in by_analysis.items() if len(members) > 1} | spanning


def _reporting_order(comparisons: Mapping[str, Comparison]) -> Callable[[ResultRow], tuple[int, ...]]:
    families = (family for c in comparisons.values() for family in c.families)
    analyses = {name: i for i, name in enumerate(dict.fromkeys([*(c.analysis for c in comparisons.values()), *families]))}
    arms = {name: i for i, name in enumerate(dict.fromkeys(c.arm for c in comparisons.values()))}
    measures = {measure: i for i, measure in enumerate(MEASURES)}
    sized = {f"{measure}_quantile_{p * 100:.0f}": (measures[measure], 1 + i) for measure in SIZED for i, p in enumerate(QUANTILES)}

    def key(row: ResultRow) -> tuple[int, ...]:
        measure = sized.get(row.measure) or (measures[row.measure], 0)
        analysis = len(analyses) if row.analysis is None else analyses[row.analysis]
        return analysis, -1 if row.arm is None else arms.get(row.arm, 0), row.look or 0, *measure

    return key
