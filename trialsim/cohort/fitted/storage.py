"""Fitted cohorts as files: safetensors with a JSON card in the header, and a cache by content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trialsim.cohort.fitted.cohort import FittedCohort, FittedColumn
from trialsim.cohort.fitted.dependence import DEPENDENCES, Dependence
from trialsim.cohort.fitted.form import TableForm
from trialsim.cohort.fitted.margins import Margin, SmoothMargin, SteppedMargin
from trialsim.cohort.fitted.outcomes import FittedOutcomes
from trialsim.cohort.fitted.rules import rule_as_json, rule_from_json
from trialsim.cohort.fitted.timed_outcomes import TimedOutcomes
from trialsim.errors import DataError, Problem

SCHEMA = "trialsim.cohort/2"
OTHER_VERSION = "was written by another version of trialsim; fit it anew"
OF_A_TABLE = ("model", "data", "purpose", "permission", "n", "options", "events", "values", "covariates", "left_out", "missing", "assumptions")
"""What a card says of a model of a whole table."""


def save(cohort: FittedCohort, path: Path) -> None:
    """Writes the model; the file appears whole or not at all."""
    from safetensors.torch import save as serialise

    tensors: dict[str, Tensor] = {f"dependence.{name}": tensor for name, tensor in cohort.dependence.tensors().items()}
    columns = [_column(column, tensors) for column in cohort.columns]
    outcomes = None
    if cohort.outcomes is not None:
        own = cohort.outcomes.tensors()
        tensors |= {f"outcomes.{name}": tensor for name, tensor in own.items()}
        outcomes = {"options": cohort.outcomes.options(), "tensors": list(own)}
    form = None if cohort.form is None else cohort.form.as_json()
    dependence = {"kind": cohort.dependence.kind, "options": dict(cohort.dependence.options()), "tensors": list(cohort.dependence.tensors())}
    described = {"schema": SCHEMA, "dependence": dependence, "columns": columns, "outcomes": outcomes, "form": form, "card": cohort.card}
    # safetensors refuses tensors that share memory and does not keep an order of its own for metadata: one JSON text.
    payload = serialise({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, metadata={"trialsim": json.dumps(described, sort_keys=True)})
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path: Path) -> FittedCohort:
    """The model in a file written by `save`; DataError where there is none, or it is another kind of file, or of another version."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            described = json.loads((file.metadata() or {}).get("trialsim", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=str(path))) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(Problem(f"is not a fitted cohort: {' '.join(str(error).split())}", file=str(path))) from None
    if not isinstance(described, dict) or described.get("schema") != SCHEMA:
        raise DataError(Problem(f"is not a fitted cohort of the schema {SCHEMA}", file=str(path)))
    try:
        found = FittedCohort(
            columns=tuple(_read_column(column, tensors) for column in described["columns"]),
            dependence=_dependence(described["dependence"], tensors, path),
            card=described["card"],
            outcomes=_outcomes(described["outcomes"], tensors),
            form=None if described["form"] is None else TableForm.from_json(described["form"]),
        )
        absent = [] if found.form is None else [key for key in OF_A_TABLE if key not in found.card]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
        raise DataError(Problem(f"{OTHER_VERSION} ({type(error).__name__}: {' '.join(str(error).split())[:100]})", file=str(path))) from None
    if absent:
        raise DataError(Problem(f"{OTHER_VERSION} (its card has no {', '.join(absent)})", file=str(path)))
    return found


def _dependence(given: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path) -> Dependence:
    kind = DEPENDENCES.get(given["kind"])
    if kind is None:
        raise DataError(Problem(f'its kind of model, "{given["kind"]}", is not known here', file=str(path)))
    return kind.of({name: tensors[f"dependence.{name}"] for name in given["tensors"]}, given["options"])


def _outcomes(given: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]) -> FittedOutcomes | None:
    if given is None:
        return None
    kind = TimedOutcomes if "phases" in given["options"] else FittedOutcomes
    return kind.of({name: tensors[f"outcomes.{name}"] for name in given["tensors"]}, given["options"])


def _column(column: FittedColumn, tensors: dict[str, Tensor]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": column.name, "unit": column.unit, "levels": list(column.levels), "part": column.part, "alone": column.alone}
    if column.rule is not None:
        out["rule"] = rule_as_json(column.rule)
    margin, key = column.margin, f"margins.{column.name}"
    if isinstance(margin, SmoothMargin):
        tensors[f"{key}.table"] = margin.table
        tensors[f"{key}.atoms"] = torch.tensor(margin.atoms, dtype=torch.float64)
        out |= {"margin": "smooth", "gate": margin.gate}
    elif isinstance(margin, SteppedMargin):
        tensors[f"{key}.thresholds"], tensors[f"{key}.values"] = margin.thresholds, margin.values
        out |= {"margin": "stepped", "parents": list(margin.parents), "parent_levels": list(margin.parent_levels)}
    return out


def _read_column(given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FittedColumn:
    key = f"margins.{given['name']}"
    margin: Margin | None = None
    if given.get("margin") == "smooth":
        margin = SmoothMargin(tensors[f"{key}.table"], gate=given["gate"], atoms=tuple(tensors[f"{key}.atoms"].tolist()))
    elif given.get("margin") == "stepped":
        margin = SteppedMargin(tensors[f"{key}.thresholds"], tensors[f"{key}.values"], tuple(given["parents"]), tuple(given["parent_levels"]))
    rule = None if "rule" not in given else rule_from_json(given["rule"])
    return FittedColumn(given["name"], given["unit"], tuple(given["levels"]), margin, rule, given["part"], given["alone"])


def code_version() -> str:
    """A hash of the source of this folder and those in it, and of the engines' versions: another code, another cache entry."""
    import pyro
    import scipy

    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    digest.update(f"{torch.__version__} {pyro.__version__} {scipy.__version__}".encode())
    return digest.hexdigest()


def cache_file(key: str) -> Path:
    """Where a model of this key is cached: `$TRIALSIM_CACHE`, else `~/.cache/trialsim`."""
    folder = os.environ.get("TRIALSIM_CACHE") or "~/.cache/trialsim"
    return Path(folder).expanduser() / "cohorts" / f"{key[:32]}.safetensors"
