"""Strata: the crossed levels of categorical covariates, numbered in the order of `stratify_by`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from trialsim.records import Cohort


def crossed(cohort: Cohort, names: Sequence[str]) -> tuple[Int[Tensor, "replicate patient"], int]:
    """The stratum of every patient, counted from 0, and the number of strata. The last name varies fastest.

    Each name is a categorical covariate, or a 0/1 covariate (two levels).
    """
    codes = [cohort.columns[name].to(torch.int64) for name in names]
    sizes = [len(cohort.levels[name]) if name in cohort.levels else 2 for name in names]
    stratum = codes[0]
    for code, size in zip(codes[1:], sizes[1:], strict=True):
        stratum = stratum * size + code
    return stratum, math.prod(sizes)
