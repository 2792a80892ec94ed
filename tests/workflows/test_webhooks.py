"""Webhooks come once, twice, late, out of order, forged or never; the case ends the same."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from sqlalchemy import select

from domain.cases import CaseKind, Outcome, Status, case_id_for, is_case_id
from domain.provider import API_VERSION
from ledger import tables as t
from ledger.books import Books
from ledger.records import OUTSIDE
from tests.stack import WEBHOOK_SECRET
from tests.workflows.builders import LEAD, MEDIUM
from tests.workflows.world import BY_HAND, Case, WebProcess, World
from web.store import Inbox
from web.webhooks import (
    CREATED,
    NEWS_TYPES,
    NOTHING_NEW,
    OUTSIDE_TYPES,
    RECEIVED,
    Postman,
    read_event,
)

REFERENCE = "74000000000000000000005"
SILENT = {"refund_behaviour": "silent"}
UNKNOWN = case_id_for(CaseKind.REFUND, "never asked")


async def test_a_webhook_settles_a_case_at_once(world: World, web: WebProcess) -> None:
    case = await world.open_settling(SILENT)
    await world.at_bank(case, reference=REFERENCE)
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    assert await world.signals(case) == 1
    assert (await world.steps(case))[-3:] == ["look#1", "confirm", "close"]


async def test_a_webhook_that_a_refund_failed_reverses_it_at_once(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling(SILENT)
    await world.at_bank(case, status="failed", failure_reason="expired_or_canceled_card")
    assert (await world.result(case)).outcome is Outcome.FAILED_AT_BANK


async def test_a_webhook_that_comes_twice_is_told_once(world: World, web: WebProcess) -> None:
    case = await world.open_settling(SILENT)
    await world.plan(mode="duplicated", type="refund.updated")
    await world.at_bank(case, reference=REFERENCE)
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    await world.delivered()
    sent = await attempts(world, case)
    assert [row["mode"] for row in sent] == ["duplicated", "duplicated"]
    assert await inbox_states(world, case) == ["told"]
    assert (await world.steps(case)).count("look#2") == 0


async def test_a_webhook_that_is_late_finds_the_case_ended_and_changes_nothing(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling(SILENT)
    looks, _ = await world.looks(case)
    await world.plan(mode="dropped", type="refund.updated")
    await world.at_bank(case, reference=REFERENCE)
    await world.advance_past(case, looks[0])
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    before = await world.account(case)
    await resend(world, case)
    await world.noted()
    assert await inbox_states(world, case) == ["nothing_new"]
    assert await world.account(case) == before


async def test_a_lost_webhook_delays_a_case_and_loses_nothing(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling(SILENT)
    looks, _ = await world.looks(case)
    await world.plan(mode="dropped", type="refund.updated")
    await world.at_bank(case, reference=REFERENCE)
    await world.calm(case)
    assert (await world.row(case)).status is Status.SETTLING
    await world.advance_past(case, looks[0])
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    assert await world.signals(case) == 0


@pytest.mark.parametrize("mode", ["forged", "stale"])
async def test_a_webhook_that_is_not_the_providers_of_now_is_refused_and_not_kept(
    world: World, web: WebProcess, mode: str
) -> None:
    case = await world.open_settling(SILENT)
    await world.plan(mode=mode, type="refund.updated")
    await world.at_bank(case, reference=REFERENCE)
    await world.delivered()
    assert [row["status"] for row in await attempts(world, case)] == [400]
    assert await inbox_states(world, case) == []
    assert await world.signals(case) == 0
    assert (await world.row(case)).status is Status.SETTLING


async def test_a_webhook_from_the_future_is_refused(world: World, web: WebProcess) -> None:
    case = await world.open_settling(SILENT)
    body = event_of(case, "evt_future")
    for ahead, status in ((3_600, 400), (0, 200)):
        assert await post(world, web, body, at=int(time.time()) + ahead) == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\x00\xff",
        b'{"object": "v2.core.event"}',
        b'{"object": "event"}',
        b'{"object": "event", "id": "evt_1", "type": "refund.created", "data": {"object": []}}',
        b'{"object": "event", "id": "evt_1", "type": "refund.created", "data": {"object": {}}}',
        b'{"object": "event", "id": "evt_1", "type": "charge.dispute.created", '
        b'"data": {"object": {"id": "du_1"}}}',
    ],
    ids=["empty", "cut", "list", "bytes", "thin", "bare", "no object", "no id", "no charge"],
)
async def test_a_signed_body_that_is_no_event_is_refused_and_not_kept(
    world: World, web: WebProcess, body: bytes
) -> None:
    await world.delivered()
    before = await world.counts()
    assert await post(world, web, body, at=int(time.time())) == 400
    assert (await world.counts())["inbox"] == before["inbox"]


async def test_a_webhook_before_our_own_answer_is_in_the_books_waits_for_it(
    world: World, web: WebProcess
) -> None:
    case = await world.open(SILENT, start_delay=timedelta(seconds=1))
    await world.fault(case, kind="slow_after", ms=2_500, count=1)
    await world.until(case, Status.SENDING)
    async with asyncio.timeout(20):
        while not await world.stack.effects(case.id):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    (effect,) = await world.stack.effects(case.id)
    await world.stack.control(f"refunds/{effect['response']['id']}", {"reference": REFERENCE})
    await world.delivered()
    assert (await world.row(case)).status is Status.SENDING, "the answer is still on its way"
    assert await inbox_states(world, case) == ["received"]
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    assert await inbox_states(world, case) == ["told"]
    assert await world.effects(case) == 1


async def test_an_event_that_tells_nothing_new_is_not_signalled(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling({"refund_behaviour": "pending"})
    await world.at_bank(case, status="succeeded")  # a step on the way, nothing to conclude
    await world.delivered()
    types = {row["type"] for row in await attempts(world, case, type="")}
    assert {"refund.created", "charge.refunded", "refund.updated"} <= types
    assert await world.signals(case) == 0
    await world.at_bank(case, reference=REFERENCE)
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    assert await world.signals(case) == 1


async def test_an_event_of_an_unknown_type_or_case_is_kept_and_tells_nobody(
    world: World, web: WebProcess
) -> None:
    at = int(time.time())
    nobody = event_of(None, "evt_nobody")
    strange = event_of(None, "evt_strange", type="moon.risen")
    assert await post(world, web, nobody, at=at) == 200
    assert await post(world, web, strange, at=at) == 200
    async with asyncio.timeout(10):
        while await state_of(world, "evt_nobody") == "received":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await state_of(world, "evt_nobody") == "no_case"
    assert await state_of(world, "evt_strange") == "nothing_new"


@pytest.mark.parametrize(
    ("names", "is_ours"),
    [
        (UNKNOWN, True),
        ("", False),
        (UNKNOWN[:-1], False),
        (f"{UNKNOWN}a", False),
        (f"{UNKNOWN}\n", False),
        (UNKNOWN.upper(), False),
        (UNKNOWN.replace("refund", "order"), False),
        ("refund-1", False),
        ("7f9c24e5-2f3a-4a1b-9d57-8f2f0c1f2a10", False),
    ],
)
@pytest.mark.parametrize("type", sorted(OUTSIDE_TYPES))
def test_a_refund_that_names_a_case_of_another_form_is_one_made_outside(
    names: str, is_ours: bool, type: str
) -> None:
    refund = {
        "id": "re_1", "charge": "ch_1", "status": "failed", "metadata": {"case_id": names},
    }  # fmt: skip
    told = read_event({"id": "evt_1", "type": type, "data": {"object": refund}})
    assert is_case_id(names) is is_ours
    if is_ours:
        is_news = type in NEWS_TYPES
        about = (names, "ch_1", "re_1")
        assert (told.about, told.state) == (about, RECEIVED if is_news else NOTHING_NEW)
    else:
        assert (told.about, told.state) == (("re_1",), OUTSIDE)


@pytest.mark.parametrize("status", ["pending", "succeeded", "failed", "canceled"])
def test_a_refund_in_the_name_of_a_case_is_carried_to_it_unless_it_gave_nothing(
    status: str,
) -> None:
    refund = {
        "id": "re_1", "charge": "ch_1", "status": status, "metadata": {"case_id": UNKNOWN},
    }  # fmt: skip
    told = read_event({"id": "evt_1", "type": CREATED, "data": {"object": refund}})
    gave = status in ("pending", "succeeded")
    about = (UNKNOWN, "ch_1", "re_1")
    assert (told.about, told.state) == (about, RECEIVED if gave else NOTHING_NEW)


@pytest.mark.parametrize(
    ("previous", "state"),
    [
        ({"metadata": {}}, RECEIVED),
        ({"metadata": {"case_id": UNKNOWN.replace("a", "b")}}, RECEIVED),
        ({"receipt_number": None}, NOTHING_NEW),
        ({}, NOTHING_NEW),
        (None, NOTHING_NEW),
    ],
)
def test_a_name_that_is_written_on_a_refund_later_is_news_to_its_case(
    previous: dict[str, Any] | None, state: str
) -> None:
    refund = {
        "id": "re_1", "charge": "ch_1", "status": "succeeded", "metadata": {"case_id": UNKNOWN},
    }  # fmt: skip
    data = {"object": refund, "previous_attributes": previous}
    told = read_event({"id": "evt_1", "type": "refund.updated", "data": data})
    assert (told.about, told.state) == ((UNKNOWN, "ch_1", "re_1"), state)
    unnamed = {**data, "object": {**refund, "metadata": {}}}
    told = read_event({"id": "evt_1", "type": "refund.updated", "data": unnamed})
    assert (told.about, told.state) == (("re_1",), OUTSIDE), "as any refund that is none of ours"


async def test_a_refund_whose_late_orderer_died_is_booked_by_the_providers_word(
    world: World, web: WebProcess
) -> None:
    """Another attempt had ended the case; the order came after it, and nobody wrote it down."""
    case = await world.open_decided(amount_minor=MEDIUM)
    await case.handle.decline(LEAD)
    await world.result(case)
    refund = await world.outside_refund(case, MEDIUM, case_id=case.id)
    for _ in range(2):
        await world.noted()
    found = case_id_for(CaseKind.EXCEPTION, refund)
    assert f"link:{found}" in await world.steps(case)
    async with world.stack.books.reading() as reading:
        (moved,) = await reading.ledger_transactions(found)
        (notice,) = await reading.outbox_of_case(found)
    assert (moved.kind.value, moved.provider_id) == ("outside", refund)
    assert (notice.topic, notice.body["to"]) == ("exception.outside_refund", "finance")
    assert (await world.row(case)).outcome is Outcome.DECLINED
    await world.assert_sound()


@pytest.mark.parametrize("is_over", [False, True], ids=["settling", "ended"])
async def test_a_second_refund_in_the_name_of_a_case_is_booked_beside_its_own(
    world: World, web: WebProcess, is_over: bool
) -> None:
    """Metadata that a person or another tool copied; then that one comes back, and no other."""
    case = await world.open_settling(SILENT, amount_minor=4_000)
    if is_over:
        await world.at_bank(case, reference=REFERENCE)
        await world.result(case)
    second = await world.outside_refund(case, 700, case_id=case.id)
    await world.noted()
    found = case_id_for(CaseKind.EXCEPTION, second)
    assert f"link:{found}" in await world.steps(case)
    assert await moved(world, found) == [("outside", second)]
    await world.stack.control(f"refunds/{second}", {"status": "failed"})
    for _ in range(2):
        await world.noted()
    assert await moved(world, case_id_for(CaseKind.EXCEPTION, f"{second}:failed")) == [
        ("reversal", second)
    ]
    own = await world.refund_id(case)
    assert await moved(world, case.id) == [("hold", ""), ("post", own)], "nothing was sent back"
    if not is_over:
        assert (await world.row(case)).status is Status.SETTLING
        await world.at_bank(case, reference=REFERENCE)
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    await world.assert_sound()


async def test_a_refund_made_by_hand_for_a_case_that_waits_is_booked_once_it_ends_without(
    world: World, web: WebProcess
) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    by_hand = await world.outside_refund(case, MEDIUM, case_id=case.id)
    await world.delivered()
    found = case_id_for(CaseKind.EXCEPTION, by_hand)
    assert len(await world.inbox(RECEIVED)) == 1, "the case may yet take it for its own"
    await case.handle.decline(LEAD)
    await world.result(case)
    await world.noted()
    assert await moved(world, found) == [("outside", by_hand)]
    assert f"link:{found}" in await world.steps(case)
    await world.assert_sound()


async def test_a_refund_of_another_charge_in_the_name_of_a_case_that_waits_is_booked_at_once(
    world: World, web: WebProcess
) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    other = await world.open_decided(amount_minor=MEDIUM)
    by_hand = await world.outside_refund(other, 100, case_id=case.id)
    await world.noted()
    assert await moved(world, case_id_for(CaseKind.EXCEPTION, by_hand)) == [("outside", by_hand)]
    assert not any(step.startswith("link:") for step in await world.steps(case))


async def test_a_refund_made_by_hand_for_a_case_that_is_then_approved_is_the_cases_own(
    world: World, web: WebProcess
) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    by_hand = await world.outside_refund(case, MEDIUM, case_id=case.id)
    await world.delivered()
    await case.handle.approve(LEAD)
    await world.until(case, Status.SETTLING)
    await world.noted()
    assert await world.refund_id(case) == by_hand
    assert await moved(world, case.id) == [("hold", ""), ("post", by_hand)]
    assert await moved(world, case_id_for(CaseKind.EXCEPTION, by_hand)) == []
    assert await world.inbox(OUTSIDE) == []
    await world.assert_sound()


async def moved(world: World, case_id: str) -> list[tuple[str, str]]:
    async with world.stack.books.reading() as reading:
        found = await reading.ledger_transactions(case_id)
    return [(x.kind.value, x.provider_id) for x in found]


async def test_that_an_order_of_ours_was_created_is_no_news_for_its_case(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling(SILENT)
    await world.noted()
    i = t.inbox.c
    mine = select(i.state).where(i.object_ids.contains(case.id), i.event_type == CREATED)
    async with world.stack.books.reading() as reading:
        assert [row.state for row in await reading.execute(mine)] == ["nothing_new"]
    assert await world.signals(case) == 0


async def test_an_event_of_another_account_is_kept_and_tells_nobody(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling(SILENT)
    await world.calm(case)
    before = await world.account(case)
    named = event_of(case, "evt_other_named", account="acct_connected")
    unnamed = event_of(None, "evt_other", named=False, account="acct_connected")
    for body in (named, unnamed):
        assert await post(world, web, body, at=int(time.time())) == 200
    assert await state_of(world, "evt_other_named") == "other_account"
    assert await state_of(world, "evt_other") == "other_account"
    assert await world.account(case) == before
    assert await world.signals(case) == 0


@pytest.mark.parametrize(
    ("version", "signals"), [(API_VERSION, 0), ("2019-05-16", 1), ("2031-01-01.zinnia", 1)]
)
async def test_an_event_of_another_api_version_is_not_judged_by_its_snapshot(
    world: World, web: WebProcess, version: str, signals: int
) -> None:
    case = await world.open_settling(SILENT)
    await world.calm(case)
    id = f"evt_{case.id}"
    refund = await world.refund_id(case)
    body = event_of(case, id, refund=refund, status="succeeded", api_version=version)
    assert await post(world, web, body, at=int(time.time())) == 200
    async with asyncio.timeout(10):
        while await state_of(world, id) == "received":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await state_of(world, id) == ("told" if signals else "nothing_new")
    await world.calm(case)
    assert await world.signals(case) == signals
    assert (await world.row(case)).status is Status.SETTLING, "the case looked for itself"


async def test_a_body_that_has_no_end_is_refused_before_it_is_read(
    world: World, web: WebProcess
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 65_536

    answer = await world.stack.http.post(f"{web.url}/webhooks/stripe", content=endless())
    assert answer.status_code == 413


async def test_events_written_down_before_a_restart_are_carried_after_it(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling(SILENT)
    await world.plan(mode="dropped", type="refund.updated")
    await world.at_bank(case, reference=REFERENCE)
    await web.stop()
    async with world.stack.books.transaction() as tx:
        now = (await world.row(case)).opened_at
        await tx.take_inbox(
            event_id="evt_before_restart",
            event_type="refund.updated",
            object_ids=[case.id, await world.refund_id(case)],
            at=now,
        )
    await web.start()
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    assert await state_of(world, "evt_before_restart") == "told"


async def test_an_event_that_cannot_be_carried_yet_does_not_hold_up_those_behind_it(
    world: World, fresh_books: Books
) -> None:
    inbox = Inbox(fresh_books)
    carried: list[str] = []

    class Halting(Postman):
        async def carry(self, event_id: str, event_type: str, about: Sequence[str]) -> str:
            if about[0] == "first":
                raise OSError("the database is away")
            await inbox.finish(event_id, "told")
            carried.extend(about)
            return "told"

    now = datetime(2026, 12, 1, tzinfo=UTC)
    stuck = [f"evt_{n:03}" for n in range(150)]  # more than one page of them
    for id in stuck:
        await inbox.take(id, "refund.updated", ("first",), now, "received")
    await inbox.take("evt_last", "refund.updated", ("second",), now, "received")
    running = asyncio.create_task(Halting(inbox, world.stack.temporal, idle_seconds=0.01).run())
    async with asyncio.timeout(10):
        while not carried:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()
    assert [row.event_id for row in await inbox.waiting()] == stuck[:100]
    assert carried == ["second"]


# -- every order ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Life:
    """What happens to one refund at the provider, and five of the webhooks that tell of it.

    All of it has happened when the first of them comes, as after a day without our endpoint:
    only then can they come in any order at all.
    """

    behaviour: str
    happens: Callable[[World, Case], Awaitable[None]]
    webhooks: tuple[str, str, str, str, str]
    outcome: Outcome
    exceptions: int


async def arrives_and_is_charged_back(world: World, case: Case) -> None:
    await world.at_bank(case, reference=REFERENCE)
    await world.turn(await world.dispute(case), "lost")


async def fails_beside_a_chargeback(world: World, case: Case) -> None:
    await world.turn(await world.dispute(case), "lost")  # it overtakes the pending refund


ORDERED = ("refund.created", "charge.refunded")
DISPUTED = ("charge.dispute.created", "charge.dispute.closed")
LIVES = {
    life.happens.__name__: life
    for life in (
        Life(
            "silent",
            arrives_and_is_charged_back,
            (*ORDERED, "refund.updated", *DISPUTED),
            Outcome.REFUNDED,
            exceptions=2,
        ),
        Life(
            "stuck",
            fails_beside_a_chargeback,
            (*ORDERED, "refund.failed", *DISPUTED),
            Outcome.FAILED_AT_BANK,
            exceptions=0,
        ),
    )
}
SAMPLE = 8
AT_ONCE = 12
"""Cases whose webhooks come beside each other."""


@pytest.mark.parametrize("life", LIVES)
async def test_webhooks_in_some_orders_and_twice_come_to_the_same_books(
    world: World, web: WebProcess, life: str
) -> None:
    seed = 20261125
    orders = random.Random(seed).sample(list(itertools.permutations(LIVES[life].webhooks)), SAMPLE)
    await assert_same_books(world, web, LIVES[life], orders, seed)


@pytest.mark.deep
@pytest.mark.parametrize("life", LIVES)
async def test_webhooks_in_every_order_and_twice_come_to_the_same_books(
    world: World, web: WebProcess, life: str
) -> None:
    orders = list(itertools.permutations(LIVES[life].webhooks))
    assert len(orders) == math.factorial(5)
    await assert_same_books(world, web, LIVES[life], orders, seed=20261126)


async def test_a_refund_that_a_lost_chargeback_overtook_is_not_told_as_given_beside_it(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling({"refund_behaviour": "stuck"})
    await world.plan(mode="dropped", type="*", next=1_000)
    await fails_beside_a_chargeback(world, case)
    await world.stack.http.delete(f"{world.stack.sandbox_url}/_sandbox/webhooks/plan")
    async with world.stack.books.transaction() as tx:
        await tx.take_inbox(
            event_id=f"evt_{case.id}",
            event_type="charge.dispute.closed",
            object_ids=[case.charge],
            at=datetime.now(UTC),
            state=OUTSIDE,
        )
    await world.noted()
    assert (await world.row(case)).status is Status.SETTLING, "it has not looked yet"
    assert len(await books_of(world, case)) == 1, "no exception: only the bank has the money"


async def assert_same_books(
    world: World, web: WebProcess, life: Life, orders: Sequence[tuple[str, ...]], seed: int
) -> None:
    """Each order in a case of its own: one by one, each carried before the next comes; and
    again in one burst, each event twice."""
    print(f"{len(orders)} orders of {', '.join(life.webhooks)}, each plain and twice, seed {seed}")
    dice = random.Random(seed)
    limit = asyncio.Semaphore(AT_ONCE)
    runs = [(order, is_burst) for order in orders for is_burst in (False, True)]

    async def live() -> Case:
        async with limit:
            case = await world.open_settling({"refund_behaviour": life.behaviour})
            await life.happens(world, case)
            return case

    async def tell(case: Case, types: Sequence[str], *, is_burst: bool) -> None:
        async with limit:
            told = {event["type"]: event for event in found[case.charge]}
            for type in twice(types, own) if is_burst else types:
                body = json.dumps(told[type], indent=2).encode()
                assert await post(world, web, body, at=int(time.time())) == 200
                if not is_burst:
                    await carried(world, [told[type]["id"]])
            await carried(world, [told[type]["id"] for type in types])
            await world.calm(case)

    await world.plan(mode="dropped", type="*", next=1_000_000)
    try:
        cases = await asyncio.gather(*(live() for _ in runs))
    finally:
        await world.stack.http.delete(f"{world.stack.sandbox_url}/_sandbox/webhooks/plan")
    found = await events_by_charge(world, life.webhooks)
    own = random.Random(dice.random())
    async with asyncio.TaskGroup() as group:
        for case, (order, is_burst) in zip(cases, runs, strict=True):
            group.create_task(tell(case, order, is_burst=is_burst))
    await world.noted()

    accounts = [await books_of(world, case) for case in cases]
    for (order, is_burst), case, books in zip(runs, cases, accounts, strict=True):
        how = f"{case.id}: {', '.join(order)}{', each twice' if is_burst else ''}"
        assert books == accounts[0], how
        assert (await world.row(case)).outcome is life.outcome, how
        assert await world.effects(case) == 1, how
        assert len(books) == 1 + life.exceptions, how
        notices = [tuple(notice) for account in books for notice in account["notices"]]
        assert len(set(notices)) == len(notices) > 1, how


def twice(types: Sequence[str], dice: random.Random) -> list[str]:
    """In the same order, each again somewhere behind itself."""
    told = list(types)
    for type in types:
        told.insert(dice.randint(told.index(type) + 1, len(told)), type)
    return told


async def carried(world: World, events: Sequence[str]) -> None:
    """Wait until the postman is done with these events."""
    async with asyncio.timeout(30):
        for event_id in events:
            while await state_of(world, event_id) == "received":  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def events_by_charge(world: World, types: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Every event of these types that the provider has, by the charge that it is about."""
    found: dict[str, list[dict[str, Any]]] = {}
    query: dict[str, Any] = {"limit": 100, "types[]": list(types)}
    url = f"{world.stack.sandbox_url}/v1/events"
    while True:
        answer = await world.stack.http.get(url, params=query, headers=BY_HAND)
        page = answer.raise_for_status().json()
        for event in page["data"]:
            about = event["data"]["object"]
            charge = about["id"] if about["object"] == "charge" else about["charge"]
            found.setdefault(charge, []).append(event)
        if not page["has_more"]:
            return found
        query["starting_after"] = page["data"][-1]["id"]


