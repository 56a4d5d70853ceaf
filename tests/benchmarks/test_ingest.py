"""How fast an ingest is: a million measurements of 20,000 persons in CSV; `extra_info` holds measurements per second."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trialsim.data.ingest import ingest

PERSONS, MEASUREMENTS = 20_000, 1_000_000
CODES = {"4548-4": "%", "2160-0": "mg/dL", "8480-6": "mmHg", "2339-0": "mg/dL"}
SOURCES = """\
ingest: trialsim.ingest/1
id: large
title: Large
source: made by this benchmark
licence: CC0-1.0
purposes: [simulate]
sources:
  demo: {kind: table, files: demo.csv, person: id, birth: born}
  lab: {kind: table, files: labs.csv, person: id, date: at, code: test, system: loinc, value: value, unit: unit}
  dx: {kind: table, files: dx.csv, person: id, date: at, code: code, system: icd, event: condition}
codes:
  diabetes: {system: icd, codes: [E11]}
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(1)
    ids = np.array([f"p{place:06d}" for place in range(PERSONS)])
    first = np.datetime64("2018-01-01")
    who, code = rng.integers(0, PERSONS, MEASUREMENTS), rng.integers(0, len(CODES), MEASUREMENTS)
    pd.DataFrame({"id": ids, "born": np.datetime64("1950-01-01") + rng.integers(0, 10_000, PERSONS), "sex": rng.choice(["f", "m"], PERSONS)}).to_csv(
        folder / "demo.csv", index=False
    )
    pd.DataFrame(
        {
            "id": ids[who],
            "at": first + rng.integers(0, 1000, MEASUREMENTS),
            "test": np.array(list(CODES))[code],
            "value": rng.normal(100, 15, MEASUREMENTS).round(2),
            "unit": np.array(list(CODES.values()))[code],
        }
    ).to_csv(folder / "labs.csv", index=False)
    pd.DataFrame({"id": ids, "at": first + 700 + rng.integers(0, 200, PERSONS), "code": "E11"}).to_csv(folder / "dx.csv", index=False)
    lists = "".join(f"  c{place}: {{system: loinc, codes: [{code}]}}\n" for place, code in enumerate(CODES))
    features = "".join(
        f"  c{place}_{name}: {{codes: c{place}, aggregate: {name}}}\n"
        for place in range(len(CODES))
        for name in ("last", "mean", "median", "slope", "sd", "count")
    )
    rest = "index: {codes: diabetes}\nlook_back: 2 years\nfeatures:\n  age: {attribute: birth, as: age}\n  sex: {attribute: sex}\n  c3: {event: c3}\n"
    (folder / "SOURCES.yaml").write_text(SOURCES + lists + rest + features)
    return folder / "SOURCES.yaml"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_million_measurements(benchmark, sources, threads):
    made = benchmark.pedantic(ingest, args=(sources,), kwargs={"threads": threads}, rounds=2)
    assert made.table.num_rows == PERSONS
    if benchmark.stats:
        benchmark.extra_info["measurements per second"] = MEASUREMENTS / benchmark.stats["min"]
