"""Daily features: level, variability, circadian rhythm, wear time and total of each person's local days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from trialsim.data.sources.wearable.measures import Measure
from trialsim.data.sources.wearable.non_wear import worn_minutes
from trialsim.data.sources.wearable.samples import Samples
from trialsim.data.staging import Staging, quoted

_SINGULAR = 1e-9
"""Below this determinant of the variances of cosine and sine (at most 1/4), the times of a day do not tell the rhythm."""


def insert_days(samples: Samples, *, measures: Mapping[str, Measure], min_wear: float) -> None:
    """Inserts the persons and, for each person, day and measure, events of the kind `daily` dated by the local day.

    The samples of an epoch (a minute, or `epoch_minutes`) count as one, their mean y at the clock time t (hours, 0 ≤ t < 24)
    of the first; an interval counts as one, at its middle. Over the n epochs of a day in which the device was worn:

    - `_wear_hours`: epochs with a sample × their length, and the length of intervals, at most that of the day;
    - `_level`: ȳ; `_variability`: √(Σ(y − ȳ)²/(n − 1)), absent for n = 1;
    - `_cosine` β and `_sine` γ of y = M + β·cos(2πt/24) + γ·sin(2πt/24), by least squares; `_amplitude`: √(β² + γ²);
      `_acrophase`: the clock time of the peak, atan2(γ, β)·24/2π, in hours 0 ≤ h < 24; all absent where the
      times do not determine them (n < 3, or too few different times), the last also where the amplitude is 0;
    - `_total`: Σ of all values of the day, worn or not, of measures that add up.

    A day with less than `min_wear` hours has only its wear hours, and such are counted. Means of `_acrophase` over days make
    no sense near midnight; take those of `_cosine` and `_sine`.

    **Source:** Cornelissen G. Cosinor-based rhythmometry. Theor Biol Med Model 2014;11:16, doi:10.1186/1742-4682-11-16
    (single-component cosinor; its acrophase φ = −2π·acrophase/24). Not handled: trends within a day, other periods, standard errors.
    """
    staging = samples.staging
    found = [name for (name,) in staging.connection.execute("SELECT DISTINCT measure FROM wearable_samples ORDER BY measure").fetchall()]
    _count_overlaps(samples)
    _insert_persons(samples)
    for name in found:
        measure = measures.get(name, Measure()).known_as(name)
        _make_epochs(samples, name, measure)
        _make_days(samples, measure)
        least = min_wear if measure.min_wear is None else measure.min_wear
        days, short = staging.row(f"SELECT count(*), count(*) FILTER (wear_hours < {least!r}) FROM wearable_days")
        samples.tally[f"{name}: days of persons"] += days
        samples.tally[f"{name}: days with less than {least:g} hours of wear"] += short
        _insert(samples, name, measure, least)


def _count_overlaps(samples: Samples) -> None:
    before = "max(stop) OVER (PARTITION BY who, measure ORDER BY stamp ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    query = f"SELECT count(*) FROM (SELECT stamp < {before} AS inside FROM wearable_unique WHERE stop IS NOT NULL) WHERE inside"
    samples.tally["intervals that overlap an earlier one (both count)"] += samples.staging.row(query)[0]


def _insert_persons(samples: Samples) -> None:
    files = "[" + ", ".join(map(quoted, samples.files)) + "]"
    samples.staging.insert(
        "persons",
        f"""SELECT {quoted(samples.source)} AS source, person, {files}[place + 1] AS file, line FROM (
            SELECT person, min(file) AS place, arg_min(line, (file, line)) AS line FROM (
                SELECT person, file, min(line) AS line FROM wearable_samples GROUP BY person, file) GROUP BY person) ORDER BY person""",
    )


def _make_epochs(samples: Samples, name: str, measure: Measure) -> None:
    """`wearable_mine`: the samples of a measure with their day; `wearable_epochs`: person, day, middle (on the clock), minute (of UTC), value, span (µs).

    Both are in order of persons and times.
    """
    staging, connection = samples.staging, samples.staging.connection
    microseconds = (measure.epoch_minutes or 1) * 60_000_000
    at_end = "coalesce(wall + (stop - stamp), wall)" if measure.day == "end" else "wall"
    connection.execute(
        f"""CREATE OR REPLACE TEMP VIEW wearable_mine AS
        SELECT who AS person, CAST({at_end} AS DATE) AS day, CASE WHEN stop IS NULL THEN wall ELSE wall + (stop - stamp) / 2 END AS middle,
            epoch_us(stamp) // {microseconds} AS minute, value, unit, stop IS NOT NULL AS interval,
            CASE WHEN stop IS NULL THEN {microseconds} ELSE epoch_us(stop - stamp) END AS span
        FROM wearable_unique WHERE measure = {quoted(name)}"""
    )
    alone = staging.row(f"SELECT bool_and(stop IS NULL AND epoch_us(stamp) % {microseconds} = 0) FROM wearable_unique WHERE measure = {quoted(name)}")[0]
    connection.execute("DROP VIEW IF EXISTS wearable_epochs")
    if alone:  # every sample is an epoch
        connection.execute("CREATE TEMP VIEW wearable_epochs AS FROM wearable_mine")
    else:
        with _in_order(staging):
            connection.execute(
                """CREATE OR REPLACE TEMP TABLE wearable_means AS SELECT * FROM (
                    SELECT person, day, min(middle) AS middle, minute, avg(value) AS value, any_value(span) AS span
                    FROM wearable_mine WHERE NOT interval GROUP BY person, day, minute
                    UNION ALL BY NAME SELECT person, day, middle, minute, value, span FROM wearable_mine WHERE interval) ORDER BY person, middle, minute, span, value"""
            )
        connection.execute("CREATE TEMP VIEW wearable_epochs AS FROM wearable_means")
    if measure.non_wear is not None:
        n = staging.row("SELECT count(*) FROM wearable_epochs")[0]
        intervals = staging.row("SELECT count(*) FROM wearable_mine WHERE interval")[0]
        if intervals:
            staging.problem(f"the rule for non-wear of {name} needs counts per minute, but {intervals:,} of its samples are intervals")
            return
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE wearable_worn AS SELECT * FROM ({worn_minutes(measure.non_wear, 'wearable_epochs')}) ORDER BY person, minute"
        )
        connection.execute("CREATE OR REPLACE TEMP VIEW wearable_epochs AS FROM wearable_worn")
        samples.tally[f"{name}: minutes not worn (runs of zeros)"] += n - staging.row("SELECT count(*) FROM wearable_epochs")[0]


def _make_days(samples: Samples, measure: Measure) -> None:
    """`wearable_days`: a row per person and day with every feature, whatever the wear."""
    zone = samples.zone
    length = "24.0"
    if zone is not None:
        length = f"epoch((CAST(day + 1 AS TIMESTAMP) AT TIME ZONE {quoted(zone)}) - (CAST(day AS TIMESTAMP) AT TIME ZONE {quoted(zone)})) / 3600"
    angle = "epoch_us(middle - CAST(CAST(middle AS DATE) AS TIMESTAMP)) / 86.4e9 * 2 * pi()"
    with _in_order(samples.staging):
        samples.staging.connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE wearable_days AS
            WITH given AS (
                SELECT person, day, {"sum(value)" if measure.total else "NULL::DOUBLE"} AS total, min(unit) AS unit FROM wearable_mine GROUP BY person, day
            ), lengths AS (SELECT day, {length} AS length FROM (SELECT DISTINCT day FROM given)
            ), sums AS (
                SELECT person, day, count(*) AS n, sum(span) / 3.6e9 AS hours, avg(value) AS level, stddev_samp(value) AS variability, covar_pop(c, value) AS cy,
                    covar_pop(s, value) AS sy, var_pop(c) AS cc, var_pop(s) AS ss, covar_pop(c, s) AS cs, var_pop(value) AS yy
                FROM (SELECT person, day, value, span, cos({angle}) AS c, sin({angle}) AS s FROM wearable_epochs) GROUP BY person, day
            ), fitted AS (
                SELECT *, CASE WHEN n > 2 AND cc * ss - cs * cs > {_SINGULAR!r} THEN (cy * ss - sy * cs) / (cc * ss - cs * cs) END AS cosine,
                    CASE WHEN n > 2 AND cc * ss - cs * cs > {_SINGULAR!r} THEN (sy * cc - cy * cs) / (cc * ss - cs * cs) END AS sine FROM sums
            )
            SELECT people.person, given.day, given.unit, least(coalesce(hours, 0), length) AS wear_hours, level, variability, cosine, sine, total,
                sqrt(cosine * cosine + sine * sine) AS amplitude,
                CASE WHEN yy > 0 AND amplitude > 1e-12 * abs(level) THEN (atan2(sine, cosine) / (2 * pi()) * 24 + 24) % 24 END AS acrophase
            FROM given JOIN lengths USING (day) JOIN wearable_people people ON people.who = given.person
            LEFT JOIN fitted ON fitted.person = given.person AND fitted.day = given.day"""
        )


