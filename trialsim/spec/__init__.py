"""The protocol language: one YAML file states one study."""

from trialsim.spec.protocol import Protocol
from trialsim.spec.study import Cell, Study, load

__all__ = ["Cell", "Protocol", "Study", "load"]
