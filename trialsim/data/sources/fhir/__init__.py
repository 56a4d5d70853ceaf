"""FHIR R4 bulk exports: one resource per line of NDJSON."""

from __future__ import annotations

from trialsim.data.sources.fhir.export import Fhir

__all__ = ["Fhir"]