def _insert(samples: Samples, name: str, measure: Measure, least: float) -> None:
    unit = quoted(samples.units[name]) if name in samples.units else "unit"
    features = {"wear_hours": "'h'", "level": unit, "variability": unit, "amplitude": unit, "acrophase": "'h'", "cosine": unit, "sine": unit}
    if measure.total:
        features["total"] = unit
    listed = ", ".join(f"{{'code': {quoted(f'{name}_{feature}')}, 'value': {feature}, 'unit': {unit_of}}}" for feature, unit_of in features.items())
    samples.staging.insert(
        "events",
        f"""SELECT {quoted(samples.source)} AS source, person, 'daily' AS kind, f.code AS code, CAST(day AS TIMESTAMP) AS start, f.value AS value, coalesce(f.unit, '') AS unit
        FROM (SELECT person, day, wear_hours, unnest([{listed}]) AS f FROM wearable_days)
        WHERE f.value IS NOT NULL AND (wear_hours >= {least!r} OR f.code = {quoted(f"{name}_wear_hours")}) ORDER BY person, day, code""",
    )


@contextmanager
def _in_order(staging: Staging) -> Iterator[None]:
    """One thread: sums of floats depend on their order, and what is made must not depend on the number of threads."""
    threads = staging.row("SELECT current_setting('threads')")[0]
    staging.connection.execute("SET threads = 1")
    try:
        yield
    finally:
        staging.connection.execute(f"SET threads = {int(threads)}")
