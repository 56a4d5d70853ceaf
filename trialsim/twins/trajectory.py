"""Trajectories of twins: kernel of `linear_mixed`, all visits of a patient together.

Noise is addressed by the visit's day, as in `visit_value`; what belongs to the patient and not to a visit has indices beyond
every day: the known and unknown part of the slope, the common part of the residuals. Residuals with the correlation of a
first-order autoregression follow e_j = rho * e_(j-1) + sqrt(1 - rho ** 2) * z_j over the visits in order of time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.records import Cohort
from trialsim.rng import Block, Stream
from trialsim.twins.arm_shift import ArmShift
from trialsim.twins.arm_table import Arm, pick
from trialsim.twins.prognosis import LinearPredictor
from trialsim.twins.values.linear_mixed import LinearMixed
from trialsim.twins.visit_value import MeanDifference, noise_index

KNOWN_SLOPE, UNKNOWN_SLOPE, COMMON_RESIDUAL = 1 << 32, (1 << 32) + 1, (1 << 32) + 2


@dataclass(frozen=True, slots=True)
class Slowing:
    """By which share the mean slope is reduced, and from which day on."""

    share: float = 0.0
    onset: float = 0.0

    def clock(self, day: float) -> float:
        """The days of unslowed decline that `day` days amount to."""
        return day - self.share * max(day - self.onset, 0.0)


NO_SLOWING = Slowing()


class Trajectory:
    """All visits of a `linear_mixed` outcome: `days` by visit in order of time, `shifts` by visit and arm, `slowing` by arm."""

    def __init__(
        self,
        process: LinearMixed,
        days: Mapping[str, float],
        *,
        slowing: Sequence[Slowing],
        shifts: Mapping[str, Sequence[MeanDifference]],
        levels: Mapping[str, tuple[str, ...]],
    ):
        self.process, self.days, self.slowing = process, dict(days), tuple(slowing)
        self.shifts = {visit: ArmShift(shifts[visit]) for visit in days}
        self._clocks = {day: torch.tensor([each.clock(day) for each in slowing], dtype=torch.float64, device="cpu") for day in days.values()}
        self.slopes = LinearPredictor({name: effect for name, effect in process.prognostic.items() if effect.kind == "slope"}, levels)
        self.moves = LinearPredictor({name: effect for name, effect in process.prognostic.items() if effect.kind == "shift"}, levels)

    def mean(self, visit: str, cohort: Cohort | None, arm: Arm | None) -> Float[Tensor, "replicate patient"]:
        """The expected value given the baseline covariates, under `arm` (None: the reference process)."""
        day = self.days[visit]
        slope = self.slopes(cohort)
        slope = torch.full((1, 1), self.process.slope, dtype=torch.float64, device="cpu") if slope is None else slope + self.process.slope
        start = self._start(cohort)
        for patients in (arm, start):
            if isinstance(patients, Tensor):
                slope = slope.to(patients.device)
        mean = slope * (day if arm is None else self._clock(day, arm)) + start
        move = self.moves(cohort)
        if move is not None:
            mean = mean + move
        return mean if arm is None else mean + self.shifts[visit].of(cohort, arm)

    def _start(self, cohort: Cohort | None) -> Tensor | float:
        if isinstance(self.process.baseline, str):
            assert cohort is not None
            return cohort.columns[self.process.baseline]
        return float(self.process.baseline)

    def _clock(self, day: float, arm: Arm) -> Tensor | float:
        return pick(self._clocks[day], arm)

    def draw(self, visits: Sequence[str], stream: Stream, block: Block, n: int, *, cohort: Cohort | None, arm: Arm) -> list[Float[Tensor, "replicate patient"]]:
        """The values of every patient under `arm` at these visits, in the order asked for."""
        slope = self._own_slope(stream, block, n)
        residuals = self._residuals(visits, stream, block, n)
        found = []
        for visit in visits:
            value = self.mean(visit, cohort, arm).to(stream.device).expand(block.size, n)
            if slope is not None:
                value = value + slope * self.days[visit]
            if visit in residuals:
                value = value + residuals[visit]
            found.append(value)
        return found

    def known_slope(self, stream: Stream, block: Block, n: int) -> Tensor | None:
        """What the twin predicts of the patient's own deviation in slope; None: nothing."""
        sd, r = self.process.slope_sd or 0.0, self.process.prognosis_correlation or 0.0
        return stream.normal(block, n, index=KNOWN_SLOPE) * (sd * abs(r)) if sd * r != 0.0 else None

    def _own_slope(self, stream: Stream, block: Block, n: int) -> Tensor | None:
        sd, r = self.process.slope_sd or 0.0, self.process.prognosis_correlation or 0.0
        if sd == 0.0:
            return None
        known = stream.normal(block, n, index=KNOWN_SLOPE) * (sd * r) if r != 0.0 else None
        if abs(r) == 1.0:
            return known
        unknown = stream.normal(block, n, index=UNKNOWN_SLOPE) * (sd * math.sqrt(1.0 - r * r))
        return unknown if known is None else known + unknown

    def _residuals(self, visits: Sequence[str], stream: Stream, block: Block, n: int) -> dict[str, Tensor]:
        residual = self.process.residual
        if residual is None:
            return {}
        corr = residual.corr
        common, rho, scale = None, 0.0, 1.0
        if corr is not None and corr.compound_symmetry is not None:
            scale = math.sqrt(1.0 - corr.compound_symmetry)
            common = stream.normal(block, n, index=COMMON_RESIDUAL) * (residual.sd * math.sqrt(corr.compound_symmetry))
        elif corr is not None and corr.ar1 is not None:
            rho = corr.ar1
        found: dict[str, Tensor] = {}
        before: Tensor | None = None
        last = max(self.days[visit] for visit in visits)
        for visit, day in self.days.items():
            if day > last or (rho == 0.0 and visit not in visits):
                continue
            z = stream.normal(block, n, index=noise_index(day)) * (residual.sd * scale)
            if rho != 0.0 and before is not None:
                z = before * rho + z * math.sqrt(1.0 - rho * rho)
            before = z
            if visit in visits:
                found[visit] = z if common is None else z + common
        return found

    def same(self, visit: str, arm: int, reference: int) -> bool:
        """Whether two arms do the same to every patient by the visit."""
        day = self.days[visit]
        return self.shifts[visit].same(arm, reference) and (
            self.slowing[arm].clock(day) == self.slowing[reference].clock(day) or (self.process.slope == 0.0 and not self.slopes)
        )


