"""Kinds of sources, one per file; the union below is the registry."""

from __future__ import annotations

from trialsim.data.sources.source import FileSource, Source
from trialsim.data.sources.table import TableSource

SOURCES = (TableSource,)

# Discriminated as soon as it has two members: Annotated[A | B, Field(discriminator="kind")].
AnySource = TableSource
"""Any source, told apart by `kind`."""

__all__ = ["SOURCES", "AnySource", "FileSource", "Source", "TableSource"]
