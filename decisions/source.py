"""Policy files as text: a small, strict part of YAML, read with every value's place.

Only mappings, lists and scalars. Refused: anchors, aliases and tags (nothing in a policy is
expanded or constructed), several documents, duplicate keys, keys that are not text, floats,
numbers in odd notations, unquoted dates, more than 1 MB, more than 24 levels. ``yes``, ``no``,
``on`` and ``off`` are words, not booleans: ``NO`` is Norway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from decisions.findings import Collector

MOST_BYTES = 1_000_000
DEEPEST = 24
MOST_VALUES = 50_000
MOST_DIGITS = 16

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INT = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBERLIKE = re.compile(
    r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|nan)|0[xob][0-9a-f_]+",
    re.IGNORECASE,
)
_FLOATLIKE = re.compile(r"[-+]?[0-9_]*\.[0-9_]*([eE].*)?|[-+]?[0-9_]+[eE].*|[-+]?\.(inf|nan)", re.I)
_DATELIKE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")


class Bad(Enum):
    """Stands for a value that already has its finding, so that it gets no second one."""

    BAD = "bad"


BAD = Bad.BAD


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place. ``keys`` are the key nodes of a mapping, by key."""

    value: bool | int | str | tuple[Node, ...] | dict[str, Node] | Bad | None
    file: str = ""
    line: int = 1
    column: int = 1
    keys: dict[str, Node] = field(default_factory=dict)

    def get(self, key: str) -> Node | None:
        return self.value.get(key) if isinstance(self.value, dict) else None

    def items(self) -> Iterator[tuple[Node, str, Node]]:
        """Key node, key and value of each entry; nothing when this is no mapping."""
        if isinstance(self.value, dict):
            for key, item in self.value.items():
                yield self.keys.get(key, item), key, item

    def shape(self) -> str:
        """The value's kind in words."""
        match self.value:
            case None:
                return "null"
            case bool():
                return "true" if self.value else "false"
            case int():
                return f"the number {self.value}"
            case str():
                return f"the text {self.value!r}"
            case tuple():
                return "a list"
            case _:
                return "a map"

    def plain(self) -> Any:
        """The value as JSON types, places dropped."""
        if isinstance(self.value, tuple):
            return [item.plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        return None if self.value is BAD else self.value


def node_of(value: Any, file: str = "content") -> Node:
    """JSON types as nodes without a place: the inverse of :meth:`Node.plain`."""
    if isinstance(value, Mapping):
        entries = {str(key): node_of(item, file) for key, item in value.items()}
        return Node(entries, file, keys={key: Node(key, file) for key in entries})
    if isinstance(value, list | tuple):
        return Node(tuple(node_of(item, file) for item in value), file)
    if value is None or isinstance(value, bool | int | str):
        return Node(value, file)
    raise TypeError(f"{type(value).__name__} does not occur in a policy")


def read_text(path: Path, shown: str, into: Collector) -> str | None:
    """A file's text, or None with a finding (absent, too large, not UTF-8)."""
    place = Node(None, shown)
    try:
        if path.stat().st_size > MOST_BYTES:
            into.add(place, "size", f"the file is larger than {MOST_BYTES} bytes")
            return None
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        into.add(place, "file", f"the file cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        into.add(place, "encoding", f"not UTF-8 text (byte {error.start})")
    return None


def parse(text: str, file: str, into: Collector) -> Node | None:
    """The document's node, or None when it cannot be read at all; findings go ``into``."""
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        into.add(Node(None, file), "size", f"the file is larger than {MOST_BYTES} bytes")
        return None
    reader = _Reader(file, into)
    try:
        return reader.document(text)
    except _Stop:
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = error.problem or error.context or "cannot be read"
        into.add(Node(None, file, line, column), "syntax", f"not YAML: {problem}")
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        into.add(Node(None, file), "syntax", f"not YAML: {first}")
    return None


class _Stop(Exception):
    """Reading further would be unsafe or meaningless; the finding is already told."""


class _Reader:
    def __init__(self, file: str, into: Collector) -> None:
        self.file = file
        self.into = into
        self.count = 0
        self.events: Iterator[Any] = iter(())

    def document(self, text: str) -> Node | None:
        self.events = iter(yaml.parse(text, Loader=_LOADER))
        found: Node | None = None
        for event in self.events:
            if isinstance(event, yaml.StreamStartEvent | yaml.StreamEndEvent):
                continue
            if isinstance(event, yaml.DocumentStartEvent):
                if found is not None:
                    self.stop(event, "syntax", "a second document; one file holds one policy")
                continue
            if isinstance(event, yaml.DocumentEndEvent):
                continue
            found = self.node(event, 1)
        if found is None:
            self.into.add(Node(None, self.file), "syntax", "the file is empty")
        return found

    def at(self, event: Any) -> Node:
        mark = event.start_mark
        return Node(None, self.file, mark.line + 1, mark.column + 1)

    def stop(self, event: Any, code: str, message: str) -> None:
        self.into.add(self.at(event), code, message)
        raise _Stop

    def node(self, event: Any, depth: int) -> Node:
        self.count += 1
        if self.count > MOST_VALUES:
            self.stop(event, "size", f"more than {MOST_VALUES} values")
        if depth > DEEPEST:
            self.stop(event, "depth", f"nested deeper than {DEEPEST} levels")
        if isinstance(event, yaml.AliasEvent):
            return self.unsafe(event, "aliases (*name) are not read: write the value out")
        if event.anchor is not None:
            self.unsafe(event, "anchors (&name) are not read: write the value out")
        if event.tag is not None:
            self.content(event, depth)
            return self.unsafe(event, f"tags are not read: {event.tag}")
        return self.content(event, depth)

    def unsafe(self, event: Any, message: str) -> Node:
        """Nothing is expanded or constructed, so reading goes on without it."""
        place = self.at(event)
        self.into.add(place, "unsafe", message)
        return Node(BAD, place.file, place.line, place.column)

    def content(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(event, depth)
        return self.mapping(event, depth)

    def sequence(self, start: Any, depth: int) -> Node:
        place = self.at(start)
        items: list[Node] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self.node(event, depth + 1))
        return Node(tuple(items), place.file, place.line, place.column)

    def mapping(self, start: Any, depth: int) -> Node:
        place = self.at(start)
        entries: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self.node(event, depth + 1)
            value = self.node(next(self.events), depth + 1)
            name = key.value
            if not isinstance(name, str):
                if name is not BAD:
                    self.into.add(key, "wrong-type", f"a key is text, not {key.shape()}")
                continue
            if name in entries:
                first = keys[name]
                self.into.add(
                    key, "duplicate-key", f"the key {name!r} stands already in line {first.line}"
                )
                continue
            entries[name] = value
            keys[name] = key
        return Node(entries, place.file, place.line, place.column, keys)

    def scalar(self, event: Any) -> Node:
        place = self.at(event)
        text: str = event.value

        def made(value: bool | int | str | Bad | None) -> Node:
            return Node(value, place.file, place.line, place.column)

        if event.style:  # quoted or a block: text, whatever it looks like
            return made(text)
        if text in ("null", "~", ""):
            return made(None)
        if text in ("true", "false"):
            return made(text == "true")
        if _INT.fullmatch(text):
            if len(text.lstrip("-")) > MOST_DIGITS:
                self.into.add(place, "out-of-range", f"a number of more than {MOST_DIGITS} digits")
                return made(BAD)
            return made(int(text))
        if _DATELIKE.fullmatch(text):
            self.into.add(
                place, "unquoted-date", f"a date without quotes: {text}", allowed=f'"{text}"'
            )
            return made(BAD)
        if _NUMBERLIKE.fullmatch(text):
            if _FLOATLIKE.fullmatch(text):
                self.into.add(
                    place,
                    "float",
                    f"{text} has a decimal point or exponent: amounts are whole minor units, "
                    "shares are basis points",
                    allowed="whole numbers",
                )
            else:
                self.into.add(
                    place, "number", f"{text} is an odd way to write a number", allowed="0, 12, -3"
                )
            return made(BAD)
        return made(text)
