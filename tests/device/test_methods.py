"""Every analysis finds on CUDA what it finds on the CPU: counts and failures exactly, numbers to 1e-9."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Union

import pytest
import torch
from pydantic import Field, TypeAdapter
from torch import Tensor

from trialsim.analysis import METHODS, Analysis
from trialsim.records import Estimates, EventData, HierarchyData, RecurrentData, ValueData, VisitData
from trialsim.tensors import on_cpu

ROWS, PATIENTS = 5, 48
ANY_METHOD = TypeAdapter(Annotated[Union[METHODS], Field(discriminator="method")])  # noqa: UP007
QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}
TREND = {"endpoint": "y", "treatment": {"test": ["a", "c"], "reference": "b"}}
X, S = {"covariates": ["age", "ecog"]}, {"stratify_by": ["site"]}
REQUIRED = {"milestone": {"at": "6 days"}, "win_ratio": {"hierarchy": ["death", "relapse"]}}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "logrank": [
        S,
        {"estimate": "cox"},
        {"weights": {"fleming_harrington": {"rho": 0.5, "gamma": 1}}},
        {"weights": {"magirr_burman": {"delay": "3 days"}}, **S},
    ],
    "maxcombo": [S],
    "cox": [X, {**X, **S, "ties": "breslow"}, {"ties": "exact"}, {**X, "robust": True}, {**X, "test": "score"}, {"interval": "profile"}],
    "rmst": [{"tau": "8 days"}, {"measure": "ratio"}],
    "t_test": [{"variance": "pooled"}, {"type": "non_inferiority", "margin": 1}],
    "wilcoxon": [{"exact": True}],
    "ancova": [X, {**X, "robust": "hc3"}, {**X, "interaction": True}],
    "proportions": [{"measure": measure, "test": test} for measure in ("difference", "ratio", "odds_ratio") for test in ("unpooled", "miettinen_nurminen")],
    "cmh": [S, {**S, "measure": "difference"}],
    "logistic": [X, {**X, "marginal": True}],
    "poisson": [X, {"robust": True}, {**X, "marginal": True}],
    "negative_binomial": [X, {"dispersion": "reml"}],
    "proportional_odds": [X],
    "gee": [{**X, "correlation": "exchangeable"}],
    "mmrm": [X, {"df": "kenward_roger"}, {"robust": "empirical", "df": "residual"}],
    "fine_gray": [X],
    "lwyy": [X, S],
    "win_ratio": [S, {"measure": "net_benefit"}, {"test": "finkelstein_schoenfeld"}],
}


def _name(method: type[Analysis]) -> str:
    return method.model_fields["method"].annotation.__args__[0]


def analyses() -> list[dict[str, Any]]:
    found = []
    for method in METHODS:
        name = _name(method)
        if method.supported:
            found += [{"method": name, **REQUIRED.get(name, {}), **more} for more in ({}, *VARIANTS.get(name, []))]
    return found


def blocks(kind: str) -> dict[type, Any]:
    """Patients of every kind of endpoint: ties in half of the replicates, absent patients, missing values and covariates."""
    draw = torch.Generator().manual_seed(3)

    def uniform(*shape: int) -> Tensor:
        return torch.rand((ROWS, PATIENTS, *shape), generator=draw, dtype=torch.float64)

    group = (torch.arange(PATIENTS) % 2).to(torch.int8).expand(ROWS, PATIENTS).contiguous()
    who = {"group": group, "stratum": (uniform() * 3).to(torch.int64), "n_strata": 3}
    who["covariates"] = torch.stack([uniform(), (uniform() < 0.4).double()], dim=-1)
    absent = uniform() < 0.05
    time, censored = -8.0 * uniform().log() * (1.0 + 0.5 * group), 14.0 * uniform() + 2.0
    time = torch.where(torch.arange(ROWS)[:, None] % 2 == 0, time.ceil(), time)
    cause = uniform() < 0.7
    seen = torch.minimum(time, censored).masked_fill(absent, -1.0)
    happened = (time <= censored) & ~absent
    events = EventData(time=seen, event=happened & cause, competing=happened & ~cause, **who)
    plain = dataclasses.replace(events, event=happened, competing=None)
    number = {"binary": uniform() < 0.3 + 0.2 * group, "count": (3.0 * uniform() ** 2 * (1 + group)).round(), "ordinal": (4 * uniform() ** 1.3).floor()}
    value = number.get(kind, 2.0 * uniform() + 0.4 * group).double().masked_fill(absent, torch.nan)
    values = ValueData(value=value, exposure=censored.masked_fill(absent, 1.0) if kind == "count" else None, **who)
    course = (uniform(1) + 0.4 * uniform(3) + 0.3 * group[..., None]).masked_fill(uniform(3) < 0.15, torch.nan)
    visits = VisitData(value=course, at=2, baseline=uniform(), **who)
    gaps = (-3.0 * uniform(6).log()).cumsum(-1)
    recurrent = RecurrentData(time=gaps.masked_fill(gaps > censored[..., None], torch.inf), follow_up=censored.masked_fill(absent, -1.0), **who)
    recurrent = dataclasses.replace(recurrent, time=recurrent.time.masked_fill(absent[..., None], torch.inf))
    hierarchy = HierarchyData(parts=(plain, dataclasses.replace(values, exposure=None)), favours=(1, 1), thresholds=(0.0, 0.1))
    return {EventData: plain, "competing": events, ValueData: values, VisitData: visits, RecurrentData: recurrent, HierarchyData: hierarchy}


def there(record: Any, put: Callable[[Tensor], Tensor]) -> Any:
    """The record on the device."""
    if isinstance(record, Tensor):
        return put(record)
    if isinstance(record, tuple):
        return tuple(there(item, put) for item in record)
    if dataclasses.is_dataclass(record):
        return dataclasses.replace(record, **{field.name: there(getattr(record, field.name), put) for field in dataclasses.fields(record)})
    return record


@pytest.mark.parametrize("given", analyses(), ids=lambda given: "-".join(str(item) for item in given.values()))
def test_an_analysis(cuda, given):
    part = ANY_METHOD.validate_python({**QUESTION, **given})
    kinds = blocks(part.endpoint_types[0])
    data = kinds["competing" if given["method"] in ("aalen_johansen", "gray", "fine_gray") else part.record]
    if given["method"] == "gee":
        data = dataclasses.replace(data, baseline=None)
    if not part.covariates:
        data = dataclasses.replace(data, covariates=None) if not isinstance(data, HierarchyData) else data
    expected = part.answer(data, favours=1)
    found = part.answer(there(data, cuda), favours=1)
    assert (expected.failure == 0).any(), "the data can be analysed"
    for field in dataclasses.fields(Estimates):
        here, away = getattr(expected, field.name), getattr(found, field.name)
        assert (here is None) == (away is None), field.name
        if here is None:
            continue
        assert away.device.type == "cuda", field.name
        if here.is_floating_point():
            torch.testing.assert_close(on_cpu(away), here, rtol=1e-9, atol=1e-9, equal_nan=True, msg=lambda said, name=field.name: f"{name}: {said}")
        else:
            assert torch.equal(on_cpu(away), here), field.name
