"""Daily features of wearables against statsmodels, and every way in which a series can be wrong. All data are synthetic."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from pydantic import ValidationError
from witness.synthetic_wearables import features_by_hand, series, worn_by_hand

from trialsim.data.sources import Wearable
from trialsim.data.staging import Staging
from trialsim.errors import DataError

COLUMNS = {"person": None, "time": None, "value": None}


def _read(folder: Path, files: str = "x.csv", threads: int = 2, **options) -> Staging:
    staging = Staging.open()
    staging.connection.execute(f"SET threads = {threads}")
    given = {"format": "csv"} | options
    if given["format"] == "csv":
        given = {"columns": COLUMNS, "measure": "hr"} | given
    Wearable(kind="wearable", files=files, **given).read(staging, name="watch", folder=folder, codes=frozenset())
    return staging


def _write(folder: Path, rows: list[str], header: str = "person,time,value") -> None:
    (folder / "x.csv").write_text("\n".join((header, *rows)) + "\n")


def _features(staging: Staging) -> dict[tuple[str, str], dict[str, float]]:
    assert not staging.problems
    found: dict[tuple[str, str], dict[str, float]] = {}
    for person, day, code, value in staging.connection.execute("SELECT person, CAST(start AS DATE), code, value FROM events").fetchall():
        found.setdefault((person, day.isoformat()), {})[code.split("_", 1)[1]] = value
    return found


def _messages(staging: Staging, folder: Path) -> list[str]:
    return [str(problem).replace(f"{folder}/", "") for problem in staging.problems]


def _steps(staging: Staging) -> dict[str, int]:
    return {item.step: item.n for item in staging.filters}


@pytest.mark.parametrize("epoch", [1, 15])
@pytest.mark.parametrize("written", ["offset", "utc", "local", "parquet"])
def test_features_are_those_of_statsmodels(tmp_path, epoch, written):
    samples = series(first="2024-03-30")  # over the night that has no hour from 2 to 3
    texts = {
        "offset": lambda time: time.isoformat(),
        "utc": lambda time: time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "local": lambda time: time.replace(tzinfo=None).isoformat(),
    }
    if written == "parquet":
        times = pa.array([time.astimezone(UTC) for _, time, _ in samples], pa.timestamp("us", tz="UTC"))
        pa.parquet.write_table(pa.table({"person": [row[0] for row in samples], "time": times, "value": [row[2] for row in samples]}), tmp_path / "x.parquet")
    else:
        _write(tmp_path, [f"{person},{texts[written](time)},{value}" for person, time, value in samples])
    options = {} if written == "offset" else {"zone": "Europe/Berlin"}
    file = "x.parquet" if written == "parquet" else "x.csv"
    found = _features(_read(tmp_path, file, measures={"hr": {"epoch_minutes": epoch}}, min_wear="0 hours", **options))
    by_hand = features_by_hand(samples, epoch_minutes=epoch)
    assert found.keys() == by_hand.keys()
    for key, of in by_hand.items():
        assert found[key] == pytest.approx(of, rel=1e-9, abs=1e-9), key


def test_days_are_as_long_as_clocks_make_them(tmp_path):
    rows = []
    for day, length in (("2024-03-31", 23), ("2024-10-27", 25)):
        start = datetime.fromisoformat(f"{day}T00:00:00+0{2 if length == 25 else 1}:00")
        rows += [f"a,{(start + timedelta(minutes=minute)).isoformat()},{minute % 7}" for minute in range(length * 60)]
    _write(tmp_path, rows)
    found = _features(_read(tmp_path, zone="Europe/Berlin"))
    assert {day: of["wear_hours"] for (_, day), of in found.items()} == {"2024-03-31": 23, "2024-10-27": 25}


def test_local_times_of_the_repeated_hour_are_told_apart_by_order(tmp_path):
    start = datetime(2024, 10, 26, 22, tzinfo=UTC)  # midnight in Berlin
    offsets = [2] * 180 + [1] * (22 * 60)
    rows = [f"a,{(start + timedelta(minutes=minute, hours=ahead)).strftime('%Y-%m-%dT%H:%M')},{minute}" for minute, ahead in enumerate(offsets)]
    _write(tmp_path, rows)
    staging = _read(tmp_path, zone="Europe/Berlin")
    found = _features(staging)
    assert found["a", "2024-10-27"]["wear_hours"] == 25
    assert found["a", "2024-10-27"]["level"] == np.mean(range(1500))


def test_the_number_of_threads_does_not_matter(tmp_path):
    samples = series(persons=6, every=2, seed=4)
    _write(tmp_path, [f"{person},{time.isoformat()},{value / 3}" for person, time, value in samples])
    one, two = (_features(_read(tmp_path, threads=threads, zone="Europe/Berlin", min_wear=1)) for threads in (1, 2))
    assert one == two


def test_short_days_have_only_their_wear(tmp_path):
    _write(tmp_path, [f"a,2024-01-0{day}T{minute // 60:02d}:{minute % 60:02d}:00Z,1" for day, n in ((1, 600), (2, 599)) for minute in range(n)])
    staging = _read(tmp_path)
    found = _features(staging)
    assert found["a", "2024-01-02"] == {"wear_hours": pytest.approx(599 / 60)}
    assert found["a", "2024-01-01"].keys() == {"wear_hours", "level", "variability", "amplitude", "cosine", "sine"}  # no peak of a constant
    assert found["a", "2024-01-01"]["wear_hours"] == 10
    assert _steps(staging)["hr: days with less than 10 hours of wear"] == 1


def test_steps_add_up_and_have_a_unit(tmp_path):
    _write(tmp_path, [f"a,2024-01-01T{hour:02d}:30:00+05:30,{hour},count" for hour in range(24)], "person,time,value,unit")
    staging = _read(tmp_path, columns=COLUMNS | {"unit": None}, measure="steps", measures={"steps": {"epoch_minutes": 60}})
    assert _features(staging)["a", "2024-01-01"]["total"] == sum(range(24))
    assert set(staging.connection.execute("SELECT code, unit FROM events").fetchall()) >= {("steps_total", "count"), ("steps_wear_hours", "h")}


@pytest.mark.parametrize("seed", range(5))
def test_non_wear_is_that_of_a_minute_by_minute_reader(tmp_path, seed):
    rng = np.random.default_rng(seed)
    counts: list[int] = []
    while len(counts) < 2880:
        counts += [0] * int(rng.choice([5, 29, 30, 31, 60, 89, 90, 150])) + [int(n) for n in rng.integers(1, 50, int(rng.choice([1, 2, 3, 20])))]
    counts = counts[:2880]
    start = datetime(2024, 1, 1, tzinfo=UTC)
    _write(tmp_path, [f"a,{(start + timedelta(minutes=minute)).isoformat()},{count}" for minute, count in enumerate(counts)])
    staging = _read(tmp_path, min_wear=0, measures={"hr": {"non_wear": {"rule": "choi_2011"}}})
    found, worn = _features(staging), worn_by_hand(counts)
    assert 100 < sum(worn) < 2800
    for day in (0, 1):
        here = slice(day * 1440, (day + 1) * 1440)
        of = found["a", f"2024-01-0{day + 1}"]
        assert of["wear_hours"] == pytest.approx(sum(worn[here]) / 60)
        assert of["level"] == pytest.approx(np.mean(np.array(counts)[here][np.array(worn)[here]]))
    assert _steps(staging)["hr: minutes not worn (runs of zeros)"] == 2880 - sum(worn)


def test_several_values_at_one_time_are_a_problem_and_exact_duplicates_are_dropped(tmp_path):
    rows = [f"a,2024-01-01T00:{minute:02d}:00Z,{minute}" for minute in range(30)]
    _write(tmp_path, [*rows, rows[3], "a,2024-01-01T01:05:00+01:00,7", "b,2024-01-01T00:05:00Z,1"])
    staging = _read(tmp_path)
    assert _messages(staging, tmp_path) == ['x.csv:33  "a" has several values of hr at 2024-01-01T00:05:00 UTC: 5 on line 7 and 7 here']
    assert _steps(staging)["samples: exact duplicates dropped"] == 1


def test_mixed_units_are_a_problem(tmp_path):
    _write(tmp_path, ["a,2024-01-01T00:00:00Z,1,bpm", "a,2024-01-01T00:01:00Z,1,bpm", "a,2024-01-01T00:02:00Z,1,Hz"], "person,time,value,unit")
    staging = _read(tmp_path, columns=COLUMNS | {"unit": None})
    assert _messages(staging, tmp_path) == ["x.csv:4  the samples of hr have several units: 2 in bpm, 1 in Hz (the first in Hz is here)"]
    staging = _read(tmp_path, columns=COLUMNS | {"unit": None}, measures={"hr": {"unit": "bpm"}})
    assert _messages(staging, tmp_path) == ["x.csv:4  hr is in bpm, but its samples are 2 in bpm, 1 in Hz (the first in Hz is here)"]


def test_rows_that_cannot_be_read_are_named(tmp_path):
    _write(
        tmp_path,
        [
            "a,2024-13-01T00:00:00Z,1",
            ",2024-01-01T00:00:00Z,1",
            "a,2024-01-01T00:00:00Z,much",
            "a,,1",
            "a,2024-01-01T00:05,1",
            "a,2024-01-01T00:09:00Z,NA",
            "a,2024-01-01T00:10:00Z,1e200",
        ],
    )
    staging = _read(tmp_path)
    assert sorted(_messages(staging, tmp_path)) == [
        'x.csv:2  "2024-13-01T00:00:00Z" is not a time (ISO 8601)',
        "x.csv:3  sample without a person",
        'x.csv:4  "much" is not a finite number',
        "x.csv:5  sample without a time",
        "x.csv:6  time without an offset, where no `zone` is declared",
        'x.csv:8  "1e+200" is too large for a sample',
    ]
    assert _steps(staging)["samples: left out, without a value"] == 1


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "x.csv  the file is empty"),
        ("person,time,value\n", "x.csv  there are no rows below the header"),
        ("person,when,value\na,b,c\n", 'x.csv:1  there is no column "time"; allowed: person, value, when'),
        ("person,time,value\na,2024-01-01T00:00:00Z,1\na,2024\n", "x.csv:3  the row has 2 cells where the header has 3"),
    ],
)
def test_files_that_are_none(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    assert _messages(_read(tmp_path), tmp_path) == [message]


def test_lines_are_right_where_some_are_blank(tmp_path):
    (tmp_path / "x.csv").write_text("person,time,value\na,2024-01-01T00:00:00Z,1\n\na,2024-01-01T00:01:00Z,x\n")
    assert _messages(_read(tmp_path), tmp_path) == ['x.csv:4  "x" is not a finite number']


def test_times_that_clocks_skip_are_a_problem(tmp_path):
    _write(tmp_path, ["a,2024-03-31T01:59:00,1", "a,2024-03-31T02:10:00,1"])
    (message,) = _messages(_read(tmp_path, zone="Europe/Berlin"), tmp_path)
    assert message == "x.csv:3  2024-03-31T02:10:00 is no time in Europe/Berlin, whose clocks skip it: these are not its local times; 1 such samples"


def _point(schema: str, body: dict, frame: dict, person: str = "a") -> dict:
    header = {"id": "1", "creation_date_time": "2024-01-02T00:00:00Z", "schema_id": {"namespace": "omh", "name": schema, "version": "2.0"}, "user_id": person}
    return {"header": header, "body": body | {"effective_time_frame": frame}}


def _interval(start: str, end: str) -> dict:
    return {"time_interval": {"start_date_time": start, "end_date_time": end}}


@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_open_mhealth_data_points(tmp_path, form):
    points = [
        _point(
            "heart-rate",
            {"heart_rate": {"value": 60 + minute % 3, "unit": "beats/min"}},
            {"date_time": f"2024-01-01T{minute // 60:02d}:{minute % 60:02d}:00+02:00"},
        )
        for minute in range(660)
    ]
    points += [
        _point("step-count", {"step_count": {"value": 500, "unit": "steps"}}, _interval("2024-01-01T08:00:00+02:00", "2024-01-01T19:00:00+02:00")),
        _point("step-count", {"step_count": 70}, {"time_interval": {"end_date_time": "2024-01-01T21:00:00+02:00", "duration": {"value": 30, "unit": "min"}}}),
        _point("sleep-duration", {"sleep_duration": {"value": 7.5, "unit": "h"}}, _interval("2024-01-01T22:30:00+02:00", "2024-01-02T06:00:00+02:00")),
        _point("physical-activity", {"activity_name": "walk"}, _interval("2024-01-01T08:00:00+02:00", "2024-01-01T08:45:00+02:00")),
        _point("body-weight", {"body_weight": {"value": 71.5, "unit": "kg"}}, {"date_time": "2024-01-01T07:00:00+02:00"}),
    ]
    text = json.dumps(points) if form == "json" else "\n".join(map(json.dumps, points))
    (tmp_path / f"x.{form}").write_text(text)
    staging = _read(tmp_path, f"x.{form}", format="open_mhealth")
    assert not staging.problems
    found = {
        (code, str(start)[:10]): (value, unit)
        for code, start, value, unit in staging.connection.execute("SELECT code, start, value, unit FROM events").fetchall()
    }
    assert found["heart_rate_level", "2024-01-01"] == (61, "beats/min")
    assert found["heart_rate_wear_hours", "2024-01-01"] == (11, "h")
    assert found["step_count_total", "2024-01-01"] == (570, "steps")
    assert found["step_count_wear_hours", "2024-01-01"] == (11.5, "h")
    assert found["sleep_duration_total", "2024-01-02"] == (7.5, "h")
    assert found["physical_activity_total", "2024-01-01"] == (45, "min")
    assert found["body_weight_level", "2024-01-01"] == (71.5, "kg")


def test_open_mhealth_that_is_cut_off_or_none(tmp_path):
    point = json.dumps(_point("heart-rate", {"heart_rate": {"value": 60, "unit": "beats/min"}}, {"date_time": "2024-01-01T00:00:00Z"}))
    (tmp_path / "x.ndjson").write_text(f'{point}\n{{"a": 1}}\n{point[:40]}')
    assert _messages(_read(tmp_path, "x.ndjson", format="open_mhealth"), tmp_path) == [
        "x.ndjson:2  the line is no data point with a schema and a body",
        "x.ndjson:3  the last line is cut off, or no data point",
    ]
    (tmp_path / "x.ndjson").write_text(point.replace("heart-rate", "it's odd"))
    assert _messages(_read(tmp_path, "x.ndjson", format="open_mhealth"), tmp_path) == ["x.ndjson:1  the line is no data point with a schema and a body"]
    (tmp_path / "x.ndjson").write_text("")
    assert _messages(_read(tmp_path, "x.ndjson", format="open_mhealth"), tmp_path) == ["x.ndjson  the file is empty"]
    (tmp_path / "x.json").write_text(f"[{point}, {point[:30]}")
    (message,) = _messages(_read(tmp_path, "x.json", format="open_mhealth"), tmp_path)
    assert message.startswith("x.json  cannot be read as JSON")


def _observation(**more) -> dict:
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    return {"resourceType": "Observation", "status": "final", "code": code, "subject": {"reference": "Patient/a"}} | more


def test_fhir_observations_and_series(tmp_path):
    quantity = {"value": 60, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"}
    lines = [_observation(effectiveDateTime=f"2024-01-01T00:{minute:02d}:00+01:00", valueQuantity=quantity) for minute in range(60)]
    sampled = {"origin": {"value": 10, "code": "/min", "system": "http://unitsofmeasure.org"}, "period": 60000, "factor": 2, "dimensions": 1}
    lines.append(_observation(effectiveDateTime="2024-01-01T01:00:00+01:00", valueSampledData=sampled | {"data": " ".join(["25"] * 599 + ["E"])}))
    lines.append(_observation(status="entered-in-error", effectiveDateTime="2024-01-01T00:00:00+01:00", valueQuantity=quantity | {"value": 1}))
    steps = {"coding": [{"system": "http://loinc.org", "code": "55423-8"}]}
    lines.append(_observation(code=steps, effectivePeriod={"start": "2024-01-01T08:00:00+01:00", "end": "2024-01-01T20:00:00+01:00"}, valueInteger=900))
    lines.append({"resourceType": "Patient", "id": "a"})
    (tmp_path / "x.ndjson").write_text("\n".join(map(json.dumps, lines)))
    staging = _read(tmp_path, "x.ndjson", format="fhir")
    assert not staging.problems
    found = dict(staging.connection.execute("SELECT code, value FROM events WHERE start = '2024-01-01'").fetchall())
    assert found["heart_rate_level"] == 60
    assert found["heart_rate_wear_hours"] == pytest.approx(659 / 60)
    assert (found["steps_total"], found["steps_wear_hours"]) == (900, 12)
    steps_met = _steps(staging)
    assert steps_met["Observation: left out, entered in error or cancelled"] == 1
    assert steps_met["samples: left out, without a value"] == 1


@pytest.mark.parametrize(
    "options, words",
    [
        ({"format": "csv"}, "which column is the person"),
        ({"format": "csv", "columns": COLUMNS}, "needs either a column of measures"),
        ({"format": "fhir", "measure": "hr"}, "belongs to the format csv"),
        ({"format": "fhir", "measures": {"mine": {}}}, "the codes of its Observations"),
        ({"format": "open_mhealth", "zone": "Mars/Olympus"}, "is no time zone"),
        ({"format": "open_mhealth", "min_wear": "10 days"}, "is not a number of hours"),
        ({"format": "csv", "columns": COLUMNS, "measure": "a", "measures": {"a": {"non_wear": {}, "epoch_minutes": 5}}}, "counts per minute"),
    ],
)
def test_options_that_do_not_fit(options, words):
    with pytest.raises(ValidationError, match=words):
        Wearable(kind="wearable", files="x", **options)


def test_missing_files(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        _read(tmp_path, "none.csv")
