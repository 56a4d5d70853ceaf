"""Expected events and times against closed forms, gsDesign2 and simulation."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from trialsim.conduct.expectation import expected_course, expected_course_of_twins
from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.twins import Truth, TwinModel

MONTH = 30.4375
REFERENCE = Path(__file__).parents[1] / "reference" / "expected_events_gsDesign2.csv"
EFFECTS = {
    "ph07": [(math.inf, 0.7)],
    "null": [(math.inf, 1.0)],
    "delay3": [(3, 1.0), (math.inf, 0.6)],
    "delay6": [(6, 1.0), (math.inf, 0.5)],
    "crossing": [(4, 1.4), (math.inf, 0.55)],
}


def constant(rate: float):
    return lambda arm, times: np.exp(-rate * times)[None]


def with_ratio(rate: float, pieces):
    """Exponential in the reference arm; a hazard ratio by months in the test arm."""

    def survival(arm, times):
        total, start = np.zeros_like(times), 0.0
        for until, ratio in pieces if arm == 1 else [(math.inf, 1.0)]:
            total += ratio * np.maximum(np.minimum(times, until * MONTH) - start, 0.0)
            start = until * MONTH
        return np.exp(-rate * total)[None]

    return survival


def reference_course(pieces, n=400):
    return expected_course(
        entry_time=(np.arange(n) + 0.5) * 12 * MONTH / n, share=[1, 1], survival=with_ratio(math.log(2) / 10 / MONTH, pieces), retention=constant(0.001 / MONTH)
    )


@pytest.mark.parametrize("calendar", [100.0, 365.0, 500.0, 2000.0])
def test_exponential_event_dropout_and_uniform_accrual_have_a_closed_form(calendar):
    rate, loss, window, n = 0.002, 0.0005, 365.0, 20_000
    course = expected_course(entry_time=(np.arange(n) + 0.5) * window / n, share=[2, 1], survival=constant(rate), retention=constant(loss))
    total = rate + loss
    accrued = min(calendar, window)
    mean = rate / total * (accrued - (math.exp(-total * (calendar - accrued)) - math.exp(-total * calendar)) / total) / window
    assert course.events(calendar) == pytest.approx(n * mean, rel=2e-5)
    assert course.events_by_arm(calendar) == pytest.approx(n * mean * np.array([2 / 3, 1 / 3]), rel=2e-5)
    assert course.total_events() == pytest.approx(n * rate / total, rel=1e-6)


@pytest.mark.parametrize("scenario", sorted(EFFECTS))
def test_gsdesign2(scenario):
    course = reference_course(EFFECTS[scenario])
    with REFERENCE.open() as file:
        rows = [row for row in csv.DictReader(file) if row["scenario"] == scenario]
    at = [float(row["value"]) for row in rows if row["fun"] == "ahr" and row["output"] == "time"]
    events = [float(row["value"]) for row in rows if row["fun"] == "ahr" and row["output"] == "event"]
    times = [float(row["value"]) for row in rows if row["fun"] == "expected_time" and row["output"] == "time"]
    assert at or times
    assert [course.events(months * MONTH) for months in at] == pytest.approx(events, abs=2e-3)
    # gsDesign2 stops its search at 2e-4 events.
    assert [course.time_of_events(250)] * len(times) == pytest.approx([months * MONTH for months in times], abs=0.01)


def test_times_and_events_are_inverse_and_stop_at_the_total():
    course = reference_course(EFFECTS["ph07"])
    for events in (0.5, 17, 250, 390):
        assert course.events(course.time_of_events(events)) == pytest.approx(events, abs=1e-6)
    assert course.time_of_events(0) == 0.0
    assert course.time_of_events(course.total_events() + 0.1) == math.inf
    assert course.events(math.inf) == pytest.approx(course.total_events())
    exhausted = course.time_of_exhaustion()
    assert 250 < course.events(exhausted) < course.total_events()
    left = np.interp(exhausted - course.entry_time, course.times, course.at_risk.mean(axis=0)[0]).sum()
    assert left == pytest.approx(0.5, abs=1e-5)


def test_enrolment():
    course = reference_course(EFFECTS["null"])
    assert [course.enrolled(day) for day in (0.0, 6 * MONTH, 1e5)] == [0, 200, 400]
    assert course.entry_of(1) == pytest.approx(0.5 * 12 * MONTH / 400)
    assert course.entry_of(401) == math.inf
    assert course.under_observation(12 * MONTH)[0] == 400


def test_a_cured_share_limits_the_total():
    course = expected_course(
        entry_time=np.zeros(100), share=[1], survival=lambda arm, times: (0.3 + 0.7 * np.exp(-0.01 * times))[None], retention=constant(0.0)
    )
    assert course.total_events() == pytest.approx(70.0, abs=1e-6)
    assert course.time_of_events(71) == math.inf


TRUTH = {
    "outcomes": {
        "death": {"dist": "weibull", "shape": 1.3, "median": "12 months", "prognostic": {"ecog": {"hr": 2.0, "level": "1"}}},
        "progression": {"dist": "exponential", "median": "8 months"},
    },
    "effects": {"test": {"death": {"hr": [{"until": "3 months", "value": 1.0}, {"value": 0.5}]}}},
    "censoring": {"dropout": {"dist": "exponential", "rate": "0.02 / month"}},
}


class Ecog:
    """A cohort model with one binary covariate."""

    names, levels, units = ("ecog",), {"ecog": ("0", "1")}, {"ecog": ""}

    def sample(self, streams, block, n, *, attempt=0):
        return Cohort({"ecog": (streams("covariate/ecog").uniform(block, n) < 0.4).double()}, self.levels)


@pytest.mark.parametrize("outcomes", [("death",), ("death", "progression")])
def test_expected_events_of_twins_agree_with_simulated_twins(outcomes):
    """Weibull with a covariate, a delayed effect and dropout; also the first of two events."""
    twins = TwinModel(Truth.model_validate(TRUTH), arms=("reference", "test"), cohort=Ecog())
    streams, block, n = Streams(5), Block(0, 400), 300
    entry = (np.arange(n) + 0.5) * 12 * MONTH / n
    cohort = Ecog().sample(streams, block, n)
    balanced = Cohort({"ecog": torch.tensor([[0.0] * 6 + [1.0] * 4])}, Ecog.levels)
    course = expected_course_of_twins(twins=twins, outcomes=outcomes, entry_time=entry, share=[1, 1], cohort=balanced)
    for calendar in (9 * MONTH, 20 * MONTH):
        for arm in (0, 1):
            arguments = {"streams": streams, "block": block, "n": n, "cohort": cohort, "arm": arm}
            time = torch.stack([twins.event_time(outcome, **arguments) for outcome in outcomes]).amin(0)
            seen = (time <= twins.dropout_time(**arguments)) & (torch.from_numpy(entry) + time <= calendar)
            counts = seen.sum(-1).double()
            mcse = float(counts.std()) / math.sqrt(block.size)
            assert abs(float(counts.mean()) - 2 * course.events_by_arm(calendar)[arm]) <= 3.5 * mcse


def test_strata_are_parts_of_the_whole():
    twins = TwinModel(Truth.model_validate(TRUTH), arms=("reference", "test"), cohort=Ecog())
    cohort = Cohort({"ecog": torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0]])}, Ecog.levels)
    arguments = {"twins": twins, "outcomes": ("death",), "entry_time": np.linspace(0, 300, 50), "share": [1, 1], "cohort": cohort}
    whole = expected_course_of_twins(**arguments)
    parts = expected_course_of_twins(**arguments, stratum=np.array([0, 0, 1, 0, 1]))
    assert parts.weight == pytest.approx([0.6, 0.4])
    assert parts.events(500.0) == pytest.approx(whole.events(500.0), rel=1e-12)
    assert (parts.incidence[:, 1, -200:] > parts.incidence[:, 0, -200:]).any()
