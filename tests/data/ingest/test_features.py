"""Every aggregate and every time to event against a second implementation in pandas and NumPy."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

AGGREGATES = ("first", "last", "mean", "median", "min", "max", "count", "any", "slope", "sd")
N = 60


@pytest.fixture
def cohort(clinic):
    """60 persons with 0 to 12 measurements each, some without a number, and events on either side of the index date."""
    rng = np.random.default_rng(20)
    persons = np.array([f"q{i:02d}" for i in range(N)])
    index = np.datetime64("2020-01-01") + rng.integers(0, 200, N)
    counts = rng.integers(0, 13, N)
    who = np.repeat(np.arange(N), counts)
    seconds = rng.integers(0, 86400, len(who))
    day = index[who] - rng.integers(-60, 500, len(who))
    labs = pd.DataFrame({"pid": persons[who], "when": day.astype("datetime64[s]") + seconds, "test": "4548-4", "value": rng.normal(8, 2, len(who)).round(3)})
    labs.loc[rng.random(len(labs)) < 0.1, "value"] = np.nan
    events = pd.DataFrame(
        {"pid": persons[(who_had := rng.integers(0, N, 90))], "when": index[who_had] + rng.integers(-100, 900, 90), "code": rng.choice(["stroke", "other"], 90)}
    )
    dead = rng.random(N) < 0.3
    death = np.where(dead, index + rng.integers(1, 900, N), np.datetime64("NaT"))
    demo = pd.DataFrame({"pid": persons, "dob": np.datetime64("1950-01-01"), "dod": death, "start": index})
    written = labs.assign(
        when=labs["when"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"), value=labs["value"].map(lambda value: "" if np.isnan(value) else repr(value)), unit="%"
    )
    clinic.write("labs.csv", written.sample(frac=1, random_state=1).to_csv(index=False))
    clinic.write("dx.csv", events.to_csv(index=False))
    clinic.write("demo.csv", demo.to_csv(index=False))
    text = clinic.path.read_text()
    text = text[: text.index("  forms: {")].replace(", units: {weight: kg}", "")
    text += "codes:\n  hba1c: {system: 'http://loinc.org', codes: [4548-4]}\n  stroke: {system: 'http://snomed.info/sct', codes: [stroke]}\n"
    text += "index: {attribute: start}\nlook_back: 365 days\nfeatures:\n"
    clinic.write("S.yaml", text + "consent: {sources")
    return clinic, labs, events, demo.set_index("pid")


def _features(clinic, lines):
    text = clinic.path.read_text()
    clinic.write("S.yaml", text[: text.index("features:\n")] + "features:\n" + "".join(f"  {line}\n" for line in lines))
    return clinic.ingest().table.to_pandas().set_index("person")


def _witness(aggregate, times, values, index):
    """One person's value, from measurements in order of time."""
    known = ~np.isnan(values)
    if aggregate in ("count", "any"):
        return float(len(values) if aggregate == "count" else len(values) > 0)
    times, values = times[known], values[known]
    if not len(values):
        return np.nan
    if aggregate == "slope":
        years = (times - index.astype("datetime64[s]")).astype(float) / 86400 / 365.25
        return np.polyfit(years, values, 1)[0] if len(set(years)) > 1 else np.nan
    if aggregate == "sd":
        return np.std(values, ddof=1) if len(values) > 1 else np.nan
    return {"first": values[0], "last": values[-1], "mean": np.mean(values), "median": np.median(values), "min": min(values), "max": max(values)}[aggregate]


@pytest.mark.parametrize("within", [365, 30, 10_000])
def test_aggregates(cohort, within):
    clinic, labs, _, demo = cohort
    found = _features(clinic, [f"x_{name}: {{codes: hba1c, aggregate: {name}, within: {within} days}}" for name in AGGREGATES])
    labs = labs.sort_values("when")
    covered = set(labs["pid"])  # persons whom the laboratory knows
    for person in demo.index:
        index = demo.loc[person, "start"].to_datetime64().astype("datetime64[D]")
        own = labs[labs["pid"] == person]
        days = (index - own["when"].to_numpy().astype("datetime64[D]")).astype(int)
        inside = (days >= 0) & (days <= within)
        for name in AGGREGATES:
            wanted = _witness(name, own["when"].to_numpy().astype("datetime64[s]")[inside], own["value"].to_numpy()[inside], index)
            if name in ("count", "any") and person not in covered:
                wanted = np.nan
            np.testing.assert_allclose(found.loc[person, f"x_{name}"], wanted, rtol=1e-9, atol=1e-9, err_msg=f"{person} {name}")
    assert found["x_slope"].notna().sum() > (2 if within == 30 else 30)


