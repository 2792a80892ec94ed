"""One pack from its file and what it includes: a single document, as if written in one place.

An included file holds ``format: 1`` and data blocks only. Maps are joined by key, lists one
after the other in the order of ``includes``. What a pack *is* (its content and its hash) is
the joined document without ``includes``: where a block stands does not matter.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from decisions.findings import Collector
from decisions.shapes import known_keys
from decisions.source import BAD, Node, parse, read_text

MAPS = (
    "calendars", "routes", "texts", "catalogues", "attributes", "jurisdictions", "clocks",
)  # fmt: skip
LISTS = ("authority",)
MOST_INCLUDES = 50


def shown(path: Path, root: Path) -> str:
    """A path as findings name it: relative to the directory above the policies."""
    try:
        return path.relative_to(root.parent).as_posix()
    except ValueError:
        return path.name


def merged(document: Node, root: Path | None, into: Collector) -> Node:
    """``document`` with its includes joined in; ``root`` is the policies directory."""
    if not isinstance(document.value, dict):
        return document
    includes = document.value.get("includes")
    entries = {key: item for key, item in document.value.items() if key != "includes"}
    keys = dict(document.keys)
    for other in _included(includes, root, into):
        known_keys(other, ("format", *MAPS, *LISTS), into)
        for key_node, key, item in other.items():
            if key not in MAPS and key not in LISTS:
                continue
            keys.setdefault(key, key_node)
            entries[key] = _joined(entries[key], item, into) if key in entries else item
    return Node(entries, document.file, document.line, document.column, keys)


def _included(includes: Node | None, root: Path | None, into: Collector) -> list[Node]:
    if includes is None or includes.value is BAD:
        return []
    if not isinstance(includes.value, tuple):
        into.add(includes, "wrong-type", "includes is a list of files", allowed="[x/y.yaml]")
        return []
    if len(includes.value) > MOST_INCLUDES:
        into.add(includes, "size", f"more than {MOST_INCLUDES} includes")
        return []
    found = []
    for item in includes.value:
        path = _path(item, root, into)
        if path is None or root is None:
            continue
        text = read_text(path, shown(path, root), into)
        other = None if text is None else parse(text, shown(path, root), into)
        if other is None:
            continue
        if not isinstance(other.value, dict):
            into.add(other, "wrong-type", "an included file is a map of data blocks")
            continue
        version = other.get("format")
        if version is None or version.value != 1:
            into.add(version or other, "format", "format: 1 is missing", allowed="1")
        found.append(other)
    return found


def _path(item: Node, root: Path | None, into: Collector) -> Path | None:
    """A file below the policies directory, or None with a finding."""
    if item.value is BAD:
        return None
    text = item.value
    if not isinstance(text, str):
        into.add(item, "wrong-type", f"an include is a file name, not {item.shape()}")
        return None
    pure = PurePosixPath(text)
    if pure.is_absolute() or ".." in pure.parts or pure.suffix != ".yaml" or "\\" in text:
        into.add(item, "include", f"{text!r} is no file below the policies directory")
        return None
    if root is None:
        into.add(item, "include", f"{text} cannot be read here: no policies directory is known")
        return None
    path = root / pure
    if not path.is_file():
        near = sorted(p.relative_to(root).as_posix() for p in path.parent.glob("*.yaml"))
        into.add(item, "include", f"there is no file {text}", allowed=near, wrong=text)
        return None
    if not path.resolve().is_relative_to(root.resolve()):
        into.add(item, "include", f"{text!r} leads out of the policies directory")
        return None
    return path


def _joined(one: Node, other: Node, into: Collector) -> Node:
    if isinstance(one.value, tuple) and isinstance(other.value, tuple):
        return Node((*one.value, *other.value), one.file, one.line, one.column)
    if not isinstance(one.value, dict) or not isinstance(other.value, dict):
        return one
    entries, keys = dict(one.value), dict(one.keys)
    for key_node, key, item in other.items():
        if key in entries:
            first = keys[key]
            into.add(
                key_node,
                "duplicate-id",
                f"{key!r} stands already in {first.file}:{first.line}",
            )
            continue
        entries[key], keys[key] = item, key_node
    return Node(entries, one.file, one.line, one.column, keys)
