"""A case in words, in the customer's language: where it is, until when, what happens then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from domain.canonical import parse_instant
from domain.cases import CaseEvent, Language, Outcome, Status
from domain.decisions import RefundMethod
from domain.money import Money
from domain.texts import CATALOGUE, day_in_words, instant_in_words, money_in_words, say
from ledger.projection import CaseRow


def status_in_words(
    case: CaseRow,
    language: Language | None = None,
    *,
    zone: str = "UTC",
    accepted_at: datetime | None = None,
    closing: CaseEvent | None = None,
    reason: Callable[[str, Language], str] = lambda key, language: "",
) -> str:
    """One sentence, with every instant in it, and how the customer may come back to an end.

    ``accepted_at`` is when the provider took the order, ``closing`` the event of the end;
    ``reason`` looks a pack's text up by its key.
    """
    spoken = language or Language(case.language)
    amount = (
        money_in_words(Money(amount_minor=case.amount_minor, currency=case.currency), spoken)
        if case.amount_minor is not None
        else ""
    )
    last = case.expected_to
    until = (
        day_in_words(last, spoken)
        if case.status is Status.CLOSED and last is not None
        else instant_in_words(case.due_at, spoken, zone)
        if case.due_at is not None
        else ""
    )
    key = (
        f"closed.{(case.outcome or Outcome.UNCONFIRMED).value}"
        if case.status is Status.CLOSED
        else f"status.{case.status.value}"
    )
    sentence = say(
        key,
        spoken,
        amount=amount,
        until=until,
        sent=day_in_words((accepted_at or case.opened_at).astimezone(UTC).date(), spoken),
        first=day_in_words(case.expected_from, spoken) if case.expected_from else "",
        last=day_in_words(last, spoken) if last else "",
        reason=reason(case.reason_key, spoken) if case.reason_key else "",
    ).strip()
    body = closing.body if closing is not None and case.status is Status.CLOSED else {}
    return " ".join([sentence, *_ways_back(body, amount, spoken, zone)])


def _ways_back(body: Mapping[str, Any], amount: str, spoken: Language, zone: str) -> Iterator[str]:
    for way in body.get("alternatives") or ():
        until = instant_in_words(parse_instant(body["alternative_until"]), spoken, zone)
        is_credit = way == RefundMethod.ACCOUNT_CREDIT
        key = "ending.goes_on" if is_credit and body.get("goes_on") else f"ending.{way}"
        if key in CATALOGUE:
            yield say(key, spoken, until=until, amount=amount)
    if body.get("appeal_until"):
        until = instant_in_words(parse_instant(body["appeal_until"]), spoken, zone)
        yield say("ending.appeal", spoken, until=until)


def bank_letter(
    case: CaseRow, accepted: CaseEvent, language: Language | None = None, *, zone: str = "UTC"
) -> str:
    """The letter by which a bank finds a refund that nobody has confirmed.

    ``accepted`` is the event of the provider's taking the order: its id of the refund, the
    amount, the day in ``zone`` and the name on the statement, where that is known.
    """
    spoken = language or Language(case.language)
    body = accepted.body
    return say(
        "letter.trace",
        spoken,
        reference=body["provider_id"],
        amount=money_in_words(Money.model_validate(body["amount"]), spoken),
        sent=day_in_words(accepted.occurred_at.astimezone(ZoneInfo(zone)).date(), spoken),
        descriptor=body.get("descriptor") or "-",
        case=case.case_id,
    )
