"""*Synthetic* series of wearables, made by a seeded generator, and their daily features by statsmodels. No real person is in them."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import statsmodels.api as sm

Sample = tuple[str, datetime, float]


def series(persons: int = 3, days: int = 4, seed: int = 1, *, every: int = 7, zone: str = "Europe/Berlin", first: str = "2024-03-29") -> list[Sample]:
    """Heart rates with a rhythm of their own for each person, at irregular minutes; times are aware."""
    rng = np.random.default_rng(seed)
    start = datetime.fromisoformat(first).replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))
    made = []
    for person in range(persons):
        amplitude, peak = rng.uniform(3, 15), rng.uniform(0, 24)
        minutes = np.flatnonzero(rng.random(days * 1440) < 1 / every)
        for minute in minutes.tolist():
            time = (start + timedelta(minutes=minute, seconds=int(rng.integers(60)))).astimezone(ZoneInfo(zone))
            hour = time.hour + time.minute / 60
            made.append((f"p{person}", time, round(65 + amplitude * math.cos(2 * math.pi * (hour - peak) / 24) + rng.normal(0, 3), 1)))
    return made


def features_by_hand(samples: list[Sample], *, epoch_minutes: int) -> dict[tuple[str, str], dict[str, float]]:
    """(person, day) → features: means of epochs in dictionaries, and a cosinor by ordinary least squares."""
    epochs: dict[tuple[str, str, int], list[tuple[datetime, float]]] = defaultdict(list)
    for person, time, value in samples:
        epochs[person, time.date().isoformat(), int(time.timestamp()) // (60 * epoch_minutes)].append((time, value))
    by_day: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for (person, day, _), of in sorted(epochs.items()):
        at = min(time for time, _ in of)
        by_day[person, day].append((at.hour + at.minute / 60 + at.second / 3600, sum(value for _, value in of) / len(of)))
    found = {}
    for key, of in by_day.items():
        hours, values = (np.array(column) for column in zip(*of, strict=True))
        angle = 2 * np.pi * hours / 24
        _, cosine, sine = sm.OLS(values, sm.add_constant(np.column_stack([np.cos(angle), np.sin(angle)]))).fit().params
        found[key] = {
            "level": values.mean(),
            "variability": values.std(ddof=1),
            "cosine": cosine,
            "sine": sine,
            "amplitude": math.hypot(cosine, sine),
            "acrophase": math.atan2(sine, cosine) / (2 * math.pi) * 24 % 24,
            "wear_hours": len(of) * epoch_minutes / 60,
        }
    return found


def worn_by_hand(counts: list[float], *, window: int = 90, allowance: int = 2, around: int = 30) -> list[bool]:
    """Which minutes of a gapless record are worn, by Choi's rule, minute by minute."""
    quiet = [count == 0 for count in counts]
    smoothed = list(quiet)
    minute = 0
    while minute < len(counts):
        if quiet[minute]:
            minute += 1
            continue
        stop = minute
        while stop < len(counts) and not quiet[stop]:
            stop += 1
        before, after = quiet[max(0, minute - around) : minute], quiet[stop : stop + around]
        if stop - minute <= allowance and len(before) == len(after) == around and all(before) and all(after):
            smoothed[minute:stop] = [True] * (stop - minute)
        minute = stop
    worn = [True] * len(counts)
    minute = 0
    while minute < len(counts):
        stop = minute
        while stop < len(counts) and smoothed[stop]:
            stop += 1
        if stop - minute >= window:
            worn[minute:stop] = [False] * (stop - minute)
        minute = max(stop, minute + 1)
    return worn
