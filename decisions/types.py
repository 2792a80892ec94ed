"""The types a table knows, and how a fact of each is checked, compared, stored and shown.

======== ===================== =========================== =========================
type     Python                in JSON                     compared as (its *code*)
======== ===================== =========================== =========================
int      int                   number                      the number
days     int                   number (whole days)         the number
bps      int                   number (1/10,000)           the number
money    Money                 {amount_minor, currency}    minor units, per currency
bool     bool                  true, false                 itself
enum     str                   text                        itself
set      frozenset[str]        sorted list                 itself
date     date                  "2026-12-01"                day number
instant  datetime with a zone  UTC text, microseconds      microseconds since 1970
======== ===================== =========================== =========================

Outputs have more types of words: ``text`` (a key of ``texts``), ``route`` (a key of
``routes``), ``item`` (an id of a catalogue), ``list`` of such ids in order, and ``choice``, a
list of which the customer takes one. With ``fields``, each entry of a list is a map of its
``id`` and a value for each field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from decisions.durations import WRITTEN
from decisions.findings import FactError
from domain.canonical import instant, parse_instant, plain
from domain.money import LARGEST_MINOR, Money

WHOLE = frozenset({"int", "days", "bps"})
WORDS = frozenset({"enum", "text", "route", "item"})
ORDERED = WHOLE | {"money", "date", "instant"}
BROKEN = "broken"
"""The kind of a name whose declaration has its finding; cells about it get no second one."""

INPUT_KINDS = ("int", "money", "bps", "days", "bool", "enum", "set", "date", "instant")
OUTPUT_KINDS = (
    "enum", "money", "int", "bps", "days", "bool", "date", "instant", "text", "route", "item",
    "list", "choice",
)  # fmt: skip
SEVERAL = frozenset({"list", "choice"})
"""Kinds of outputs that hold several ids in order; later tables see them as a set."""

NULL = -(10**30)
"""The code of null among numbers: below every number, so that no interval holds it."""

SPAN = 10**18
"""Bounds of numbers whose type names none: wider than any money, day number or microsecond."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ValueType:
    """``low`` and ``high`` are codes, inclusive; ``values`` the words of enum-like types.

    ``of`` names where the words of ``item`` and ``list`` come from (``catalogue.offers``);
    ``fields`` are what each entry of a ``list`` or ``choice`` carries beside its id.
    """

    kind: str
    nullable: bool = False
    low: int = -LARGEST_MINOR
    high: int = LARGEST_MINOR
    values: tuple[str, ...] = ()
    of: str = ""
    fields: tuple[tuple[str, ValueType], ...] = ()

    @property
    def ordered(self) -> bool:
        return self.kind in ORDERED

    @property
    def null(self) -> int | None:
        """The code of null in this type."""
        return NULL if self.ordered else None

    def or_null(self) -> ValueType:
        return replace(self, nullable=True)

    def words(self) -> str:
        """What is allowed, for an error text."""
        match self.kind:
            case "bool":
                text = "true, false"
            case "enum" | "text" | "route" | "item":
                text = ", ".join(self.values)
            case "set" | "list" | "choice":
                text = f"a {self.kind} of " + ", ".join(self.values)
                if self.fields:
                    text += " with " + ", ".join(name for name, _ in self.fields)
            case "date":
                text = "a date"
            case "instant":
                text = "an instant with a time zone"
            case "duration":
                text = WRITTEN
            case "money":
                text = f"money from {self.low} to {self.high} minor units"
            case kind:
                unit = {"int": "a whole number", "days": "whole days", "bps": "basis points"}[kind]
                text = f"{unit} from {self.low} to {self.high}"
        return f"{text}, or null" if self.nullable else text


def microseconds(at: datetime) -> int:
    """A UTC instant as microseconds since 1970, exact. Raises ``ValueError`` when naive."""
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return (at - EPOCH) // _MICROSECOND


def code_of(kind: str, value: Any) -> Any:
    """The code of a value that is known to be of ``kind``."""
    if value is None:
        return NULL if kind in ORDERED else None
    match kind:
        case "money":
            return value.amount_minor
        case "date":
            return value.toordinal()
        case "instant":
            return microseconds(value)
        case "set" | "list" | "choice":
            return frozenset(ids_of(value))
        case _:
            return value


