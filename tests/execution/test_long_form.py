from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from trialsim.execution.long_form import describe, from_table, to_table
from trialsim.records import AnalysisRecord
from trialsim.rng import Block


def arrays(record):
    """Every number of a record, flat, as float64 (exact for its counts)."""
    found = {}
    for field in fields(record):
        value = getattr(record, field.name)
        for name, item in value.items() if isinstance(value, dict) else [("", value)]:
            key = f"{field.name}/{name}"
            if isinstance(item, AnalysisRecord):
                found |= {f"{key}/{inner}": values for inner, values in arrays(item).items()}
            else:
                found[key] = item.double().numpy() if isinstance(item, torch.Tensor) else item
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_looks": 1},
        {"analyses": ("primary", "second"), "df": True, "failure_rate": 0.1},
        {"estimates": False, "ignoring": False},
        {"two_sided": True},
    ],
)
def test_a_record_comes_back_to_the_bit(synthetic_record, options):
    record = synthetic_record(Block(4096, 200), **options)
    back = arrays(from_table(to_table(record)))
    given = arrays(record)
    assert back.keys() == given.keys()
    for name, values in given.items():
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(back[name], values, err_msg=name)
        else:
            assert back[name] == values


def test_analyses_may_differ_in_their_columns(synthetic_record):
    record = synthetic_record(Block(0, 50), analyses=("a", "b"), df=True)
    record = replace(record, analyses={**record.analyses, "a": replace(record.analyses["a"], df=None, n_events=None, ignoring_futility=None)})
    back = from_table(to_table(record))
    assert back.analyses["a"].df is back.analyses["a"].n_events is back.analyses["a"].ignoring_futility is None
    torch.testing.assert_close(back.analyses["b"].df, record.analyses["b"].df, rtol=0, atol=0, equal_nan=True)


def test_the_table_is_one_row_per_analysis_replicate_and_look_reached(synthetic_record):
    record = synthetic_record(Block(10, 40), analyses=("a", "b"))
    table = to_table(record, cell="abc")
    frame = table.to_pandas()
    assert len(frame) == 2 * int(record.reached.sum())
    assert not frame.duplicated(["analysis", "replicate", "look"]).any()
    one = frame[(frame.analysis == "b") & (frame.replicate == 17) & (frame.look == 1)].iloc[0]
    assert one.z == record.analyses["b"].z[7, 0]
    assert one.cut_time == record.cut_time[7, 0]
    assert one.events_os == record.n_events["os"][7, 0]
    assert one.allocated_control == record.n_per_arm["control"][7]
    assert describe(table.schema)["cell"] == "abc"
