"""Reading the plain shapes of a document: maps with known keys, rows, names, whole numbers."""

from __future__ import annotations

from decisions.findings import Collector
from decisions.source import BAD, Node


def known_keys(node: Node, allowed: tuple[str, ...], into: Collector) -> None:
    """A finding for every key of a map that is not among ``allowed``."""
    for key_node, key, _ in node.items():
        if key not in allowed:
            into.add(
                key_node, "unknown-key", f"{key!r} is not known here", allowed=allowed, wrong=key
            )


def read_name(node: Node, key: str, into: Collector) -> str | None:
    """A required, non-empty text under ``key``, or None with a finding."""
    item = node.get(key)
    if item is None:
        into.add(node, "missing-key", f"{key} is missing")
        return None
    if item.value is BAD:
        return None
    if not isinstance(item.value, str) or not item.value.strip():
        into.add(item, "wrong-type", f"{key} is a text, not {item.shape()}")
        return None
    return item.value


def entries(node: Node | None, what: str, into: Collector) -> list[tuple[Node, str, Node]]:
    """The entries of a block that is a map; a finding when it is something else."""
    if node is None or node.value is BAD:
        return []
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"{what} is a map, not {node.shape()}")
    return list(node.items())


def rows(node: Node | None, what: str, into: Collector) -> list[Node]:
    """The items of a block that is a list of maps."""
    if node is None or node.value is BAD:
        return []
    if not isinstance(node.value, tuple):
        into.add(node, "wrong-type", f"{what} is a list, not {node.shape()}")
        return []
    good = [item for item in node.value if isinstance(item.value, dict)]
    for item in node.value:
        if not isinstance(item.value, dict | type(BAD)):
            into.add(item, "wrong-type", f"{what} holds maps, not {item.shape()}")
    return good


def whole(
    node: Node, key: str, into: Collector, low: int, default: int | None = None
) -> int | None:
    """A whole number under ``key`` of at least ``low``; ``default`` when absent."""
    item = node.get(key)
    if item is None:
        if default is None:
            into.add(node, "missing-key", f"{key} is missing")
        return default
    value = item.value
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= 10_000:
        return value
    if value is not BAD:
        into.add(item, "out-of-range", f"{key} is a whole number from {low} to 10000")
    return None


def one_of(node: Node, key: str, words: tuple[str, ...], into: Collector) -> str | None:
    """A word of ``words`` under ``key``, or None with a finding."""
    text = read_name(node, key, into)
    if text is None or text in words:
        return text
    item = node.get(key) or node
    into.add(item, "unknown-value", f"{text!r} is no {key}", allowed=words, wrong=text)
    return None
