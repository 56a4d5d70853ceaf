"""Kinds of sources: one file each, and its name here."""

from __future__ import annotations

from trialsim.data.sources.source import FileSource, Source

__all__ = ["FileSource", "Source"]
