"""Small tables with consent, written and read as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialsim.data import PatientTable, load_card, read_table

CARD = """\
id: clinic
title: A clinic
source: made for a test
licence: CC0-1.0
purposes: [train, simulate]
columns:
  pid: {type: text, role: id}
  age: {type: continuous, unit: years}
  may_simulate: {type: text, role: consent}
  until: {type: text, role: consent}
  where: {type: text, role: consent}
consent: {columns: {simulate: may_simulate}, expiry: until, jurisdiction: where}
"""


@pytest.fixture
def card() -> str:
    return CARD


@pytest.fixture
def written(tmp_path):
    """Writes a CSV file and its card; gives the table."""

    def write(rows: str, card: str = CARD, header: str = "pid,age,may_simulate,until,where") -> PatientTable:
        data: Path = tmp_path / "clinic.csv"
        data.write_text(f"{header}\n{rows}", encoding="utf-8")
        (tmp_path / "clinic.card.yaml").write_text(card, encoding="utf-8")
        return read_table(data, load_card(tmp_path / "clinic.card.yaml", shown="clinic.card.yaml"), shown="clinic.csv")

    return write
