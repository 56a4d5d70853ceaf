"""Genotypes: polygenic scores and single variants from VCF files and PLINK filesets."""

from __future__ import annotations

from trialsim.data.sources.genomics.plink import Plink
from trialsim.data.sources.genomics.vcf import Vcf

__all__ = ["Plink", "Vcf"]
