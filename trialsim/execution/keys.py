"""What a chunk is called: a hash of everything its trials depend on, and nothing else.

    cell key   = hash(resolved protocol of the cell, role, seed, fitted cohort, engine versions, instruction set, device)
    chunk key  = hash(cell key, first replicate, number of replicates), see `execution.chunks`

So a chunk that is there under its name is the chunk that is wanted: of these data, this protocol, this engine. Neither the
names of designs and scenarios nor the executor, the workers or the block size are in it. The version of Python is not: it
does not compute.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trialsim.cohort.declared import DeclaredCohort
from trialsim.execution.chunks import KEY_LENGTH
from trialsim.execution.long_form import SCHEMA
from trialsim.simulate import Trial

PROVENANCE = ("card",)


def cell_key(sha256: str, role: str, trial: Trial, *, engine: Mapping[str, str], device: str) -> str:
    """The key of a cell with this hash of its resolved protocol. `role` decides whether futility is ignored beside."""
    what = {
        "chunk": SCHEMA,
        "cell": sha256,
        "role": role,
        "seed": trial.seed,
        "cohort": None if isinstance(trial.cohort_model, DeclaredCohort) else content_hash(trial.cohort_model),
        "engine": {name: version for name, version in engine.items() if name != "python"},
        "device": device,
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]


def content_hash(value: Any) -> str:
    """A hash of a frozen record's fields, all the way down: numbers and tensors to the last bit.

    A fitted cohort's `card` (where it comes from, how long the fit took) is left out. TypeError where a value has no content
    that could be told: better no key than one that is another in every process.
    """
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:KEY_LENGTH]


def _parts(value: Any) -> Iterator[bytes]:
    yield type(value).__qualname__.encode()
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.contiguous().cpu().numpy().tobytes()
    elif is_dataclass(value):
        for field in fields(value):
            if field.name in PROVENANCE:
                continue
            yield field.name.encode()
            yield from _parts(getattr(value, field.name))
    elif hasattr(value, "model_dump_json"):
        yield value.model_dump_json().encode()
    elif isinstance(value, Mapping):
        for key in value:
            yield repr(key).encode()
            yield from _parts(value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item)
    elif isinstance(value, np.ndarray):
        yield from _parts(torch.from_numpy(value))
    elif value is None or isinstance(value, str | bool | int | float):
        yield repr(value).encode()
    else:
        raise TypeError(f"a {type(value).__qualname__} has no content to hash")
