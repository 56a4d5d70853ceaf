"""The registries of the language are complete: every rule file is applied, every section file is part of the protocol."""

from __future__ import annotations

import importlib
import pkgutil

import trialsim.spec.rules as rules
import trialsim.spec.sections as sections
from trialsim.parts import Part
from trialsim.spec.names import Names
from trialsim.spec.protocol import Protocol
from trialsim.spec.schema import ProtocolFile


def test_every_rule_file_is_applied():
    files = {importlib.import_module(f"{rules.__name__}.{module.name}").check for module in pkgutil.iter_modules(rules.__path__)}
    assert files == set(rules.RULES)


def test_every_section_file_is_reachable_from_the_protocol():
    names = set(ProtocolFile.model_json_schema(by_alias=True)["$defs"])
    for module in pkgutil.iter_modules(sections.__path__):
        loaded = importlib.import_module(f"{sections.__name__}.{module.name}")
        own = {name for name, item in vars(loaded).items() if isinstance(item, type) and issubclass(item, Part) and item.__module__ == loaded.__name__}
        assert own <= names, module.name


def test_every_part_says_what_the_engine_cannot_do_as_phrases():
    """A part that is not supported yields at least one phrase, so that it cannot be ignored silently."""

    def leaves(kind: type[Part]) -> set[type[Part]]:
        below = [leaves(sub) for sub in kind.__subclasses__()]
        return set().union(*below) if below else {kind}

    waiting = [kind for kind in leaves(Part) if not kind.supported and kind.__module__.startswith("trialsim.")]
    assert len(waiting) > 10
    for kind in waiting:
        phrases = list(kind.unsupported(kind.model_construct(method="m", dist="d", model="m")))
        assert phrases, kind
        assert all(phrase and "\n" not in phrase for phrase in phrases), kind


def test_an_empty_protocol_has_no_sections_and_breaks_no_rule():
    assert list(rules.check(Protocol(), Names.of({}, Protocol()))) == []
