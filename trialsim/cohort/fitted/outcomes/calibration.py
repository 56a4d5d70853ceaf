"""Outcomes moved so that what is seen of them is what was seen in the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from trialsim.cohort.fitted.margins import Array
from trialsim.cohort.fitted.outcomes.companions import Companions
from trialsim.cohort.fitted.outcomes.missing import FittedMissing
from trialsim.cohort.fitted.outcomes.outcomes import FittedOutcomes, Outcome
from trialsim.cohort.fitted.outcomes.predictor import DesignPredictors
from trialsim.cohort.fitted.outcomes.values import FittedValue

DRAWS, ROUNDS, FEWEST = 60_000, 2, 20


def calibrated(
    outcomes: FittedOutcomes,
    *,
    design: Float[Tensor, "patient term"],
    arm: NDArray[np.int64],
    values: Mapping[Outcome, Array],
    companions: Companions | None = None,
) -> FittedOutcomes:
    """The outcomes with each arm's mean, and its share of missing values, moved to where the data have them.

    Regressions see the values that are there, as if a missing one said nothing. But the copula ties a value to whether
    it is seen (through the event and the end of follow-up), so what is seen of the model has another mean than what it
    was fitted to. The means and the thresholds of missing cells are therefore moved, twice, by the differences between
    the data and about 60,000 patients drawn with the baselines of the data. Arms with fewer than 20 values seen, or
    missing, are left.
    """
    known = {key: value for key, value in values.items() if key in outcomes.missing}
    if not known:
        return outcomes
    repeats = max(1, round(DRAWS / len(arm)))
    generator = torch.Generator().manual_seed(3)
    n = repeats * len(arm)
    own = [torch.randn(n, generator=generator, dtype=torch.float64) for _ in outcomes.scored]
    outcomes.residuals.mix(own, [torch.randn(n, generator=generator, dtype=torch.float64) for _ in range(outcomes.residuals.n_factors)])
    who = np.tile(arm, repeats)
    levels = {} if companions is None else {name: torch.from_numpy(np.tile(index, repeats)) for name, index in companions.index.items()}
    predictors = DesignPredictors(design.repeat(repeats, 1), torch.from_numpy(who), outcomes.names, levels)
    for _ in range(ROUNDS):
        drawn = outcomes.observed(dict(zip(outcomes.scored, own, strict=True)), predictors)
        fitted, missing = dict(outcomes.values), dict(outcomes.missing)
        for key, value in known.items():
            synthetic = drawn[key].numpy()
            missing[key] = _with_shares(missing[key], {name: (value[arm == place], synthetic[who == place]) for place, name in enumerate(outcomes.names)})
            fitted[key] = _with_means(fitted[key], {name: (value[arm == place], synthetic[who == place]) for place, name in enumerate(outcomes.names)})
        outcomes = replace(outcomes, values=fitted, missing=missing)
    return outcomes


def _with_means(value: FittedValue, by_arm: Mapping[str, tuple[Array, Array]]) -> FittedValue:
    means = dict(value.varied.means)
    for name, (real, synthetic) in by_arm.items():
        if min((~np.isnan(real)).sum(), (~np.isnan(synthetic)).sum()) >= FEWEST:
            means[name] += float(np.nanmean(real) - np.nanmean(synthetic))
    return replace(value, varied=replace(value.varied, means=means))


def _with_shares(law: FittedMissing, by_arm: Mapping[str, tuple[Array, Array]]) -> FittedMissing:
    shift = dict(law.arm_shift)
    for name, (real, synthetic) in by_arm.items():
        if FEWEST <= np.isnan(real).sum() <= len(real) - FEWEST and 0 < np.isnan(synthetic).mean() < 1:
            shift[name] += float(ndtri(np.isnan(real).mean()) - ndtri(np.isnan(synthetic).mean()))
    return replace(law, arm_shift=shift)
