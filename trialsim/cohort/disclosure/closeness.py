"""How close synthetic rows lie to the rows a model was fitted to, against rows it never saw: copies, distances, unique values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.disclosure.space import Points, is_category, labels_of, nearest
from trialsim.data import PatientTable

LOW = 5  # percentile


def row_keys(table: PatientTable, names: Sequence[str]) -> NDArray[np.void]:
    """One key per patient: equal where all cells of these columns are (missing ones too; levels by their names)."""
    columns = [np.zeros(table.n)]
    for name in names:
        column = table.columns[name] + 0.0  # −0 becomes 0
        if is_category(table, name):
            labels = labels_of(table, name)
            place = np.array([float(sorted(labels).index(label)) for label in labels])
            known = ~np.isnan(column)
            column[known] = place[column[known].astype(np.int64)]
        columns.append(np.where(np.isnan(column), np.nan, column))  # one NaN for all
    rows = np.ascontiguousarray(np.stack(columns, axis=1))
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()


def count_copies(synthetic: PatientTable, real: PatientTable, names: Sequence[str]) -> int:
    """How many synthetic rows equal a real row in every one of these columns."""
    return int(np.isin(row_keys(synthetic, names), row_keys(real, names)).sum())


def distances(synthetic: Points, train: Points, holdout: Points) -> dict[str, float]:
    """DCR and NNDR of synthetic rows to the rows fitted to and to as many others.

    DCR is the distance to the closest real row, NNDR that over the distance to the second closest (1 where both are 0).
    Of each the 5th percentile and the median, for both halves; and the share of synthetic rows that lie closer to the
    rows fitted to (ties count half; ½ where nothing leaks).

    **Source:** Zhao et al. 2021 (CTAB-GAN), ACML, PMLR 157:97; Platzer & Reutterer 2021, Front Big Data 4:679939,
    doi 10.3389/fdata.2021.679939 (holdout).
    """
    found: dict[str, float] = {}
    closest = {}
    for side, real in (("train", train), ("holdout", holdout)):
        first, second = nearest(synthetic, real, 2)[0].T
        closest[side] = first
        ratio = np.where(second > 0, first / np.where(second > 0, second, 1.0), 1.0)
        for name, values in (("dcr", first), ("nndr", ratio)):
            found[f"{name}_{side}_p5"], found[f"{name}_{side}_median"] = np.percentile(values, [LOW, 50]).tolist()
    found["share_closer_to_train"] = float(((closest["train"] < closest["holdout"]) + 0.5 * (closest["train"] == closest["holdout"])).mean())
    return found


def emitted_unique(synthetic: PatientTable, real: PatientTable, member: NDArray[np.bool_], name: str) -> tuple[int, int]:
    """How many synthetic cells of a column hold a value that only one real patient has: a member's, a non-member's."""
    column = real.columns[name]
    values, first, counts = np.unique(column, return_index=True, return_counts=True, equal_nan=True)
    alone = (counts == 1) & ~np.isnan(values)
    cells = synthetic.columns[name]
    return tuple(int(np.isin(cells, values[alone & (member[first] == side)]).sum()) for side in (True, False))  # type: ignore[return-value]


def more_than_chance(counts: NDArray[np.int64]) -> Mapping[str, float]:
    """Whether members' unique values are emitted more often than non-members', of counts `[refit, (member, non-member)]`.

    Halves are exchangeable, so that by chance both are emitted alike. `p_value` is of a one-sided paired t test over
    refits; 1 where no refit differs.
    """
    from scipy.stats import t

    difference = (counts[:, 0] - counts[:, 1]).astype(np.float64)
    spread, n = float(difference.std(ddof=1)) if len(difference) > 1 else 0.0, len(difference)
    mean = float(difference.mean())
    p_value = float(t.sf(mean / (spread / np.sqrt(n)), n - 1)) if spread > 0 else float(mean <= 0)
    return {"emitted_of_members": float(counts[:, 0].mean()), "emitted_of_non_members": float(counts[:, 1].mean()), "p_value": p_value}


def mean_of(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each number over refits."""
    return {key: float(np.mean([each[key] for each in found])) for key in found[0]} if found else {}


def with_ratios(found: Mapping[str, float]) -> dict[str, float]:
    """The distances and, where the holdout's is not 0, the ratios train / holdout."""
    ratios = {}
    for key, value in found.items():
        if "_holdout_" in key and value > 0:
            ratios[key.replace("holdout", "ratio")] = found[key.replace("holdout", "train")] / value
    return {**found, **ratios}


def continuous(table: PatientTable, names: Sequence[str]) -> list[str]:
    """The columns of numbers among these."""
    return [name for name in names if not is_category(table, name)]
