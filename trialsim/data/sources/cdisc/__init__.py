"""CDISC datasets: SDTM domains and ADaM, from Parquet, SAS transport files and Dataset-JSON."""

from __future__ import annotations

from trialsim.data.sources.cdisc.source import Cdisc

__all__ = ["Cdisc"]
