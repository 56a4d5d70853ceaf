"""From intervals to a verdict, and to the number of patients that would settle it."""

from __future__ import annotations

from math import ceil

import numpy as np

from trialsim.cohort.disclosure.disclosure import Verdict
from trialsim.cohort.disclosure.membership import GroupEstimates
from trialsim.cohort.disclosure.space import Array

LIMIT = 0.55
CHANCE = 0.5
NAMED = 3  # groups that are named in the reasons


def judged(groups: GroupEstimates) -> Array:
    """The estimates that are held against the limit `[group]`: the whole's own, and each subgroup's drawn towards it.

    The largest of many noisy estimates is too large, so that an honest model would be refused for whichever small
    subgroup chance puts on top. A subgroup's is θ_0 + B_g (θ_g − θ_0) with B_g = τ² / (τ² + se_g²) and τ² the variance of the
    subgroups' true values by the method of moments, Σ (θ_g − θ_0)² / G − mean se²: none where they differ no more than chance has it,
    and nearly all where one group is copied and others are not.

    **Source:** Efron & Morris 1975, JASA 70:311, doi 10.1080/01621459.1975.10479864; DerSimonian & Laird 1986, Control Clin
    Trials 7:177, doi 10.1016/0197-2456(86)90046-2.
    """
    out = groups.estimate.copy()
    if len(out) > 1:
        apart, variance = out[1:] - out[0], groups.std_error[1:] ** 2
        between = max(0.0, float((apart**2).mean() - variance.mean()))
        out[1:] = out[0] + apart * (between / np.maximum(between + variance, 1e-300))
    return out


def verdict_of(groups: GroupEstimates) -> Verdict:
    """`fail` where a group's interval lies above 0.5 and its judged estimate above 0.55; `pass` where the interval of all patients ends
    below 0.55 and no subgroup's judged estimate is above it."""
    above = judged(groups) > LIMIT
    if (above & (groups.estimate - groups.half_width > CHANCE)).any():
        return "fail"
    return "pass" if groups.estimate[0] + groups.half_width[0] < LIMIT and not above.any() else "inconclusive"


def patients_needed(groups: GroupEstimates) -> int | None:
    """The number of patients at which the verdict is no longer `inconclusive`, were the estimates to stay as they are.

    Half-widths h go as 1 / √n. All patients pass from n (h / (0.55 − θ))² on where θ < 0.55; a group that is judged above
    0.55 fails from n (h / (θ − 0.5))² on. None where the verdict is settled, and where an
    estimate is 0.55 itself. Cautious: the estimate of an honest model falls with n.
    """
    if verdict_of(groups) != "inconclusive":
        return None
    above = judged(groups) > LIMIT
    with np.errstate(divide="ignore"):
        to_fail = (groups.half_width / (groups.estimate - CHANCE))[above] ** 2
        to_pass = (groups.half_width[0] / (LIMIT - groups.estimate[0])) ** 2
    factor = float(to_fail.min() if above.any() else to_pass)
    return ceil(factor * int(groups.n[0])) if np.isfinite(factor) else None


def reasons_for(groups: GroupEstimates, verdict: Verdict, needed: int | None) -> tuple[str, ...]:
    """Sentences for a reader: the whole, and the groups that decide."""
    low, high, above = groups.estimate - groups.half_width, groups.estimate + groups.half_width, judged(groups) > LIMIT
    shown = [f"membership AUC {groups.estimate[g]:.3f} ({low[g]:.3f} to {high[g]:.3f}) in {groups.names[g]} (n = {groups.n[g]})" for g in range(len(low))]
    if verdict == "pass":
        wide = int((high[1:] >= LIMIT).sum())
        beside = f"; of {len(low) - 1} subgroups none is above 0.55 beyond chance" if len(low) > 1 else ""
        few = f", {wide} of them too small to be shown below it" if wide else ""
        return (f"{shown[0]}: below 0.55{beside}{few}",)
    counted = above & (low > CHANCE) if verdict == "fail" else above
    if verdict == "inconclusive" and not above[0] and high[0] >= LIMIT:
        counted = counted | (np.arange(len(low)) == 0)
    rank = np.argsort(-(low if verdict == "fail" else high), kind="stable")
    named = [g for g in rank if counted[g]]
    words = "above 0.55" if verdict == "fail" else "neither below 0.55 nor clearly above"
    out = [f"{shown[g]}: {words}" for g in named[:NAMED]]
    if len(named) > NAMED:
        out.append(f"and so are {len(named) - NAMED} more groups")
    if verdict == "inconclusive":
        out.append("no number of patients would settle it at this estimate" if needed is None else f"about {needed:,} patients would settle it")
    return tuple(out)
