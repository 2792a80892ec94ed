"""What law asks, as data: ``jurisdictions`` and ``clocks`` blocks, each number with its source.

::

    jurisdictions:
      DE:
        name: Germany
        binds: businesses that conclude continuing contracts with consumers online
        part_of: EU                        # what DE does not say, EU says
        clocks:
          cancel_receipt: {within: 0min, from: cancellation, source: "...", verified: false}
        records:
          declaration: {keep: P3Y, from: termination, source: "...", verified: false}
        terms:
          offers_mode: {is: side_by_side, source: "...", verified: true, since: "2022-07-01"}
    clocks:
      reg_e: {name: Regulation E, binds: banks, clocks: {...}, records: {...}}

A number that nobody has read in its source is ``verified: false``: the pack shows the mark
wherever the number is used, and the decision of a rule that uses it says so in its ``why``.
A rule takes an entry with ``{law: DE.offers_mode}``. ``since`` is the day from which something
is law; with ``since: null`` it is planned and binds nobody yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, TypeVar

from decisions.calendars import read_date
from decisions.declarations import NAME
from decisions.durations import WRITTEN, Duration, parse_duration
from decisions.findings import Collector
from decisions.shapes import entries, known_keys, read_name
from decisions.source import BAD, Node

CODE = re.compile(r"[A-Z]{2}(-[A-Z]{2})?")
"""As :class:`domain.refunds.RefundRequest` takes it: a country, or a state of one."""

BASIS_KEYS = ("source", "verified", "since", "note")
CLOCK_KEYS = ("within", "ahead", "from", *BASIS_KEYS)
RECORD_KEYS = ("keep", "from", *BASIS_KEYS)
TERM_KEYS = ("is", *BASIS_KEYS)
BOOK_KEYS = ("name", "binds", "clocks", "records")

TERMS: Mapping[str, tuple[str, ...] | None] = {
    "offers_mode": ("free", "simultaneous_cancel", "side_by_side", "forbidden_in_flow"),
    "offers_after_cancel": ("free", "with_consent"),
    "cancel_medium": ("any", "same_as_signup"),
    "login": ("allowed", "never"),
    "survey": ("allowed", "optional"),
    "withdrawal_function": ("none", "two_steps"),
    "refund_method": ("any", "same_as_paid"),
    "cancel_steps": None,
    "cooling_off_periods": None,
}
"""The terms that a jurisdiction may set, with their words; None for a whole number, a maximum
of ``cancel_steps``, a count of ``cooling_off_periods``."""


@dataclass(frozen=True, slots=True)
class Basis:
    """Why a number is what it is. ``since`` is the first day on which it is law, None when it
    always was; ``planned`` law binds nobody yet."""

    source: str
    verified: bool
    since: date | None = None
    planned: bool = False
    note: str = ""

    def binds_on(self, day: date) -> bool:
        return not self.planned and (self.since is None or self.since <= day)


@dataclass(frozen=True, slots=True)
class Clock:
    """No later than ``within`` after ``start``; or, with ``ahead``, at least ``within`` and at
    most ``ahead`` before it. ``start`` names an event: an input of the pack that reads it."""

    id: str
    within: Duration
    start: str
    basis: Basis
    ahead: Duration | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """Records are kept for ``keep`` after ``start``; of several of one kind the longest counts."""

    id: str
    keep: Duration
    start: str
    basis: Basis


@dataclass(frozen=True, slots=True)
class LegalTerm:
    """What a jurisdiction asks that is no length of time: a word or a whole number."""

    id: str
    value: str | int
    basis: Basis


Entry = Clock | Retention | LegalTerm


@dataclass(frozen=True, slots=True)
class RuleBook:
    """A jurisdiction, or a set of clocks that binds a trade. ``binds`` says whom, in words."""

    id: str
    name: str
    binds: str
    clocks: Mapping[str, Clock]
    records: Mapping[str, Retention]
    terms: Mapping[str, LegalTerm]
    part_of: RuleBook | None = None

    def entries(self) -> Iterator[Entry]:
        yield from self.clocks.values()
        yield from self.records.values()
        yield from self.terms.values()

    def unverified(self) -> tuple[Entry, ...]:
        """What somebody has to read in its source and sign before a pack is released."""
        return tuple(entry for entry in self.entries() if not entry.basis.verified)

    def on(self, day: date) -> RuleBook:
        """What binds on a day; where this place says nothing, the one that it is a part of."""
        whole = self.part_of.on(day) if self.part_of else None
        return replace(
            self,
            clocks=_binding(day, self.clocks, whole.clocks if whole else {}),
            records=_binding(day, self.records, whole.records if whole else {}),
            terms=_binding(day, self.terms, whole.terms if whole else {}),
        )


EntryT = TypeVar("EntryT", Clock, Retention, LegalTerm)


def _binding(
    day: date, own: Mapping[str, EntryT], whole: Mapping[str, EntryT]
) -> dict[str, EntryT]:
    return {**whole, **{key: entry for key, entry in own.items() if entry.basis.binds_on(day)}}


def entries_by_name(books: Mapping[str, RuleBook]) -> dict[str, Entry]:
    """What rules may take from rule books, as ``book.entry``: terms, and clocks that run forward.

    Only what is law or will be on a day that is set. A jurisdiction has the entries of what it
    is a part of, too.
    """
    found: dict[str, Entry] = {}
    for book in books.values():
        for place in (book.part_of, book):
            said: tuple[Entry, ...] = ()
            if place is not None:
                said = (*place.clocks.values(), *place.terms.values())
            for entry in said:
                runs_back = isinstance(entry, Clock) and entry.ahead is not None
                if not runs_back and not entry.basis.planned:
                    found[f"{book.id}.{entry.id}"] = entry
    return found


def written_out(part: Any, law: Mapping[str, Entry]) -> Any:
    """A part of a pack's document (JSON types) with what ``{law: …}`` stands for beside it: a
    clock's ``in`` and ``from``, or a term's ``is``, and whether it is ``verified``."""
    if isinstance(part, Mapping):
        found = {key: written_out(item, law) for key, item in part.items()}
        entry = law.get(part["law"]) if set(part) == {"law"} else None
        if isinstance(entry, Clock):
            found |= {"in": str(entry.within), "from": entry.start}
        elif isinstance(entry, LegalTerm):
            found |= {"is": entry.value}
        return found if entry is None else {**found, "verified": entry.basis.verified}
    return [written_out(item, law) for item in part] if isinstance(part, list) else part


def read_jurisdictions(node: Node | None, into: Collector) -> dict[str, RuleBook]:
    """The ``jurisdictions`` block by code, each completed by what it is a part of."""
    found: dict[str, RuleBook] = {}
    parts: list[tuple[str, Node]] = []
    for key_node, code, item in entries(node, "jurisdictions", into):
        if not CODE.fullmatch(code):
            into.add(key_node, "name", f"{code!r} is no jurisdiction", allowed="US, US-CA, DE")
        book = _read_book(code, item, (*BOOK_KEYS, "part_of", "terms"), into)
        if book is not None:
            found[code] = book
            if item.get("part_of") is not None:
                parts.append((code, item))
    named = {code for code, _ in parts}
    wholes = {code: book for code, book in found.items() if code not in named}
    for code, item in parts:
        whole = read_name(item, "part_of", into)
        if whole is not None and whole not in wholes:
            into.add(
                item.get("part_of") or item, "unknown-value",
                f"{whole!r} is no jurisdiction of this pack that others are a part of",
                allowed=sorted(wholes), wrong=whole,
            )  # fmt: skip
        elif whole is not None:
            found[code] = replace(found[code], part_of=wholes[whole])
    return found


def read_clock_books(node: Node | None, into: Collector) -> dict[str, RuleBook]:
    """The ``clocks`` block by name: ``reg_e``, ``psd2``."""
    found: dict[str, RuleBook] = {}
    for key_node, name, item in entries(node, "clocks", into):
        _check_name(name, key_node, into)
        book = _read_book(name, item, BOOK_KEYS, into)
        if book is not None:
            found[name] = book
    return found


def _check_name(name: str, place: Node, into: Collector) -> None:
    if not NAME.fullmatch(name):
        into.add(place, "name", f"{name!r} is no name", allowed="small letters, digits, _")


def _read_book(book_id: str, node: Node, keys: tuple[str, ...], into: Collector) -> RuleBook | None:
    if not isinstance(node.value, dict):
        if node.value is not BAD:
            into.add(node, "wrong-type", f"{book_id} is a map, not {node.shape()}", allowed=keys)
        return None
    known_keys(node, keys, into)
    name, binds = read_name(node, "name", into), read_name(node, "binds", into)
    clocks: dict[str, Clock] = {}
    records: dict[str, Retention] = {}
    terms: dict[str, LegalTerm] = {}
    for key_node, key, item in entries(node.get("clocks"), "clocks", into):
        _check_name(key, key_node, into)
        if (clock := _read_clock(key, item, into)) is not None:
            clocks[key] = clock
    for key_node, key, item in entries(node.get("records"), "records", into):
        _check_name(key, key_node, into)
        if (record := _read_record(key, item, into)) is not None:
            records[key] = record
    for key_node, key, item in entries(node.get("terms"), "terms", into):
        if key not in TERMS:
            into.add(
                key_node, "unknown-key", f"{key!r} is no term", allowed=sorted(TERMS), wrong=key
            )
        elif (term := _read_term(key, item, into)) is not None:
            terms[key] = term
    return RuleBook(book_id, name or "", binds or "", clocks, records, terms)


def _read_clock(name: str, node: Node, into: Collector) -> Clock | None:
    basis = _read_basis(node, CLOCK_KEYS, into)
    if basis is None:
        return None
    start = read_name(node, "from", into)
    within, ahead = _length(node, "within", into), None
    if node.get("ahead") is not None:
        ahead = _length(node, "ahead", into)
        if within is not None and ahead is not None:
            place = node.get("ahead") or node
            if within.unit != ahead.unit:
                into.add(place, "mixed-units", "within and ahead are measured in one unit")
            elif ahead.count < within.count:
                into.add(place, "empty-interval", f"nothing is {within} to {ahead} ahead")
    if start is None or within is None:
        return None
    return Clock(name, within, start, basis, ahead)


def _read_record(name: str, node: Node, into: Collector) -> Retention | None:
    basis = _read_basis(node, RECORD_KEYS, into)
    if basis is None:
        return None
    start, keep = read_name(node, "from", into), _length(node, "keep", into)
    return None if start is None or keep is None else Retention(name, keep, start, basis)


def _read_term(name: str, node: Node, into: Collector) -> LegalTerm | None:
    basis = _read_basis(node, TERM_KEYS, into)
    if basis is None:
        return None
    item = node.get("is")
    words = TERMS[name]
    if item is None:
        into.add(node, "missing-key", "is is missing", allowed=words or "a whole number")
        return None
    value: Any = item.value
    if words is None:
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100:
            return LegalTerm(name, value, basis)
        if value is not BAD:
            into.add(item, "out-of-range", f"{name} is a whole number from 1 to 100")
        return None
    if value in words:
        return LegalTerm(name, value, basis)
    if value is not BAD:
        into.add(
            item, "unknown-value", f"{item.shape()} is no {name}", allowed=words, wrong=str(value)
        )
    return None


def _read_basis(node: Node, keys: tuple[str, ...], into: Collector) -> Basis | None:
    if not isinstance(node.value, dict):
        if node.value is not BAD:
            into.add(
                node, "wrong-type", f"a number without its source: {node.shape()}", allowed=keys
            )
        return None
    known_keys(node, keys, into)
    source = read_name(node, "source", into)
    verified = node.get("verified")
    if verified is None:
        into.add(node, "missing-key", "verified is missing", allowed="true, false")
    elif not isinstance(verified.value, bool):
        if verified.value is not BAD:
            into.add(verified, "wrong-type", f"verified is true or false, not {verified.shape()}")
        verified = None
    since, planned = None, False
    if (item := node.get("since")) is not None:
        planned = item.value is None
        since = None if planned else read_date(node, "since", into)
    note = read_name(node, "note", into) if node.get("note") is not None else ""
    if source is None or verified is None:
        return None
    return Basis(source, verified.value is True, since, planned, note or "")


def _length(node: Node, key: str, into: Collector) -> Duration | None:
    item = node.get(key)
    if item is None:
        into.add(node, "missing-key", f"{key} is missing", allowed=WRITTEN)
        return None
    try:
        return parse_duration(item.value if isinstance(item.value, str) else "")
    except ValueError:
        if item.value is not BAD:
            into.add(item, "wrong-type", f"{item.shape()} is no length of time", allowed=WRITTEN)
        return None
