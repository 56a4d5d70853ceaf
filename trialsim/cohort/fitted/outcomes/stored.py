"""How a posterior goes to a file: its covariance and modes as tensors, the rest as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trialsim.cohort.fitted.inference import Posterior


def store_posterior(posterior: Posterior, key: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What `read_posterior` needs; the tensors go to `tensors` under names that start with `key`."""
    tensors[f"{key}.covariance"] = posterior.covariance
    tensors |= {f"{key}.mode.{site}": mode for site, mode in posterior.mode.items()}
    return {"key": key, "sites": list(posterior.mode), "log_evidence": posterior.log_evidence}


def read_posterior(given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Posterior:
    """The posterior that was stored."""
    key = given["key"]
    return Posterior(
        mode={site: tensors[f"{key}.mode.{site}"] for site in given["sites"]}, covariance=tensors[f"{key}.covariance"], log_evidence=given["log_evidence"]
    )
