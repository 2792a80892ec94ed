"""Data blocks of a pack: timers, routes, authority, texts, catalogues.

Each reader takes the block's node and returns plain, typed data; what is wrong goes to the
collector and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from decisions.durations import parse_duration
from decisions.findings import Collector
from decisions.literals import Scope, read_amounts
from decisions.shapes import entries, known_keys, one_of, read_name, rows, whole
from decisions.source import BAD, Node
from decisions.types import ValueType
from domain.actors import Role
from domain.cases import CaseKind, Channel, Language
from domain.deadlines import BusinessCalendar, OfficeHours, Settlement
from domain.decisions import RefundMethod

LANGUAGES = tuple(language.value for language in Language)
SLOT_KEYS = ("id", "roles", "expires", "remind", "escalate")
ESCALATION_KEYS = ("after", "to")
TIMER_KEYS = (
    "calendar", "settlement", "information", "appeal", "alternative", "first_response",
)  # fmt: skip
RESPONSE_KEYS = ("hours", "default", *(channel.value for channel in Channel))
MOST_OFFICE_MINUTES = 10_000
CLOCK = r"(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00))"
"""An hour of the day as ``hours`` writes it; 24:00 is the day's end."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """After so many business days the roles ``to`` may give the yes too."""

    after_business_days: int
    to: tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class SlotRule:
    """One yes that a route asks for. ``roles`` may give it; times are in business days of the
    pack's calendar, from the decision."""

    id: str
    roles: tuple[Role, ...]
    expires_business_days: int
    remind_business_days: tuple[int, ...]
    escalate: Escalation | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """What a role may approve of a kind: each time and in one day, minor units by currency."""

    role: Role
    kind: str
    each: dict[str, int]
    per_day: dict[str, int]


@dataclass(frozen=True, slots=True)
class SettlementRule:
    """The settlement clock without its calendar; see :class:`domain.deadlines.Settlement`."""

    looks: tuple[int, ...]
    trace_every: int
    trace_looks: int
    on_failure: tuple[RefundMethod, ...] = ()

    def with_calendar(self, calendar: BusinessCalendar, alternative_days: int) -> Settlement:
        return Settlement(
            looks=self.looks,
            calendar=calendar,
            trace_every=self.trace_every,
            trace_looks=self.trace_looks,
            on_failure=self.on_failure,
            alternative_days=alternative_days,
        )


@dataclass(frozen=True, slots=True)
class ResponseRule:
    """A first answer within so many minutes of these office hours."""

    minutes: int
    hours: OfficeHours


@dataclass(frozen=True, slots=True)
class Timers:
    """The ``timers`` block. ``information_days`` are business days of the calendar after a
    question to the customer, ``appeal_days`` and ``alternative_days`` after a case's end; 0 where
    the pack has none. A channel that ``first_response`` lacks has no clock."""

    calendar: str | None = None
    settlement: SettlementRule | None = None
    information_days: int = 0
    appeal_days: int = 0
    alternative_days: int = 0
    first_response: Mapping[Channel, ResponseRule] = field(default_factory=dict)


def read_timers(
    node: Node | None, calendars: dict[str, BusinessCalendar], into: Collector
) -> Timers:
    """The ``timers`` block: the calendar that counts, and what is counted by it."""
    if node is None or node.value is BAD:
        return Timers()
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"timers is a map, not {node.shape()}")
        return Timers()
    known_keys(node, TIMER_KEYS, into)
    calendar = None
    if node.get("calendar") is not None:
        calendar = read_name(node, "calendar", into)
        if calendar is not None and calendar not in calendars:
            place = node.get("calendar") or node
            into.add(
                place, "undefined-calendar", f"no calendar {calendar!r} in this pack",
                allowed=sorted(calendars), wrong=calendar,
            )  # fmt: skip
            calendar = None
    counted = [item for key in TIMER_KEYS[1:] if (item := node.get(key)) is not None]
    if counted and node.get("calendar") is None:
        into.add(counted[0], "missing-key", "a time in business days needs calendar:")
    settlement = node.get("settlement")
    rule = None if settlement is None else _read_settlement(settlement, into)
    alternative = _days_after(node, "alternative", into)
    if settlement is not None and rule and rule.on_failure and not alternative:
        into.add(
            settlement.get("on_failure") or settlement, "missing-key",
            "timers has no alternative: how long a customer may take what is offered instead",
            allowed="alternative: 20bd",
        )  # fmt: skip
    responses = _read_first_response(node.get("first_response"), into)
    information, appeal = (_days_after(node, key, into) for key in ("information", "appeal"))
    return Timers(calendar, rule, information, appeal, alternative, responses)


