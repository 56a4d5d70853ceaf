"""Does a synthetic cohort look like the real one?"""

from __future__ import annotations

from trialsim.cohort.fidelity.fidelity import Fidelity, measure_fidelity
from trialsim.cohort.fidelity.measured import Measured
from trialsim.cohort.fidelity.side_by_side import ComparedColumn, SideBySide, side_by_side

__all__ = ["ComparedColumn", "Fidelity", "Measured", "SideBySide", "measure_fidelity", "side_by_side"]