@pytest.mark.parametrize(
    "event, options",
    [
        (("stroke",), ""),
        (("stroke",), ", within: 1 years"),
        (("stroke", "death"), ""),
        (("death",), ", until: 2021-06-01"),
        (("stroke",), ", until: 2020-12-31"),
    ],
)
def test_times_to_events(cohort, event, options):
    clinic, labs, events, demo = cohort
    found = _features(clinic, [f"y: {{event: [{', '.join(event)}]{options}}}"])
    day = "datetime64[D]"
    for person in demo.index:
        index, death = (demo.loc[person, name].to_datetime64().astype(day) for name in ("start", "dod"))
        seen = [*labs.loc[labs["pid"] == person, "when"].to_numpy().astype(day), *events.loc[events["pid"] == person, "when"].to_numpy().astype(day)]
        had = list(events.loc[(events["pid"] == person) & (events["code"] == "stroke"), "when"].to_numpy().astype(day)) if "stroke" in event else []
        had += [death] if "death" in event and not np.isnat(death) else []
        end = np.datetime64(options[-10:], "D") if "until" in options else max(seen, default=np.datetime64("NaT", "D"))
        if not np.isnat(death) and (np.isnat(end) or "until" not in options or death < end):
            end = death
        followed = (end - index).astype(float) if not np.isnat(end) else np.nan
        if "within" in options:
            followed = min(followed, 365.25)
        times = [(when - index).astype(float) for when in had]
        times = [time for time in times if 0 < time <= followed]
        wanted = (np.nan, np.nan) if not followed >= 0 else (min(times), 1) if times else (followed, 0)
        np.testing.assert_array_equal(found.loc[person, ["y_days", "y_event"]].to_numpy(dtype=float), wanted, err_msg=person)
    assert 5 < found["y_event"].sum() < N - 5


def test_follow_up_that_ends_at_the_last_record_of_code_lists(clinic):
    """As an ADaM time to event says when each person was censored."""
    clinic.replace("S.yaml", "index: {codes", 'ended: {system: "http://snomed.info/sct", codes: [end]}\nindex: {codes'.replace("ended", "  ended"))
    clinic.replace("dx.csv", "p9,", "p2,2020-05-01,end\np3,2020-03-01,230690007\np9,").feature("x: {event: stroke, until: ended}")
    assert clinic.column("x_days") == {"p1": 214, "p2": 61, "p3": 0}
    assert clinic.column("x_event") == {"p1": 1, "p2": 0, "p3": 0}
    made = clinic.ingest().report["columns"]["x_event"]
    assert (made["persons with an event on the index date"], made["persons with an event before the index date"]) == (1, 0)
    clinic.feature("x: {event: stroke, until: ended, same_day: true}")
    assert (clinic.column("x_days")["p3"], clinic.column("x_event")["p3"]) == (0, 1)


def test_the_index_day_counts_and_the_day_after_does_not(clinic):
    clinic.feature("x: {codes: hba1c, aggregate: max}")
    assert clinic.column("x")["p1"] == 7.5  # measured on the index day
    clinic.replace("labs.csv", "p1,2020-03-01,4548-4", "p1,2020-03-02,4548-4")
    assert clinic.column("x")["p1"] == 48 * 0.09148 + 2.152  # mmol/mol, on 1 February


def test_a_record_that_lasts_counts_where_it_overlaps_the_window(clinic):
    clinic.write("dx.csv", "pid,when,until,code\np1,2020-03-01,,44054006\np1,2015-01-01,2020-02-20,m\np2,2020-03-01,,44054006\np2,2015-01-01,2020-01-01,m\n")
    clinic.replace("S.yaml", "code: code, system", "code: code, stop: until, system").replace("S.yaml", '["230690007"]', '["m"]')
    clinic.feature("x: {codes: stroke, aggregate: any, within: 30 days}")
    assert clinic.column("x") == {"p1": 1, "p2": 0}


def test_of_records_at_one_time_the_later_in_the_file_is_the_last(clinic):
    clinic.write("labs.csv", "pid,when,test,value,unit\np1,2020-02-01,4548-4,7,%\np1,2020-02-01,4548-4,6,%\np1,2020-02-01,4548-4,9,%\n")
    clinic.feature("x: {codes: hba1c, aggregate: last}")
    assert clinic.column("x")["p1"] == 9
    clinic.feature("x: {codes: hba1c, aggregate: first}")
    assert clinic.column("x")["p1"] == 7


