"""A book whose cases can be counted by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from domain.canonical import instant
from domain.cases import CaseKind, EventKind, Outcome
from domain.money import Money
from ledger.books import Books
from tests.ledger.builders import (
    AT,
    accepted_body,
    decided_body,
    event,
    opened_body,
    slot,
    usd,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Case:
    """A case told event by event; lengths are counted from its opening."""

    def __init__(self, books: Books, name: str, opened_at: datetime = AT) -> None:
        self.books = books
        self.id = f"refund-{name}"
        self.opened_at = opened_at

    async def open(self, due_in: timedelta | None = None, **fields: Any) -> Case:
        due = None if due_in is None else self.opened_at + due_in
        body = opened_body(
            **{
                "request_id": self.id,
                "charge": f"ch_{self.id}",
                "first_response_due": due and instant(due),
                **fields,
            }
        )
        await self.say(EventKind.OPENED, body)
        return self

    async def say(
        self, kind: EventKind, body: Mapping[str, Any], after: timedelta = timedelta()
    ) -> None:
        told = event(kind, dict(body), case_id=self.id, at=self.opened_at + after)
        async with self.books.transaction() as tx:
            await tx.append_event(told)

    async def waits(self, **slot_fields: Any) -> None:
        slots = [slot("lead", expires_at=instant(self.opened_at + 10 * DAY), **slot_fields)]
        await self.say(EventKind.DECIDED, decided_body(slots=slots))

    async def close(self, outcome: Outcome, after: timedelta, amount: Money | None = None) -> None:
        await self.say(EventKind.CLOSED, {"outcome": outcome, "amount": amount}, after)

    async def refuse(self) -> None:
        await self.say(EventKind.DECIDED, decided_body(verdict="refuse", slots=[]))
        await self.close(Outcome.REFUSED, timedelta())

    async def survey(self, effort: int, satisfaction: int) -> None:
        body = {"effort": effort, "satisfaction": satisfaction}
        await self.say(EventKind.SURVEYED, body, 20 * DAY)


async def fill(books: Books) -> None:
    """Eight cases of the window, one before it, and an exception."""
    paid = await Case(books, "paid").open(8 * HOUR, channel="web")
    await paid.waits()
    yes = {"slot": "lead", "slots_left": 0}
    await paid.say(EventKind.APPROVAL_RECORDED, yes, HOUR)
    await paid.say(EventKind.ACCEPTED, accepted_body(), HOUR)
    await paid.say(EventKind.CONFIRMED, {}, 6 * DAY)
    await paid.close(Outcome.REFUNDED, 6 * DAY, usd(2500))
    await paid.survey(2, 5)

    no = await Case(books, "no").open(HOUR / 4, channel="phone", language="es", charge="ch_twice")
    await no.refuse()
    await no.survey(5, 2)

    again = await Case(books, "no-again", AT + DAY).open(
        HOUR / 4, channel="phone", language="es", charge="ch_twice"
    )
    await again.waits(remind_at=[instant(AT + 4 * DAY)])
    await again.say(EventKind.ANSWERED, {"channel": "phone"}, HOUR / 3)

    credit = await Case(books, "credit").open(None, channel="email", currency="eur")
    euros = Money(amount_minor=1000, currency="eur")
    await credit.say(EventKind.DECIDED, decided_body(slots=[], amount=euros))
    half_a_minute = timedelta(seconds=30)
    await credit.say(EventKind.ACCEPTED, accepted_body(amount=euros, looks=[]), half_a_minute)
    await credit.close(Outcome.CREDITED, half_a_minute, euros)

    declined = await Case(books, "declined").open(language="ko", charge="ch_appealed")
    await declined.waits()
    await declined.say(EventKind.DECLINE_RECORDED, {"slot": "lead"}, 2 * HOUR)
    await declined.close(Outcome.DECLINED, 2 * HOUR)

    appeal = await Case(books, "appeal", AT + DAY).open(
        language="ko", charge="ch_appealed", appeal_of=declined.id
    )
    await appeal.refuse()
    await appeal.survey(5, 1)

    withdrawn = await Case(books, "withdrawn").open(8 * HOUR, channel="web")
    await withdrawn.waits()
    await withdrawn.close(Outcome.WITHDRAWN, 3 * HOUR)

    expired = await Case(books, "expired").open(8 * HOUR, channel="web", desk="finance")
    await expired.waits()
    await expired.close(Outcome.EXPIRED, 3 * DAY)

    silent = await Case(books, "silent", AT - 40 * DAY).open(DAY, channel="chat")
    await silent.say(
        EventKind.DECIDED, decided_body(slots=[slot(expires_at=instant(AT + 12 * DAY))])
    )

    outside = await Case(books, "outside").open(kind=CaseKind.EXCEPTION)
    await outside.close(Outcome.RECORDED, timedelta(), usd(700))
