"""Win ratio, net benefit and win odds from the definition: every pair in a loop, variances from the pair matrices. No code in common with the kernels."""

from __future__ import annotations

import numpy as np


def compare(one: list, other: list, kinds: list[str], favours: list[int], thresholds: list[float], until: float = np.inf) -> int:
    """1 if `one` wins, -1 if `other` wins, 0 if the pair stays tied. An event part is (time, event), a value part a number."""
    for mine, theirs, kind, sign, threshold in zip(one, other, kinds, favours, thresholds, strict=True):
        if kind == "event":
            better, worse = (mine, theirs) if sign > 0 else (theirs, mine)
            if worse[1] and worse[0] <= until and worse[0] < min(better[0] - threshold, np.nextafter(until, np.inf)):
                return 1
            if better[1] and better[0] <= until and better[0] < min(worse[0] - threshold, np.nextafter(until, np.inf)):
                return -1
        else:
            difference = sign * (mine - theirs)
            if difference > threshold:
                return 1
            if difference < -threshold:
                return -1
    return 0


def pair_matrix(patients: list[list], group: np.ndarray, kinds: list[str], favours: list[int], thresholds: list[float], common: bool = False) -> np.ndarray:
    """1, -1 or 0 for every test patient (rows) against every reference patient (columns)."""

    def followed(patient: list) -> float:
        return min([part[0] for part, kind in zip(patient, kinds, strict=True) if kind == "event" and not part[1]], default=np.inf)

    test, reference = np.flatnonzero(group == 1), np.flatnonzero(group == 0)
    pairs = np.zeros((len(test), len(reference)), dtype=int)
    for a, i in enumerate(test):
        for b, j in enumerate(reference):
            until = min(followed(patients[i]), followed(patients[j])) if common else np.inf
            pairs[a, b] = compare(patients[i], patients[j], kinds, favours, thresholds, until)
    return pairs


def statistics(pairs: np.ndarray) -> dict[str, tuple[float, float]]:
    """(estimate, standard error) of log win ratio, net benefit and log win odds by Hoeffding's projections."""
    win, loss = (pairs == 1).astype(float), (pairs == -1).astype(float)
    n1, n0 = pairs.shape
    w, l = win.mean(), loss.mean()

    def se(kernel: np.ndarray) -> float:
        return float(np.sqrt(np.var(kernel.mean(axis=1)) / n1 + np.var(kernel.mean(axis=0)) / n0))

    net = win - loss
    return {
        "win_ratio": (float(np.log(w / l)), se(win / w - loss / l)),
        "net_benefit": (w - l, se(net)),
        "win_odds": (float(np.log((1 + w - l) / (1 - w + l))), se(net) * 2 / (1 - (w - l) ** 2)),
    }
