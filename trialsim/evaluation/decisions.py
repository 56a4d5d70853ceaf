"""How often trials declared efficacy, stopped for futility, or could not be analysed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from trialsim.evaluation.exact_sums import Share
from trialsim.evaluation.mcse import proportion_mcse
from trialsim.evaluation.results import CellLabels, Comparison, ResultRow
from trialsim.records import AnalysisRecord, TrialRecord


def rejections(analysis: AnalysisRecord, sides: int) -> np.ndarray:
    """Whether efficacy was declared, `[replicate, look]`; in either direction when two-sided."""
    found = analysis.reject.numpy()
    return found | analysis.reject_wrong_direction.numpy() if sides == 2 else found


def made(analysis: AnalysisRecord) -> np.ndarray:
    """Whether the analysis was made (or tried), `[replicate, look]`."""
    return (analysis.n.numpy() > 0) | (analysis.failure.numpy() != 0)


def _any(by_look: np.ndarray) -> np.ndarray:
    """At any look, `[replicate]`."""
    return np.asarray(np.logical_or.reduce(by_look, axis=1))


def share_rows(
    labels: CellLabels, comparison: Comparison, shares: Mapping[tuple[str, int | None], Share], *, null: bool, arm: str | None
) -> Iterator[ResultRow]:
    """A row for every (measure, look) with at least one replicate."""
    for (measure, look), share in shares.items():
        mcse = proportion_mcse(share.successes, share.n)
        if mcse is not None:
            yield ResultRow(
                labels.design,
                labels.scenario,
                labels.role,
                comparison.analysis,
                comparison.endpoint,
                arm,
                look,
                measure,
                "probability",
                null,
                share.successes / share.n,
                mcse,
                share.n,
            )


@dataclass(slots=True)
class ComparisonDecisions:
    """Decisions of one comparison. The last look has no futility rule left to obey."""

    comparison: Comparison
    _shares: dict[tuple[str, int | None], Share] = field(default_factory=dict)

    def add(self, record: TrialRecord, analysis: AnalysisRecord) -> None:
        """Counts a chunk."""
        two_sided = self.comparison.sides == 2
        reject, wrong = rejections(analysis, self.comparison.sides), analysis.reject_wrong_direction.numpy()
        failed = analysis.failure.numpy() != 0
        if analysis.estimate is not None:
            # A test may succeed where its estimate is infinite.
            failed = failed | (made(analysis) & ~np.isfinite(analysis.estimate.numpy()))
        self._count("power", None, _any(reject))
        if analysis.ignoring_futility is not None:
            self._count("power_ignoring_futility", None, analysis.ignoring_futility.numpy())
        if two_sided:
            self._count("reject_wrong_direction", None, _any(wrong))
        self._count("convergence_failure", None, _any(failed))
        reached = record.reached.numpy()
        for at in range(reject.shape[1]):
            self._count("reject", at + 1, reject[:, at])
            if two_sided:
                self._count("reject_wrong_direction", at + 1, wrong[:, at])
        for look in self.comparison.looks:
            at = look - 1
            if self.comparison.futility and look != self.comparison.looks[-1]:
                self._count("stop_futility", look, analysis.futile.numpy()[:, at])
            self._count("convergence_failure", look, failed[reached[:, at], at])

    def _count(self, measure: str, look: int | None, hits: np.ndarray) -> None:
        self._shares.setdefault((measure, look), Share()).add(hits)

    def rows(self, labels: CellLabels) -> Iterator[ResultRow]:
        """The rows that are defined: of its own looks, and of others at which alpha from other hypotheses let it reject."""
        own = {None, *self.comparison.looks}
        shown = {(measure, look): share for (measure, look), share in self._shares.items() if look in own or share.successes}
        return share_rows(labels, self.comparison, shown, null=self.comparison.null, arm=self.comparison.arm)


@dataclass(slots=True)
class FamilyDecisions:
    """Decisions of several comparisons together: any, all, and any *true* null hypothesis rejected.

    `name` is that of the analysis whose arms they are, or of a family that spans analyses.
    """

    name: str
    members: Mapping[str, Comparison]
    _shares: dict[tuple[str, int | None], Share] = field(default_factory=dict)

    def add(self, record: TrialRecord) -> None:
        """Counts a chunk."""
        found = {name: _any(rejections(record.analyses[name], member.sides)) for name, member in self.members.items()}
        together = np.stack(list(found.values()))
        self._shares.setdefault(("power", None), Share()).add(np.logical_or.reduce(together))
        self._shares.setdefault(("power_all", None), Share()).add(np.logical_and.reduce(together))
        ignoring = {name: record.analyses[name].ignoring_futility for name in self.members}
        if any(flags is not None for flags in ignoring.values()):
            without = [found[name] if flags is None else flags.numpy() for name, flags in ignoring.items()]
            self._shares.setdefault(("power_ignoring_futility", None), Share()).add(np.logical_or.reduce(np.stack(without)))
        true_nulls = [found[name] for name, member in self.members.items() if member.null]
        if true_nulls:
            self._shares.setdefault(("fwer", None), Share()).add(np.logical_or.reduce(np.stack(true_nulls)))

    def rows(self, labels: CellLabels) -> Iterator[ResultRow]:
        """The rows of the family (`arm` null)."""
        members = list(self.members.values())
        endpoints = {member.endpoint for member in members}
        labelled = replace(members[0], analysis=self.name, endpoint=endpoints.pop() if len(endpoints) == 1 else None)
        fwer = {key: share for key, share in self._shares.items() if key[0] == "fwer"}
        power = {key: share for key, share in self._shares.items() if key[0] != "fwer"}
        yield from share_rows(labels, labelled, power, null=all(member.null for member in members), arm=None)
        yield from share_rows(labels, labelled, fwer, null=True, arm=None)
