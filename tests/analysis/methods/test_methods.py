"""Every method of the folder is in the registry, states its options' defaults, and has a kernel or says that it has none."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Annotated, Union

import pytest
import torch
from pydantic import Field, TypeAdapter, ValidationError

import trialsim.analysis.methods
from trialsim.analysis import METHODS, Analysis

FOLDER = Path(trialsim.analysis.methods.__file__).parent
ANY_METHOD = TypeAdapter(Annotated[Union[METHODS], Field(discriminator="method")])  # noqa: UP007
QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}
REQUIRED = {"milestone": {"at": "12 months"}, "win_ratio": {"hierarchy": ["death", "relapse"]}}
NAMES = [
    "logrank",
    "maxcombo",
    "cox",
    "rmst",
    "milestone",
    "median_survival",
    "average_hazard_ratio",
    "aalen_johansen",
    "gray",
    "fine_gray",
    "lwyy",
    "t_test",
    "wilcoxon",
    "ancova",
    "mmrm",
    "clda",
    "proportions",
    "fisher",
    "cmh",
    "logistic",
    "proportional_odds",
    "poisson",
    "negative_binomial",
    "gee",
    "win_ratio",
    "bayesian",
]


def _name(method: type[Analysis]) -> str:
    return method.model_fields["method"].annotation.__args__[0]


@pytest.mark.parametrize("file", sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"))
def test_every_class_of_a_file_is_registered(file):
    module = importlib.import_module(f"trialsim.analysis.methods.{file}")
    own = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]
    methods = [kind for kind in own if issubclass(kind, Analysis) and "method" in kind.model_fields]
    assert methods, "a file of this folder holds a method"
    assert all(kind in METHODS for kind in methods)
    if file != "not_yet":
        assert [_name(kind) for kind in methods] == [file]


def test_the_language_has_exactly_these_methods():
    assert sorted(map(_name, METHODS)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_read_by_its_name_and_written_back(name):
    given = {**QUESTION, "method": name, **REQUIRED.get(name, {})}
    read = ANY_METHOD.validate_python(given)
    assert read.method == name
    again = ANY_METHOD.validate_python(read.model_dump(by_alias=True, mode="json", exclude_none=True))
    assert again == read


@pytest.mark.parametrize("method", METHODS, ids=_name)
def test_a_method_has_a_kernel_or_says_that_it_has_none(method):
    has_kernel = method.estimate is not Analysis.estimate
    assert has_kernel == method.supported
    part = method.model_validate({**QUESTION, "method": _name(method), **REQUIRED.get(_name(method), {})})
    assert bool(list(part.unsupported())) == (not has_kernel)
    assert method.endpoint_types
    if not has_kernel:
        with pytest.raises(NotImplementedError):
            part.estimate(torch.zeros(1), favours=1)


@pytest.mark.parametrize(
    "options, phrase",
    [
        ({"method": "cox", "robust": True, "test": "score"}, "robust: true with test: score of cox"),
        ({"method": "gray", "type": "non_inferiority", "margin": 2}, "type: non_inferiority of gray, which estimates nothing"),
    ],
)
def test_an_option_without_a_kernel_is_named(options, phrase):
    assert list(ANY_METHOD.validate_python({**QUESTION, **options}).unsupported()) == [phrase]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"method": "proportions", "type": "non_inferiority", "margin": "10 %"}, "farrington_manning"),
        ({"method": "t_test", "variance": "equal"}, "'welch' or 'pooled'"),
        ({"method": "cox", "tie": "efron"}, "Extra inputs"),
        ({"method": "t_test", "covariates": ["age"]}, "takes no covariates"),
        ({"method": "ancova", "stratify_by": ["sex"]}, "name them in covariates"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        ANY_METHOD.validate_python({**QUESTION, **options})
