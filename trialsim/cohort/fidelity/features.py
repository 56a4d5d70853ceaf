"""Patients as the rows of a design matrix for scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trialsim.cohort.fidelity.side_by_side import Array, ComparedColumn, Side


def tree_features(columns: Sequence[ComparedColumn], side: Side) -> Array:
    """`[patient, column]` with categories as indices and missing cells as NaN: what trees take as it is."""
    return np.stack([getattr(column, side) for column in columns], axis=1)


def linear_features(columns: Sequence[ComparedColumn], side: Side) -> Array:
    """`[patient, feature]`: numbers standardised by the real column, categories as indicators, and an indicator of a missing cell.

    A missing number is at the real mean. Columns without missing cells in both tables have no indicator.
    """
    features = []
    for column in columns:
        x = getattr(column, side)
        known = ~np.isnan(x)
        if column.levels:
            features += [(x == place).astype(np.float64) for place in range(1, len(column.levels))]
        else:
            there = column.real[~np.isnan(column.real)]
            centre, spread = (float(there.mean()), float(there.std()) or 1.0) if len(there) else (0.0, 1.0)
            features.append(np.where(known, (x - centre) / spread, 0.0))
        if np.isnan(column.real).any() or np.isnan(column.synthetic).any():
            features.append((~known).astype(np.float64))
    return np.stack(features, axis=1)