def ids_of(entries: Iterable[Any]) -> list[str]:
    """The ids of a set's, list's or choice's entries."""
    return [entry["id"] if isinstance(entry, dict) else entry for entry in entries]


def json_of(kind: str, value: Any) -> Any:
    """The value as it is stored with a decision."""
    if value is None:
        return None
    match kind:
        case "money":
            return {"amount_minor": value.amount_minor, "currency": value.currency}
        case "date":
            return value.isoformat()
        case "instant":
            return instant(value)
        case "set":
            return sorted(value)
        case "list" | "choice":
            return plain(value)
        case _:
            return value


def seen(kind: str, value: Any) -> str:
    """The value in words, for a trace."""
    if value is None:
        return "null"
    match kind:
        case "bool":
            return "true" if value else "false"
        case "set" | "list" | "choice":
            return ", ".join(sorted(ids_of(value))) or "none"
        case "instant":
            return instant(value)
        case _:
            return str(value)


def from_json(name: str, kind: ValueType, value: Any) -> Any:
    """A stored fact as the Python value it was. Raises :class:`FactError`."""
    try:
        if value is None:
            return None
        match kind.kind:
            case "money":
                return Money.model_validate(value)
            case "date":
                return date.fromisoformat(value)
            case "instant":
                return parse_instant(value)
            case "set":
                return frozenset(value)
            case _:
                return value
    except (TypeError, ValueError) as error:
        raise FactError(name, f"{value!r} is not {kind.kind}", kind.words()) from error


def checker(name: str, kind: ValueType) -> Callable[[Any], Any]:
    """A function from a fact to its code; it raises :class:`FactError` on a wrong fact.

    Built once per input at load, so that a decision makes one call per fact.
    """

    def wrong(value: Any) -> FactError:
        if value is None:
            return FactError(name, "is null", kind.words())
        if isinstance(value, int | str | Money | date):
            return FactError(name, f"{seen(kind.kind, value)!s} is not allowed", kind.words())
        return FactError(name, f"a {type(value).__name__} is not {kind.kind}", kind.words())

    low, high, nullable, null = kind.low, kind.high, kind.nullable, kind.null

    def whole(value: Any) -> Any:
        if type(value) is int and low <= value <= high:
            return value
        if value is None and nullable:
            return null
        raise wrong(value)

    def money(value: Any) -> Any:
        if type(value) is Money and low <= value.amount_minor <= high:
            return value.amount_minor
        if value is None and nullable:
            return null
        raise wrong(value)

    def boolean(value: Any) -> Any:
        if value is True or value is False or (value is None and nullable):
            return value
        raise wrong(value)

    canonical: dict[Any, Any] = {word: word for word in kind.values}
    if nullable:
        canonical[None] = None

    def word(value: Any) -> Any:
        # a StrEnum member equals its word, and comes out as the plain word
        if isinstance(value, str) or value is None:
            found = canonical.get(value, canonical)
            if found is not canonical:
                return found
        raise wrong(value)

    allowed = frozenset(kind.values)

    def words(value: Any) -> Any:
        if isinstance(value, frozenset) and value <= allowed:
            return frozenset(map(str, value))
        if value is None and nullable:
            return None
        raise wrong(value)

    def day(value: Any) -> Any:
        if type(value) is date and low <= (code := value.toordinal()) <= high:
            return code
        if value is None and nullable:
            return null
        raise wrong(value)

    def moment(value: Any) -> Any:
        if (
            isinstance(value, datetime)
            and value.tzinfo is not None
            and low <= (code := microseconds(value)) <= high
        ):
            return code
        if value is None and nullable:
            return null
        raise wrong(value)

    table: dict[str, Callable[[Any], Any]] = {
        "money": money,
        "bool": boolean,
        "set": words,
        "date": day,
        "instant": moment,
    }
    if kind.kind in WHOLE:
        return whole
    return table.get(kind.kind, word)
