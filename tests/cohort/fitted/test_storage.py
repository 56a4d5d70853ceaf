"""Fitted cohorts as files: the same bits back, nothing but tensors and a card, whole or not at all."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from trialsim.cohort.fitted import FittedCohort
from trialsim.errors import DataError
from trialsim.rng import Block, Streams


def test_a_saved_model_is_the_same_model(actg_cohort: FittedCohort, tmp_path):
    actg_cohort.save(tmp_path / "deep" / "m.safetensors")
    loaded = FittedCohort.load(tmp_path / "deep" / "m.safetensors")
    assert (loaded.names, loaded.levels, loaded.units, loaded.card) == (actg_cohort.names, actg_cohort.levels, actg_cohort.units, actg_cohort.card)
    one, two = (model.sample(Streams(1), Block(2, 3), 70) for model in (actg_cohort, loaded))
    for name in one.columns:
        assert torch.equal(one.columns[name], two.columns[name])
    event, other = actg_cohort.events["event"], loaded.events["event"]
    assert torch.equal(event.linear_predictor(one), other.linear_predictor(one))
    assert torch.equal(event.posterior.covariance, other.posterior.covariance)
    for name in ("breaks", "hazards", "arm_log_hr", "log_hr_sd", "terms", "weights", "prior_scale", "reference"):
        assert getattr(event, name) == getattr(other, name)
    value, again = actg_cohort.values["cd4", "w20"], loaded.values["cd4", "w20"]
    assert torch.equal(value.mean(one), again.mean(one))
    assert (value.sd, value.arm_difference, value.baseline) == (again.sd, again.arm_difference, again.baseline)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["m.safetensors"]


def test_saving_twice_gives_the_same_bytes(actg_cohort: FittedCohort, tmp_path):
    for name in ("a", "b"):
        actg_cohort.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_holds_no_patients_row(actg_cohort: FittedCohort, actg_table, tmp_path):
    """No tensor has a patient axis, and no value that only one patient has is in the file."""
    actg_cohort.save(tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert all(actg_table.n not in tensor.shape for tensor in tensors.values())
    assert max(tensor.size for tensor in tensors.values()) < actg_table.n
    for name in ("wtkg", "cd40", "cd80"):
        values, counts = np.unique(actg_table.numbers(name), return_counts=True)
        assert not np.isin(tensors[f"margins.{name}.table"], values[counts == 1]).any()


def test_a_model_can_be_sent_to_another_process(actg_cohort: FittedCohort):
    sent = pickle.loads(pickle.dumps(actg_cohort))
    one, two = (model.sample(Streams(1), Block(0, 1), 10).columns["age"] for model in (actg_cohort, sent))
    assert torch.equal(one, two)


def test_what_is_not_a_model(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        FittedCohort.load(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("not a model")
    with pytest.raises(DataError, match="is not a fitted cohort"):
        FittedCohort.load(tmp_path / "text")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="is not a fitted cohort of the schema"):
        FittedCohort.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given.pop("columns"),
        lambda given: given["columns"][0].pop("alone"),
        lambda given: given["dependence"]["tensors"].append("rotation"),
        lambda given: given["outcomes"]["options"].clear(),
        lambda given: given.update(card=None, form={"columns": [], "arm": None, "baselines": {}}),
        lambda given: given["card"].pop("options"),
        lambda given: given.update(form={"columns": [{"name": "x"}], "arm": None, "baselines": {}}),
        lambda given: given.update(form=[]),
    ],
)
def test_a_model_of_an_older_build_is_said_to_be_one(actg_cohort: FittedCohort, tmp_path, change):
    actg_cohort.save(tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        described = json.loads(file.metadata()["trialsim"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(described)
    save_file(tensors, tmp_path / "old.safetensors", metadata={"trialsim": json.dumps(described)})
    with pytest.raises(DataError, match="was written by another version of trialsim; fit it anew") as raised:
        FittedCohort.load(tmp_path / "old.safetensors")
    assert len(raised.value.problems) == 1
