from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pytest
import torch

from trialsim.execution.chunks import chunk_key
from trialsim.execution.keys import cell_key, content_hash
from trialsim.execution.manifest import engine_versions
from trialsim.rng import Block
from trialsim.simulate import compile_trial
from trialsim.spec import load

ENGINE = engine_versions()


@pytest.fixture
def key(small_protocol):
    def key(scenario="base", *, role="alternative", engine=ENGINE, device="cpu", trial=None, **options):
        study = load(small_protocol, **options)
        cell = study.cells({"scenario": scenario})[0]
        return cell_key(cell.sha256, role, trial or compile_trial(cell, study.directory), engine=engine, device=device)

    return key


def test_whatever_changes_a_number_changes_the_key(key):
    keys = [
        key(),
        key("h0"),
        key(role="null_hypothesis"),  # which records beside what would be without futility
        key(seed=12),
        key(sets={"hr": "0.6"}),
        key(device="cuda"),
        *(key(engine={**ENGINE, name: "0"}) for name in ENGINE if name != "python"),
    ]
    assert len(set(keys)) == len(keys) == 6 + 6
    chunks = [chunk_key(key, chunk) for key in keys[:2] for chunk in (Block(0, 4096), Block(0, 100), Block(4096, 4096))]
    assert len(set(chunks)) == 6


def test_what_changes_no_number_does_not(key, small_protocol):
    before = key()
    assert before == key(engine={**ENGINE, "python": "3.99"})
    text = small_protocol.read_text()
    small_protocol.write_text(text.replace("base: {role", "base_case: {role").replace("replicates: 200", "replicates: 7") + "  # a remark\n")
    assert before == key("base_case")


@dataclass(frozen=True)
class Fitted:
    tensor: torch.Tensor
    numbers: tuple[float, ...] = (0.1, 2.0)
    card: str = "today"


def test_the_content_of_a_fitted_cohort_is_told_to_the_last_bit():
    one = Fitted(torch.tensor([0.1, 0.2], dtype=torch.float64))
    assert content_hash(one) == content_hash(Fitted(one.tensor.clone(), card="tomorrow"))
    nudged = one.tensor.clone()
    nudged[1] = np.nextafter(0.2, 1.0)
    others = [
        Fitted(nudged),
        Fitted(one.tensor.float()),
        Fitted(one.tensor[:, None]),
        replace(one, numbers=(0.1, np.nextafter(2.0, 3.0))),
        replace(one, numbers=(0.1,)),
    ]
    assert len({content_hash(value) for value in (one, *others)}) == 6
    assert content_hash(MappingProxyType({"a": 1})) != content_hash(MappingProxyType({"b": 1}))
    with pytest.raises(TypeError, match="a object has no content to hash"):
        content_hash(object())
