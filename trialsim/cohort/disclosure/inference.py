"""Linkability and attribute inference: what the nearest synthetic rows tell of a patient of whom part is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.disclosure.space import Array, Points, Space, nearest

Flags = NDArray[np.bool_]

CLOSE = 0.05  # a number is guessed when it is within 5 %


def linked(real: Points, synthetic: Points, space: Space, *, generator: np.random.Generator, neighbours: int = 1) -> Flags:
    """Which patients `[patient]` are linked: the synthetic rows nearest in one half of the columns and in the other agree.

    The attacker holds two files with no common key, each with half of the columns (drawn at random), and joins a
    patient's two records when they have a nearest synthetic row in common.

    **Source:** Giomi et al. 2023, PoPETs 2023:312, doi 10.56553/popets-2023-0055, section 4.2.
    """
    names = list(generator.permutation(np.array(space.names, dtype=object)))
    if len(names) < 2:
        return np.zeros(len(real.values), dtype=bool)
    near = [nearest(along(real, axes), along(synthetic, axes), neighbours)[1] for half in (names[0::2], names[1::2]) for axes in (space.axes(half),)]
    return np.asarray((near[0][:, :, None] == near[1][:, None, :]).any((1, 2)))


def guessed(real: Points, synthetic: Points, space: Space, name: str, *, cells: Array, guesses: Array, category: bool) -> Flags:
    """For which patients with a known cell of column `name` the nearest synthetic row in all *other* columns has it.

    `cells` and `guesses` are that column in the real and in the synthetic table. A category is guessed when it is the
    same, a number when it is within 5 % of the truth; a missing guess is none.

    **Source:** Giomi et al. 2023, PoPETs 2023:312, doi 10.56553/popets-2023-0055, section 4.3.
    """
    axes = space.axes([other for other in space.names if other != name])
    known = ~np.isnan(cells)
    row = nearest(along(real.take(known), axes), along(synthetic, axes), 1)[1][:, 0]
    guess, truth = guesses[row], cells[known]
    return np.asarray(guess == truth if category else np.abs(guess - truth) <= CLOSE * np.abs(truth))


def along(points: Points, axes: NDArray[np.int64] | Sequence[int]) -> Points:
    """The points on some of the axes only."""
    return Points(points.values[:, axes], points.known[:, axes], points.missing[np.asarray(axes, dtype=np.int64)])
