"""Tables of real patients as visits, recurrent events, causes, counts and hierarchies; and what is refused, with its rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from trialsim.analysis.real_data import Question, Tier, Visit, event_data, hierarchy_data, recurrent_data, value_data, visit_data
from trialsim.analysis.real_data.visits import natural_order
from trialsim.data import PatientTable, read_table
from trialsim.errors import DataError

LONG = """id,arm,visit,y,base,sex
a,1,VIS2,3.0,1.0,f
a,1,VIS1,2.0,1.0,f
a,1,VIS10,4.0,1.0,f
b,0,VIS1,5.0,2.0,m
b,0,VIS2,,2.0,m
c,0,VIS10,7.0,3.0,m
d,2,VIS1,8.0,4.0,f
e,1,VIS1,,2.5,m
"""
QUESTION = Question(test="t", reference="c", arms={"t": 1, "c": 0, "u": 2}, columns={"value": "y", "baseline": "base"})
RECURRENT = """id,arm,start,stop,event,age
1,1,0,5,1,50
1,1,5,9,1,50
1,1,9,12,0,50
2,0,0,7,0,60
3,0,0,4,1,70
3,0,4,4,0,70
"""
RECURRING = dataclasses.replace(QUESTION, columns={"time": "stop"}, covariates=("age",))
CAUSES = "time,event,arm\n3,0,1\n4,1,1\n5,2,0\n6,3,0\n"
LABELLED = "time,event,arm\n3,censored,1\n4,relapse,1\n5,death,0\n6,relapse,0\n"


@pytest.fixture
def table(tmp_path: Path):
    def read(text: str) -> PatientTable:
        (tmp_path / "data.csv").write_text(text)
        return read_table(tmp_path / "data.csv", shown="data.csv")

    return read


def _with(question: Question, **more: object) -> Question:
    return dataclasses.replace(question, notes=[], **more)


def test_visits_come_in_the_order_a_reader_expects():
    assert natural_order({"VIS10", "VIS2", "VIS1"}) == ["VIS1", "VIS2", "VIS10"]
    assert natural_order({"12", "4", "8.5"}) == ["4", "8.5", "12"]


def test_rows_of_visits_become_one_row_per_patient(table):
    question = _with(QUESTION, covariates=("sex",))
    data = visit_data(table(LONG), question)
    nan = np.nan
    np.testing.assert_array_equal(data.value[0].numpy(), [[2.0, 3.0, 4.0], [5.0, nan, nan], [nan, nan, 7.0]])
    assert data.group.tolist() == [[1, 0, 0]]
    assert data.baseline.tolist() == [[1.0, 2.0, 3.0]]
    assert data.covariates.tolist() == [[[0.0], [1.0], [1.0]]]
    assert data.at == 2, "the last visit, where none is named"
    assert question.notes == ["1 of 8 rows belong to neither arm and are left out", "1 of 4 patients have no value at any visit and are left out"]
    assert visit_data(table(LONG), _with(QUESTION, visit=Visit("VIS2"))).at == 1


def test_a_model_of_all_arms_holds_the_others_as_further_groups(table):
    data = visit_data(table(LONG), _with(QUESTION, others=("u",)))
    assert data.group.tolist() == [[1, 0, 0, 2]]
    assert data.n_groups == 3
    with pytest.raises(DataError, match='the arms "u" and "t" are both arm = 1'):
        visit_data(table(LONG), _with(QUESTION, others=("u",), arms={"t": 1, "c": 0, "u": 1}))


def test_a_change_is_from_the_value_at_baseline(table):
    data = visit_data(table(LONG), _with(QUESTION, change=True))
    np.testing.assert_array_equal(data.value[0, 0].numpy(), [1.0, 2.0, 3.0])


def test_the_visits_of_the_protocol_choose_the_rows(table):
    question = _with(QUESTION, visits=(Visit("VIS1"), Visit("VIS10")))
    data = visit_data(table(LONG), question)
    assert data.value.shape == (1, 3, 2)
    assert "2 of 7 rows are of no visit of the endpoint and are left out" in question.notes
    with pytest.raises(DataError, match='no row is of visit "VIS9"'):
        visit_data(table(LONG), _with(QUESTION, visits=(Visit("VIS1"), Visit("VIS9"))))


def test_wide_data_have_a_column_per_visit(table):
    text = "arm,w4,w8,base\n1,2.0,3.0,1.0\n0,,5.0,2.0\n0,,,2.0\n"
    question = _with(QUESTION, visits=(Visit("w4", column="w4"), Visit("w8", column="w8")), columns={"baseline": "base"})
    data = visit_data(table(text), question)
    np.testing.assert_array_equal(data.value[0].numpy(), [[2.0, 3.0], [np.nan, 5.0]])
    assert data.baseline.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    "change, message",
    [
        (("a,1,VIS2", "a,1,VIS1"), "row 2: patient a has visit = VIS1 in row 1 already"),
        (("a,1,VIS10", "a,0,VIS10"), 'row 3: "arm" differs from the patient\'s first row (0)'),
        (("4.0,1.0,f", "4.0,1.0,m"), 'row 3: "sex" differs from the patient\'s first row (m)'),
        (("4.0,1.0,f", "4.0,1.5,f"), 'baseline ("base") differs between the rows of a patient: row 3 (1.5)'),
        (("b,0,VIS1", ",0,VIS1"), 'row 4: the patient ("id") is missing'),
    ],
)
def test_visits_that_contradict_each_other_are_refused(table, change, message):
    with pytest.raises(DataError) as caught:
        visit_data(table(LONG.replace(*change)), _with(QUESTION, covariates=("sex",)))
    assert message in str(caught.value)


def test_intervals_become_event_times_and_follow_up(table):
    data = recurrent_data(table(RECURRENT), _with(RECURRING))
    inf = np.inf
    assert data.time.tolist() == [[[5.0, 9.0], [inf, inf], [4.0, inf]]]
    assert data.follow_up.tolist() == [[12.0, 7.0, 4.0]]
    assert data.group.tolist() == [[1, 0, 0]]
    assert data.covariates.tolist() == [[[50.0], [60.0], [70.0]]]


@pytest.mark.parametrize(
    "change, message",
    [
        (("1,1,5,9,1", "1,1,6,9,1"), "the interval does not begin where the patient's last one ended: row 2 (6)"),
        (("2,0,0,7", "2,0,8,7"), 'start ("start") is after time: row 4'),
        (("9,12,0,50", "9,12,0,51"), 'row 3: "age" differs'),
        (("0,7,0,60", "0,7,2,60"), 'event ("event") is not 0 (censored) or 1 (event): row 4 (2)'),
    ],
)
def test_intervals_that_do_not_fit_are_refused(table, change, message):
    with pytest.raises(DataError) as caught:
        recurrent_data(table(RECURRENT.replace(*change)), _with(RECURRING))
    assert message in str(caught.value)


def test_the_events_of_one_cause_compete_with_the_others(table):
    question = _with(QUESTION, columns={}, cause="2")
    data = event_data(table(CAUSES), question)
    assert data.event.tolist() == [[False, False, True, False]]
    assert data.competing.tolist() == [[False, True, False, True]]
    labelled = event_data(table(LABELLED), _with(question, cause="relapse"))
    assert labelled.event.tolist() == [[False, True, False, True]]
    assert labelled.competing.tolist() == [[False, False, True, False]]
    with pytest.raises(DataError, match='the cause "relapse" has no code'):
        event_data(table(CAUSES), _with(question, cause="relapse"))
    with pytest.raises(DataError, match=r"not 0 \(censored\) or the whole number of a cause: row 3 \(2.5\)"):
        event_data(table(CAUSES.replace("5,2,0", "5,2.5,0")), question)
    with pytest.raises(DataError, match=r'no row has event = relaps .*did you mean "relapse"'):
        event_data(table(LABELLED), _with(question, cause="relaps"))


def test_counts_have_their_time_at_risk(table):
    text = "arm,y,t\n1,3,2\n0,0,1.5\n"
    question = _with(QUESTION, columns={"value": "y", "exposure": "t"}, days=7.0)
    data = value_data(table(text), question, kind="count")
    assert data.exposure.tolist() == [[14.0, 10.5]]
    with pytest.raises(DataError, match=r'value \("y"\) is not a count: row 1 \(2.5\)'):
        value_data(table(text.replace("1,3,2", "1,2.5,2")), question, kind="count")
    with pytest.raises(DataError, match=r'exposure \("t"\) is missing or not positive: row 2'):
        value_data(table(text.replace("1.5", "0")), question, kind="count")


def test_binary_and_ordinal_values_are_checked_and_coded(table):
    with pytest.raises(DataError, match=r'value \("y"\) is not 0 or 1: row 2 \(2\)'):
        value_data(table("arm,y\n1,1\n0,2\n"), QUESTION, kind="binary")
    assert value_data(table("arm,y\n1,true\n0,false\n"), QUESTION, kind="binary").value.tolist() == [[1.0, 0.0]]
    assert value_data(table("arm,y\n1,30\n0,10\n0,20\n"), QUESTION, kind="ordinal").value.tolist() == [[2.0, 0.0, 1.0]]


def test_categories_need_an_order(table):
    text = "arm,y\n1,low\n0,high\n0,middle\n1,\n"
    with pytest.raises(DataError, match=r'the categories of value \("y": high, low, middle\) have no known order; give the column its levels in a card'):
        value_data(table(text), QUESTION, kind="ordinal")
    data = value_data(table(text), _with(QUESTION, categories=("low", "middle", "high")), kind="ordinal")
    np.testing.assert_array_equal(data.value[0].numpy(), [0.0, 2.0, 1.0, np.nan])
    with pytest.raises(DataError, match='"middle" in the column "y" is not a category of the outcome'):
        value_data(table(text), _with(QUESTION, categories=("low", "high")), kind="ordinal")


def test_rows_are_repeated_by_their_frequency(table):
    given = table("arm,y,n\n1,1,2\n0,0,3\n0,1,0\n")
    data = value_data(given.repeated("n"), QUESTION, kind="binary")
    assert data.value.tolist() == [[1.0, 1.0, 0.0, 0.0, 0.0]]
    with pytest.raises(DataError, match='the frequency "n" of row 1 is not a whole number'):
        table("arm,y,n\n1,1,1.5\n").repeated("n")


def test_a_hierarchy_is_of_the_same_patients(table):
    text = "arm,d,death,y\n1,5,1,2\n0,6,0,\n0,7,1,3\n"
    death = _with(QUESTION, columns={"time": "d", "event": "death"})
    score = _with(QUESTION, columns={"value": "y"})
    data = hierarchy_data(table(text), (Tier("death", death, "time_to_event", 1), Tier("score", score, "continuous", -1, 0.5)))
    assert data.favours == (1, -1)
    assert data.thresholds == (0.0, 0.5)
    assert data.parts[0].event.tolist() == [[True, False, True]]
    assert torch.isnan(data.parts[1].value[0, 1])
