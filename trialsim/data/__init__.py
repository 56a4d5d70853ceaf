"""Patient-level data: files, their cards, and what may be done with them."""

from __future__ import annotations

from trialsim.data.card import Card, Column, load_card
from trialsim.data.reading import read_table
from trialsim.data.shown_path import shown_path
from trialsim.data.table import PatientTable

__all__ = ["Card", "Column", "PatientTable", "load_card", "read_table", "shown_path"]
