"""Many at once: a charge is never overdrawn, nobody waits for ever, the chain has no gap."""

from __future__ import annotations

import asyncio

from audit.verify import verify
from domain.money import total
from ledger.books import Books
from ledger.records import AlreadyOpen, ReservationScope
from tests.ledger.builders import AT, Refund, approval, numbered, opened, usd

CROWD = 25
REMAINDER = usd(1000)
EACH = usd(100)


async def test_a_crowd_on_one_charge_never_takes_more_than_remains(books: Books) -> None:
    async def grab(n: int) -> bool:
        async with books.transaction() as tx:
            await tx.lock_charge("ch_1")
            await tx.lock_concessions("cus_ann", "usd")
            held = await tx.reading.reservations(ReservationScope.CHARGE, "ch_1", "usd")
            if total((r.amount for r in held), "usd") + EACH > REMAINDER:
                return False
            case_id = f"refund-{n}"
            await tx.append_event(opened(case_id, request_id=f"req-{n}"))
            for scope, key in (
                (ReservationScope.CHARGE, "ch_1"),
                (ReservationScope.CONCESSIONS, "cus_ann"),
            ):
                await tx.reserve(
                    case_id=case_id, step="hold", scope=scope, key=key, amount=EACH, at=AT
                )
            return True

    winners = await asyncio.gather(*(grab(n) for n in range(CROWD)))
    assert sum(winners) == 10
    async with books.reading() as reading:
        held = await reading.reservations(ReservationScope.CHARGE, "ch_1", "usd")
        assert total((r.amount for r in held), "usd") == REMAINDER
        assert (await reading.head()).seq == 10
    assert (await verify(books)).is_clean


async def test_a_crowd_on_many_charges_leaves_a_gapless_chain(books: Books) -> None:
    async def settle(refund: Refund) -> None:
        await refund.settling(books)

    await asyncio.gather(*(settle(refund) for refund in numbered(CROWD)))
    report = await verify(books)
    assert report.findings == ()
    assert report.head.seq == report.counts["chain_links"] == CROWD * 8 + 1  # one policy for all


async def test_of_many_who_decide_one_slot_one_wins(books: Books) -> None:
    async with books.transaction() as tx:
        await Refund().open_and_decide(tx)

    async def decide(n: int) -> bool:
        async with books.transaction() as tx:
            await tx.lock_charge("ch_1")
            return await tx.record_approval(approval(note=f"sealed:{n}"))

    assert sum(await asyncio.gather(*(decide(n) for n in range(CROWD)))) == 1


async def test_of_many_who_open_a_case_on_one_thing_one_wins(books: Books) -> None:
    async def open_case(n: int) -> bool:
        async with books.transaction() as tx:
            await tx.lock_charge("ch_1")
            try:
                return await tx.append_event(opened(f"refund-{n}", business_key="charge:ch_1"))
            except AlreadyOpen:
                return False

    assert sum(await asyncio.gather(*(open_case(n) for n in range(CROWD)))) == 1


async def test_one_event_raced_by_many_is_one_event(books: Books) -> None:
    async def open_case() -> bool:
        async with books.transaction() as tx:
            return await tx.append_event(opened())

    assert sum(await asyncio.gather(*(open_case() for _ in range(8)))) == 1
    async with books.reading() as reading:
        assert (await reading.counts())["case_events"] == 1


async def test_readers_see_one_instant_while_others_write(books: Books) -> None:
    first, second = numbered(2)
    await first.settling(books)
    async with books.reading() as reading:
        before = await reading.counts()
        await second.settling(books)
        assert await reading.counts() == before
    async with books.reading() as reading:
        assert (await reading.counts())["cases"] == 2


async def test_two_processes_on_one_file_take_turns(sqlite_books: Books) -> None:
    other = await Books.open(sqlite_books.url)
    try:
        refunds = numbered(6)
        await asyncio.gather(
            *(r.settling(b) for r, b in zip(refunds, [sqlite_books, other] * 3, strict=True))
        )
        assert (await verify(other)).is_clean
    finally:
        await other.close()
