"""A published survival curve in a protocol: the file, and the hazard it comes to."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from trialsim.cohort.calibration.reconstruction import standard_error
from trialsim.cohort.calibration.survival_curve import TOLERANCE, hazard_pieces, read_curve
from trialsim.data import shown_path
from trialsim.errors import DataError
from trialsim.parts import Part
from trialsim.units import TIME_UNITS, Duration, NonNegativeRate

DIRECTORY = "directory"
"""The key of the validation context under which the protocol's folder is."""


class CurvePiece(Part):
    """A hazard and the time at which it ends; the last piece has no end."""

    until: Duration | None = Field(None, description="Where the piece ends; absent in the last piece.")
    rate: NonNegativeRate = Field(description="The hazard in the piece.")


class PublishedCurve(Part):
    """A digitised survival curve: `time`, `survival` and, where it was printed, `at_risk`.

    `pieces` is the piecewise exponential law that follows it. Read from the file when the protocol is, they are part of the resolved
    protocol and of its hash; where they are given the file is not read.
    """

    from_curve: str = Field(description="The file (CSV or Parquet), relative to the protocol's folder: columns time, survival and, where known, at_risk.")
    time_unit: Literal["days", "weeks", "months", "years"] = Field("days", description="The unit of the file's times.")
    of: Literal["center", "population"] = Field(
        "center",
        description="Whose curve it is: a patient's at the centre of every prognostic covariate, or that of the whole population, as papers print it.",
    )
    pieces: tuple[CurvePiece, ...] = Field((), description="The hazard that follows the curve; filled in from the file.")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any, info: ValidationInfo) -> Any:
        folder = (info.context or {}).get(DIRECTORY)
        if not isinstance(given, dict) or given.get("pieces") or folder is None or not isinstance(given.get("from_curve"), str):
            return given
        days = TIME_UNITS.get(str(given.get("time_unit", "days")))
        if days is None:
            return given  # its own error
        path = Path(folder) / given["from_curve"]
        try:
            curve = read_curve(path, days=days, shown=shown_path(path))
        except DataError as error:
            raise PydanticCustomError("curve", "{problems}", {"problems": "; ".join(map(str, error.problems))}) from None
        has_risk = len(curve.at_risk) > 0 and curve.at_risk_time[0] == 0
        breaks, hazards = hazard_pieces(curve, np.maximum(TOLERANCE, 0.5 * standard_error(curve)) if has_risk else TOLERANCE)
        pieces = [{"until": f"{float(end)!r} days", "rate": f"{float(rate)!r} / day"} for end, rate in zip(breaks.tolist(), hazards[:-1].tolist(), strict=True)]
        return {**given, "pieces": [*pieces, {"rate": f"{float(hazards[-1])!r} / day"}]}

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        ends = [piece.until for piece in self.pieces]
        if self.pieces and (ends[-1] is not None or any(end is None for end in ends[:-1])):
            raise PydanticCustomError("curve", "every piece of a curve but the last needs until, and the last has none")
        if any(later <= earlier for earlier, later in pairwise((0.0, *self.breaks))):
            raise PydanticCustomError("curve", "the ends of a curve's pieces (until) must grow from above 0")
        return self

    @property
    def breaks(self) -> tuple[float, ...]:
        """Where the pieces end, in days."""
        return tuple(piece.until for piece in self.pieces if piece.until is not None)

    @property
    def hazards(self) -> tuple[float, ...]:
        """The hazard of every piece, per day."""
        return tuple(piece.rate for piece in self.pieces)
