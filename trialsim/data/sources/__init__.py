"""Kinds of sources, one per file; the union below is the registry."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trialsim.data.sources.cdisc import Cdisc
from trialsim.data.sources.fhir import Fhir
from trialsim.data.sources.omop import Omop
from trialsim.data.sources.questionnaire import Questionnaire
from trialsim.data.sources.source import FileSource, Source
from trialsim.data.sources.table import TableSource

SOURCES = (Cdisc, Fhir, Omop, Questionnaire, TableSource)

AnySource = Annotated[Cdisc | Fhir | Omop | Questionnaire | TableSource, Field(discriminator="kind")]
"""Any source, told apart by `kind`."""

__all__ = ["SOURCES", "AnySource", "Cdisc", "Fhir", "FileSource", "Omop", "Questionnaire", "Source", "TableSource"]
