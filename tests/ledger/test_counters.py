"""Counters of a policy, computed from the books: which events count, and whose."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from activities.decisions import counter_facts
from decisions import Pack
from domain.actors import Actor, Role
from domain.cases import CaseKind, EventKind
from domain.errors import InvalidRequest
from domain.refunds import RefundReason, RefundRequest
from ledger.books import Books
from ledger.reading import Counted
from ledger.writing import BookTransaction
from tests.decisions.builders import changed
from tests.ledger.builders import (
    AGENT,
    AT,
    LEAD,
    Refund,
    decided_body,
    event,
    numbered,
    opened_body,
    usd,
)

ANY: dict[str, Any] = {
    "since": AT - timedelta(days=365),
    "until": AT + timedelta(days=365),
    "where": (),
    "per": "customer",
    "customer": "cus_ann",
    "key": "",
}


async def opened_case(tx: BookTransaction, case_id: str, at: datetime, **body: Any) -> None:
    actor = body.pop("actor", AGENT)
    made = opened_body(request_id=f"req-{case_id}", **body)
    await tx.append_event(event(EventKind.OPENED, made, case_id=case_id, at=at, actor=actor))


async def counted(books: Books, of: EventKind = EventKind.OPENED, **asked: Any) -> int:
    async with books.reading() as reading:
        return await reading.count_events(Counted(of=of, **{**ANY, **asked}))


async def summed(books: Books, of: EventKind, currency: str = "usd", **asked: Any) -> int:
    async with books.reading() as reading:
        found = await reading.sum_of_cases(Counted(of=of, **{**ANY, **asked}), currency)
    assert found.currency == currency
    return found.amount_minor


async def test_empty_books_count_nothing_and_sum_to_zero(sqlite_books: Books) -> None:
    assert await counted(sqlite_books) == 0
    assert await summed(sqlite_books, EventKind.OPENED, "jpy") == 0


async def test_a_window_holds_both_of_its_ends(sqlite_books: Books) -> None:
    async with sqlite_books.transaction() as tx:
        await opened_case(tx, "refund-a", AT)
    tick = timedelta(microseconds=1)
    assert await counted(sqlite_books, since=AT, until=AT) == 1
    assert await counted(sqlite_books, since=AT + tick) == 0
    assert await counted(sqlite_books, until=AT - tick) == 0


async def test_only_events_of_the_kind_asked_for_count(sqlite_books: Books) -> None:
    await Refund().settling(sqlite_books)
    assert await counted(sqlite_books, EventKind.OPENED) == 1
    assert await counted(sqlite_books, EventKind.APPROVAL_RECORDED) == 1
    assert await counted(sqlite_books, EventKind.CLOSED) == 0


async def test_only_the_customers_own_cases_count(sqlite_books: Books) -> None:
    async with sqlite_books.transaction() as tx:
        await opened_case(tx, "refund-a", AT)
        await opened_case(tx, "refund-b", AT, customer="cus_bob")
    assert await counted(sqlite_books) == 1
    assert await counted(sqlite_books, customer="cus_bob") == 1
    assert await counted(sqlite_books, customer="cus_eve") == 0


async def test_an_agent_counts_what_they_opened_for_whomever(sqlite_books: Books) -> None:
    async with sqlite_books.transaction() as tx:
        await opened_case(tx, "refund-a", AT)
        await opened_case(tx, "refund-b", AT, customer="cus_bob")
        await opened_case(tx, "refund-c", AT, actor=LEAD)
    assert await counted(sqlite_books, per="agent", key=AGENT.id) == 2
    assert await counted(sqlite_books, per="agent", key=LEAD.id) == 1


async def test_a_subscription_is_told_by_the_event_that_opened_the_case(
    sqlite_books: Books,
) -> None:
    async with sqlite_books.transaction() as tx:
        await opened_case(tx, "refund-a", AT, subscription="sub_1")
        await opened_case(tx, "refund-b", AT, subscription="sub_2")
        await opened_case(tx, "refund-c", AT)
    assert await counted(sqlite_books, per="subscription", key="sub_1") == 1
    assert await counted(sqlite_books, per="account", key="sub_1") == 0


async def test_every_field_of_where_must_fit_with_one_of_its_words(sqlite_books: Books) -> None:
    async with sqlite_books.transaction() as tx:
        await opened_case(tx, "refund-a", AT, reason="courtesy")
        await opened_case(tx, "refund-b", AT, reason="other")
        await opened_case(tx, "fee_waiver-c", AT, reason="courtesy", kind=CaseKind.FEE_WAIVER)
    both = (("reason", ("courtesy", "other")),)
    assert await counted(sqlite_books, where=both) == 3
    assert await counted(sqlite_books, where=(("kind", ("refund",)), *both)) == 2
    one = (("kind", ("refund",)), ("reason", ("courtesy",)))
    assert await counted(sqlite_books, where=one) == 1


async def test_a_case_without_an_outcome_is_an_open_one(sqlite_books: Books) -> None:
    first, second = numbered(2)
    await first.refunded(sqlite_books)
    await second.settling(sqlite_books)
    of = EventKind.DECIDED
    assert await counted(sqlite_books, of, where=(("outcome", ("refunded",)),)) == 1
    assert await counted(sqlite_books, of, where=(("outcome", ("open",)),)) == 1
    assert await counted(sqlite_books, of, where=(("outcome", ("open", "refunded")),)) == 2


async def test_a_sum_is_of_one_currency_and_leaves_cases_without_an_amount_out(
    sqlite_books: Books,
) -> None:
    await Refund(amount=usd(2500)).settling(sqlite_books)
    async with sqlite_books.transaction() as tx:
        await opened_case(tx, "refund-b", AT, currency="eur", amount=None)
        await opened_case(tx, "refund-c", AT, currency="usd", amount=None)
    assert await summed(sqlite_books, EventKind.OPENED) == 2500
    assert await summed(sqlite_books, EventKind.OPENED, "eur") == 0
    assert await summed(sqlite_books, EventKind.ACCEPTED) == 2500


PACK = Pack.from_text(
    changed(
        "inputs:\n",
        "inputs:\n"
        "  asked_30d: {type: count, of: opened, where: {reason: courtesy}, within: 30d, "
        "per: customer}\n"
        "  given_30d: {type: sum, of: decided, within: 30d, per: agent}\n",
    ).replace("given: {", "given: {asked_30d: 0, given_30d: {usd: 0}, ")
)

REQUEST = RefundRequest(
    request_id="req-now",
    customer="cus_ann",
    charge="ch_1",
    currency="usd",
    reason=RefundReason.COURTESY,
    requested_by=AGENT,
)


async def test_a_packs_counters_are_facts_of_the_moment(sqlite_books: Books) -> None:
    now = AT + timedelta(days=29)
    async with sqlite_books.transaction() as tx:
        await opened_case(tx, "refund-a", AT)
        await tx.append_event(
            event(EventKind.DECIDED, decided_body(amount=usd(700)), case_id="refund-a", at=AT)
        )
        await opened_case(tx, "refund-old", AT - timedelta(days=1))
    async with sqlite_books.reading() as reading:
        assert await counter_facts(reading, PACK, REQUEST, now) == {
            "asked_30d": 1,
            "given_30d": usd(700),
        }
        by_another = REQUEST.model_copy(
            update={"requested_by": Actor(id="agent-2", role=Role.AGENT)}
        )
        found = await counter_facts(reading, PACK, by_another, now)
    assert found == {"asked_30d": 1, "given_30d": usd(0)}


async def test_a_refund_is_not_counted_per_something_that_it_does_not_have(
    sqlite_books: Books,
) -> None:
    text = changed(
        "inputs:\n",
        "inputs:\n  n: {type: count, of: opened, within: P1Y, per: subscription}\n",
    )
    pack = Pack.from_text(text.replace("given: {", "given: {n: 0, "))
    async with sqlite_books.reading() as reading:
        with pytest.raises(InvalidRequest, match="counts n per subscription") as caught:
            await counter_facts(reading, pack, REQUEST, AT)
    assert caught.value.field == "policy"
