"""The check of a cohort model's disclosure: refits to halves of the data, attacks on them, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.disclosure.disclosure import Disclosure
from trialsim.cohort.sampler import Recipe
from trialsim.data import PatientTable


def check_disclosure(
    recipe: Recipe,
    table: PatientTable,
    *,
    refits: int = 20,
    seed: int = 1,
    workers: int = 1,
    subgroups: Mapping[str, NDArray[np.bool_]] | None = None,
    n_synthetic: int | None = None,
) -> Disclosure:
    """Whether models made by `recipe` tell which patients they were fitted to.

    `subgroups` are rows of `table` by name (default: the levels of the arm and of every discrete column modelled).
    """
    raise NotImplementedError
