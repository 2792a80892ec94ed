"""Declarations of inputs, outputs and attributes: ``name: {type: money, min: 0}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from decisions.counters import COUNTER_KINDS, Counter, read_counter
from decisions.findings import Collector
from decisions.shapes import known_keys
from decisions.source import BAD, Node
from decisions.types import (
    BROKEN,
    INPUT_KINDS,
    OUTPUT_KINDS,
    SEVERAL,
    SPAN,
    WHOLE,
    ValueType,
    microseconds,
)
from domain.canonical import parse_instant

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

TYPE_KEYS = ("type", "values", "min", "max", "nullable")

FIELD_KINDS = tuple(kind for kind in OUTPUT_KINDS if kind not in SEVERAL)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words that blocks of the pack define: text keys, route ids, catalogue items."""

    texts: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    catalogues: Mapping[str, tuple[str, ...]] | None = None


def read_inputs(
    node: Node | None, vocabulary: Vocabulary, into: Collector
) -> tuple[dict[str, ValueType], dict[str, Counter]]:
    """The pack's inputs by name, and which of them are counters."""
    found: dict[str, ValueType] = {}
    counters: dict[str, Counter] = {}
    later: list[tuple[str, Node]] = []
    for key_node, name, item in _map(node, "inputs", into):
        if not NAME.fullmatch(name):
            into.add(key_node, "name", f"{name!r} is no name", allowed="small letters, digits, _")
        kind_node = item.get("type")
        found[name] = ValueType(BROKEN)
        if kind_node is not None and kind_node.value in COUNTER_KINDS:
            later.append((name, item))
        else:
            allowed = (*INPUT_KINDS, *COUNTER_KINDS)
            found[name] = _input(item, allowed, vocabulary, into, (*TYPE_KEYS, "of"))
    for name, item in later:
        counter = read_counter(item, found, into)
        if counter is not None:
            found[name], counters[name] = counter.type, counter
    return found, counters


def _input(
    node: Node,
    kinds: tuple[str, ...],
    vocabulary: Vocabulary,
    into: Collector,
    keys: tuple[str, ...],
) -> ValueType:
    kind = read_type(node, kinds, into, keys)
    if kind is not None and kind.of:
        kind = _with_words(kind, node, vocabulary, into)
    return kind or ValueType(BROKEN)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A caller's own attribute; an absent one that is not required counts as null."""

    kind: ValueType
    required: bool


def read_attributes(
    node: Node | None, vocabulary: Vocabulary, into: Collector
) -> dict[str, Attribute]:
    """The caller's attributes by name; money and sets do not come as attributes."""
    found: dict[str, Attribute] = {}
    kinds = tuple(k for k in INPUT_KINDS if k not in ("money", "set"))
    for key_node, name, item in _map(node, "attributes", into):
        if not NAME.fullmatch(name):
            into.add(key_node, "name", f"{name!r} is no name", allowed="small letters, digits, _")
        kind = _input(item, kinds, vocabulary, into, (*TYPE_KEYS, "of", "required"))
        required = item.get("required")
        if required is not None and not isinstance(required.value, bool):
            into.add(required, "wrong-type", "required is true or false")
            continue
        needed = required is None or required.value is True
        found[name] = Attribute(kind if needed else kind.or_null(), needed)
    return found


def read_outputs(
    node: Node | None, vocabulary: Vocabulary, into: Collector
) -> dict[str, ValueType]:
    """A table's outputs by name."""
    found: dict[str, ValueType] = {}
    for key_node, name, item in _map(node, "outputs", into):
        if not NAME.fullmatch(name):
            into.add(key_node, "name", f"{name!r} is no name", allowed="small letters, digits, _")
        found[name] = _output(item, OUTPUT_KINDS, vocabulary, into)
    return found


def _output(
    node: Node, kinds: tuple[str, ...], vocabulary: Vocabulary, into: Collector
) -> ValueType:
    kind = read_type(node, kinds, into, (*TYPE_KEYS, "of", "fields"))
    if kind is not None and (kind.kind in SEVERAL or kind.kind in ("text", "route", "item")):
        kind = _with_words(kind, node, vocabulary, into)
    block = node.get("fields")
    if block is None or kind is None:
        return kind or ValueType(BROKEN)
    if kind.kind not in SEVERAL:
        into.add(node.keys.get("fields", block), "unknown-key", f"{kind.kind} has no fields")
        return ValueType(BROKEN)
    fields = {}
    for key_node, name, item in _map(block, "fields", into):
        if not NAME.fullmatch(name) or name == "id":
            into.add(key_node, "name", f"{name!r} is no name", allowed="small letters, digits, _")
        fields[name] = _output(item, FIELD_KINDS, vocabulary, into)
    if any(field.kind == BROKEN for field in fields.values()):
        return ValueType(BROKEN)
    return replace(kind, fields=tuple(sorted(fields.items())))


def _map(node: Node | None, what: str, into: Collector) -> list[tuple[Node, str, Node]]:
    if node is None or node.value is BAD:
        return []
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"{what} is a map by name, not {node.shape()}")
    return list(node.items())


