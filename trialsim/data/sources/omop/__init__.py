"""OMOP Common Data Model 5.4: an extract in files, or a live database."""

from __future__ import annotations

from trialsim.data.sources.omop.source import Omop

__all__ = ["Omop"]
