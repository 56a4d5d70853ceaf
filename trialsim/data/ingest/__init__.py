"""From SOURCES.yaml to one row per patient and a dataset card."""

from __future__ import annotations

from trialsim.data.ingest.declaration import SCHEMA, Ingest
from trialsim.data.ingest.ingestion import Ingested, ingest
from trialsim.data.ingest.rules import read_ingest
from trialsim.data.ingest.writing import CARD, PATIENTS, refuse_taken, write

__all__ = ["CARD", "PATIENTS", "SCHEMA", "Ingest", "Ingested", "ingest", "read_ingest", "refuse_taken", "write"]
