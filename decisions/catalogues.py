"""Catalogues: what a pack offers, blames, charges and asks, as data with typed parameters.

``catalogues: {offers: {pct30_6m: {kind: discount, limit_bps: 3000, months: 6, text: offer.six}}}``.
The names of catalogues and items are the pack's own; an item's ``kind`` says what may be done
with it, and so which parameters it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from decisions.findings import Collector
from decisions.literals import Scope, read_amounts, read_literal
from decisions.outputs import Cell, read_cell
from decisions.shapes import entries, known_keys, one_of
from decisions.source import BAD, Node
from decisions.types import ValueType
from domain.money import LARGEST_MINOR

COST = ValueType("money", low=0)

PARAMETERS: dict[str, ValueType] = {
    "limit_bps": ValueType("bps", low=1, high=10_000),
    "months": ValueType("int", low=1, high=120),
    "days": ValueType("int", low=1, high=3_650),
    "amount_minor": ValueType("money", low=1),
    "points": ValueType("int", low=1, high=LARGEST_MINOR),
    "plan": ValueType("name"),
    "voucher": ValueType("name"),
    "flag": ValueType("name"),
}
"""What a kind may be told: a share, lengths, an amount by currency, names of the caller's own
things (a target plan, a voucher, a flag)."""


@dataclass(frozen=True, slots=True)
class ItemKind:
    """``needs`` are alternatives of which one at least must be there; ``may`` the rest."""

    needs: tuple[tuple[str, ...], ...] = ()
    may: tuple[str, ...] = ()
    is_offer: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        named = (*(name for either in self.needs for name in either), *self.may)
        return ("kind", *named, "text", *(("cost",) if self.is_offer else ()))


_VALUE = ("limit_bps", "amount_minor")
_LENGTH = ("months", "days")

KINDS: dict[str, ItemKind] = {
    "discount": ItemKind((_VALUE, ("months",)), is_offer=True),
    "pause": ItemKind((_LENGTH,), is_offer=True),
    "plan_change": ItemKind((("plan",),), is_offer=True),
    "trial_extension": ItemKind((_LENGTH,), is_offer=True),
    "account_credit": ItemKind((_VALUE,), is_offer=True),
    "fee_waiver": ItemKind((_VALUE,), is_offer=True),
    "agent_offer": ItemKind(may=(*_VALUE, *_LENGTH), is_offer=True),
    "external": ItemKind(may=(*_VALUE, *_LENGTH, "points", "voucher", "flag"), is_offer=True),
    "reason": ItemKind(),
    "fee_type": ItemKind(),
    "claim": ItemKind(),
    "tier": ItemKind(),
    "channel": ItemKind(),
    "blocker": ItemKind(),
    "duty": ItemKind(),
    "action": ItemKind(),
}
"""``external`` is applied by the calling service, ``agent_offer`` by a person's own words; an
``action`` is whatever else the caller is told to do."""


def catalogue_words(node: Node | None) -> dict[str, tuple[str, ...]]:
    """The ids of each catalogue, for those who refer to them."""
    if node is None:
        return {}
    return {name: tuple(key for _, key, _ in items.items()) for _, name, items in node.items()}


@dataclass(frozen=True, slots=True)
class Catalogues:
    """``items`` by catalogue and id, in JSON types; ``costs`` by the same pair."""

    items: dict[str, dict[str, Any]]
    costs: dict[tuple[str, str], Cell]


def read_catalogues(node: Node | None, texts: tuple[str, ...], scope: Scope) -> Catalogues:
    """Every catalogue of the pack, each item against its kind; ``texts`` are the text keys."""
    found = Catalogues({}, {})
    for _, name, items in entries(node, "catalogues", scope.into):
        found.items[name] = {}
        for _, key, item in entries(items, f"catalogue {name}", scope.into):
            found.items[name][key] = item.plain()
            cost = _read_item(item, texts, scope)
            if cost is not None:
                found.costs[name, key] = cost
    return found


def _read_item(node: Node, texts: tuple[str, ...], scope: Scope) -> Cell | None:
    into = scope.into
    if not isinstance(node.value, dict):
        if node.value is not BAD:
            into.add(node, "wrong-type", f"an item is a map, not {node.shape()}", allowed="kind: …")
        return None
    word = one_of(node, "kind", tuple(KINDS), into)
    if word is None:
        return None
    kind = KINDS[word]
    known_keys(node, kind.parameters, into)
    for either in kind.needs:
        if all(node.get(name) is None for name in either):
            into.add(node, "missing-key", f"{word} needs {' or '.join(either)}")
    for _, name, item in node.items():
        if name in PARAMETERS and name in kind.parameters:
            _read_parameter(name, PARAMETERS[name], item, scope)
    text = node.get("text")
    if text is not None:
        read_literal(ValueType("text", values=texts, of="texts"), text, scope)
    cost = node.get("cost")
    return read_cell("cost", COST, cost, scope) if cost is not None and kind.is_offer else None


def _read_parameter(name: str, kind: ValueType, node: Node, scope: Scope) -> None:
    if kind.kind == "money":
        # packs of different currencies share a file of offers
        read_amounts(kind, node, scope, more_allowed=True)
    elif kind.kind == "name":
        _read_own_name(name, node, scope.into)
    else:
        read_literal(kind, node, scope)


def _read_own_name(name: str, node: Node, into: Collector) -> None:
    if node.value is not BAD and not (isinstance(node.value, str) and node.value.strip()):
        into.add(node, "wrong-type", f"{name} is a text, not {node.shape()}")
