"""How fast a bulk export is read: a million observations, at most two threads; `extra_info` holds observations per second."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from trialsim.data.sources import Fhir
from trialsim.data.staging import Staging

N = 1_000_000
LINE = (
    '{"resourceType":"Observation","id":"%d","meta":{"profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"]},'
    '"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}]}],'
    '"code":{"coding":[{"system":"http://loinc.org","code":"%s","display":"Hemoglobin A1c/Hemoglobin.total in Blood"}],"text":"HbA1c"},'
    '"subject":{"reference":"Patient/%d"},"encounter":{"reference":"Encounter/%d"},"effectiveDateTime":"20%02d-%02d-%02dT10:%02d:05+02:00",'
    '"issued":"2020-03-01T10:00:05.123+02:00","valueQuantity":{"value":%.1f,"unit":"%%","system":"http://unitsofmeasure.org","code":"%%"}}\n'
)
CODES = ("4548-4", "2339-0", "718-7", "29463-7")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A million lines of some 650 bytes; made up."""
    path = tmp_path_factory.mktemp("export")
    with (path / "Observation.ndjson").open("w") as file:
        for first in range(0, N, 10_000):
            file.write(
                "".join(LINE % (i, CODES[i % 4], i % 20_000, i, i % 20, i % 12 + 1, i % 28 + 1, i % 60, 4 + i % 97 / 10) for i in range(first, first + 10_000))
            )
    return path


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("codes", [frozenset(), frozenset({("http://loinc.org", "4548-4")})], ids=["all", "one code"])
def test_a_million_observations(benchmark, folder, threads, codes):
    found: dict[str, float] = {}

    def read() -> None:
        staging = Staging.open()
        staging.connection.execute(f"SET threads = {threads}")
        busy = time.process_time()
        Fhir(kind="fhir", files="*.ndjson").read(staging, name="ehr", folder=folder, codes=codes)
        found["cpu"] = time.process_time() - busy
        assert not staging.problems
        assert staging.row("SELECT count(*), count(value), count(start) FROM events") == (N // (4 if codes else 1),) * 3

    benchmark.pedantic(read, rounds=1)
    benchmark.extra_info |= {"observations_per_second": round(N / benchmark.stats.stats.min), "cpu_seconds": round(found["cpu"], 1)}
    assert benchmark.stats.stats.min < 30
