"""Patient-level data of simulated trials, as the trial saw them at its stopping cut: one row per patient and replicate.

    replicate  patient  randomized  entry_time  arm  stratum  <covariate>…  <endpoint>_time  <endpoint>_event  <endpoint>_<visit>…  dropout

Times are in days; `entry_time` is calendar time, others count from randomisation. Categories are by name. A patient who
would have come after the cut has `randomized` false, an entry time and a baseline, and nothing else (null): the trial
never saw them. `<endpoint>_<visit>` is the value itself, also where the endpoint is a change; the value at baseline is
beside it. A count of events that come over time is `<endpoint>_<visit>` (`<endpoint>_count` without a visit), with
the days it was observed in `<endpoint>_<visit>_exposure`. Where an analysis asks for one cause of several, `<endpoint>_cause` names
what came first: an outcome, `other`, or `censored`. `stratum` (of the randomisation) counts from 0 and is there where there are strata. `dropout` is whether the
patient was lost by the cut with something still to be observed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from torch import Tensor

from trialsim.conduct.comparison import Observables
from trialsim.conduct.follow_up import CauseFollowUp
from trialsim.rng import Block
from trialsim.simulate import Trial


def patient_table(trial: Trial, observables: Observables, block: Block, cut: Float[Tensor, "replicate"]) -> pa.Table:
    """The patients of a block of trials that stopped at these calendar times."""
    shape = block.size, trial.n
    enrolment, cohort = observables.enrolment, observables.cohort

    def full(tensor: Tensor) -> np.ndarray:
        return tensor.expand(shape).numpy()

    entry, end = full(enrolment.entry_time), full(cut[:, None])
    randomized = entry <= end
    columns: dict[str, Any] = {
        "replicate": np.repeat(np.arange(block.first, block.first + block.size, dtype=np.int64), trial.n),
        "patient": np.tile(np.arange(trial.n, dtype=np.int64), block.size),
        "randomized": randomized.reshape(-1),
        "entry_time": entry.reshape(-1),
        "arm": _named(full(enrolment.arm), trial.arms, seen=randomized),
    }
    if enrolment.stratum is not None:
        columns["stratum"] = _seen(full(enrolment.stratum).astype(np.int32), randomized)
    for name, column in cohort.columns.items():
        values = full(column)
        columns[name if name not in RESERVED else f"covariate_{name}"] = (
            _named(values, cohort.levels[name], seen=~np.isnan(values)) if name in cohort.levels else _seen(values, ~np.isnan(values))
        )
    for name, follow_up in observables.events.items():
        time, event = follow_up.at(cut, enrolment.entry_time)
        columns[_free(f"{name}_time", columns)] = _seen(full(time), randomized)
        columns[_free(f"{name}_event", columns)] = _seen(full(event), randomized)
        causes = {outcome: split for (endpoint, outcome), split in observables.causes.items() if endpoint == name}
        if causes:
            columns[_free(f"{name}_cause", columns)] = _causes(trial.endpoints[name].outcomes, causes, cut, full, seen=randomized)
    for name, endpoint in trial.endpoints.items():
        if name in observables.baselines:
            assert endpoint.change_from is not None
            columns[_free(f"{name}_{endpoint.change_from}", columns)] = _seen(full(observables.baselines[name]), randomized)
        for visit in endpoint.visits:
            if visit == endpoint.change_from or (name, visit) in observables.counts:
                continue
            value = full(observables.values[name, visit].at(cut))
            if name in observables.baselines:
                value = value + full(observables.baselines[name])
            columns[_free(f"{name}_{visit}", columns)] = _seen(value, randomized & ~np.isnan(value))
    for (name, at), counted in observables.counts.items():
        if trial.endpoints[name].is_event:
            continue
        followed = counted.followed(cut, enrolment.entry_time, None)
        label, there = f"{name}_{at or 'count'}", full(followed) > 0
        columns[_free(label, columns)] = _seen(full(counted.course.count(followed)), there)
        columns[_free(f"{label}_exposure", columns)] = _seen(full(followed), there)
    columns["dropout"] = _seen(_lost(observables, shape, entry, end), randomized)
    return pa.table(columns)


RESERVED = frozenset({"replicate", "patient", "randomized", "entry_time", "arm", "stratum", "dropout"})


def _lost(observables: Observables, shape: tuple[int, int], entry: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Who dropped out by the cut, before an event or a visit that was still to come."""
    if observables.dropout_time is None:
        return np.zeros(shape, dtype=np.bool_)
    dropout = observables.dropout_time.expand(shape).numpy()
    missed = np.zeros(shape, dtype=np.bool_)
    for follow_up in observables.events.values():
        missed |= np.isinf(follow_up.calendar_event.numpy()) & np.isfinite(dropout)
    for values in observables.values.values():
        missed |= np.isinf(values.calendar_visit.expand(shape).numpy())
    return missed & (entry + dropout <= end)


def _causes(
    outcomes: Sequence[str], causes: Mapping[str, CauseFollowUp], cut: Tensor, full: Callable[[Tensor], np.ndarray], *, seen: np.ndarray
) -> pa.DictionaryArray:
    """Which outcome came first: censored, an outcome that an analysis asks for (or, of two, the one that is left), other."""
    names = ["censored", *outcomes, "other"]
    left = [outcome for outcome in outcomes if outcome not in causes]
    code = np.zeros(seen.shape, dtype=np.int32)
    for split in causes.values():
        code[full(split.calendar_competing <= cut[:, None])] = names.index(left[0]) if len(left) == 1 else len(names) - 1
    for outcome, split in causes.items():
        code[full(split.calendar_event <= cut[:, None])] = names.index(outcome)
    return _named(code, names, seen=seen)


def _named(codes: np.ndarray, names: Sequence[str], *, seen: np.ndarray) -> pa.DictionaryArray:
    """Indices of names as the names, null where not seen."""
    indices = np.where(seen, codes, 0).astype(np.int32).reshape(-1)
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=~seen.reshape(-1)), pa.array(list(names), pa.string()))


def _seen(values: np.ndarray, seen: np.ndarray) -> pa.Array:
    """The values, null where not seen."""
    return pa.array(values.reshape(-1), mask=~seen.reshape(-1))


def _free(name: str, taken: dict[str, Any]) -> str:
    """The name, or `endpoint_<name>` where a covariate has it already."""
    return name if name not in taken else f"endpoint_{name}"