def _days_after(node: Node, key: str, into: Collector) -> int:
    item = node.get(key)
    return 0 if item is None else _business_days(item, into) or 0


def _read_first_response(node: Node | None, into: Collector) -> dict[Channel, ResponseRule]:
    """``first_response: {hours: {open, close}, phone: {within: 15min, hours: …}, default: …}``."""
    if node is None or node.value is BAD:
        return {}
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"first_response is a map, not {node.shape()}",
                 allowed=RESPONSE_KEYS)  # fmt: skip
        return {}
    known_keys(node, RESPONSE_KEYS, into)
    if not any(node.get(key) for key in RESPONSE_KEYS[1:]):
        into.add(node, "missing-key", "first_response names no channel and no default",
                 allowed=RESPONSE_KEYS[1:])  # fmt: skip
    hours = _read_hours(node.get("hours"), into)
    found = {
        key: _read_response(item, hours, node.get("hours") is not None, into)
        for key in RESPONSE_KEYS[1:]
        if (item := node.get(key)) is not None
    }
    usual = found.get("default")
    return {
        channel: rule
        for channel in Channel
        if (rule := found.get(channel.value, usual)) is not None
    }


def _read_response(
    node: Node, usual: OfficeHours | None, has_usual: bool, into: Collector
) -> ResponseRule | None:
    if node.value is BAD:
        return None
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"{node.shape()} where a clock belongs",
                 allowed="{within: 15min}")  # fmt: skip
        return None
    known_keys(node, ("within", "hours"), into)
    own = node.get("hours")
    if own is None and not has_usual:
        into.add(node, "missing-key", "hours is missing, here and for every channel",
                 allowed='hours: {open: "09:00", close: "18:00"}')  # fmt: skip
    hours = usual if own is None else _read_hours(own, into)
    within = node.get("within")
    if within is None:
        into.add(node, "missing-key", "within is missing: how many minutes of the office hours")
        return None
    minutes = _office_minutes(within, into)
    return None if minutes is None or hours is None else ResponseRule(minutes, hours)


def _office_minutes(node: Node, into: Collector) -> int | None:
    if node.value is BAD:
        return None
    try:
        length = parse_duration(node.value if isinstance(node.value, str) else "")
        if length.unit != "min":
            raise ValueError
    except ValueError:
        into.add(node, "wrong-type", f"{node.shape()} is no length here", allowed="15min, 480min")
        return None
    if not 1 <= length.count <= MOST_OFFICE_MINUTES:
        into.add(node, "out-of-range", f"from 1min to {MOST_OFFICE_MINUTES}min")
        return None
    return length.count


def _read_hours(node: Node | None, into: Collector) -> OfficeHours | None:
    if node is None or node.value is BAD:
        return None
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"hours is a map, not {node.shape()}",
                 allowed='{open: "09:00", close: "18:00"}')  # fmt: skip
        return None
    known_keys(node, ("open", "close"), into)
    opens, closes = _clock(node, "open", into), _clock(node, "close", into)
    if opens is None or closes is None:
        return None
    if opens >= closes:
        into.add(node, "empty-interval", "the office closes before it opens")
        return None
    return OfficeHours(open=opens, close=closes)


def _clock(node: Node, key: str, into: Collector) -> int | None:
    """A quoted hour under ``key`` in minutes of the day, or None with a finding."""
    text = read_name(node, key, into)
    if text is None:
        return None
    match = re.fullmatch(CLOCK, text)
    if match is None:
        place = node.get(key) or node
        into.add(place, "wrong-type", f"{text!r} is no hour", allowed='"09:00", "24:00"')
        return None
    hour, minute = (int(part) for part in match.groups() if part)
    return 60 * hour + minute


