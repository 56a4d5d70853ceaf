"""Visits after the analysed one: in the model as far as every arm has reached them, replicate by replicate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from trialsim.analysis.methods.mmrm import Mmrm
from trialsim.analysis.visits_seen import last_visit_seen
from trialsim.records import VisitData

METHOD = Mmrm(method="mmrm", endpoint="y", treatment={"test": "t", "reference": "r"})


@pytest.fixture
def data() -> VisitData:
    """Four trials at an interim look, the contrast at the second of four visits."""
    rng = np.random.default_rng(4)
    value = rng.normal(size=(4, 40, 4)).cumsum(-1)
    group = np.tile(np.arange(40) % 2, (4, 1)).astype(np.int8)
    value[0, :, 3] = np.nan  # nobody has reached the last visit
    value[1, group[1] == 1, 2] = np.nan  # nor, in one arm, the third
    value[2, 30:, 3] = np.nan
    return VisitData(value=torch.from_numpy(value), group=torch.from_numpy(group), at=1)


def test_a_visit_that_an_arm_has_not_reached_ends_the_model(data):
    assert last_visit_seen(data).tolist() == [2, 1, 3, 3]


def test_each_replicate_has_the_fit_of_its_own_visits(data):
    found = METHOD.estimate(data, favours=1)
    assert (found.failure == 0).all()
    for row, last in enumerate(last_visit_seen(data).tolist()):
        own = data.of(torch.tensor([row]))
        cut = dataclasses.replace(own, value=own.value[..., : last + 1].contiguous())
        alone = METHOD.estimate(cut, favours=1)
        assert torch.equal(alone.estimate[0], found.estimate[row])
        assert torch.equal(alone.df[0], found.df[row])


def test_later_visits_tell_something_of_those_who_left_a_gap(data):
    gap = data.value.clone()
    gap[3, :6, 1] = torch.nan
    with_later = METHOD.estimate(dataclasses.replace(data, value=gap), favours=1).estimate[3]
    without = METHOD.estimate(dataclasses.replace(data, value=gap[..., :2].contiguous()), favours=1).estimate[3]
    assert with_later != without
