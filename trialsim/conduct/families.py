"""Families of hypotheses: what is decided when several comparisons share one alpha.

Where every member has looks of its own, and the procedure hands on alpha (Bonferroni, Holm, fixed sequence, fallback, graphs), the graph is
carried from look to look: a hypothesis that holds the share w of alpha is tested, with its own spending function or boundary, as a
group sequential test at level w alpha. At each look every open hypothesis whose statistic is new, or that has received alpha,
is compared at its latest look with the bound of that level; what is rejected hands on its share, and so on until nothing
is. Bounds of a higher level are those that this level would have had from the start; statistics of earlier looks are
not looked at again. The family-wise error rate is at most alpha, whatever the correlations: it is a closed test of
weighted Bonferroni tests.

Otherwise the procedure decides once from all statistics: where the trial ends, or at the last look (all members then have the same
looks, and no efficacy rule before it).

A hypothesis that futility has dropped keeps its alpha: nobody inherits it, so that non-binding futility rules may be ignored.
In a two-sided family a rejection in either direction hands on alpha.

**Source:** Maurer & Bretz 2013 (doi 10.1080/19466315.2013.807748); Glimm, Maurer & Bretz 2010 (doi 10.1002/sim.3748).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from trialsim.analysis.multiplicity import Multiplicity
from trialsim.conduct.comparison import Comparison
from trialsim.conduct.decisions import Decisions, Seen
from trialsim.conduct.multiplicity import ManyToOne, Matrix, needs_many_to_one, rejected, weighting_of
from trialsim.design.multiplicity import Weighting, dunnett, shares_of
from trialsim.records import AnalysisData, patients
from trialsim.tensors import on_cpu


@dataclass(frozen=True)
class PlannedFamily:
    """Comparisons (keys of the trial's analyses) that share `alpha`, total over `sides`. `names` are theirs in the procedure.

    `groups` are members that are arms of one analysis, by index, for a graph that uses their correlation; `ratios` the
    planned allocation of each member's arms, test over reference.
    """

    members: tuple[str, ...]
    names: tuple[str, ...]
    alpha: float
    sides: int
    procedure: Multiplicity
    groups: tuple[tuple[int, ...], ...] = ()
    ratios: tuple[float, ...] = ()


class Family:
    """One family in a block of trials. `tables` and `comparisons` are those of its members."""

    def __init__(self, plan: PlannedFamily, tables: Mapping[str, Decisions], comparisons: Mapping[str, Comparison], n: int):
        self.plan = plan
        self.tables = [tables[name] for name in plan.members]
        self.comparisons = [comparisons[name] for name in plan.members]
        self.by_looks = all(table.plan.looks for table in self.tables)
        self.weighting = weighting_of(plan.procedure, plan.names) if self.by_looks else None
        self.ignores_futility = any(table.plan.ignore_futility for table in self.tables)
        m = len(self.tables)
        self.z = torch.full((n, m), torch.nan, dtype=torch.float64)
        self.own = torch.zeros((n, m), dtype=torch.int64)
        self.last = torch.zeros((n, m), dtype=torch.bool)
        self.obeying = _Graph(n, m)
        self.ignoring = _Graph(n, m)

    # Look by look -------------------------------------------------------------------------------------------------------

    def decide(
        self,
        look: int,
        rows: Int[Tensor, "row"],
        *,
        live: Bool[Tensor, "row"],
        final: Bool[Tensor, "row"],
        reached: Bool[Tensor, "row"],
        cut: Float[Tensor, "row"],
    ) -> None:
        """Make the analyses that are due, and decide. Rows that are not live only count for what would have happened without futility."""
        seen: dict[int, tuple[Tensor, Seen]] = {}
        fresh = torch.zeros((len(rows), len(self.tables)), dtype=torch.bool)
        for i, table in enumerate(self.tables):
            due = table.due(look, rows, final)
            if due.any():
                at = rows[due]
                data = self.comparisons[i].data(cut[due], at)
                information = self.comparisons[i].pooled_information(cut[due], at, reached[due] & (look in table.plan.looks))
                found = table.analyse(look, at, final=final[due], reached=reached[due], data=data, counted=information)
                seen[i] = due, found
                self.z[at, i], self.own[at, i], self.last[at, i] = found.z, found.own, found.last
                fresh[due, i] = True
        if self.weighting is None:
            self._decide_together(look, rows, live, seen)
            return
        # What futility has dropped stays dropped, even where it is still analysed for what would have been without futility.
        may = [(~table.closed[rows] | self.last[rows, i]) & ~table.futile[rows].any(-1) for i, table in enumerate(self.tables)]
        open_ = torch.stack(may, dim=-1) & live[:, None]
        bounds = self._sweep(self.weighting, self.obeying, rows, open_, fresh)
        if self.ignores_futility:
            self._sweep(self.weighting, self.ignoring, rows, torch.ones_like(open_), fresh)
        for i, table in enumerate(self.tables):
            hit = self.obeying.new[rows, i]
            if i in seen:
                due, found = seen[i]
                at = rows[due]
                table.settle(
                    look,
                    at,
                    live=live[due],
                    seen=found,
                    efficacy=bounds[due, i],
                    futility=self._futility(i, at, found),
                    reject=hit[due] & (found.z >= 0),
                    wrong=hit[due] & (found.z < 0),
                    ever=self.ignoring.favourable(at, i, self.z),
                )
            late = hit & ~fresh[:, i]
            table.reject[rows[late], look] = self.z[rows[late], i] >= 0
            table.wrong[rows[late], look] = self.z[rows[late], i] < 0
            table.closed[rows[late]] = True
            table.ever[rows] |= self.ignoring.favourable(rows, i, self.z)
            table.only_futile[rows] &= ~self.ignoring.holds(rows, i)
        self.obeying.new[rows] = False
        self.ignoring.new[rows] = False

    def _sweep(
        self, weighting: Weighting, graph: _Graph, rows: Int[Tensor, "row"], open_: Bool[Tensor, "row member"], fresh: Bool[Tensor, "row member"]
    ) -> Float[Tensor, "row member"]:
        """Reject until nothing more is; the bounds that were met last (NaN: none)."""
        bounds = torch.full(open_.shape, torch.nan, dtype=torch.float64)
        new = fresh
        while True:
            shares = torch.from_numpy(shares_of(weighting, graph.rejected[rows].numpy()))
            hits = torch.zeros_like(open_)
            for i in range(len(self.tables)):
                z = self.z[rows, i]
                compare = open_[:, i] & ~graph.holds(rows, i) & ~z.isnan() & (new[:, i] | (shares[:, i] > graph.compared[rows, i]))
                if compare.any():
                    which = compare.nonzero()[:, 0]
                    bound = self._efficacy(i, rows[which], shares[which, i])
                    bounds[which, i] = bound
                    graph.compared[rows[which], i] = shares[which, i]
                    crossed = (z[which] >= bound) | ((z[which] <= -bound) if self.tables[i].plan.monitoring.sides == 2 else False)
                    hits[which[crossed], i] = True
            if not hits.any():
                return bounds
            for i in range(len(self.tables)):
                at = rows[hits[:, i]]
                graph.rejected[at] |= 1 << i
                graph.new[at, i] = True
            new = torch.zeros_like(fresh)

    def _level(self, i: int, share: float) -> float:
        """The alpha of a member that holds a share, total over the sides of its test."""
        return self.plan.alpha * self.tables[i].plan.monitoring.sides / self.plan.sides * share

    def _bounds_at(self, i: int, rows: Tensor, shares: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Positions in `rows` that hold the same share at the same own look, with their efficacy and futility bounds."""
        monitoring, own = self.tables[i].plan.monitoring, self.own[rows, i]
        for share in shares.unique().tolist():
            plan = monitoring.at_level(self._level(i, share))
            for look in own[shares == share].unique().tolist():
                which = ((shares == share) & (own == look)).nonzero()[:, 0]
                at = rows[which]
                efficacy, futility = plan.at(look, self.tables[i].information[at, : look + 1], self.last[at, i])
                yield which, efficacy, futility

    def _efficacy(self, i: int, rows: Tensor, shares: Tensor) -> Float[Tensor, "row"]:
        found = torch.full(shares.shape, torch.inf, dtype=torch.float64)
        held = (shares > 0).nonzero()[:, 0]
        for which, efficacy, _ in self._bounds_at(i, rows[held], shares[held]):
            found[held[which]] = efficacy
        return found

    def _futility(self, i: int, rows: Tensor, seen: Seen) -> Float[Tensor, "row"]:
        """The bounds of the share now held; of all alpha where none is held yet."""
        found = torch.full(seen.z.shape, torch.nan, dtype=torch.float64)
        if self.tables[i].plan.monitoring.futility is None or bool(seen.last.all()):
            return found
        shares = self.obeying.compared[rows, i]
        for which, _, futility in self._bounds_at(i, rows, torch.where(shares > 0, shares, 1.0)):
            found[which] = futility
        return found

    # All together -------------------------------------------------------------------------------------------------------

    def _decide_together(self, look: int, rows: Int[Tensor, "row"], live: Bool[Tensor, "row"], seen: Mapping[int, tuple[Tensor, Seen]]) -> None:
        """At the last look all statistics decide; before it (all members have the same looks) only futility may."""
        n, m = len(rows), len(self.tables)
        last = torch.zeros((n, m), dtype=torch.bool)
        for i, (due, found) in seen.items():
            last[due, i] = found.last
        closed = torch.stack([table.closed[rows] for table in self.tables], dim=-1)
        hit = self._together(seen, last & ~closed)
        ever = self._together(seen, last) if self.ignores_futility else hit
        for i, (due, found) in seen.items():
            table, at = self.tables[i], rows[due]
            favours, none = found.z >= 0, torch.full_like(found.z, torch.nan)
            _, futility = table.plan.monitoring.at(found.own, table.information[at, : found.own + 1], found.last)
            table.settle(
                look,
                at,
                live=live[due],
                seen=found,
                efficacy=none,
                futility=futility,
                reject=hit[due, i] & favours,
                wrong=hit[due, i] & ~favours,
                ever=ever[due, i] & favours,
            )

    def decide_at_end(self, stop: Int[Tensor, "replicate"], data: Sequence[AnalysisData]) -> None:
        """The one decision of a family without looks, where each trial stopped."""
        found = [table.analyse_at_end(of) for table, of in zip(self.tables, data, strict=True)]
        every = torch.ones(len(stop), dtype=torch.bool)
        hit = self._together({i: (every, seen) for i, seen in enumerate(found)}, every[:, None].expand(-1, len(found)))
        for i, (table, seen) in enumerate(zip(self.tables, found, strict=True)):
            favours = seen.z >= 0
            table.settle_at_end(stop, seen, reject=hit[:, i] & favours, wrong=hit[:, i] & ~favours)

    def _together(self, seen: Mapping[int, tuple[Tensor, Seen]], counts: Bool[Tensor, "row member"]) -> Bool[Tensor, "row member"]:
        """What is rejected, in either direction. A statistic that does not count (or failed) counts as p = 1 against the others."""
        plan = self.plan
        z = np.where(counts.numpy(), _dense(seen, counts.shape, lambda found: found.z), np.nan)
        rows = np.asarray((~np.isnan(z)).any(-1)).nonzero()[0]
        hit = np.zeros(z.shape, dtype=np.bool_)
        if not len(rows):
            return torch.from_numpy(hit)
        tested = np.array([table.plan.monitoring.sides for table in self.tables])
        p = np.where(tested == 2, 2.0 * ndtr(-np.abs(z[rows])), ndtr(-z[rows]) * (plan.sides / tested))
        arms = self._many_to_one(seen, z, rows) if needs_many_to_one(plan.procedure) else None
        hit[rows] = rejected(p, plan.procedure, plan.names, alpha=plan.alpha, arms=arms, groups=plan.groups)
        return torch.from_numpy(hit)

    def _many_to_one(self, seen: Mapping[int, tuple[Tensor, Seen]], z: Matrix, rows: NDArray[np.int64]) -> ManyToOne:
        """Correlations by the patients analysed; of an arm that is not by the planned ratio, as for a parametric graph throughout."""
        planned = np.broadcast_to(dunnett.loadings(1.0, np.array([self.plan.ratios])), z.shape)
        if self.plan.procedure != "dunnett":
            return ManyToOne(z[rows], planned[rows], None, self.plan.sides)
        n_reference, n_test = (_dense(seen, z.shape, partial(_patients_of, group=group)) for group in (0, 1))
        loadings = np.where(np.isnan(n_test), planned, dunnett.loadings(n_reference, n_test))[rows]
        if not self.tables[0].plan.method.joint or any(found.found.df is None for _, found in seen.values()):
            return ManyToOne(z[rows], loadings, None, self.plan.sides)
        statistic = np.where(np.isnan(z), np.nan, _dense(seen, z.shape, lambda found: found.found.statistic))[rows]
        least = np.fmin.reduce(np.where(np.isnan(z), np.nan, _dense(seen, z.shape, lambda found: found.found.df))[rows], axis=-1)
        return ManyToOne(statistic, loadings, least, self.plan.sides)


def _dense(seen: Mapping[int, tuple[Tensor, Seen]], shape: tuple[int, ...], of: Callable[[Seen], Tensor | None]) -> Matrix:
    """What was seen of every member, [row, member]; NaN where nothing was."""
    found = np.full(shape, np.nan)
    for i, (due, each) in seen.items():
        value = of(each)
        assert value is not None
        found[due.numpy(), i] = value.numpy()
    return found


def _patients_of(seen: Seen, *, group: int) -> Tensor:
    return on_cpu(patients(seen.data)[group])


class _Graph:
    """How far a graph has come: the rejected members as bits, those just rejected, and the share at which each was last compared."""

    def __init__(self, n: int, m: int):
        self.rejected = torch.zeros(n, dtype=torch.int64)
        self.new = torch.zeros((n, m), dtype=torch.bool)
        self.compared = torch.zeros((n, m), dtype=torch.float64)

    def holds(self, rows: Tensor, i: int) -> Bool[Tensor, "row"]:
        """Whether member i is rejected."""
        return (self.rejected[rows] >> i & 1).bool()

    def favourable(self, rows: Tensor, i: int, z: Tensor) -> Bool[Tensor, "row"]:
        """Whether it is rejected in favour of the test arm."""
        return self.holds(rows, i) & (z[rows, i] >= 0)
