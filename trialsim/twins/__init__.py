"""Twins: outcome processes, treatment effects and prognosis. A twin is a patient plus everything that would happen to them under every arm."""

from trialsim.twins.truth import Truth

__all__ = ["Truth"]