class TrajectoryValue:
    """One visit of a trajectory."""

    def __init__(self, trajectory: Trajectory, visit: str):
        self.trajectory, self.visit = trajectory, visit

    def expected(self, cohort: Cohort | None) -> Float[Tensor, "replicate patient"]:
        """The expected value under the reference process, given the baseline covariates."""
        return self.trajectory.mean(self.visit, cohort, None)

    def mean(self, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The expected value under `arm`."""
        return self.trajectory.mean(self.visit, cohort, arm)

    def draw(self, stream: Stream, block: Block, n: int, *, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The value of every patient under `arm`."""
        return self.trajectory.draw([self.visit], stream, block, n, cohort=cohort, arm=arm)[0]

    def same(self, arm: int, reference: int) -> bool:
        return self.trajectory.same(self.visit, arm, reference)

    def constant_difference(self, arm: int, reference: int) -> float | None:
        """The difference of two arms where it is the same in every patient, else None."""
        trajectory, day = self.trajectory, self.trajectory.days[self.visit]
        step = trajectory.slowing[arm].clock(day) - trajectory.slowing[reference].clock(day)
        constant = trajectory.shifts[self.visit].constant(arm, reference)
        return None if constant is None or (step != 0.0 and trajectory.slopes) else constant + step * trajectory.process.slope

    def mean_difference(self, cohort: Cohort | None, arm: int, reference: int) -> float | Float[Tensor, "replicate patient"]:
        """Each patient's expected difference between two arms; a number where it is the same for everyone."""
        trajectory, day = self.trajectory, self.trajectory.days[self.visit]
        step = trajectory.slowing[arm].clock(day) - trajectory.slowing[reference].clock(day)
        shift = trajectory.shifts[self.visit]
        constant = shift.constant(arm, reference)
        moved = constant if constant is not None else shift.of(cohort, arm) - shift.of(cohort, reference)
        if step == 0.0 or not trajectory.slopes:
            return step * trajectory.process.slope + moved
        slopes = trajectory.slopes(cohort)
        assert slopes is not None
        return (slopes + trajectory.process.slope) * step + moved