def _read_settlement(node: Node, into: Collector) -> SettlementRule | None:
    keys = (
        "min_business_days", "between", "max_business_days", "on_max", "trace", "on_failure",
    )  # fmt: skip
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"settlement is a map, not {node.shape()}", allowed=keys)
        return None
    known_keys(node, keys, into)
    least = whole(node, "min_business_days", into, 0)
    most = whole(node, "max_business_days", into, 1)
    if node.get("on_max") is not None:
        one_of(node, "on_max", ("trace_task",), into)
    between = _whole_list(node, "between", into)
    every, looks = 5, 6
    trace = node.get("trace")
    if trace is not None:
        known_keys(trace, ("every_business_days", "times"), into)
        every = whole(trace, "every_business_days", into, 1, 5) or 5
        looks = whole(trace, "times", into, 0, 6) or 0
    if least is None or most is None:
        return None
    days = (*((least,) if least < most else ()), *between, most)
    if list(days) != sorted(set(days)) or least > most:
        into.add(node, "empty-interval", "days must ascend from minimum over between to maximum")
        return None
    return SettlementRule(days, every, looks, _read_fallbacks(node.get("on_failure"), into))


def _read_fallbacks(node: Node | None, into: Collector) -> tuple[RefundMethod, ...]:
    """``on_failure: [account_credit]``: what is tried, in this order, when a bank sends the money
    back."""
    if node is None or node.value is BAD:
        return ()
    known = tuple(method.value for method in RefundMethod)
    if not isinstance(node.value, tuple):
        into.add(node, "wrong-type", f"on_failure is a list, not {node.shape()}", allowed=known)
        return ()
    found: list[RefundMethod] = []
    for item in node.value:
        if item.value not in known:
            into.add(
                item, "unknown-value", "is no way of paying", allowed=known, wrong=str(item.value)
            )
        elif item.value in found:
            into.add(item, "duplicate-id", f"{item.value} is in the list already")
        else:
            found.append(RefundMethod(item.value))
    return tuple(found)


def _whole_list(node: Node, key: str, into: Collector) -> tuple[int, ...]:
    item = node.get(key)
    if item is None or item.value is BAD:
        return ()
    if not isinstance(item.value, tuple):
        into.add(item, "wrong-type", f"{key} is a list of whole numbers")
        return ()
    found = []
    for number in item.value:
        if isinstance(number.value, int) and not isinstance(number.value, bool):
            found.append(number.value)
        elif number.value is not BAD:
            into.add(number, "wrong-type", f"{number.shape()} where a whole number belongs")
    return tuple(found)


def read_routes(node: Node | None, into: Collector) -> dict[str, tuple[SlotRule, ...]]:
    """``routes: {auto: [], lead: [{id, roles, expires: 10bd, remind: [3bd], escalate: …}]}``."""
    found: dict[str, tuple[SlotRule, ...]] = {}
    for _, name, item in entries(node, "routes", into):
        slots = [_read_slot(row, into) for row in rows(item, "a route", into)]
        ids = [slot.id for slot in slots if slot is not None]
        if len(ids) != len(set(ids)):
            into.add(item, "duplicate-id", f"route {name} has two slots of one id")
        found[name] = tuple(slot for slot in slots if slot is not None)
    return found


def _read_slot(node: Node, into: Collector) -> SlotRule | None:
    known_keys(node, SLOT_KEYS, into)
    slot_id = read_name(node, "id", into)
    roles = _roles(node, "roles", into)
    expires_node = node.get("expires")
    if expires_node is None:
        into.add(node, "missing-key", "expires is missing: every wait has an end")
        return None
    expires = _business_days(expires_node, into)
    remind = node.get("remind")
    reminders: list[int] = []
    if remind is not None:
        if not isinstance(remind.value, tuple):
            into.add(remind, "wrong-type", "remind is a list", allowed="[3bd]")
        for item in remind.value if isinstance(remind.value, tuple) else ():
            days = _business_days(item, into)
            if days is not None and expires is not None and days >= expires:
                into.add(item, "empty-interval", "a reminder after the slot expires")
            elif days is not None:
                reminders.append(days)
    escalate = _read_escalation(node.get("escalate"), roles, expires, into)
    if slot_id is None or not roles or expires is None:
        return None
    return SlotRule(slot_id, roles, expires, tuple(sorted(reminders)), escalate)