def test_days_with_too_little_wear_are_named(clinic):
    text = "".join(f"p1,2020-01-{day:02d}T{hour:02d}:{minute:02d}:00,5\n" for day in (1, 2) for hour in range(24) for minute in (0, 30))
    clinic.write("steps.csv", "who,at,n\n" + text)
    watch = "watch: {kind: wearable, format: csv, files: steps.csv, columns: {person: who, time: at, value: n}, measure: steps, zone: Europe/Berlin"
    clinic.replace("S.yaml", "sources:\n", f"sources:\n  {watch}}}\n").feature("steps: {daily: steps_level, aggregate: mean}")
    (problem,) = clinic.problems()
    assert problem == (
        "S.yaml:20:3  features.steps: none of the 2 days has it, with 0.8 hours of wear in the median"
        " (see min_wear, and epoch_minutes, how long a sample counts); there is nothing to take the mean of"
    )
    clinic.replace("S.yaml", "zone: Europe/Berlin", "zone: Europe/Berlin, measures: {steps: {epoch_minutes: 30}}")
    assert clinic.column("steps") == {"p1": 5, "p2": None, "p3": None}


def test_no_record_at_all(clinic):
    clinic.feature("x: {questionnaire: phq9, aggregate: last}")
    assert clinic.problems() == ["S.yaml:19:3  features.x: there is no record of it; there is nothing to take the last of"]


def test_words_have_a_first_and_a_last_and_no_mean(clinic):
    clinic.write("labs.csv", "pid,when,test,value,unit\np1,2020-02-01,4548-4,high,\np1,2020-01-01,4548-4,low,\np2,2020-02-01,4548-4,low,\n")
    clinic.feature("x: {codes: hba1c, aggregate: last}")
    assert clinic.column("x") == {"p1": "high", "p2": "low", "p3": None}
    assert clinic.ingest().card.columns["x"].levels == ("high", "low")
    clinic.feature("x: {codes: hba1c, aggregate: mean}")
    assert clinic.problems() == ["S.yaml:19:3  features.x: its 3 records are words, not numbers; there is nothing to take the mean of"]


@pytest.mark.parametrize(
    "options, kind, cells, levels",
    [
        ("", "integer", (1, 2, 3), ()),
        (", type: categorical", "categorical", ("1", "2", "3"), ("1", "2", "3")),
        (", levels: ['3', '2', '1']", "categorical", ("1", "2", "3"), ("3", "2", "1")),
        (", type: continuous", "continuous", (1.0, 2.0, 3.0), ()),
        (", type: text", "text", ("1", "2", "3"), ()),
    ],
)
def test_the_type_of_an_attribute(clinic, options, kind, cells, levels):
    clinic.write("demo.csv", "pid,dob,dod,weight,stage\np1,1950-01-01,,,1\np2,1950-01-01,,,2\np3,1950-01-01,,,3\n")
    clinic.feature(f"stage: {{attribute: stage{options}}}")
    assert tuple(clinic.column("stage").values()) == cells
    meaning = clinic.ingest().card.columns["stage"]
    assert (meaning.type, meaning.levels) == (kind, levels)


@pytest.mark.parametrize(
    "options, said",
    [
        (", type: binary", '"2" in the column "stage" is not 0 or 1; neither are 1 others'),
        (", levels: ['1', '2']", '"3" in the column "stage" is not a level (1, 2)'),
        (", type: date", '"1" in the column "stage" is not a date (YYYY-MM-DD); neither are 2 others'),
    ],
)
def test_cells_that_do_not_fit_the_type(clinic, options, said):
    clinic.write("demo.csv", "pid,dob,dod,weight,stage\np1,1950-01-01,,,1\np2,1950-01-01,,,2\np3,1950-01-01,,,3\n")
    clinic.feature(f"stage: {{attribute: stage{options}}}")
    line = {"(1, 2)": 4, "0 or 1": 3}.get(next((end for end in ("(1, 2)", "0 or 1") if end in said), ""), 2)
    assert clinic.problems() == [f"demo.csv:{line}  {said}"]


def test_ages_and_dates(clinic):
    for unit, days in (("years", 365.25), ("months", 30.4375), ("days", 1.0)):
        clinic.feature(f"age: {{attribute: birth, as: age, unit: {unit}}}")
        assert clinic.column("age")["p2"] == pytest.approx((date(2020, 3, 1) - date(1960, 6, 15)).days / days, rel=1e-12)
    clinic.feature("died: {attribute: death}")
    assert clinic.column("died") == {"p1": None, "p2": date(2021, 3, 1), "p3": None}
    assert clinic.ingest().card.columns["died"].role == "post_baseline"


