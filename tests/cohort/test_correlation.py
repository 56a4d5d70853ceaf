"""Correlation matrices of declared covariates."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from trialsim.cohort import Correlation


def test_pairs_fill_a_symmetric_matrix():
    matrix = Correlation(pairs=(("a", "c", 0.5), ("b", "a", -0.2))).matrix(("a", "b", "c"))
    np.testing.assert_array_equal(matrix, [[1, -0.2, 0.5], [-0.2, 1, 0], [0.5, 0, 1]])


def test_an_impossible_matrix_names_the_covariates():
    correlation = Correlation(pairs=(("a", "b", 0.9), ("b", "c", 0.9), ("a", "c", -0.5), ("d", "a", 0.01)))
    said = correlation.indefinite(("a", "b", "c", "d"))
    assert said is not None
    assert said.startswith("the correlations of a, b, c contradict each other")
    assert Correlation(pairs=(("a", "b", 0.9), ("b", "c", 0.9), ("a", "c", 0.7))).indefinite(("a", "b", "c")) is None


@pytest.mark.parametrize(
    "pairs, sentence",
    [
        ([("a", "a", 0.1)], '"a" is paired with itself'),
        ([("a", "b", 0.1), ("b", "a", 0.2)], 'the pair "b", "a" is given twice'),
        ([("a", "b", 1.0)], "Input should be less than 1"),
    ],
)
def test_wrong_pairs(pairs, sentence):
    with pytest.raises(ValidationError) as caught:
        Correlation.model_validate({"pairs": pairs})
    assert caught.value.errors()[0]["msg"] == sentence
