"""Personal text at rest, and what is left of it once its key is destroyed."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from audit.verify import verify
from domain.cases import CaseKind
from domain.errors import InvalidRequest
from ledger.books import Books
from ledger.keys import TOMBSTONE, Keyring, SealBroken
from ledger.reading import Reading
from ledger.tables import customer_keys as k
from tests.ledger.builders import AT, Refund
from tests.ledger.conftest import Place

MASTER = bytes(range(32))
WORDS = "My neighbour Señora Ibáñez saw it: 청구가 두 번 되었습니다"


async def test_a_destroyed_key_leaves_the_chain_green_and_the_text_erased(
    place: Place, books: Books
) -> None:
    keyring = Keyring(books, MASTER)
    sealed = await keyring.seal("cus_ann", WORDS)
    await Refund(text=sealed).refunded(books)
    assert await keyring.unseal(sealed) == WORDS
    head = (await verify(books)).head

    for _ in range(2):
        await keyring.destroy("cus_ann")
    assert await keyring.unseal(sealed) == TOMBSTONE
    report = await verify(books, expected_head=head)
    assert report.findings == ()
    async with books.reading() as reading:
        (opened, *_) = await reading.events("refund-a")
    assert await keyring.unseal(opened.body["text"]) == TOMBSTONE

    again = await keyring.seal("cus_ann", "new words")
    assert again.split(":")[2] != sealed.split(":")[2]  # a new generation
    assert await keyring.unseal(again) == "new words"
    assert await keyring.unseal(sealed) == TOMBSTONE


async def test_nothing_in_the_database_file_is_plain_text_or_a_destroyed_key(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    keyring = Keyring(sqlite_books, MASTER)
    sealed = await keyring.seal("cus_ann", WORDS)
    key_id, key = await keyring.data_key("cus_ann")
    await Refund(text=sealed).refunded(sqlite_books)
    async with sqlite_books.reading() as reading:
        wrapped = await wrapped_key(reading, key_id)
    assert wrapped.encode() in bytes_of(sqlite_place)

    await keyring.destroy("cus_ann")
    left = bytes_of(sqlite_place)
    assert wrapped.encode() not in left
    assert key not in left
    for word in ("neighbour", "Ibáñez", "청구"):
        assert word.encode() not in left
    assert sealed.encode() in left  # the row itself stays, or the chain would break


async def wrapped_key(reading: Reading, key_id: str) -> str:
    rows = await reading.execute(select(k.c.wrapped).where(k.c.id == key_id))
    return str(rows[0].wrapped)


def bytes_of(place: Place) -> bytes:
    file = place.vandal.file
    assert file is not None
    return b"".join(part.read_bytes() for part in sorted(file.parent.glob("books.db*")))


async def test_another_process_forgets_a_destroyed_key_after_its_time(sqlite_books: Books) -> None:
    seconds = 0.0
    here = Keyring(sqlite_books, MASTER)
    there = Keyring(sqlite_books, MASTER, ttl_seconds=30, elapsed=lambda: seconds)
    sealed = await here.seal("cus_ann", WORDS)
    assert await there.unseal(sealed) == WORDS
    await here.destroy("cus_ann")
    seconds = 29.0
    assert await there.unseal(sealed) == WORDS
    seconds = 30.0
    assert await there.unseal(sealed) == TOMBSTONE


async def test_many_who_seal_for_a_new_customer_at_once_share_one_key(books: Books) -> None:
    keyrings = [Keyring(books, MASTER) for _ in range(8)]
    sealed = await asyncio.gather(*(x.seal("cus_new", WORDS) for x in keyrings))
    assert len({text.split(":")[2] for text in sealed}) == 1
    assert {await keyrings[0].unseal(text) for text in sealed} == {WORDS}


async def test_a_cases_key_is_its_customers(sqlite_books: Books) -> None:
    keyring = Keyring(sqlite_books, MASTER)
    assert await keyring.key_for_case("refund-a") is None
    async with sqlite_books.transaction() as tx:
        await tx.register_request(
            request_id="req-1",
            kind=CaseKind.REFUND,
            body_hash="a" * 64,
            case_id="refund-a",
            customer="cus_ann",
            at=AT,
        )
    found = await keyring.key_for_case("refund-a")
    assert found is not None
    assert found == await keyring.data_key("cus_ann") == await keyring.key_for_case("refund-a")
    key_id, key = found
    assert await keyring.key_by_id(key_id) == key
    await keyring.destroy("cus_ann")
    assert await keyring.key_by_id(key_id) is None
    with pytest.raises(LookupError):
        await keyring.key_by_id("never made")


async def test_altered_sealed_text_is_told_from_erased_text(sqlite_books: Books) -> None:
    keyring = Keyring(sqlite_books, MASTER)
    sealed = await keyring.seal("cus_ann", WORDS)
    other = await keyring.seal("cus_bob", "of somebody else")
    head, _, cut = sealed.rpartition(":")
    moved = f"{other.rpartition(':')[0]}:{cut}"  # one customer's text under another's key
    for text in (sealed[:-8], f"{head}:####", moved, "plain text", "sealed:v1:nobody:AAAA"):
        with pytest.raises(SealBroken):
            await keyring.unseal(text)
    with pytest.raises(SealBroken, match="another master key"):
        await Keyring(sqlite_books, bytes(32)).unseal(sealed)
    with pytest.raises(InvalidRequest, match="master_key"):
        Keyring(sqlite_books, b"short")


async def test_look_ups_go_by_a_hash_that_only_this_key_makes(sqlite_books: Books) -> None:
    here, elsewhere = Keyring(sqlite_books, MASTER), Keyring(sqlite_books, bytes(32))
    assert here.lookup_hash("ann@example.com") == here.lookup_hash("ann@example.com")
    assert here.lookup_hash("ann@example.com") != here.lookup_hash("bob@example.com")
    assert here.lookup_hash("ann@example.com") != elsewhere.lookup_hash("ann@example.com")
