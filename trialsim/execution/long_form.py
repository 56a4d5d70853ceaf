"""A chunk's trials as a table in long form, and back: one row per analysis, replicate and look reached.

    analysis  replicate  look  cut_time  n_enrolled  events_<endpoint>  stop_look  target_not_reached  allocated_<arm>
    z  estimate  std_error  df  n  n_events  efficacy_z  futility_z  reject  …  failure

Rows are ordered by analysis, replicate, look. What belongs to the trial is repeated over its rows, so that every table can
be read alone. Columns an analysis does not have (`df` of a z test) are left out when no analysis has them. Looks that a
trial did not reach have no row: there a record holds nothing (NaN, false or 0), so it is rebuilt exactly.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from trialsim.records import AnalysisRecord, TrialRecord
from trialsim.rng import Block

# pyarrow imports pandas with its first table: half a second that belongs to the start, not to the first chunk.
import_module("pandas")

SCHEMA = "trialsim.chunk/1"
_FLOATS = ("z", "estimate", "std_error", "df", "efficacy_z", "futility_z", "ci_low", "ci_high")
_COUNTS = ("n", "n_events")
_FLAGS = ("reject", "reject_wrong_direction", "futile")
_BY_LOOK = {**dict.fromkeys(_FLOATS, np.float64), **dict.fromkeys(_COUNTS, np.int32), **dict.fromkeys(_FLAGS, np.bool_), "failure": np.int8}


def to_table(record: TrialRecord, **labels: Any) -> pa.Table:
    """The record in long form. `labels` (what cell it is of) travel in the table's metadata."""
    names = list(record.analyses)
    reached = record.reached.numpy()
    replicate, look = np.nonzero(reached)
    there = (replicate, look)

    def each(values: np.ndarray) -> np.ndarray:
        return values if len(names) == 1 else np.tile(values, len(names))

    columns: dict[str, Any] = {
        "analysis": pa.DictionaryArray.from_arrays(np.repeat(np.arange(len(names), dtype=np.int32), len(replicate)), pa.array(names, pa.string())),
        "replicate": each(replicate + record.block.first),
        "look": each((look + 1).astype(np.int8)),
        "cut_time": each(record.cut_time.numpy()[there]),
        "n_enrolled": each(record.n_enrolled.numpy()[there].astype(np.int32)),
    }
    columns.update({f"events_{name}": each(count.numpy()[there].astype(np.int32)) for name, count in record.n_events.items()})
    columns["stop_look"] = each(record.stop_look.numpy()[replicate].astype(np.int8))
    columns["target_not_reached"] = each(record.target_not_reached.numpy()[replicate])
    columns.update({f"allocated_{name}": each(count.numpy()[replicate].astype(np.int32)) for name, count in record.n_per_arm.items()})

    present: dict[str, list[str]] = {name: [] for name in names}
    for column, dtype in _BY_LOOK.items():
        given = {name: tensor for name in names if (tensor := getattr(record.analyses[name], column)) is not None}
        for name in given:
            present[name].append(column)
        if given:
            empty: np.ndarray = np.full(len(replicate), np.nan if dtype is np.float64 else 0, dtype=dtype)
            parts = [given[name].numpy()[there].astype(dtype, copy=False) if name in given else empty for name in names]
            columns[column] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    ignoring = {name: analysis.ignoring_futility for name, analysis in record.analyses.items() if analysis.ignoring_futility is not None}
    if ignoring:
        flags = [ignoring[name].numpy()[replicate] if name in ignoring else np.zeros(len(replicate), dtype=np.bool_) for name in names]
        columns["ignoring_futility"] = np.concatenate(flags)
        for name in ignoring:
            present[name].append("ignoring_futility")
    about = {
        "schema": SCHEMA,
        **labels,
        "first": record.block.first,
        "size": record.block.size,
        "looks": record.looks,
        "endpoints": list(record.n_events),
        "arms": list(record.n_per_arm),
        "analyses": present,
    }
    return pa.table(columns).replace_schema_metadata({"trialsim": json.dumps(about)})


def describe(schema: pa.Schema) -> dict[str, Any]:
    """What `to_table` wrote into the metadata."""
    return dict(json.loads(schema.metadata[b"trialsim"]))


def from_table(table: pa.Table) -> TrialRecord:
    """The record that `to_table` was given, to the last bit (counts and flags in the smallest type that holds them)."""
    about = describe(table.schema)
    block = Block(about["first"], about["size"])
    names, n_looks = list(about["analyses"]), len(about["looks"])
    rows = table.num_rows // max(1, len(names))
    arrays = {name: table.column(name).to_numpy() for name in table.column_names if name != "analysis"}
    replicate = arrays["replicate"][:rows] - block.first
    there = (replicate, arrays["look"][:rows] - 1)

    def by_look(name: str, at: int = 0) -> Tensor:
        values = arrays[name][at * rows : (at + 1) * rows]
        dense = np.full((block.size, n_looks), np.nan if values.dtype == np.float64 else 0, dtype=values.dtype)
        dense[there] = values
        return torch.from_numpy(dense)

    def by_replicate(name: str, at: int = 0) -> Tensor:
        values = arrays[name][at * rows : (at + 1) * rows]
        dense = np.zeros(block.size, dtype=values.dtype)
        dense[replicate] = values
        return torch.from_numpy(dense)

    reached = np.zeros((block.size, n_looks), dtype=np.bool_)
    reached[there] = True
    analyses = {}
    for at, name in enumerate(names):
        columns = {column: by_look(column, at) if column in about["analyses"][name] else None for column in _BY_LOOK}
        ignoring = by_replicate("ignoring_futility", at) if "ignoring_futility" in about["analyses"][name] else None
        analyses[name] = AnalysisRecord(**columns, ignoring_futility=ignoring)  # type: ignore[arg-type]
    return TrialRecord(
        block=block,
        looks=tuple(about["looks"]),
        cut_time=by_look("cut_time"),
        n_enrolled=by_look("n_enrolled"),
        reached=torch.from_numpy(reached),
        stop_look=by_replicate("stop_look"),
        target_not_reached=by_replicate("target_not_reached"),
        n_events={name: by_look(f"events_{name}") for name in about["endpoints"]},
        n_per_arm={name: by_replicate(f"allocated_{name}") for name in about["arms"]},
        analyses=analyses,
    )
