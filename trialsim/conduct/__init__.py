"""Conduct: accrual, randomisation, data cuts, looks. It reveals what the twins hold; it generates nothing of them."""

from trialsim.conduct.accrual import Accrual, RatePiece
from trialsim.conduct.looks import Interims, Look, Monitoring, Timing, Trigger
from trialsim.conduct.randomization import Randomization

__all__ = ["Accrual", "Interims", "Look", "Monitoring", "Randomization", "RatePiece", "Timing", "Trigger"]
