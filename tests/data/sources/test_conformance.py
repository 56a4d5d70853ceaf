"""Every kind of source: one file or folder each, all in the union, one shape."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import Counter
from typing import Literal, get_args, get_origin

import pytest
from pydantic import TypeAdapter, ValidationError

import trialsim.data.sources as package
from trialsim.data.sources import SOURCES, AnySource, FileSource, Source


def _kind(source):
    return get_args(source.model_fields["kind"].annotation)


def _concrete():
    """Every kind of source that a module of the folder defines."""
    found = {}
    for item in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(item.name)
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, Source) and member.__module__ == item.name and "kind" in member.model_fields:
                found[member] = item.name
    return found


def test_every_source_of_the_folder_is_in_the_union():
    union = set(get_args(get_args(AnySource)[0]) or (AnySource,))
    assert set(_concrete()) == set(SOURCES) == union


def test_kinds_differ():
    assert max(Counter(word for source in SOURCES for word in _kind(source)).values()) == 1


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
class TestEach:
    def test_it_is_told_apart_by_kind(self, source):
        assert get_origin(source.model_fields["kind"].annotation) is Literal
        assert not inspect.isabstract(source)
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(AnySource).validate_python({"kind": _kind(source)[0], "no such key": 1})
        assert {error["loc"][0] for error in caught.value.errors()} == {_kind(source)[0]}
        assert any(error["type"] == "extra_forbidden" for error in caught.value.errors())

    def test_it_reads_into_the_staging_area(self, source):
        assert tuple(inspect.signature(source.read).parameters) == ("self", "staging", "name", "folder", "codes")

    def test_its_options_and_itself_are_described(self, source):
        assert inspect.getdoc(source)
        undescribed = [name for name, field in source.model_fields.items() if not field.description and name != "kind"]
        assert not undescribed

    def test_missing_files_are_an_error_that_names_them(self, source, tmp_path):
        if not issubclass(source, FileSource):
            pytest.skip("not a source of files")
        from trialsim.errors import DataError

        with pytest.raises(DataError, match="there is no such file"):
            source.model_construct(files="none/*.x").inputs(tmp_path)