def _read_escalation(
    node: Node | None, roles: tuple[Role, ...], expires: int | None, into: Collector
) -> Escalation | None:
    if node is None or node.value is BAD:
        return None
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"escalate is a map, not {node.shape()}",
                 allowed="{after: 5bd, to: [finance]}")  # fmt: skip
        return None
    known_keys(node, ESCALATION_KEYS, into)
    to = _roles(node, "to", into)
    for role in to:
        if role in roles:
            place = node.get("to") or node
            into.add(place, "duplicate-id", f"{role.value} may give this yes from the beginning")
    after_node = node.get("after")
    if after_node is None:
        into.add(node, "missing-key", "after is missing: when the further roles are asked")
        return None
    after = _business_days(after_node, into)
    if after is not None and expires is not None and after >= expires:
        into.add(after_node, "empty-interval", "the slot expires before it escalates")
    return None if after is None or not to else Escalation(after, to)


def _roles(node: Node, key: str, into: Collector) -> tuple[Role, ...]:
    item = node.get(key)
    if item is None or not isinstance(item.value, tuple) or not item.value:
        into.add(item or node, "missing-key", f"{key} is a list of who may say yes")
        return ()
    words = tuple(role.value for role in Role)
    found = []
    for role in item.value:
        if role.value in words:
            found.append(Role(role.value))
        elif role.value is not BAD:
            into.add(
                role, "unknown-value", f"{role.shape()} is no role",
                allowed=words, wrong=str(role.value),
            )  # fmt: skip
    return tuple(found)


def _business_days(node: Node, into: Collector) -> int | None:
    try:
        length = parse_duration(node.value if isinstance(node.value, str) else "")
        if length.unit != "bd" or length.count < 1:
            raise ValueError
    except ValueError:
        if node.value is not BAD:
            into.add(node, "wrong-type", f"{node.shape()} is no length here", allowed="3bd, 10bd")
        return None
    return length.count


def read_authority(node: Node | None, scope: Scope) -> tuple[Limit, ...]:
    """``authority: [{role: lead, kind: refund, each: {usd: …}, per_day: {usd: …}}]``."""
    into = scope.into
    found: list[Limit] = []
    seen: set[tuple[str, str]] = set()
    amount = ValueType("money", low=0)
    for row in rows(node, "authority", into):
        known_keys(row, ("role", "kind", "each", "per_day"), into)
        role = one_of(row, "role", tuple(r.value for r in Role), into)
        kind = one_of(row, "kind", tuple(k.value for k in CaseKind), into)
        amounts: list[dict[str, int]] = []
        for key in ("each", "per_day"):
            item = row.get(key)
            if item is None:
                into.add(row, "missing-key", f"{key} is missing: a limit by currency")
                continue
            read = read_amounts(amount, item, scope, more_allowed=True)
            if read is not None:
                amounts.append(read)
        if role is None or kind is None or len(amounts) != 2:
            continue
        if (role, kind) in seen:
            into.add(row, "duplicate-id", f"{role} has its limit for {kind} already")
        seen.add((role, kind))
        found.append(Limit(Role(role), kind, amounts[0], amounts[1]))
    return tuple(found)


def read_texts(
    node: Node | None, languages: tuple[str, ...] | None, into: Collector
) -> dict[str, dict[str, str]]:
    """``texts: {refund.too_old: {en: …, es: …, ko: …}}``: what customers read."""
    found: dict[str, dict[str, str]] = {}
    for _, key, item in entries(node, "texts", into):
        if not isinstance(item.value, dict):
            into.add(item, "wrong-type", f"a text is a map by language, not {item.shape()}")
            continue
        known_keys(item, languages or LANGUAGES, into)
        texts = {lang: read_name(item, lang, into) for lang in item.value}
        missing = [lang for lang in languages or () if lang not in texts]
        if missing:
            into.add(item, "missing-language", f"text {key} lacks {', '.join(missing)}")
        found[key] = {lang: text for lang, text in texts.items() if text is not None}
    return found
