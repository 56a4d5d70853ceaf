"""Patients by hand: changes, losses, names that are taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from trialsim.conduct.comparison import Observables
from trialsim.conduct.follow_up import follow, follow_to_visit
from trialsim.execution.patients import patient_table
from trialsim.records import Cohort, Enrolment
from trialsim.rng import Block
from trialsim.simulate import Endpoint, compile_trial
from trialsim.spec import load


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.fixture
def table(small_protocol):
    """Five patients of one trial that stopped on day 100; the last would have come on day 120."""
    study = load(small_protocol)
    endpoints = {"os": Endpoint(("death",), (), None), "cd4": Endpoint(("cd4",), ("base", "w6"), "base")}
    trial = replace(compile_trial(study.cells()[0], study.directory), n=5, endpoints=endpoints)
    entry, death, dropout = row(0, 10, 20, 70, 120), row(30, 500, 60, torch.inf, 5), row(50, 40, 70, torch.inf, 5)
    baseline, value = row(300, 310, 320, 330, 340), row(301, 312, 323, 334, 345)
    observables = Observables(
        enrolment=Enrolment(entry_time=entry, arm=torch.tensor([[0, 1, 1, 0, 1]]), stratum=None, n_strata=1),
        events={"os": follow(death, dropout, entry)},
        values={
            ("cd4", "w6"): follow_to_visit(value - baseline, 42.0, dropout, entry),
            ("cd4", "base"): follow_to_visit(baseline - baseline, 0.0, dropout, entry),
        },
        covariates={},
        strata={},
        cohort=Cohort(
            columns={"os_time": row(1, 2, 3, torch.nan, 5), "arm": row(1, 0, torch.nan, 1, 0)},
            levels={"arm": ("left", "right")},
        ),
        dropout_time=dropout,
        baselines={"cd4": baseline},
    )
    return patient_table(trial, observables, Block(7, 1), torch.tensor([100.0], dtype=torch.float64)).to_pydict()


def test_follow_up_ends_at_event_dropout_or_cut(table):
    assert table["replicate"] == [7] * 5
    assert table["randomized"] == [True, True, True, True, False]
    assert table["entry_time"] == [0.0, 10.0, 20.0, 70.0, 120.0]
    assert table["arm"] == ["experimental", "control", "control", "experimental", None]
    assert table["endpoint_os_time"] == [30.0, 40.0, 60.0, 30.0, None]
    assert table["os_event"] == [True, False, True, False, None]


def test_a_change_is_given_by_its_two_values(table):
    assert table["cd4_base"] == [300.0, 310.0, 320.0, 330.0, None]
    assert table["cd4_w6"] == [301.0, None, 323.0, None, None]  # dropped out on day 40; visit after the cut


def test_dropout_counts_while_something_was_to_come(table):
    # The first died and had been at the visit before being lost, the third died before; only the second is lost.
    assert table["dropout"] == [False, True, False, False, None]


def test_covariates_whose_names_are_taken(table):
    assert table["covariate_arm"] == ["right", "left", None, "right", "left"]
    assert table["os_time"] == [1.0, 2.0, 3.0, None, 5.0]
    assert "stratum" not in table
