"""How fast wearables are read: 10 million samples, one a minute, in CSV; `extra_info` holds samples per second. Made-up samples."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from trialsim.data.sources import Wearable
from trialsim.data.staging import Staging

N = 10_000_000
WEEK = 7 * 24 * 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A week of each of a thousand persons, by DuckDB."""
    path = tmp_path_factory.mktemp("watch")
    stamped = f"strftime(TIMESTAMP '2024-06-03' + to_minutes(i % {WEEK}), '%Y-%m-%dT%H:%M:%S') AS time"
    value = "CAST(60 + 10 * sin(i / 229.0) + hash(i) % 1000 / 100 AS DECIMAL(8, 1)) AS value"
    Staging.open().connection.execute(
        f"COPY (SELECT 'p' || lpad(CAST(i // {WEEK} AS VARCHAR), 5, '0') AS person, {stamped}, {value} FROM range({N}) t(i)) TO '{path}/x.csv' (HEADER)"
    )
    return path


@pytest.mark.parametrize("threads", [1, 2])
def test_ten_million_samples(benchmark, folder, threads):
    found: dict[str, float] = {}

    def read() -> None:
        staging = Staging.open()
        staging.connection.execute(f"SET threads = {threads}")
        busy = time.process_time()
        source = Wearable(
            kind="wearable", format="csv", files="x.csv", columns={"person": None, "time": None, "value": None}, measure="hr", zone="Europe/Berlin"
        )
        source.read(staging, name="watch", folder=folder, codes=frozenset())
        found["cpu"] = time.process_time() - busy
        assert not staging.problems
        assert staging.row("SELECT count(*) FROM events WHERE code = 'hr_level'")[0] >= N // 1440

    benchmark.pedantic(read, rounds=1)
    benchmark.extra_info |= {"samples_per_second": round(N / benchmark.stats.stats.min), "cpu_seconds": round(found["cpu"], 1)}
    assert benchmark.stats.stats.min < 180
