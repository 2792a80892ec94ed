"""A policy pack: loaded, checked, hashed, and asked for decisions.

A pack *is* its content: the canonical JSON of its document with everything it includes.
``Pack.from_content`` rebuilds an equal pack from that text alone, years later, so a past
decision can be computed again. Loading a file also runs the file's examples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from decisions.blocks import SlotRule
from decisions.engine import Engine
from decisions.examples import check_examples
from decisions.findings import Collector, PolicyErrors
from decisions.merge import merged, shown
from decisions.reader import Parts, read_pack
from decisions.source import Node, node_of, parse, read_text
from decisions.table import Table
from decisions.types import ValueType, from_json
from domain.actors import Role
from domain.canonical import canonical_json, sha256_of
from domain.deadlines import BusinessCalendar, Settlement
from domain.decisions import Decision
from domain.errors import InvalidRequest
from domain.money import Money


class Pack:
    """One version of one policy. Immutable; safe to share between threads."""

    def __init__(self, parts: Parts, content: str, engine: Engine) -> None:
        self._parts = parts
        self._engine = engine
        self.content = content
        self.hash = engine.hash

    @classmethod
    def load(cls, path: Path, root: Path | None = None) -> Self:
        """The pack of a file; ``root`` (default: two levels up) is where includes are found.

        Raises :class:`PolicyErrors` with every finding, failed examples among them.
        """
        root = path.parent.parent if root is None else root
        into = Collector()
        text = read_text(path, shown(path, root), into)
        if text is None:
            raise PolicyErrors(into.findings)
        return cls._from_text(text, shown(path, root), root, into)

    @classmethod
    def from_text(cls, text: str, file: str = "policy.yaml", root: Path | None = None) -> Self:
        """The pack of a YAML text, as :meth:`load`."""
        return cls._from_text(text, file, root, Collector())

    @classmethod
    def _from_text(cls, text: str, file: str, root: Path | None, into: Collector) -> Self:
        document = parse(text, file, into)
        if document is None:
            raise PolicyErrors(into.findings)
        joined = merged(document, root, into)
        pack = cls._built(joined, into)
        if pack is None or into.findings:
            # examples mean nothing while the rules are wrong
            raise PolicyErrors(into.findings)
        check_examples(joined, pack._parts, pack._engine, into)
        into.raise_if_any()
        return pack

    @classmethod
    def from_content(cls, content: str) -> Self:
        """The pack that has this :attr:`content`; examples are not run again.

        Raises :class:`PolicyErrors` when the text is no content of a pack.
        """
        into = Collector()
        try:
            node = node_of(json.loads(content))
        except (TypeError, ValueError, RecursionError) as error:
            into.add(Node(None, "content"), "syntax", f"not the content of a pack: {error}")
            raise PolicyErrors(into.findings) from error
        pack = cls._built(node, into)
        into.raise_if_any()
        if pack is None:
            raise PolicyErrors(into.findings)
        return pack

    @classmethod
    def _built(cls, document: Node, into: Collector) -> Self | None:
        parts = read_pack(document, into)
        if parts is None or into.findings:
            return None
        plain = document.plain()
        return cls(parts, canonical_json(plain), Engine(parts, sha256_of(plain)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pack) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"Pack({self.name} v{self.version} {self.hash[:12]})"

    @property
    def name(self) -> str:
        return self._parts.name

    @property
    def version(self) -> int:
        return self._parts.version

    @property
    def owner(self) -> str:
        return self._parts.owner

    @property
    def effective_from(self) -> date:
        """The local date from which the pack is in force, in :attr:`zone`."""
        return self._parts.effective_from

    @property
    def zone(self) -> str:
        """The zone of the pack's calendar; UTC without one."""
        return self._engine.zone

    @property
    def effective_at(self) -> datetime:
        """The UTC instant at which :attr:`effective_from` begins."""
        return datetime.combine(self.effective_from, time(0), ZoneInfo(self.zone)).astimezone(UTC)

    @property
    def tables(self) -> tuple[Table, ...]:
        return self._parts.tables

    @property
    def inputs(self) -> Mapping[str, ValueType]:
        """Every fact that :meth:`decide` needs, attributes included (``attributes.tier``)."""
        return self._engine.inputs

    @property
    def texts(self) -> Mapping[str, Mapping[str, str]]:
        return self._parts.texts

    @property
    def catalogues(self) -> Mapping[str, Mapping[str, Any]]:
        return self._parts.catalogues

    @property
    def currencies(self) -> tuple[str, ...] | None:
        return self._parts.currencies

    def decide(self, facts: Mapping[str, Any], now: datetime, trace: bool = True) -> Decision:
        """What the pack says about ``facts`` at the UTC instant ``now``.

        ``facts`` holds a Python value (see :mod:`decisions.types`) for every declared input,
        null ones as None; names that the pack does not declare are not read. Without
        ``trace`` the decision is the same and its ``trace`` empty.

        Raises :class:`FactError` for a missing, null or mistyped fact and
        :class:`Undecided` where the tables leave the facts open.
        """
        return self._engine.decide(facts, now, trace)

    def attribute_facts(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The caller's attributes as facts, by ``attributes.name``; absent ones are None.

        Raises :class:`InvalidRequest` as :meth:`check_attributes`.
        """
        declared = self._parts.attributes
        for name in attributes:
            if name not in declared:
                raise InvalidRequest(
                    f"attributes.{name}",
                    "is no attribute of this policy",
                    ", ".join(sorted(declared)) or "no attributes",
                )
        found: dict[str, Any] = {}
        for name, attribute in declared.items():
            field = f"attributes.{name}"
            if name not in attributes and attribute.required:
                raise InvalidRequest(field, "is missing", attribute.kind.words())
            found[field] = self._engine.attribute_fact(field, attributes.get(name))
        return found

    def check_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Raises :class:`InvalidRequest` (``field="attributes.card_tier"``) for the first
        attribute that is unknown, missing or of the wrong type."""
        self.attribute_facts(attributes)

    def calendar(self, calendar_id: str | None = None) -> BusinessCalendar:
        """A calendar of the pack, by default the one that its timers name.

        Raises ``LookupError`` when there is none.
        """
        wanted = self._parts.calendar if calendar_id is None else calendar_id
        if wanted is None or wanted not in self._parts.calendars:
            raise LookupError(f"policy {self.name} v{self.version} has no calendar {wanted!r}")
        return self._parts.calendars[wanted]

    def settlement(self) -> Settlement:
        """The clock of money under way. Raises ``LookupError`` when the pack has none."""
        if self._parts.settlement is None:
            raise LookupError(f"policy {self.name} v{self.version} has no timers.settlement")
        return self._parts.settlement.with_calendar(self.calendar())

    def route(self, route_id: str) -> tuple[SlotRule, ...]:
        """The slots of an approval route; empty means that nobody is asked.

        Raises ``LookupError`` for a route that the pack does not have.
        """
        if route_id not in self._parts.routes:
            raise LookupError(f"policy {self.name} v{self.version} has no route {route_id!r}")
        return self._parts.routes[route_id]

    def why_may_not(self, role: Role, kind: str, amount: Money, spent_today: Money) -> str | None:
        """None when ``role`` may approve ``amount`` of a ``kind`` of case, else the limit.

        ``spent_today`` is what the person has approved today in that currency, without this
        amount. A limit that is not written down is a refusal.
        """
        what = kind.replace("_", " ")
        for limit in self._parts.authority:
            if limit.role is not role or limit.kind != kind:
                continue
            currency = amount.currency
            if currency not in limit.each or currency not in limit.per_day:
                return f"{role.value} has no limit for a {what} in {currency.upper()}"
            each = Money(amount_minor=limit.each[currency], currency=currency)
            day = Money(amount_minor=limit.per_day[currency], currency=currency)
            if each < amount:
                return f"{role.value} may approve a {what} up to {each}; this is {amount}"
            if day < spent_today + amount:
                return (
                    f"{role.value} may approve {what}s of up to {day} a day; with {spent_today} "
                    f"approved today, {amount} would be over it"
                )
            return None
        return f"{role.value} may not approve a {what}"

    def text(self, key: str, language: str) -> str:
        """What a customer reads. Raises ``LookupError`` for an unknown key or language."""
        if key not in self._parts.texts or language not in self._parts.texts[key]:
            raise LookupError(f"policy {self.name} v{self.version} has no text {key} in {language}")
        return self._parts.texts[key][language]


def facts_from_json(pack: Pack, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a stored :class:`Decision` as :meth:`Pack.decide` takes them.

    Deciding on them again, at the same instant, gives the same decision. Raises
    :class:`FactError` on a value that is not of its input's type.
    """
    return {
        name: from_json(name, pack.inputs[name], value)
        for name, value in facts.items()
        if name in pack.inputs
    }
