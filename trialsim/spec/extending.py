"""`extends: other.yaml`: a protocol that says only what is different.

Maps are merged deeply, everything else is replaced, a `null` value deletes the key. The path is relative to the file that
says `extends`; a file may extend one that extends another. Every value keeps the file, line and column it came from.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path as FilePath

from trialsim.errors import Problem, ProtocolError
from trialsim.spec.loading import read_file
from trialsim.spec.nodes import Node, Place


def merge(base: Node, over: Node) -> Node:
    """`over` laid over `base`."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    children = dict(base.value)
    for key, child in over.value.items():
        if key not in children:
            children[key] = child
        elif child.value is None:
            del children[key]
        else:
            children[key] = merge(children[key], child)
    return replace(over, value=children)


def _wrong(message: str, place: Place) -> ProtocolError:
    return ProtocolError(Problem(message, "extends", place.file, place.line, place.column))


def read_extended(path: str | os.PathLike[str], chain: tuple[FilePath, ...] = ()) -> Node:
    """The protocol in `path`, laid over the ones it extends. Raises ProtocolError, also for a cycle."""
    root = read_file(path)
    assert isinstance(root.value, dict)
    extends = root.value.get("extends")
    if extends is None:
        return root
    here = FilePath(path).resolve()
    if not isinstance(extends.value, str):
        raise _wrong("should be the name of a protocol file", extends.place)
    target = os.path.normpath(os.path.join(os.path.dirname(os.fspath(path)), extends.value))
    if FilePath(target).resolve() in (*chain, here):
        raise _wrong(f"{extends.value} extends this file in turn", extends.place)
    if not FilePath(target).is_file():
        raise _wrong(f"no such file: {target}", extends.place)
    base = read_extended(target, (*chain, here))
    own = replace(root, value={key: child for key, child in root.value.items() if key != "extends"})
    return merge(base, own)
