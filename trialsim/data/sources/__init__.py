"""Kinds of sources, one per file; the union below is the registry."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trialsim.data.sources.cdisc import Cdisc
from trialsim.data.sources.fhir import Fhir
from trialsim.data.sources.genomics import Plink, Vcf
from trialsim.data.sources.omop import Omop
from trialsim.data.sources.questionnaire import Questionnaire
from trialsim.data.sources.source import FileSource, Source
from trialsim.data.sources.table import TableSource
from trialsim.data.sources.wearable import Wearable

SOURCES = (Cdisc, Fhir, Omop, Plink, Questionnaire, TableSource, Vcf, Wearable)

AnySource = Annotated[Cdisc | Fhir | Omop | Plink | Questionnaire | TableSource | Vcf | Wearable, Field(discriminator="kind")]
"""Any source, told apart by `kind`."""

__all__ = ["SOURCES", "AnySource", "Cdisc", "Fhir", "FileSource", "Omop", "Plink", "Questionnaire", "Source", "TableSource", "Vcf", "Wearable"]
