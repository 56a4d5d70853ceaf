"""Reading YAML 1.2 into nodes with positions.

ruamel.yaml parses and composes; plain scalars are then resolved by the core schema of YAML 1.2.2 (section 10.3.2), so
`1e-3` is a number, `no` is a word and `010` is ten. Keys are words: `0: 0.4` has the key "0". A duplicate key, the key
`null`, a tag, a broken or truncated file, an empty file and a file that is not a map are each one error with its place.

Source: https://yaml.org/spec/1.2.2/#1032-tag-resolution
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path as FilePath

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode

from trialsim.errors import Problem, ProtocolError
from trialsim.spec.nodes import Node, Place, Scalar

_INT = re.compile(r"[-+]?[0-9]+$")
_OCTAL = re.compile(r"0o[0-7]+$")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)$")
_MOST_NODES = 1_000_000


def scalar(text: str) -> Scalar:
    """A plain scalar under the YAML 1.2 core schema."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _INT.match(text):
        return int(text) if len(text) < 300 else float(text)  # no whole number of the language is that large
    if (_OCTAL.match(text) or _HEXADECIMAL.match(text)) and len(text) < 200:
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    if _INFINITE.match(text):
        return float(text.replace(".", "", 1))
    return float("nan") if text in (".nan", ".NaN", ".NAN") else text


class _Reader:
    """Turns composed YAML into nodes and collects what is wrong with it."""

    def __init__(self, file: str):
        self.file = file
        self.problems: list[Problem] = []
        self.count = 0

    def place(self, node: YamlNode) -> Place:
        return Place(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def wrong(self, message: str, place: Place, path: str = "") -> None:
        self.problems.append(Problem(message, path, place.file, place.line, place.column))

    def node(self, node: YamlNode, above: tuple[int, ...], key_place: Place | None = None) -> Node:
        place = self.place(node)
        self.count += 1
        if id(node) in above or self.count > _MOST_NODES:
            reason = "an alias that contains itself" if id(node) in above else "aliases expand to too many values"
            raise ProtocolError(Problem(reason, "", place.file, place.line, place.column))
        above = (*above, id(node))
        if isinstance(node, MappingNode):
            return Node(self.map(node, above), place, key_place)
        if isinstance(node, SequenceNode):
            return Node(tuple(self.node(item, above) for item in node.value), place, key_place)
        assert isinstance(node, ScalarNode)
        return Node(self.scalar(node, place), place, key_place)

    def scalar(self, node: ScalarNode, place: Place) -> Scalar:
        tag = str(node.tag)
        if not tag.startswith("tag:yaml.org,2002:"):
            self.wrong(f"the tag {tag} is not part of the language", place)
        return scalar(node.value) if node.style is None else str(node.value)

    def map(self, node: MappingNode, above: tuple[int, ...]) -> dict[str, Node]:
        children: dict[str, Node] = {}
        for key, value in node.value:
            place = self.place(key)
            if not isinstance(key, ScalarNode):
                self.wrong("a key must be a word", place)
                continue
            if (key.style is None and scalar(key.value) is None) or key.value == "null":
                self.wrong("null is not an id; name it otherwise", place)
                continue
            if key.value in children:
                first = children[key.value].key_place
                self.wrong(f'duplicate key "{key.value}"' + (f"; first on line {first.line}" if first else ""), place)
                continue
            children[key.value] = self.node(value, above, place)
        return children


def compose(text: str, file: str) -> Node | None:
    """The nodes of a YAML text, None when it holds nothing. Raises ProtocolError with every problem of the syntax."""
    reader = _Reader(file)
    try:
        composed = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = (error.problem or "cannot be read").replace("'<stream end>'", "the end of the file").replace("stream", "file")
        words = {"but found another document": "a second document begins; a protocol is one document"}.get(words, words)
        context = f" {error.context}" if error.context and "expected" not in error.context else ""
        if error.context_mark is not None and context and mark is not None and error.context_mark.line != mark.line:
            context += f" that begins on line {error.context_mark.line + 1}"
        raise ProtocolError(
            Problem(f"not valid YAML: {words}{context}", "", file, mark.line + 1 if mark else None, mark.column + 1 if mark else None)
        ) from None
    except YAMLError as error:
        before = text[: getattr(error, "position", 0)]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ProtocolError(Problem(f"not valid YAML: {getattr(error, 'reason', 'cannot be read')}", "", file, line, column)) from None
    if composed is None:
        return None
    root = reader.node(composed, ())
    if reader.problems:
        raise ProtocolError(reader.problems)
    return root


def read_file(path: str | os.PathLike[str]) -> Node:
    """The nodes of a protocol file. Raises ProtocolError when it is missing, unreadable, empty or no map."""
    file = os.fspath(path)
    try:
        raw = FilePath(path).read_bytes()
    except FileNotFoundError:
        raise ProtocolError(Problem("no such file", file=file)) from None
    except IsADirectoryError:
        raise ProtocolError(Problem("is a folder, not a protocol file", file=file)) from None
    except OSError as error:
        raise ProtocolError(Problem(f"cannot be read: {error.strerror}", file=file)) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        raise ProtocolError(Problem("not UTF-8 text", "", file, before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))) from None
    root = compose(text, file)
    if root is None or root.value is None:
        raise ProtocolError(Problem("the file is empty", "", file, 1, 1))
    if not isinstance(root.value, dict):
        what = "a list" if isinstance(root.value, tuple) else "a single value"
        raise ProtocolError(Problem(f"a protocol is a map of sections, not {what}", "", file, root.place.line, root.place.column))
    return root
