"""How large and how long the trials were: patients, events, cut times, allocation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trialsim.evaluation.exact_sums import Moments, Share
from trialsim.evaluation.mcse import mean_mcse, proportion_mcse
from trialsim.evaluation.quantiles import Quantile
from trialsim.evaluation.results import CellLabels, ResultRow
from trialsim.records import TrialRecord


def stopping_values(record: TrialRecord) -> dict[str, np.ndarray]:
    """`duration`, `n_enrolled` and `n_events/<endpoint>` of each replicate, at the cut where its trial stopped."""
    at = (np.arange(record.block.size), record.stop_look.numpy().astype(np.int64) - 1)
    values = {"duration": record.cut_time.numpy()[at], "n_enrolled": record.n_enrolled.numpy()[at]}
    values.update({f"n_events/{endpoint}": count.numpy()[at] for endpoint, count in record.n_events.items()})
    return {name: value.astype(np.float64) for name, value in values.items()}


def _describe(name: str) -> tuple[str, str | None, str]:
    """Measure, endpoint and scale of a column."""
    measure, _, endpoint = name.partition("/")
    return measure, endpoint or None, {"n_enrolled": "patients", "n_events": "events"}.get(measure, "days")


@dataclass(slots=True)
class TrialSizes:
    """Rows of the trial itself (`analysis` null)."""

    _stopping: dict[str, Moments] = field(default_factory=dict)
    _looks: dict[tuple[int, str], Moments] = field(default_factory=dict)
    _allocated: dict[str, Moments] = field(default_factory=dict)
    _missed: Share = field(default_factory=Share)

    def add(self, record: TrialRecord) -> None:
        """Counts a chunk."""
        for name, values in stopping_values(record).items():
            self._stopping.setdefault(name, Moments()).add(values)
        for arm, count in record.n_per_arm.items():
            self._allocated.setdefault(arm, Moments()).add(count.numpy())
        self._missed.add(record.target_not_reached.numpy())
        columns = {"look_time": record.cut_time.numpy(), "n_enrolled": record.n_enrolled.numpy()}
        columns.update({f"n_events/{endpoint}": count.numpy() for endpoint, count in record.n_events.items()})
        reached = record.reached.numpy()
        for look in range(len(record.looks)):
            there = reached[:, look]
            for name, values in columns.items():
                self._looks.setdefault((look + 1, name), Moments()).add(values[there, look])

    def rows(self, labels: CellLabels, quantiles: Mapping[str, Sequence[Quantile]]) -> Iterator[ResultRow]:
        """The rows that are defined."""

        def row(
            measure: str, scale: str, estimate: float, mcse: float, n: int, *, endpoint: str | None = None, arm: str | None = None, look: int | None = None
        ) -> ResultRow:
            return ResultRow(labels.design, labels.scenario, labels.role, None, endpoint, arm, look, measure, scale, False, estimate, mcse, n)

        means = [(name, None, moments) for name, moments in self._stopping.items()]
        for name, at, moments in (*means, *((name, look, moments) for (look, name), moments in self._looks.items())):
            mcse = mean_mcse(moments.sd, moments.n)
            if mcse is not None:
                measure, endpoint, scale = _describe(name)
                yield row(measure, scale, moments.mean, mcse, moments.n, endpoint=endpoint, look=at)
        for name, found in quantiles.items():
            measure, endpoint, scale = _describe(name)
            for quantile in found:
                if quantile.mcse is not None:
                    yield row(f"{measure}_quantile_{quantile.p * 100:.0f}", scale, quantile.estimate, quantile.mcse, quantile.n, endpoint=endpoint)
        for arm, moments in self._allocated.items():
            mcse = mean_mcse(moments.sd, moments.n)
            if mcse is not None:
                yield row("allocated", "patients", moments.mean, mcse, moments.n, arm=arm)
        mcse = proportion_mcse(self._missed.successes, self._missed.n)
        if mcse is not None:
            yield row("target_not_reached", "probability", self._missed.successes / self._missed.n, mcse, self._missed.n)