def test_an_attribute_that_two_sources_contradict(clinic):
    clinic.write("consent.csv", "pid,sex,permit,purpose,until,where\np1,m,1,,,\np2,m,1,,,\n").replace("S.yaml", "attributes: []", "attributes: [sex]")
    clinic.feature("sex: {attribute: sex}")
    assert clinic.problems() == ['consent.csv:2  the person "p1" has several values of the attribute "sex", f and m; say which source counts with `source`']
    clinic.feature("sex: {attribute: sex, source: demo}")
    assert clinic.column("sex") == {"p1": "f", "p2": "m", "p3": "m"}


def test_the_unit_of_an_attribute_is_declared_once(clinic):
    clinic.feature("w: {attribute: weight, unit: lb}")
    assert clinic.problems() == ['demo.csv:2  the attribute "weight" is in lb, but its numbers are 3 in kg; it is not converted (the first is here)']


@pytest.mark.parametrize("kind, options", [("daily", "aggregate: mean"), ("questionnaire", "aggregate: last"), ("score", "")])
def test_other_kinds_of_records(clinic, monkeypatch, kind, options):
    from trialsim.data.sources.table import TableSource

    original = TableSource.read

    def read(self, staging, *, name, folder, codes):
        original(self, staging, name=name, folder=folder, codes=codes)
        if name == "demo":
            dated = "NULL" if kind == "score" else "TIMESTAMP '2020-02-01'"
            row = f"SELECT 'demo' AS source, 'p1' AS person, '{kind}' AS kind, 'steps_level' AS code, {dated} AS start, 5.5 AS value, 'x' AS unit"
            staging.insert("events", row)

    monkeypatch.setattr(TableSource, "read", read)
    clinic.feature(f"x: {{{kind}: steps_level, {options}}}".replace(", }", "}"))
    assert clinic.column("x") == {"p1": 5.5, "p2": None, "p3": None}
    assert clinic.ingest().card.columns["x"].unit == "x"


@pytest.mark.parametrize(
    "index, days",
    [
        ("{codes: diabetes, occurrence: last}", {"p1": date(2020, 5, 1), "p2": date(2020, 3, 1), "p3": date(2020, 3, 1)}),
        ("{codes: [stroke, diabetes], occurrence: last}", {"p1": date(2020, 10, 1), "p2": date(2020, 3, 1), "p3": date(2020, 3, 1), "p9": date(2020, 10, 1)}),
        ("{date: 2020-07-01}", dict.fromkeys(("p1", "p2", "p3", "p4", "p9"), date(2020, 7, 1))),
        ("{date: 2022-01-01}", dict.fromkeys(("p1", "p3", "p4", "p9"), date(2022, 1, 1))),  # p2 is dead
        ("{date: 1975-01-01}", dict.fromkeys(("p1", "p2", "p3", "p9"), date(1975, 1, 1))),  # p4 is not born; nothing says when p9 was
    ],
)
def test_time_zero(clinic, index, days):
    clinic.replace("S.yaml", "index: {codes: diabetes, occurrence: first}", f"index: {index}").feature("age: {attribute: birth, as: age}")
    assert clinic.column("index_date") == days


def test_time_zero_of_an_attribute(clinic):
    clinic.write("demo.csv", "pid,dob,dod,weight,randomised\np1,1950-01-01,,,2020-01-05\np2,1950-01-01,,,\np3,1950-01-01,,,2020-02-05T10:00:00Z\n")
    clinic.replace("S.yaml", "index: {codes: diabetes, occurrence: first}", "index: {attribute: randomised}").feature("age: {attribute: birth, as: age}")
    assert clinic.column("index_date") == {"p1": date(2020, 1, 5), "p3": date(2020, 2, 5)}
    clinic.replace("demo.csv", "2020-01-05", "5 January")
    assert clinic.problems() == ['demo.csv:2  "5 January" of the attribute "randomised" is not a date (YYYY-MM-DD)']


def test_without_time_zero_only_facts_become_columns(clinic):
    clinic.replace("S.yaml", "index: {codes: diabetes, occurrence: first}\n", "").feature("sex: {attribute: sex}")
    assert clinic.column("sex") == {"p1": "f", "p2": "m", "p3": "m", "p4": "f", "p9": None}
    assert "index_date" not in clinic.ingest().table.column_names
    clinic.feature("x: {codes: hba1c, aggregate: last}")
    assert clinic.problems() == ["S.yaml:18:3  features.x: is counted from the index date (codes), so `index` must be declared"]
