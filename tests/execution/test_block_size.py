"""The default block: as many trials as fill a fixed number of patients."""

from __future__ import annotations

import pytest

from trialsim.execution.chunks import block_size_for


@pytest.mark.parametrize("n_patients, expected", [(1, 2048), (200, 2048), (400, 1024), (500, 512), (2139, 128), (20_000, 16), (1_000_000, 16)])
def test_blocks_hold_about_the_same_number_of_patients(n_patients: int, expected: int) -> None:
    assert block_size_for(n_patients) == expected


@pytest.mark.parametrize("n_patients, expected", [(1, 4096), (400, 4096), (2139, 1024), (20_000, 128), (1_000_000, 16)])
def test_blocks_on_cuda_are_larger_but_at_most_a_chunk(n_patients: int, expected: int) -> None:
    assert block_size_for(n_patients, "cuda") == expected
