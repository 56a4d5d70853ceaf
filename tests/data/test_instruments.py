"""Scores of questionnaires against their published rules, item by item."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trialsim.data.instruments import STANDARDS, Instrument

NAN = float("nan")


def _instrument(**given) -> Instrument:
    return Instrument.model_validate({"items": ["a", "b", "c", "d"], "low": 1, "high": 5} | given)


def _by_hand(instrument: Instrument, answers: list[float | None]) -> float | None:
    """The score of one response, one item at a time."""
    found = []
    for item, answer in zip(instrument.items, answers, strict=True):
        if answer is not None:
            found.append(instrument.low + instrument.high - answer if item in instrument.reverse else answer)
    needed = len(instrument.items) if instrument.at_least is None else instrument.at_least
    if len(found) < needed:
        return None
    mean = sum(found) / len(found)
    return mean if instrument.score == "mean" else mean * len(instrument.items)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.one_of(st.none(), st.integers(1, 5)), min_size=4, max_size=4), max_size=20),
    st.sampled_from(["sum", "mean"]),
    st.sets(st.sampled_from("abcd")),
    st.one_of(st.none(), st.integers(1, 4)),
)
def test_scores_are_those_by_hand(responses, score, reverse, at_least):
    instrument = _instrument(score=score, reverse=tuple(reverse), at_least=at_least)
    matrix = np.array([[NAN if cell is None else float(cell) for cell in row] for row in responses]).reshape(-1, 4)
    expected = [_by_hand(instrument, row) for row in responses]
    np.testing.assert_allclose(instrument.scores(matrix), [NAN if value is None else value for value in expected], rtol=1e-14)


def test_phq9_and_gad7_span_their_published_ranges():
    for name, k, top in (("phq9", 9, 27), ("gad7", 7, 21)):
        instrument = Instrument.model_validate({"standard": name})
        assert len(instrument.items) == len(set(instrument.items)) == k
        np.testing.assert_array_equal(instrument.scores(np.stack([np.zeros(k), np.full(k, 3.0)])), [0.0, top])
        assert sorted(instrument.answers.values()) == [0, 1, 2, 3]


def test_phq9_is_prorated_only_where_asked():
    answers = np.array([[2.0] * 7 + [NAN, NAN], [2.0] * 6 + [NAN] * 3])
    strict, usual = (Instrument.model_validate({"standard": "phq9"} | more) for more in ({}, {"at_least": 7}))
    assert np.isnan(strict.scores(answers)).all()
    np.testing.assert_array_equal(usual.scores(answers), [18.0, NAN])


def test_eq5d_level_sum_and_profile():
    instrument = Instrument.model_validate({"standard": "eq5d5l", "items": ["m", "s", "u", "p", "a"]})
    answers = np.array([[1.0, 1, 1, 2, 1], [5.0, 5, 5, 5, 5], [1.0, NAN, 1, 1, 1]])
    np.testing.assert_array_equal(instrument.scores(answers), [6.0, 25.0, NAN])
    assert instrument.profiles(answers) == ["11121", "55555", None]


def test_answers_out_of_range_are_found():
    answers = np.array([[1.0, 5.0, NAN, 2.5], [0.0, 6.0, np.inf, -np.inf]])
    np.testing.assert_array_equal(_instrument().out_of_range(answers), [[False] * 4, [True] * 4])
    np.testing.assert_array_equal(_instrument(profile=True).out_of_range(answers)[0], [False, False, False, True])


def test_what_is_given_overrides_the_standard():
    instrument = Instrument.model_validate({"standard": "gad7", "items": [f"q{k}" for k in range(7)], "answers": {"often": 3}})
    assert (instrument.items[0], instrument.answers, instrument.high) == ("q0", {"often": 3.0}, STANDARDS["gad7"]["high"])


@pytest.mark.parametrize(
    "given, words",
    [
        ({"low": 5, "high": 5}, "`low` must be below `high`"),
        ({"items": ["a", "/a"]}, "an item is given twice"),
        ({"reverse": ["z"]}, 'the reversed item "z" is none of the items'),
        ({"at_least": 5}, "`at_least` is 5, but there are 4 items"),
        ({"answers": {"LA1": 9}}, 'the answer "LA1" is outside 1'),
        ({"high": 11, "profile": True}, "a profile needs answers from 0 to 9"),
        ({"standard": "sf6d"}, "Input should be 'phq9', 'gad7' or 'eq5d5l'"),
        ({"items": []}, "at least 1 item"),
    ],
)
def test_declarations_that_make_no_sense(given, words):
    with pytest.raises(ValidationError, match=words.replace("(", r"\(")):
        _instrument(**given)