async def books_of(world: World, case: Case) -> list[dict[str, Any]]:
    """The accounts of a case and of the exceptions on its charge, made alike."""
    async with world.stack.books.reading() as reading:
        rows = await reading.execute(
            select(t.cases.c.case_id)
            .where(t.cases.c.charge == case.charge)
            .order_by(t.cases.c.kind.desc(), t.cases.c.reason)
        )
    return [
        await world.account(Case(world.client.case(row.case_id), case.customer, case.charge))
        for row in rows
    ]


# -- the sandbox's deliveries, and our own -------------------------------------------------


async def attempts(
    world: World, case: Case, *, type: str = "refund.updated"
) -> list[dict[str, Any]]:
    """Deliveries of the events about this case's refund."""
    query = f"?type={type}" if type else ""
    rows = (await world.stack.control(f"webhooks/log{query}"))["attempts"]
    about = {event["id"] for event in await provider_events(world, case)}
    return [row for row in rows if row["event"] in about]


async def provider_events(world: World, case: Case) -> list[dict[str, Any]]:
    """Of all, page by page: the newest are those of the customer who lives in the latest days."""
    ids = {case.charge, await world.refund_id(case)}
    found: list[dict[str, Any]] = []
    url, after = f"{world.stack.sandbox_url}/v1/events?limit=100", ""
    while True:
        answer = (await world.stack.http.get(url + after, headers=BY_HAND)).json()
        found += [event for event in answer["data"] if event["data"]["object"]["id"] in ids]
        if not answer["has_more"]:
            return found
        after = f"&starting_after={answer['data'][-1]['id']}"


