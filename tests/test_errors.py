from __future__ import annotations

import pickle

import pytest

from trialsim.errors import DataError, ExpectationError, IncompleteRunError, NotSupportedError, Problem, ProtocolError, UsageError, did_you_mean


def test_the_nearest_word_or_all_that_are_allowed_or_nothing():
    assert did_you_mean("contrl", ["control", "test"]) == '; did you mean "control"?'
    assert did_you_mean("zzz", ["control", "b"]) == "; allowed: b, control"
    assert did_you_mean("zzz", []) == ""


@pytest.mark.parametrize(
    "error",
    [
        ProtocolError([Problem("unknown key", "arms.x", "p.yaml", 3, 5), Problem("missing")]),
        DataError("no such column"),
        NotSupportedError(["this", "that"]),
        UsageError("--only: no"),
        IncompleteRunError("a worker died"),
        ExpectationError("not met"),
    ],
)
def test_every_error_crosses_a_process_boundary_whole(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
