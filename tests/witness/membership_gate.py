"""The membership gate over many data sets of the known law in `witness.samplers`: what `check_disclosure` does, less what is information only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from witness.samplers import trial

from trialsim.cohort.disclosure.check import _discrete_levels, _judged, _scores
from trialsim.cohort.disclosure.membership import aucs, group_estimates, placements
from trialsim.cohort.disclosure.refit import refit
from trialsim.cohort.disclosure.verdict import verdict_of
from trialsim.cohort.sampler import Recipe

REFITS = 20


@dataclass(frozen=True)
class Found:
    """The verdict; estimate, SE and half-width over all patients; whether one refit with its naive interval would be refused."""

    verdict: str
    estimate: float
    std_error: float
    half_width: float
    single_refused: bool


def gate(recipe: Recipe, n: int, data: int) -> Found:
    """The gate on data set `data` of `n` patients."""
    table = trial(n, seed=10_000 + data)
    found = [refit(recipe, table, index=1 + index, seed=data, n_synthetic=None) for index in range(REFITS)]
    scores, _, alike = _scores(found, strict=False)
    member = np.stack([each.member for each in found])
    groups = group_estimates(scores, member, _judged(_discrete_levels(table, found[0].modelled), n), alike=alike)
    u, one = placements(scores[0], member[0]), aucs(scores[:1], member[:1])[0]
    naive = math.sqrt(sum(u[half].var(ddof=1) / half.sum() for half in (member[0], ~member[0])))
    return Found(verdict_of(groups), float(groups.estimate[0]), float(groups.std_error[0]), float(groups.half_width[0]), bool(one + 1.96 * naive >= 0.55))
