"""From intervals to a verdict, and to the number of patients that would settle it."""

from __future__ import annotations

from math import ceil

import numpy as np

from trialsim.cohort.disclosure.disclosure import Verdict
from trialsim.cohort.disclosure.membership import GroupEstimates

LIMIT = 0.55
CHANCE = 0.5
NAMED = 3  # groups that are named in the reasons


def verdict_of(groups: GroupEstimates) -> Verdict:
    """`fail` where a group's interval lies above 0.5 and its estimate above 0.55; `pass` where all intervals end below 0.55."""
    low, high = groups.estimate - groups.half_width, groups.estimate + groups.half_width
    if ((low > CHANCE) & (groups.estimate > LIMIT)).any():
        return "fail"
    return "pass" if (high < LIMIT).all() else "inconclusive"


def patients_needed(groups: GroupEstimates) -> int | None:
    """The number of patients at which the verdict is no longer `inconclusive`, were the estimates to stay as they are.

    Half-widths h go as 1 / √n. A group at θ < 0.55 passes from n (h / (0.55 − θ))² patients on, so all do from the
    largest of these; one at θ > 0.55 fails from n (h / (θ − 0.5))² on. None where the verdict is settled, and where an
    estimate is 0.55 itself. Cautious: the estimate of an honest model falls with n.
    """
    if verdict_of(groups) != "inconclusive":
        return None
    over = groups.estimate > LIMIT
    with np.errstate(divide="ignore"):
        to_fail = (groups.half_width / (groups.estimate - CHANCE))[over] ** 2
        to_pass = (groups.half_width / (LIMIT - groups.estimate)) ** 2
    factor = float(to_fail.min() if over.any() else to_pass.max())
    return ceil(factor * int(groups.n[0])) if np.isfinite(factor) else None


def reasons_for(groups: GroupEstimates, verdict: Verdict, needed: int | None) -> tuple[str, ...]:
    """Sentences for a reader: the whole, and the groups that decide."""
    low, high = groups.estimate - groups.half_width, groups.estimate + groups.half_width
    shown = [f"membership AUC {groups.estimate[g]:.3f} ({low[g]:.3f} to {high[g]:.3f}) in {groups.names[g]} (n = {groups.n[g]})" for g in range(len(low))]
    if verdict == "pass":
        return (f"{shown[int(high.argmax())]} is the highest: below 0.55",)
    rank = np.argsort(-(low if verdict == "fail" else high), kind="stable")
    counted = (low > CHANCE) & (groups.estimate > LIMIT) if verdict == "fail" else high >= LIMIT
    named = [g for g in rank if counted[g]]
    words = "above 0.55" if verdict == "fail" else "neither below 0.55 nor clearly above"
    out = [f"{shown[g]}: {words}" for g in named[:NAMED]]
    if len(named) > NAMED:
        out.append(f"and so are {len(named) - NAMED} more groups")
    if verdict == "inconclusive":
        out.append("no number of patients would settle it at this estimate" if needed is None else f"about {needed:,} patients would settle it")
    return tuple(out)
