"""Fitted cohorts as files: safetensors with a JSON card in the header, and a cache by content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trialsim.cohort.fitted.cohort import FittedCohort, FittedColumn
from trialsim.cohort.fitted.columns import Rule
from trialsim.cohort.fitted.dependence import DEPENDENCES, Dependence
from trialsim.cohort.fitted.events import FittedEvent
from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.inference import Posterior
from trialsim.cohort.fitted.margins import Margin, SmoothMargin, SteppedMargin
from trialsim.cohort.fitted.values import FittedValue
from trialsim.errors import DataError, Problem

SCHEMA = "trialsim.cohort/2"


def save(cohort: FittedCohort, path: Path) -> None:
    """Writes the model; the file appears whole or not at all."""
    from safetensors.torch import save as serialise

    tensors: dict[str, Tensor] = {f"dependence.{name}": tensor for name, tensor in cohort.dependence.tensors().items()}
    columns = [_column(column, tensors) for column in cohort.columns]
    events = {name: _outcome(event, f"events.{name}", tensors) for name, event in cohort.events.items()}
    values = [[outcome, visit, _outcome(value, f"values.{outcome}.{visit}", tensors)] for (outcome, visit), value in cohort.values.items()]
    dependence = {"kind": cohort.dependence.kind, "options": dict(cohort.dependence.options()), "tensors": list(cohort.dependence.tensors())}
    described = {"schema": SCHEMA, "dependence": dependence, "columns": columns, "events": events, "values": values, "card": cohort.card}
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
    """The model in a file written by `save`; DataError where there is none or it is another kind of file."""
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
    return FittedCohort(
        columns=tuple(_read_column(column, tensors) for column in described["columns"]),
        dependence=_dependence(described["dependence"], tensors, path),
        events={name: _read_event(given, tensors) for name, given in described["events"].items()},
        values={(outcome, visit): _read_value(given, tensors) for outcome, visit, given in described["values"]},
        card=described["card"],
    )


def _dependence(given: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path) -> Dependence:
    kind = DEPENDENCES.get(given["kind"])
    if kind is None:
        raise DataError(Problem(f'its kind of model, "{given["kind"]}", is not known here', file=str(path)))
    return kind.of({name: tensors[f"dependence.{name}"] for name in given["tensors"]}, given["options"])


def _column(column: FittedColumn, tensors: dict[str, Tensor]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": column.name, "unit": column.unit, "levels": list(column.levels), "hidden": column.hidden}
    if column.rule is not None:
        out["rule"] = asdict(column.rule)
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
    found = given.get("rule")
    rule = None if found is None else Rule(source=found["source"], cuts=tuple(found["cuts"]), levels=tuple(found["levels"]), values=tuple(found["values"]))
    return FittedColumn(name=given["name"], unit=given["unit"], levels=tuple(given["levels"]), margin=margin, rule=rule, hidden=given["hidden"])


def _outcome(outcome: FittedEvent | FittedValue, key: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The numbers go to JSON, whose shortest round-trip floats keep every bit; the covariance is a tensor."""
    tensors[f"{key}.covariance"] = outcome.posterior.covariance
    out: dict[str, Any] = {
        "key": key,
        "terms": [term.as_json() for term in outcome.terms],
        "weights": list(outcome.weights),
        "prior_scale": outcome.prior_scale,
        "log_evidence": outcome.posterior.log_evidence,
        "sites": list(outcome.posterior.mode),
    }
    tensors |= {f"{key}.mode.{site}": mode for site, mode in outcome.posterior.mode.items()}
    if isinstance(outcome, FittedEvent):
        return out | {
            "breaks": list(outcome.breaks),
            "hazards": list(outcome.hazards),
            "log_hr": list(outcome.arm_log_hr.items()),
            "log_hr_sd": dict(outcome.log_hr_sd),
        }
    return out | {
        "intercept": outcome.intercept,
        "sd": outcome.sd,
        "baseline": outcome.baseline,
        "difference": list(outcome.arm_difference.items()),
        "difference_sd": dict(outcome.difference_sd),
    }


def _posterior(given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Posterior:
    key = given["key"]
    return Posterior(mode={site: tensors[f"{key}.mode.{site}"] for site in given["sites"]}, covariance=tensors[f"{key}.covariance"])


def _read_event(given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FittedEvent:
    return FittedEvent(
        breaks=tuple(given["breaks"]),
        hazards=tuple(given["hazards"]),
        arm_log_hr=dict(given["log_hr"]),
        log_hr_sd=given["log_hr_sd"],
        terms=tuple(Term.from_json(term) for term in given["terms"]),
        weights=tuple(given["weights"]),
        prior_scale=given["prior_scale"],
        posterior=_posterior(given, tensors),
    )


def _read_value(given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FittedValue:
    return FittedValue(
        intercept=given["intercept"],
        sd=given["sd"],
        arm_difference=dict(given["difference"]),
        difference_sd=given["difference_sd"],
        baseline=given["baseline"],
        terms=tuple(Term.from_json(term) for term in given["terms"]),
        weights=tuple(given["weights"]),
        prior_scale=given["prior_scale"],
        posterior=_posterior(given, tensors),
    )


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
