"""How well a score orders patients: the AUC and Harrell's C, with each patient's share in their uncertainty."""

from __future__ import annotations

import numpy as np

from trialsim.cohort.fidelity.side_by_side import Array, Mask

CHUNK = 512


def placements(positive: Array, negative: Array) -> tuple[Array, Array]:
    """For each positive the share of negatives with a lower score, and for each negative that of positives with a higher one; ties count half.

    The mean of either is the AUC; their variances give its standard error: se² = var(first)/n₊ + var(second)/n₋.

    **Source:** DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837, doi 10.2307/2531595.
    """
    below, above = np.sort(negative), np.sort(positive)
    of_positive = (np.searchsorted(below, positive, "left") + np.searchsorted(below, positive, "right")) / (2.0 * len(negative))
    of_negative = 1.0 - (np.searchsorted(above, negative, "left") + np.searchsorted(above, negative, "right")) / (2.0 * len(positive))
    return of_positive, of_negative


def harrell(risk: Array, time: Array, event: Mask) -> tuple[float, Array]:
    """Harrell's C, and the influence of each patient on it (their SD / √n is its standard error).

    C = concordant / comparable pairs: i had the event and j was observed longer (or was censored at that time); concordant where i has the higher
    risk, ½ where the risks are equal. NaN and zeros where no pair is comparable. O(n²) in time, in chunks.

    **Source:** Harrell, Lee & Mark 1996, Stat Med 15:361, doi 10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4;
    the standard error as that of a ratio of U-statistics.
    """
    n = len(risk)
    concordant, comparable = np.zeros(n), np.zeros(n)
    cases = np.flatnonzero(event)
    for first in range(0, len(cases), CHUNK):
        rows = cases[first : first + CHUNK]
        longer = (time[None, :] > time[rows, None]) | ((time[None, :] == time[rows, None]) & ~event[None, :])
        right = longer * ((risk[rows, None] > risk[None, :]) + 0.5 * (risk[rows, None] == risk[None, :]))
        concordant[rows] += right.sum(1)
        comparable[rows] += longer.sum(1)
        concordant += right.sum(0)
        comparable += longer.sum(0)
    pairs = comparable.sum() / 2
    if pairs == 0:
        return float("nan"), np.zeros(n)
    c = float(concordant.sum() / 2 / pairs)
    return c, n * (concordant - c * comparable) / pairs
