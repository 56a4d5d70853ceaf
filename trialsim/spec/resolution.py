"""The fully explicit form of a protocol, and its hash.

Defaults are filled in, `extends` is merged, `interims` is written as `looks`, times are in days, what is absent is absent.
Parameters that a design or a scenario sets keep their `$name`; all others are replaced. The result is a protocol that
resolves to itself: a default that differs between cells (because it depends on a `$name`) is not filled in.

The hash is the SHA-256 of the canonical JSON of the resolved form without `replicates`, `target_mcse` and `keep`: keys in
the order of the language (ids in the order of the file, which is the order of arms and looks), shortest round-trip
numbers, no white space.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from trialsim.spec.document import Document
from trialsim.spec.looks import lengthened
from trialsim.spec.nodes import Node, plain, scalars
from trialsim.spec.parameters import Substitution, used_name
from trialsim.spec.protocol import LANGUAGE, Protocol

NOT_IN_HASH = ("replicates", "target_mcse", "keep")
_EMPTY: tuple[Any, ...] = (None, {}, [], ())


def dump(part: BaseModel) -> dict[str, Any]:
    """A part as plain data in the order of its fields, without what is absent or empty by default."""
    result: dict[str, Any] = _written(part.model_dump(mode="json", by_alias=True), part)
    return result


def _written(dumped: Any, value: Any) -> Any:
    if isinstance(value, BaseModel) and isinstance(dumped, dict):
        result = {}
        for name, field in type(value).model_fields.items():
            key, item = field.alias or name, getattr(value, name)
            default = None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
            if key not in dumped:
                continue
            written = _written(dumped[key], item)
            if field.is_required() or item != default or (item not in _EMPTY and written != {}):
                result[key] = written
        return result
    if isinstance(value, dict) and isinstance(dumped, dict):
        return {key: _written(dumped[str(key)], item) for key, item in value.items()}
    if isinstance(value, list | tuple) and isinstance(dumped, list):
        return [_written(item, part) for item, part in zip(dumped, value, strict=True)]
    return dumped


def resolve(document: Document, protocols: Sequence[Protocol]) -> dict[str, Any]:
    """The resolved form, given the typed protocol of every cell."""
    substitution = Substitution(document.parameters, keep=document.settable)
    body = substitution.apply(document.body)
    sections = _sections(body, protocols)
    parameters = {
        name: None if assigned.node.value is None else plain(substitution.apply(assigned.node))
        for name, assigned in document.parameters.items()
        if name in document.settable
    }
    head: dict[str, Any] = {"spec": LANGUAGE}
    if "study" in sections:
        head["study"] = sections.pop("study")
    if parameters:
        head["parameters"] = parameters
    return {**head, **sections, **_variants(document, substitution)}


def _sections(body: Node, protocols: Sequence[Protocol]) -> dict[str, Any]:
    interims = body.get("interims")
    if interims is not None and not _varies(interims):
        longer = [dump(lengthened(protocol)) for protocol in protocols]
        if all("interims" not in item and item["looks"] == longer[0]["looks"] for item in longer):
            assert isinstance(body.value, dict)
            rest = Node({key: child for key, child in body.value.items() if key != "interims"}, body.place)
            merged: dict[str, Any] = _merged(rest, longer)
            return merged
    result: dict[str, Any] = _merged(body, [dump(protocol) for protocol in protocols])
    return result


def _varies(node: Node) -> bool:
    """Whether a `$name` is left in it."""
    return any(used_name(item) is not None for _, item in scalars(node))


def _merged(raw: Node, dumps: Sequence[Any]) -> Any:
    """The explicit form where all cells have the same, the written form with its `$name` where they may not."""
    if used_name(raw) is not None:
        return raw.value
    if all(other == dumps[0] for other in dumps) and not _varies(raw):
        return dumps[0]
    if not isinstance(raw.value, dict) or not all(isinstance(item, dict) for item in dumps):
        if isinstance(raw.value, tuple) and all(isinstance(item, list) and len(item) == len(raw.value) for item in dumps):
            return [_merged(child, [item[index] for item in dumps]) for index, child in enumerate(raw.value)]
        return plain(raw)
    result: dict[str, Any] = {}
    for key in dumps[0]:
        if key in raw.value:
            result[key] = _merged(raw.value[key], [item[key] for item in dumps if key in item])
        elif all(key in item and item[key] == dumps[0][key] for item in dumps):
            result[key] = dumps[0][key]
    for key, child in raw.value.items():
        if key not in result and child.value is not None:
            with_key = [item[key] for item in dumps if key in item]
            if with_key or _varies(child):
                result[key] = _merged(child, with_key) if with_key else plain(child)
    return result


def _variants(document: Document, substitution: Substitution) -> dict[str, Any]:
    """The sections `designs` and `scenarios`, roles filled in."""
    result: dict[str, Any] = {}
    designs, scenarios = document.root.get("designs"), document.root.get("scenarios")
    if designs is not None and designs.value:
        result["designs"] = plain(substitution.apply(designs))
    if scenarios is not None and isinstance(scenarios.value, dict) and scenarios.value:
        written = plain(substitution.apply(scenarios))
        result["scenarios"] = {
            id: {"role": typed.role, **{key: written[id][key] for key in ("set", "grid") if written[id].get(key) is not None}, **_draw(typed)}
            for id, typed in document.typed_scenarios.items()
        }
    return result


def _draw(scenario: BaseModel) -> dict[str, Any]:
    dumped = dump(scenario)
    return {"draw": dumped["draw"]} if "draw" in dumped else {}


def _canonical(value: Any, in_grid: bool = False) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item, in_grid or key == "grid") for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item, in_grid) for item in value]
    # Values of a grid name cells, so 1 and 1.0 differ there.
    if isinstance(value, float) and not in_grid and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def canonical_json(resolved: dict[str, Any]) -> str:
    """The text that is hashed."""
    hashed = dict(resolved)
    if "simulation" in hashed:
        hashed["simulation"] = {key: value for key, value in hashed["simulation"].items() if key not in NOT_IN_HASH}
        if not hashed["simulation"]:
            del hashed["simulation"]
    return json.dumps(_canonical(hashed), ensure_ascii=False, separators=(",", ":"))


def sha256(resolved: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(resolved).encode()).hexdigest()


def to_yaml(resolved: dict[str, Any]) -> str:
    """The resolved form as a protocol file."""
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 1_000_000
    yaml.sort_base_mapping_type_on_output = False
    out = io.StringIO()
    yaml.dump(resolved, out)
    return out.getvalue()
