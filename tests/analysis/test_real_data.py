"""From tables of real patients to the records of the kernels: roles, arms, visits, missing values, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from trialsim.analysis.real_data import Question, Visit, event_data, value_data
from trialsim.data import Card, PatientTable, read_table
from trialsim.errors import DataError

EVENTS = """id,days,dead,treat,age,sex,site
a,10,1,drug,50,f,1
b,20,0,placebo,60,m,2
c,30,1,other,55,f,1
d,40,1,placebo,,m,2
e,5.5,0,drug,70,m,3
f,7,1,drug,65,,1
"""
QUESTION = Question(test="new", reference="control", arms={"new": "drug", "control": "placebo"}, columns={"time": "days", "event": "dead", "arm": "treat"})
VISITS = """subject,week,score,arm,base
1,4,3.0,1,1.0
1,8,4.5,1,1.0
2,4,2.0,0,2.0
2,8.5,,0,2.0
3,8,7.0,0,1.5
3,12,1.0,0,1.5
4,7.5,2.5,1,0.5
"""
VALUES = Question(test="t", reference="c", arms={"t": 1, "c": 0}, columns={"value": "score", "arm": "arm", "visit": "week", "baseline": "base"}, days=7.0)


@pytest.fixture
def table(tmp_path: Path):
    def read(text: str, card: Card | None = None) -> PatientTable:
        (tmp_path / "data.csv").write_text(text)
        return read_table(tmp_path / "data.csv", card, shown="data.csv")

    return read


def _with(**more: object) -> Question:
    return dataclasses.replace(QUESTION, notes=[], **more)


def test_two_arms_are_read_and_the_third_left_out(table):
    question = _with()
    data = event_data(table(EVENTS), question)
    assert data.time.tolist() == [[10.0, 20.0, 40.0, 5.5, 7.0]]
    assert data.event.tolist() == [[True, False, True, False, True]]
    assert data.group.tolist() == [[1, 0, 0, 1, 1]]
    assert data.covariates is None
    assert data.stratum is None
    assert question.notes == ["1 of 6 rows belong to neither arm and are left out"]


def test_times_have_a_unit(table):
    data = event_data(table(EVENTS), _with(days=30.4375))
    assert data.time[0, 0].item() == pytest.approx(304.375)


def test_categories_become_indicators_and_missing_cells_leave_the_patient_out(table):
    question = _with(covariates=("age", "sex"), stratify_by=("site",))
    data = event_data(table(EVENTS), question)
    assert data.covariates.tolist() == [[[50.0, 0.0], [60.0, 1.0], [70.0, 1.0]]], "age, and sex = m"
    assert data.n_strata == 3
    assert len(data.stratum.unique()) == 3
    assert "2 of 5 patients have a missing covariate or stratum and are left out" in question.notes


def test_a_category_coded_as_a_number_follows_the_card(table):
    card = Card.model_validate({"id": "x", "title": "x", "source": "x", "columns": {"site": {"type": "categorical"}, "age": {"type": "continuous"}}})
    data = event_data(table(EVENTS, card), _with(covariates=("site",)))
    assert data.covariates.tolist() == [[[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]]
    assert event_data(table(EVENTS), _with(covariates=("site",))).covariates.shape == (1, 5, 1), "without a card it is a number"


def test_strata_are_the_crossed_levels(table):
    data = event_data(table(EVENTS), _with(stratify_by=("sex", "site")))
    assert data.time.tolist() == [[10.0, 20.0, 40.0, 5.5]]
    assert data.n_strata == 3
    assert data.stratum[0, 1] == data.stratum[0, 2], "b and d are men of site 2"


@pytest.mark.parametrize(
    "change, message",
    [
        (("b,20,0", "b,-1,0"), 'time ("days") is missing or negative: row 2'),
        (("b,20,0", "b,,0"), 'time ("days") is missing or negative: row 2'),
        (("b,20,0", "b,1e200,0"), 'time ("days") is too large: row 2 (1e+200)'),
        (("b,20,0", "b,20,2"), 'event ("dead") is not 0 (censored) or 1 (event): row 2 (2)'),
        (("b,20,0", "b,20,"), "row 2 (nan)"),
        (("placebo", "sugar"), 'no patient has treat = placebo (arm "control")'),
    ],
)
def test_doubtful_rows_are_refused_with_their_number(table, change, message):
    with pytest.raises(DataError) as caught:
        event_data(table(EVENTS.replace(*change)), _with())
    assert str(caught.value).startswith("data.csv  ")
    assert message in str(caught.value)


def test_a_text_in_a_number_column_is_placed_by_line(table):
    rows = "".join(f"p{k},{k + 1},1,drug,50,f,1\n" for k in range(20))
    with pytest.raises(DataError, match=r'^data.csv:5  "soon" in the column "days" is not a number'):
        table("id,days,dead,treat,age,sex,site\n" + rows.replace("p3,4,", "p3,soon,"))


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_computed_with_is_refused_before_it_is(table):
    with pytest.raises(DataError, match=r'^data.csv  time \("days"\) is too large: row 2 \(1e\+308\)$'):
        event_data(table(EVENTS.replace("b,20,0", "b,1e308,0")), _with(days=365.25))
    with pytest.raises(DataError, match=r'^data.csv:3  "inf" in the column "days" is not a number$'):
        event_data(table(EVENTS.replace("b,20,0", "b,inf,0")), _with())
    with pytest.raises(DataError, match=r'^data.csv  covariate "age" is too large: row 2 \(1e\+200\)$'):
        event_data(table(EVENTS.replace("placebo,60", "placebo,1e200")), _with(covariates=("age",)))
    question = dataclasses.replace(VALUES, visit=Visit("w8", at=56.0, window=3.5), change=True, notes=[])
    with pytest.raises(DataError, match=r'^data.csv  value \("score"\) is too large: row 5 \(-1e\+308\)$'):
        value_data(table(VISITS.replace("3,8,7.0", "3,8,-1e308")), question)
    with pytest.raises(DataError, match=r'^data.csv  baseline \("base"\) is too large: row 5 \(1e\+308\)$'):
        value_data(table(VISITS.replace("7.0,0,1.5", "7.0,0,1e308")), question)
    assert value_data(table(VISITS.replace("2,4,", "2,1e308,")), dataclasses.replace(question, notes=[])).value.shape == (1, 4)


def test_rows_are_those_of_the_file_where_only_some_are_read(table):
    with pytest.raises(DataError, match=r"is missing or negative: row 4$"):
        event_data(table(EVENTS.replace("d,40,1", "d,-40,1")).where("sex", "m"), _with())


def test_events_may_be_true_and_false(table):
    text = EVENTS.replace(",0,", ",FALSE,").replace(",1,drug", ",TRUE,drug").replace(",1,placebo", ",TRUE,placebo").replace(",1,other", ",TRUE,other")
    data = event_data(table(text), _with())
    assert data.event.tolist() == [[True, False, True, False, True]]


def test_many_wrong_rows_are_counted(table):
    rows = "".join(f"p{k},-1,1,{'drug' if k % 2 else 'placebo'},50,f,1\n" for k in range(9))
    with pytest.raises(DataError, match="row 1, row 2, row 3, row 4, row 5 and 4 more"):
        event_data(table("id,days,dead,treat,age,sex,site\n" + rows), _with())


def test_a_missing_role_says_how_to_name_it(table):
    with pytest.raises(DataError, match="name it with --map time=COLUMN"):
        event_data(table(EVENTS), dataclasses.replace(QUESTION, columns={"event": "dead", "arm": "treat"}))
    with pytest.raises(DataError, match='there is no column "agee"; did you mean "age"'):
        event_data(table(EVENTS), _with(covariates=("agee",)))


def test_a_role_that_is_not_mapped_is_the_column_of_that_name(table):
    text = EVENTS.replace("days,dead,treat", "time,status,arm")
    data = event_data(table(text), dataclasses.replace(QUESTION, columns={}))
    assert data.time.tolist() == [[10.0, 20.0, 40.0, 5.5, 7.0]]
    assert data.event.tolist() == [[True, False, True, False, True]]


def test_a_patient_twice_is_refused(table):
    with pytest.raises(DataError, match=r'row 5: patient a \("id"\) is in row 1 already'):
        event_data(table(EVENTS.replace("e,5.5", "a,5.5")), _with(columns={**QUESTION.columns, "id": "id"}))


def test_the_rows_within_the_window_of_the_visit_are_analysed(table):
    question = dataclasses.replace(VALUES, visit=Visit("w8", at=56.0, window=3.5), notes=[])
    data = value_data(table(VISITS), question)
    np.testing.assert_array_equal(data.value[0].numpy(), [4.5, np.nan, 7.0, 2.5])
    assert data.group.tolist() == [[1, 0, 0, 1]]
    assert question.notes == ["1 of 4 patients have no value and are left out"]
    narrow = dataclasses.replace(VALUES, visit=Visit("w8", at=56.0), notes=[])
    assert value_data(table(VISITS), narrow).value.tolist() == [[4.5, 7.0]]
    with pytest.raises(DataError, match='no row is within 3 days of visit "w26"'):
        value_data(table(VISITS), dataclasses.replace(VALUES, visit=Visit("w26", at=182.0, window=3.0)))


def test_visits_may_be_labelled(table):
    text = VISITS.replace(",8,", ",w8,").replace(",4,", ",w4,").replace("8.5", "w8").replace("7.5", "w8").replace("12", "w12")
    data = value_data(table(text), dataclasses.replace(VALUES, visit=Visit("w8", at=56.0), notes=[]))
    np.testing.assert_array_equal(data.value[0].numpy(), [4.5, np.nan, 7.0, 2.5])
    with pytest.raises(DataError, match="no row has week = w26"):
        value_data(table(text), dataclasses.replace(VALUES, visit=Visit("w26", at=182.0)))


def test_a_change_subtracts_the_baseline(table):
    visit = Visit("w8", at=56.0, window=3.5)
    data = value_data(table(VISITS), dataclasses.replace(VALUES, visit=visit, change=True, covariates=("baseline",), notes=[]))
    np.testing.assert_array_equal(data.value[0].numpy(), [3.5, np.nan, 5.5, 2.0])
    assert data.covariates.tolist() == [[[1.0], [2.0], [1.5], [0.5]]], "the role's column, under the role's name"
    unmapped = {key: column for key, column in VALUES.columns.items() if key != "baseline"}
    with pytest.raises(DataError, match="--map baseline=COLUMN"):
        value_data(table(VISITS), dataclasses.replace(VALUES, visit=visit, change=True, columns=unmapped))


def test_the_prognosis_of_the_twin_is_a_covariate(table):
    expected = np.arange(6.0)
    data = event_data(table(EVENTS), _with(covariates=("twin_prognosis", "age"), prognosis=expected))
    assert torch.equal(data.covariates[0, :, 0], torch.tensor([0.0, 1.0, 4.0, 5.0], dtype=torch.float64))
    with pytest.raises(DataError, match="twin_prognosis needs a cohort model"):
        event_data(table(EVENTS), _with(covariates=("twin_prognosis",)))
