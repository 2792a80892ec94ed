"""A policy pack: loaded, checked, hashed, and asked for decisions.

A pack *is* its content: the canonical JSON of its document with everything it includes.
``Pack.from_content`` rebuilds an equal pack from that text alone, years later, so a past
decision can be computed again. Loading a file also runs the file's examples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from decisions.analysis import check_tables
from decisions.blocks import SlotRule
from decisions.counters import Counter
from decisions.engine import Engine
from decisions.examples import check_examples, read_examples
from decisions.findings import Collector, PolicyErrors
from decisions.jurisdictions import RuleBook
from decisions.merge import merged, shown
from decisions.reader import Parts, read_pack
from decisions.source import Node, node_of, parse, read_text
from decisions.table import Table
from decisions.types import ValueType, from_json, ids_of
from domain.actors import Role
from domain.canonical import canonical_json, sha256_of
from domain.cases import Channel, Language
from domain.deadlines import BusinessCalendar, Settlement
from domain.decisions import Decision
from domain.errors import InvalidRequest
from domain.money import Money

A_YEAR = timedelta(days=364)
"""From the first day of a year to its last."""


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
        parts = read_pack(joined, into)
        if parts is not None and into.findings:
            # what an example decides means nothing while the rules are wrong
            read_examples(joined, parts, into)
        if parts is None or into.findings:
            raise PolicyErrors(into.findings)
        pack = cls._of(parts, joined)
        check_examples(joined, parts, pack._engine, into)
        check_tables(joined, parts, into)
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
        parts = read_pack(node, into)
        if parts is None or into.findings:
            raise PolicyErrors(into.findings)
        return cls._of(parts, node)

    @classmethod
    def _of(cls, parts: Parts, document: Node) -> Self:
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
        """Items in JSON types by catalogue and id; ``decisions.catalogues`` names their kinds
        and parameters."""
        return self._parts.catalogues.items

    @property
    def counters(self) -> Mapping[str, Counter]:
        """The inputs that are computed from the books over a window."""
        return self._parts.counters

    @property
    def repins(self) -> tuple[int, ...]:
        """Earlier versions whose running cases are to go on under this one."""
        return self._parts.repins

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

    def chosen(self, decision: Decision, output: str, item: str) -> Mapping[str, Any]:
        """The entry ``item`` that a customer took of a choice, with its fields.

        Raises :class:`InvalidRequest` (field: the output's name) when it was not among them,
        ``LookupError`` when the output is no choice of this pack.
        """
        kinds = {name: kind for table in self.tables for name, kind in table.outputs.items()}
        if output not in kinds or kinds[output].kind != "choice":
            raise LookupError(f"policy {self.name} v{self.version} has no choice {output!r}")
        offered = decision.outputs.get(output) or []
        ids = ids_of(offered)
        if item not in ids:
            raise InvalidRequest(output, f"{item!r} was not offered", ", ".join(ids) or "nothing")
        entry = offered[ids.index(item)]
        return entry if isinstance(entry, dict) else {"id": entry}

    def cost(self, catalogue: str, item: str, facts: Mapping[str, Any]) -> Money | None:
        """What an offer costs by its ``cost`` rule over ``facts``; None when it states none.

        Raises :class:`FactError` as :meth:`decide`, ``LookupError`` for an unknown item.
        """
        if item not in self.catalogues.get(catalogue, {}):
            raise LookupError(f"policy {self.name} v{self.version} has no {catalogue}.{item}")
        cell = self._parts.catalogues.costs.get((catalogue, item))
        return None if cell is None else self._engine.cost(cell, facts)

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
        wanted = self._parts.timers.calendar if calendar_id is None else calendar_id
        if wanted is None or wanted not in self._parts.calendars:
            raise LookupError(f"policy {self.name} v{self.version} has no calendar {wanted!r}")
        return self._parts.calendars[wanted]

    def short_calendars(self, today: date) -> tuple[BusinessCalendar, ...]:
        """Calendars that know less than a year from :attr:`effective_from`, or from ``today``.

        Past its last year a calendar gives no instant: what needs one (an end that may be
        appealed, a slot, a settlement) is tried again without end.
        """
        start = max(self.effective_from, today)
        calendars = self._parts.calendars.values()
        return tuple(each for each in calendars if each.covers_to - start < A_YEAR)

    def settlement(self) -> Settlement:
        """The clock of money under way. Raises ``LookupError`` when the pack has none."""
        timers = self._parts.timers
        if timers.settlement is None:
            raise LookupError(f"policy {self.name} v{self.version} has no timers.settlement")
        return timers.settlement.with_calendar(self.calendar(), timers.alternative_days)

    def information_until(self, asked_at: datetime) -> datetime | None:
        """Until which instant (UTC) a customer who is asked at ``asked_at`` may answer; None in
        a pack that asks nothing."""
        return self._days_after(asked_at, self._parts.timers.information_days)

    def appeal_until(self, refused_at: datetime) -> datetime | None:
        """Until which instant (UTC) a no of ``refused_at`` may be appealed; None where never."""
        return self._days_after(refused_at, self._parts.timers.appeal_days)

    def alternative_until(self, ended_at: datetime) -> datetime | None:
        """Until which instant (UTC) what a case offers at its end stands; None where nothing."""
        return self._days_after(ended_at, self._parts.timers.alternative_days)

    def first_response_due(self, channel: Channel, asked_at: datetime) -> datetime | None:
        """By when (UTC) a customer who asked so must have a first answer; None where no clock
        runs for the channel. Raises ``ValueError`` past the years that the calendar knows."""
        rule = self._parts.timers.first_response.get(channel)
        if rule is None:
            return None
        return self.calendar().after_office_minutes(asked_at, rule.minutes, rule.hours)

    def _days_after(self, at: datetime, business_days: int) -> datetime | None:
        return self.calendar().instant_after(at, business_days) if business_days else None

    @property
    def rule_books(self) -> Mapping[str, RuleBook]:
        """What law asks: the pack's jurisdictions by code, its clocks by name."""
        return {**self._parts.jurisdictions, **self._parts.clocks}

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

    def text_or_nothing(self, key: str, language: str) -> str:
        """The text, in English where the language has none; empty where there is neither."""
        texts = self._parts.texts.get(key, {})
        return texts.get(language) or texts.get(Language.EN, "")


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