def read_type(
    node: Node, kinds: tuple[str, ...], into: Collector, keys: tuple[str, ...]
) -> ValueType | None:
    """One declaration; None with findings when it is wrong."""
    if not isinstance(node.value, dict):
        if node.value is not BAD:
            into.add(
                node, "wrong-type", f"a declaration is a map, not {node.shape()}", allowed=keys
            )
        return None
    known_keys(node, keys, into)
    type_node = node.get("type")
    if type_node is None:
        into.add(node, "missing-key", "type is missing", allowed=kinds)
        return None
    kind = type_node.value
    if not isinstance(kind, str) or kind not in kinds:
        into.add(
            type_node,
            "unknown-value",
            f"{type_node.shape()} is no type here",
            allowed=kinds,
            wrong=str(kind),
        )
        return None
    nullable = _boolean(node, "nullable", into)
    found = ValueType(kind, nullable, of=str(node.plain().get("of") or ""))
    values = _values(node, kind, into)
    bounded = _bounds(node, found, into)
    if values is None or bounded is None:
        return None
    return replace(bounded, values=values)


def _boolean(node: Node, key: str, into: Collector) -> bool:
    item = node.get(key)
    if item is None or item.value is BAD:
        return False
    if not isinstance(item.value, bool):
        into.add(item, "wrong-type", f"{key} is true or false, not {item.shape()}")
        return False
    return item.value


def _values(node: Node, kind: str, into: Collector) -> tuple[str, ...] | None:
    item = node.get("values")
    needs = kind in ("enum", "set")
    of = node.get("of")
    if of is not None and item is not None:
        into.add(item, "unknown-key", "values beside of: the words stand there already")
        return None
    if item is None:
        if needs and of is None:
            into.add(node, "missing-key", f"{kind} needs values: its words")
        return None if needs and of is None else ()
    if not needs and kind not in SEVERAL:
        into.add(item, "unknown-key", f"{kind} has no values")
        return None
    if not isinstance(item.value, tuple) or not item.value:
        if item.value is not BAD:
            into.add(item, "wrong-type", f"values is a list of words, not {item.shape()}")
        return None
    words: list[str] = []
    for word in item.value:
        if word.value is BAD:
            continue
        if not isinstance(word.value, str) or not word.value:
            into.add(word, "wrong-type", f"{word.shape()} where a word belongs")
        elif word.value in words:
            into.add(word, "duplicate-value", f"{word.value!r} stands twice")
        else:
            words.append(word.value)
    return tuple(words)


def _bounds(node: Node, kind: ValueType, into: Collector) -> ValueType | None:
    least, most = kind.low, kind.high
    if kind.kind == "date":
        least, most = 1, date.max.toordinal()
    elif kind.kind == "instant":
        least, most = -SPAN, SPAN
    low, high = least, most
    for key in ("min", "max"):
        item = node.get(key)
        if item is None:
            continue
        if not kind.ordered:
            into.add(item, "unknown-key", f"{kind.kind} has no {key}")
            return None
        code = _bound_code(kind.kind, item.value)
        if code is None:
            if item.value is not BAD:
                into.add(item, "wrong-type", f"{item.shape()} is no bound of {kind.kind}")
            return None
        if not least <= code <= most:
            into.add(item, "out-of-range", f"{key}: {item.value} is beyond what the product holds")
            return None
        if key == "min":
            low = code
        else:
            high = code
    if low > high:
        into.add(node, "empty-interval", "min is greater than max")
        return None
    return replace(kind, low=low, high=high)


def _bound_code(kind: str, value: Any) -> int | None:
    try:
        if kind in WHOLE or kind == "money":
            return value if isinstance(value, int) and not isinstance(value, bool) else None
        if not isinstance(value, str):
            return None
        if kind == "date":
            return date.fromisoformat(value).toordinal()
        return microseconds(parse_instant(value))
    except ValueError:
        return None


def _with_words(
    kind: ValueType, node: Node, vocabulary: Vocabulary, into: Collector
) -> ValueType | None:
    of = kind.of
    if kind.kind == "text":
        return replace(kind, values=vocabulary.texts, of="texts")
    if kind.kind == "route":
        return replace(kind, values=vocabulary.routes, of="routes")
    place = node.get("of") or node
    if kind.kind not in (*SEVERAL, "item", "enum", "set"):
        into.add(place, "unknown-key", f"{kind.kind} has no of")
        return None
    if kind.kind in SEVERAL and kind.values:
        return kind
    catalogues = vocabulary.catalogues or {}
    sources = {f"catalogue.{name}": words for name, words in catalogues.items()}
    if kind.kind in SEVERAL:
        sources |= {"texts": vocabulary.texts}
    if of not in sources:
        into.add(
            place,
            "undefined-catalogue",
            f"of: {of!r} names no list of words" if of else f"{kind.kind} needs of:",
            allowed=sorted(sources) or "catalogue.NAME of a catalogues block",
            wrong=of,
        )
        return None
    return replace(kind, values=tuple(sources[of]))
