"""A cohort model reweighted to published targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort.calibration.entropy_balancing import balance
from trialsim.cohort.calibration.targets import Targets, constraints, mismatches
from trialsim.cohort.eligibility import Eligibility, draw_cohort
from trialsim.cohort.model import CohortModel
from trialsim.errors import Problem, ProtocolError
from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.tensors import resident

POOL = Block(0, 500), 400
"""200,000 patients stand for the model."""
LEAST_ESS = 0.005
PURPOSE = "calibration"


@dataclass(frozen=True)
class CalibratedCohort:
    """Patients drawn from a pool of eligible ones with entropy-balancing weights.

    The pool is 200,000 patients of the model at fixed addresses (no seed changes it), so that the same targets give the same
    weights in every study. Patient i of replicate r is the one of the pool at which the cumulative weight passes the uniform of the stream
    `covariate/calibration`. `ess` is the effective sample size of the pool. Two patients of one trial may be one of the
    pool: with n patients about n² / (2 ess) pairs are (their outcomes are their own).
    """

    columns: Mapping[str, Float[Tensor, "pool"]]
    levels: Mapping[str, tuple[str, ...]]
    units: Mapping[str, str]
    cumulative: Float[Tensor, "pool"]
    ess: float

    @property
    def names(self) -> tuple[str, ...]:
        """The covariates, in the model's order."""
        return tuple(self.columns)

    @property
    def share(self) -> float:
        """The effective sample size over the size of the pool: 1 when the targets ask for nothing new."""
        return self.ess / len(self.cumulative)

    def sample(self, streams: Streams, block: Block, n: int, *, attempt: int = 0) -> Cohort:
        """The baselines `[replicate, patient]` of patients 0..n-1 at this attempt."""
        uniform = streams(f"covariate/{PURPOSE}").uniform(block, n, index=attempt)
        place = torch.searchsorted(resident(self.cumulative, uniform.device), uniform).clamp_(max=len(self.cumulative) - 1)
        return Cohort(columns={name: resident(column, uniform.device)[place] for name, column in self.columns.items()}, levels=self.levels)


@dataclass(frozen=True)
class CalibratedFittedCohort(CalibratedCohort):
    """A calibrated cohort whose model learned outcomes too: they are the model's, given each patient's baseline."""

    events: Mapping[str, Any]
    values: Mapping[tuple[str, str], Any]


_MOST_KEPT = 4
_kept: dict[str, CalibratedCohort] = {}


def calibrated_once(key: str, model: CohortModel, targets: Targets, eligibility: Eligibility) -> CalibratedCohort:
    """`calibrate`, remembered under a key that says everything it depends on: the cells of a study share one pool."""
    if key not in _kept:
        while len(_kept) >= _MOST_KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = calibrate(model, targets, eligibility)
    return _kept[key]


def calibrate(model: CohortModel, targets: Targets, eligibility: Eligibility) -> CalibratedCohort:
    """The model's eligible patients, reweighted until they have the targets' means, SDs, quantiles and proportions.

    Raises ProtocolError where a target names what the model does not have, where no weights meet them together (naming the
    targets that are missed), and where an effective sample size below 0.5 % of the patients is left.
    """
    found = [Problem(message, path=f"population.calibrate_to.{place}") for place, message in mismatches(targets, levels_of=model.levels, units=model.units)]
    if found:
        raise ProtocolError(found)
    block, n = POOL
    pool = draw_cohort(model, eligibility, Streams(PURPOSE), block, n)
    names, columns, wanted = constraints(targets, pool)
    weights = balance(columns, wanted)
    size = block.size * n
    if not weights.converged:
        apart = np.abs(columns.mean(0) - wanted) / np.maximum(columns.std(0), 1e-12)
        worst = np.argsort(-apart, kind="stable")[:3]
        missed = ", ".join(f"{names[place]} ({float(columns[:, place].mean()):.4g} in the cohort, {wanted[place]:.4g} wanted)" for place in worst)
        raise ProtocolError(
            Problem(f"no weights of the eligible patients meet the targets together; furthest from the cohort: {missed}", path="population.calibrate_to")
        )
    if weights.ess < LEAST_ESS * size:
        raise ProtocolError(
            Problem(
                f"the targets are so far from the cohort that {weights.ess:,.0f} of {size:,} patients would carry the weight (effective sample size)",
                path="population.calibrate_to",
            )
        )
    cumulative = torch.from_numpy(weights.weights / size).to("cpu").cumsum(0)
    kept: dict[str, Any] = {
        "columns": {name: pool.columns[name].reshape(-1).contiguous() for name in model.names},
        "levels": dict(model.levels),
        "units": dict(model.units),
        "cumulative": cumulative / cumulative[-1],
        "ess": weights.ess,
    }
    if hasattr(model, "events") and hasattr(model, "values"):
        return CalibratedFittedCohort(**kept, events=model.events, values=model.values)
    return CalibratedCohort(**kept)
