"""Publishing a model while its patients withdraw, and data in a folder that cannot be written to."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

import trialsim.cohort.fitted.publishing as publishing
from trialsim.cohort.fitted import fit_table
from trialsim.data import PatientTable, load_card, read_table
from trialsim.data.governance import audit, persons
from trialsim.data.governance.withdrawn import add_withdrawn, withdrawn_path
from trialsim.errors import DataError

TODAY = date(2026, 6, 15)


@pytest.fixture
def table(tmp_path, monkeypatch) -> PatientTable:
    monkeypatch.delenv("TRIALSIM_AUDIT", raising=False)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "d.yaml").write_text(
        "id: d\ntitle: d\nsource: a test\nlicence: CC0\npurposes: [simulate]\ncolumns:\n  p: {type: text, role: id}\n  x: {type: continuous}\n  y: {type: continuous}\n"
    )
    x = np.random.default_rng(1).normal(size=(100, 2))
    (folder / "d.csv").write_text("p,x,y\n" + "".join(f"p{n},{a:.3f},{b:.3f}\n" for n, (a, b) in enumerate(x)))
    return read_table(folder / "d.csv", load_card(folder / "d.yaml"))


def test_who_withdraws_while_a_model_is_fitted_stops_its_publication(table, tmp_path):
    model, out, log = fit_table(table, on=TODAY), tmp_path / "m" / "a.cohort", tmp_path / "log.jsonl"
    add_withdrawn(withdrawn_path(table.path), ["p3"], on=TODAY)
    with pytest.raises(DataError, match="1 of its patients withdrew while the model was fitted"):
        publishing.publish(model, out, data=table.path, ids=persons.ids_of(table), log=log)
    assert list(out.parent.iterdir()) == []
    assert [entry.action for entry in audit.entries(log)] == ["fit", "fit_undone"]


def test_the_log_beside_the_data_names_the_model_too(table, tmp_path):
    model, out, log = fit_table(table, on=TODAY), tmp_path / "m" / "a.cohort", tmp_path / "log.jsonl"
    found = publishing.publish(model, out, data=table.path, ids=persons.ids_of(table), log=log)
    assert found["found_by_withdrawals"]
    for place in (log, table.path.parent / audit.NAME):
        (entry,) = audit.entries(place)
        assert entry.details["model"] == str(out)
        assert audit.verify(place) == []


def test_data_in_a_folder_that_cannot_be_written_to(table, tmp_path, monkeypatch):
    beside, append = table.path.parent / audit.NAME, audit.append

    def refusing(path: Path, *given: object, **more: object) -> audit.Entry:
        if path == beside:
            raise DataError("cannot be written")
        return append(path, *given, **more)

    monkeypatch.setattr(audit, "append", refusing)
    out = tmp_path / "m" / "a.cohort"
    found = publishing.publish(fit_table(table, on=TODAY), out, data=table.path, ids=persons.ids_of(table), log=tmp_path / "log.jsonl")
    assert not found["found_by_withdrawals"]
    assert out.exists()
