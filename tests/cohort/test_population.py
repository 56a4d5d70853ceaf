"""The population section: what is legal, and where each error points."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from trialsim.cohort import DataSource, DeclaredCohort, Population
from trialsim.cohort.fitted.dependence import DEPENDENCES
from trialsim.parts import walk

AGE = {"dist": "truncated_normal", "mean": "63 years", "sd": "9 years", "low": "18 years"}


def _problems(**keys) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Population.model_validate({"planned_enrollment": 100, **keys})
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


def test_neither_covariates_nor_source_is_legal():
    assert Population.model_validate({"planned_enrollment": 5}).cohort_model(Path()).names == ()


def test_a_declared_population_is_a_declared_cohort():
    population = Population.model_validate(
        {"planned_enrollment": 5, "covariates": {"age": AGE}, "eligibility": {"I01": {"category": "inclusion", "covariate": "age", "min": "18 years"}}}
    )
    assert isinstance(population.cohort_model(Path()), DeclaredCohort)


def test_every_error_has_its_place():
    eligibility = {
        "I1": {"category": "inclusion", "covariate": "agge", "min": "18 years"},
        "I2": {"category": "inclusion", "covariate": "age", "min": 18},
    }
    assert _problems(covariates={"age": AGE}, eligibility=eligibility, correlation={"pairs": [["age", "weight", 0.2]]}) == [
        ("correlation.pairs.0.1", '"weight" is not a covariate; allowed: age'),
        ("eligibility.I1.covariate", '"agge" is not a covariate; did you mean "age"?'),
        ("eligibility.I2.min", '18 does not fit "age", which is a time; write for example 18 years'),
    ]


def test_a_matrix_that_is_not_positive_definite_is_an_error():
    covariates = {name: {"dist": "normal", "mean": 0, "sd": 1} for name in "abc"}
    ((place, said),) = _problems(covariates=covariates, correlation={"pairs": [["a", "b", 0.9], ["b", "c", 0.9], ["a", "c", -0.9]]})
    assert place == "correlation.pairs"
    assert "the correlations of a, b, c contradict each other" in said


def test_covariates_and_source_exclude_each_other():
    assert _problems(covariates={"age": AGE}, source={"cohort": "m.safetensors"}) == [("source", "give covariates or source, not both")]


def test_arm_and_arms_go_together():
    ((_, said),) = _problems(source={"data": "d.csv", "arm": "treat"})
    assert said == "arm (the column) and arms (each arm's value in it) go together"


def test_what_cannot_be_run_yet_is_named(monkeypatch):
    monkeypatch.delitem(DEPENDENCES, "latent_class")  # a kind of model that is not there
    population = Population.model_validate(
        {"planned_enrollment": 5, "source": {"data": "d.csv", "card": "c.yaml", "model": "latent_class"}, "calibrate_to": {"age": {"mean": 60}}}
    )
    assert [phrase for _, part in walk(population) for phrase in part.unsupported()] == ["population.source.model latent_class"]


def test_outcomes_are_told_apart_by_their_columns():
    source = DataSource.model_validate({"data": "d.csv", "outcomes": {"os": {"time": "t", "event": "d"}, "cd4": {"columns": {"baseline": "a", "w20": "b"}}}})
    assert [type(outcome).__name__ for outcome in source.outcomes.values()] == ["EventColumns", "ValueColumns"]