async def resend(world: World, case: Case) -> None:
    (event,) = [e for e in await provider_events(world, case) if e["type"] == "refund.updated"]
    await world.stack.control("webhooks/resend", {"event": event["id"]})
    await world.delivered()
    async with asyncio.timeout(10):
        while "received" in await inbox_states(world, case):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def inbox_states(world: World, case: Case) -> list[str]:
    """What became of the conclusive events about this case."""
    i = t.inbox.c
    async with world.stack.books.reading() as reading:
        rows = await reading.execute(
            select(i.state).where(i.object_ids.contains(case.id), i.event_type == "refund.updated")
        )
    return [row.state for row in rows]


async def state_of(world: World, event_id: str) -> str:
    async with world.stack.books.reading() as reading:
        rows = await reading.execute(select(t.inbox.c.state).where(t.inbox.c.event_id == event_id))
    return str(rows[0].state)


def event_of(
    case: Case | None,
    event_id: str,
    type: str = "refund.updated",
    *,
    named: bool = True,
    refund: str = "re_1",
    status: str = "failed",
    **fields: str,
) -> bytes:
    """``named``: by the metadata that our orders carry; ``fields`` are the event's own."""
    metadata = {"case_id": case.id if case else UNKNOWN} if named else {}
    data = {"object": {"id": refund, "status": status, "metadata": metadata}}
    event = {"id": event_id, "object": "event", "type": type, "data": data, **fields}
    return json.dumps(event).encode()


async def post(world: World, web: WebProcess, body: bytes, *, at: int) -> int:
    """Deliver a body signed with the right secret at an instant of our choice."""
    text = body.decode("latin-1")
    signature = stripe.WebhookSignature._compute_signature(f"{at}.{text}", WEBHOOK_SECRET)
    answer = await world.stack.http.post(
        f"{web.url}/webhooks/stripe",
        content=body,
        headers={"stripe-signature": f"t={at},v1={signature}"},
    )
    return answer.status_code
