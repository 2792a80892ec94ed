"""Counters: facts that are counted or summed in the books over a window that ends now.

``refunds_12m: {type: count, of: accepted, where: {kind: refund}, within: P12M, per: customer}``
stands among the inputs; ``sum`` gives money in the currency of the case. The pack declares
them; whoever computes facts reads the books (:class:`Counter` says what for).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from decisions.durations import Duration, window_start
from decisions.findings import Collector
from decisions.literals import Scope, read_literal
from decisions.shapes import known_keys, one_of, read_name
from decisions.source import BAD, Node
from decisions.types import ValueType
from domain.cases import CaseKind, Desk, EventKind, Outcome
from domain.decisions import RefundMethod

COUNTER_KINDS = ("count", "sum")
COUNTER_KEYS = ("type", "of", "where", "within", "per")
PER = ("customer", "subscription", "account", "agent")
WINDOWS = "180d, P12M, P2Y, 90min"

ONCE_A_CASE = (
    EventKind.OPENED, EventKind.DECIDED, EventKind.ACCEPTED, EventKind.CONFIRMED,
    EventKind.FAILED, EventKind.CLOSED,
)  # fmt: skip
"""Kinds that a case has at most once: only their amounts can be summed."""

OPEN = "open"
"""Stands for a case that has not ended, where an outcome is asked for."""

WHERE: dict[str, tuple[str, ...]] = {
    "kind": tuple(kind.value for kind in CaseKind),
    "outcome": (OPEN, *(outcome.value for outcome in Outcome)),
    "method": tuple(method.value for method in RefundMethod),
    "desk": tuple(desk.value for desk in Desk),
    "reason": (),
    "policy": (),
    "rule": (),
    "priority": (),
    "jurisdiction": (),
}
"""What a counter may ask of the case that an event belongs to, with the words that are known;
none where they are the packs' own."""


@dataclass(frozen=True, slots=True)
class Counter:
    """``of`` is the kind of event that counts, ``where`` the words its case must show by field.

    ``per`` says whose events: those of cases of the same customer, subscription or account, or
    of cases that the same agent opened.
    """

    is_sum: bool
    of: EventKind
    where: tuple[tuple[str, tuple[str, ...]], ...]
    within: Duration
    per: str

    def since(self, now: datetime, zone: str) -> datetime:
        """The first UTC instant of the window that ends at ``now``; days are those of ``zone``."""
        return window_start(now, self.within, zone)

    @property
    def type(self) -> ValueType:
        return ValueType("money" if self.is_sum else "int", low=0)


def read_counter(node: Node, inputs: Mapping[str, ValueType], into: Collector) -> Counter | None:
    """One declaration; None with findings when it is wrong.

    Words of ``where`` are those of the pack's own enum input of the same name, if it has one.
    """
    before = len(into.findings)
    known_keys(node, COUNTER_KEYS, into)
    is_sum = node.plain().get("type") == "sum"
    kinds = ONCE_A_CASE if is_sum else tuple(EventKind)
    of = one_of(node, "of", tuple(kind.value for kind in kinds), into)
    per = one_of(node, "per", PER, into)
    within = _within(node, into)
    where = _where(node.get("where"), inputs, into)
    if len(into.findings) > before or of is None or per is None or within is None:
        return None
    return Counter(is_sum, EventKind(of), where, within, per)


def _within(node: Node, into: Collector) -> Duration | None:
    item = node.get("within")
    if item is None:
        into.add(node, "missing-key", "within is missing: the window", allowed=WINDOWS)
        return None
    literal = read_literal(ValueType("duration"), item, Scope(into, {}, None))
    if literal is None:
        return None
    length: Duration = literal.value
    if length.unit == "bd" or length.count < 1:
        into.add(item, "wrong-type", f"{length} is no window", allowed=WINDOWS)
        return None
    return length


def _where(
    node: Node | None, inputs: Mapping[str, ValueType], into: Collector
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if node is None or node.value is BAD:
        return ()
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"where is a map, not {node.shape()}", allowed=tuple(WHERE))
    known_keys(node, tuple(WHERE), into)
    found = {}
    for _, name, item in node.items():
        if name not in WHERE:
            continue
        allowed = WHERE[name] or (inputs[name].values if name in inputs else ())
        several = item.value if isinstance(item.value, tuple) else (item,)
        words = []
        for word in several:
            one = Node({name: word}, item.file, item.line, item.column)
            text = one_of(one, name, allowed, into) if allowed else read_name(one, name, into)
            words += [] if text is None else [text]
        if not several:
            into.add(item, "empty-interval", "an empty list is never met")
        found[name] = tuple(sorted(set(words)))
    return tuple(sorted(found.items()))
