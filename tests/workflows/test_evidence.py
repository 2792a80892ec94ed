"""Evidence on a whole case: by whom, until when, how much, and nowhere in the clear."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from audit.verify import verify
from client import Client
from domain.approvals import DeskAction, RefusalCode
from domain.cases import EventKind, Outcome
from domain.errors import InvalidRequest
from domain.evidence import EvidenceLimits
from ledger.evidence import EvidenceItem, EvidenceStore, evidence_of
from ledger.keys import TOMBSTONE, Keyring
from tests.stack import SIGNING_KEY
from tests.workflows.builders import AGENT, AUDITOR, CUSTOMER, LEAD, MEDIUM, PICTURE, SERVICE
from tests.workflows.test_people import assert_refused
from tests.workflows.world import Case, World

EVIDENCE = DeskAction.EVIDENCE
NAME = "Zephyrine at the counter.png"
STATEMENT = "Quetzalcoatl told me that I would pay half"
SMALL = EvidenceLimits(items=2, file_bytes=len(PICTURE), statement_characters=len(STATEMENT))


@pytest.fixture
async def case(world: World) -> Case:
    waiting = await world.open_decided(amount_minor=MEDIUM)
    await world.calm(waiting)
    return waiting


def within(world: World, case: Case, limits: EvidenceLimits) -> Case:
    """The same case for a caller whose operator allows this much."""
    stack = world.stack
    store = EvidenceStore(stack.keyring, stack.settings.evidence_dir, limits)
    client = Client(stack.temporal, stack.books, stack.keyring, SIGNING_KEY, evidence=store)
    return Case(client.case(case.id), case.customer, case.charge)


async def items(world: World, case: Case, keyring: Keyring | None = None) -> list[EvidenceItem]:
    return await evidence_of(await world.events(case), keyring or world.stack.keyring)


async def withdrawn(world: World, case: Case) -> None:
    await case.handle.withdraw(SERVICE)
    assert (await world.result(case)).outcome is Outcome.WITHDRAWN


async def test_a_customer_and_staff_give_evidence_until_the_case_ends(
    world: World, case: Case
) -> None:
    await case.handle.evidence(CUSTOMER, text=STATEMENT)
    await case.handle.evidence(SERVICE, file=PICTURE, name=NAME, media_type="image/png")
    await case.handle.evidence(AGENT, file=b"a note of mine", name="note.txt")
    first, second, third = await items(world, case)
    assert (first.by, first.text, first.file) == (CUSTOMER, STATEMENT, None)
    assert second.file is not None
    assert (second.file.name, second.file.media_type) == (NAME, "image/png")
    assert await world.client.evidence_store.get(second.file.stored) == PICTURE
    assert third.file is not None
    assert third.file.media_type == "text/plain"
    await withdrawn(world, case)
    message = await assert_refused(
        world, case, EVIDENCE, RefusalCode.CLOSED, by=CUSTOMER, text="one more"
    )
    assert "the case ended as withdrawn (ended as withdrawn by shop at" in message


async def test_nothing_of_a_file_or_a_statement_is_anywhere_in_the_clear(
    world: World, case: Case
) -> None:
    await case.handle.evidence(CUSTOMER, text=STATEMENT)
    await case.handle.evidence(CUSTOMER, file=PICTURE, name=NAME)
    await withdrawn(world, case)
    history = (await case.handle.workflow.fetch_history()).to_json()
    await world.client.archive()
    kept = await world.stack.kept()
    assert case.id.encode() in kept["books"]
    assert any(name.startswith(world.stack.settings.evidence_dir.name) for name in kept)
    for word in ("Quetzalcoatl", "Zephyrine"):
        assert word not in history
        for name, content in kept.items():
            clear = gzip.decompress(content) if name.endswith(".gz") else content
            assert word.encode() not in clear, f"{word} lies in {name}"


async def test_a_destroyed_key_destroys_the_evidence_and_leaves_the_books_proven(
    world: World, case: Case
) -> None:
    await case.handle.evidence(CUSTOMER, text=STATEMENT)
    await case.handle.evidence(CUSTOMER, file=PICTURE, name=NAME)
    await withdrawn(world, case)
    stack = world.stack
    await stack.keyring.destroy(case.customer)
    keyring = Keyring(stack.books, stack.settings.master_key_bytes())  # nothing in memory
    statement, file = await items(world, case, keyring)
    assert (statement.text, file.file and file.file.name) == (TOMBSTONE, TOMBSTONE)
    assert file.file is not None
    store = EvidenceStore(keyring, stack.settings.evidence_dir)
    assert await store.get(file.file.stored) is None
    assert await store.has(file.file.stored)
    assert (await verify(stack.books)).is_clean


async def test_the_same_file_and_the_same_click_are_one_item(world: World, case: Case) -> None:
    for click in ("c1", "c1", "c2"):
        given = await case.handle.evidence(CUSTOMER, file=PICTURE, name=NAME, click_id=click)
        assert given.recorded
    assert len(await items(world, case)) == 1
    await withdrawn(world, case)


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({"file": PICTURE + b"x"}, "file: 47 bytes; allowed: up to 46 bytes a file"),
        ({"file": b""}, "file: is empty"),
        ({"file": b"\x00\x01"}, "of no type that we know; allowed: application/pdf, image/png"),
        ({"file": PICTURE, "media_type": "application/pdf"}, "said to be application/pdf and is"),
        ({"file": PICTURE, "name": "a/b.png"}, "name: is no file name"),
        ({"file": PICTURE, "name": "4242 4242 4242 4242.png"}, "name: holds a card number"),
        ({"file": PICTURE, "text": "both"}, "a text and a file at once"),
        ({"text": STATEMENT + "!"}, "allowed: up to 42"),
        ({"text": " "}, "text: is empty"),
        ({"text": "my card is 4242 4242 4242 4242"}, "text: holds a card number"),
        ({}, "text: is empty"),
    ],
)
async def test_what_is_too_much_or_not_what_it_seems_is_refused_in_words_and_kept_nowhere(
    world: World, case: Case, item: dict[str, Any], why: str
) -> None:
    folder = world.stack.settings.evidence_dir
    before = sorted(folder.rglob("*"))
    handed = {"name": NAME, **item} if "file" in item else item
    message = await assert_refused(
        world, within(world, case, SMALL), EVIDENCE, RefusalCode.INVALID, by=CUSTOMER, **handed
    )
    assert why in message
    assert sorted(folder.rglob("*")) == before
    await withdrawn(world, case)


async def test_an_item_at_each_limit_is_taken_and_one_more_is_not(world: World, case: Case) -> None:
    small = within(world, case, SMALL)
    assert (await small.handle.evidence(CUSTOMER, file=PICTURE, name=NAME)).recorded
    assert (await small.handle.evidence(CUSTOMER, text=STATEMENT)).recorded
    before = sorted(world.stack.settings.evidence_dir.rglob("*"))
    message = await assert_refused(
        world, small, EVIDENCE, RefusalCode.OVER_LIMIT, by=CUSTOMER, file=b"more", name="a.txt"
    )
    assert "evidence: the case has 2 items; allowed: up to 2 a case" in message
    assert sorted(world.stack.settings.evidence_dir.rglob("*")) == before
    assert (await small.handle.evidence(CUSTOMER, file=PICTURE, name=NAME)).recorded
    await withdrawn(world, case)


async def test_an_auditor_gives_no_evidence_and_an_unknown_case_takes_none(
    world: World, case: Case
) -> None:
    folder = world.stack.settings.evidence_dir
    before = sorted(folder.rglob("*"))
    for item in ({"text": STATEMENT}, {"file": PICTURE, "name": NAME}):
        await assert_refused(world, case, EVIDENCE, RefusalCode.NOT_AUTHORISED, by=AUDITOR, **item)
    assert sorted(folder.rglob("*")) == before, "the file of one who may not speak is not kept"
    nobody = Case(world.client.case("refund-of-nobody"), "cus_x", "ch_x")
    await assert_refused(
        world, nobody, EVIDENCE, RefusalCode.UNKNOWN_CASE, by=CUSTOMER, text=STATEMENT
    )
    await withdrawn(world, case)


async def test_evidence_may_be_added_while_the_money_is_under_way(world: World) -> None:
    case = await world.open_settling(amount_minor=MEDIUM)
    assert (await case.handle.evidence(LEAD, text="the bank rang")).recorded
    assert [e.kind for e in await world.events(case)][-1] is EventKind.EVIDENCE_ADDED


async def test_a_client_without_a_store_says_so(world: World, case: Case) -> None:
    stack = world.stack
    bare = Client(stack.temporal, stack.books, stack.keyring, SIGNING_KEY).case(case.id)
    with pytest.raises(InvalidRequest, match="keeps none"):
        await bare.evidence(CUSTOMER, text=STATEMENT)
    await withdrawn(world, case)
