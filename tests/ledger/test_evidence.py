"""Evidence beside the books: sealed, whole, once; and on the account, judged under lock."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from temporalio.testing import ActivityEnvironment

from activities.messages import NOTHING_NEW, Messages
from audit.verify import verify
from domain.actors import Actor, Role, sign
from domain.approvals import DeskAction, RefusalCode
from domain.canonical import instant, sha256_of
from domain.cases import CaseEvent, EventKind, Outcome, Status
from domain.evidence import EvidenceAnswer, EvidenceFile, EvidenceKind, EvidenceLimits, Information
from domain.messages import Evidence, RecordMessageInput
from ledger import tables as t
from ledger.books import Books
from ledger.evidence import EvidenceStore, evidence_of, inquiry_of
from ledger.keys import TOMBSTONE, Keyring, SealBroken
from ledger.records import ReservationScope, StoredEvent
from tests.ledger.builders import (
    AT,
    Refund,
    decided_body,
    event,
    opened,
    usd,
    without_guards,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
CUSTOMER = Actor(id="ann", role=Role.CUSTOMER)
AUDITOR = Actor(id="aud", role=Role.AUDITOR)
CONTENT = b"%PDF-1.7 the receipt of Quetzalcoatl"
OTHER = b"%PDF-1.7 another receipt"
CASE = Refund()
LIMITS = EvidenceLimits(items=2)


# -- the store ---------------------------------------------------------------------------


@pytest.fixture
def store(sqlite_books: Books, tmp_path: Path) -> EvidenceStore:
    return EvidenceStore(Keyring(sqlite_books, bytes(32)), tmp_path / "evidence")


async def kept(store: EvidenceStore, content: bytes = CONTENT, by: str = "cus_ann") -> EvidenceFile:
    file = await store.describe(by, "sealed", "application/pdf", content)
    await store.put(file, content)
    return file


def files_of(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "evidence").rglob("*") if path.is_file()]


async def test_what_is_put_comes_back_and_lies_nowhere_in_the_clear(
    store: EvidenceStore, tmp_path: Path
) -> None:
    file = await kept(store)
    assert await store.has(file.stored)
    assert await store.get(file.stored) == CONTENT
    (path,) = files_of(tmp_path)
    assert b"Quetzalcoatl" not in path.read_bytes()
    assert b"%PDF" not in path.read_bytes()


async def test_the_same_content_of_a_customer_is_one_file_and_of_two_customers_two(
    store: EvidenceStore, tmp_path: Path
) -> None:
    first = await kept(store)
    (path,) = files_of(tmp_path)
    written = path.read_bytes()
    assert await kept(store) == first
    assert path.read_bytes() == written
    other = await kept(store, by="cus_bob")
    assert (other.sha256, other.stored == first.stored) == (first.sha256, False)
    assert len(files_of(tmp_path)) == 2


async def test_a_destroyed_key_destroys_the_file_and_the_same_content_may_be_given_again(
    sqlite_books: Books, store: EvidenceStore, tmp_path: Path
) -> None:
    file = await kept(store)
    keyring = Keyring(sqlite_books, bytes(32))
    later = EvidenceStore(keyring, tmp_path / "evidence")
    await keyring.destroy("cus_ann")
    assert await later.get(file.stored) is None
    again = await kept(later)
    assert again.stored != file.stored
    assert await later.get(again.stored) == CONTENT


async def test_a_file_described_under_a_key_that_is_gone_is_not_kept(
    sqlite_books: Books, tmp_path: Path
) -> None:
    keyring = Keyring(sqlite_books, bytes(32))
    store = EvidenceStore(keyring, tmp_path / "evidence")
    file = await store.describe("cus_ann", "sealed", "application/pdf", CONTENT)
    await keyring.destroy("cus_ann")
    with pytest.raises(RuntimeError, match="destroyed"):
        await store.put(file, CONTENT)
    assert not files_of(tmp_path)


async def test_an_altered_file_and_one_that_is_gone_are_told(
    store: EvidenceStore, tmp_path: Path
) -> None:
    file = await kept(store)
    (path,) = files_of(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(SealBroken, match="altered"):
        await store.get(file.stored)
    path.write_bytes(b"")
    with pytest.raises(SealBroken, match="altered"):
        await store.get(file.stored)
    path.unlink()
    with pytest.raises(SealBroken, match="no evidence"):
        await store.get(file.stored)


async def test_a_file_put_in_the_place_of_another_is_told(
    store: EvidenceStore, tmp_path: Path
) -> None:
    first, second = await kept(store), await kept(store, OTHER)
    folder = tmp_path / "evidence"
    (folder / first.stored).write_bytes((folder / second.stored).read_bytes())
    with pytest.raises(SealBroken, match="altered"):
        await store.get(first.stored)


async def test_a_process_that_dies_while_it_writes_leaves_no_file(
    store: EvidenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(descriptor: int) -> None:
        raise OSError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", dies)
        with pytest.raises(OSError, match="gone"):
            await kept(store)
    file = await store.describe("cus_ann", "sealed", "application/pdf", CONTENT)
    assert not await store.has(file.stored)
    assert await store.get((await kept(store)).stored) == CONTENT


async def test_a_new_customers_folder_is_on_disk_with_its_file(
    store: EvidenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda opened: synced.add(os.fstat(opened).st_ino))
    await kept(store)
    assert (tmp_path / "evidence").stat().st_ino in synced


# -- the account ---------------------------------------------------------------------------


@pytest.fixture
async def waiting(books: Books) -> Books:
    async with books.transaction() as tx:
        await CASE.open_and_decide(tx)
    await keys_of(books, CASE.customer, "key-1", "key-2")
    return books


async def keys_of(books: Books, customer: str, *ids: str) -> None:
    async with books.transaction() as tx:
        for generation, key_id in enumerate(ids, start=1):
            row = {"id": key_id, "customer": customer, "generation": generation,
                   "wrapped": None, "created_at": instant(AT)}  # fmt: skip
            await tx.insert_once(t.customer_keys, row, on=["customer", "generation"])


def a_file(content: bytes = CONTENT, key: str = "key-1") -> EvidenceFile:
    sha256 = sha256_of(content.decode())
    return EvidenceFile(
        name="sealed", media_type="application/pdf", size_bytes=len(content), sha256=sha256,
        stored=f"{key}/{sha256}",
    )  # fmt: skip


async def give(
    books: Books, file: EvidenceFile | None = None, *, by: Actor = CUSTOMER, click: str = "c1"
) -> EvidenceAnswer:
    kind = EvidenceKind.STATEMENT if file is None else EvidenceKind.FILE
    content: Any = {"kind": kind, "text": "" if file else "sealed", "file": file}
    signed = sign(
        KEY, actor=by, action=DeskAction.EVIDENCE.value, case_id=CASE.case_id,
        digest=sha256_of(content), click_id=click, at=AT,
    )  # fmt: skip
    messages = Messages(books, KEY.public_key(), lambda: AT, limits=LIMITS)
    given = RecordMessageInput[Evidence](
        case_id=CASE.case_id, message=Evidence(signed=signed, **content), now=AT
    )
    return await ActivityEnvironment().run(messages.record_evidence, given)


async def items(books: Books) -> list[StoredEvent]:
    async with books.reading() as reading:
        events = await reading.events(CASE.case_id)
    return [each for each in events if each.kind is EventKind.EVIDENCE_ADDED]


async def test_an_item_is_on_the_account_once_however_often_it_is_recorded(waiting: Books) -> None:
    for _ in range(2):
        assert (await give(waiting)).recorded
        assert (await give(waiting, a_file(), click="c2")).recorded
    told = await items(waiting)
    assert [each.step for each in told] == ["evidence:c1", "evidence:c2"]
    assert told[1].body["file"]["size_bytes"] == len(CONTENT)
    assert (await verify(waiting)).is_clean


async def test_the_same_file_by_another_click_is_the_same_item(waiting: Books) -> None:
    assert (await give(waiting, a_file())).recorded
    assert (await give(waiting, a_file(), click="c2")).recorded
    assert [each.step for each in await items(waiting)] == ["evidence:c1"]
    assert (await give(waiting, a_file(key="key-2"), click="c3")).recorded
    assert len(await items(waiting)) == 2, "its key was destroyed since: it is given anew"


async def test_a_full_case_takes_nothing_more_but_what_it_has(waiting: Books) -> None:
    for click in ("c1", "c2"):
        assert (await give(waiting, click=click)).recorded
    refused = await give(waiting, click="c3")
    assert (refused.recorded, refused.code) == (False, RefusalCode.OVER_LIMIT)
    assert refused.message == "evidence: the case has 2 items; allowed: up to 2 a case"
    assert (await give(waiting, click="c2")).recorded, "an attempt that was recorded before"
    assert len(await items(waiting)) == 2


async def test_an_auditor_gives_no_evidence_and_a_case_that_has_ended_takes_none(
    books: Books,
) -> None:
    async with books.transaction() as tx:
        await CASE.open_and_decide(tx)
    assert (await give(books, by=AUDITOR)).code is RefusalCode.NOT_AUTHORISED
    async with books.transaction() as tx:
        await CASE.void(tx)
    refused = await give(books)
    assert (refused.code, refused.message) == (RefusalCode.CLOSED, "the case ended as expired")
    assert await items(books) == []


async def test_a_file_that_is_sealed_under_another_customers_key_is_refused(waiting: Books) -> None:
    await keys_of(waiting, "cus_bob", "key-of-bob")
    for key in ("key-of-bob", "key-of-nobody"):
        refused = await give(waiting, a_file(key=key), click=key)
        assert (refused.recorded, refused.code) == (False, RefusalCode.INVALID)
        assert "sealed under no key of this customer" in refused.message
    assert await items(waiting) == []


@pytest.mark.parametrize(
    "stored",
    ["key-1", "key-1/../../x", "../SUM", "a/b/SUM", "/SUM", "key-1/SUM\n", f"key-1/{'0' * 64}"],
)
def test_a_file_lies_under_its_key_and_its_own_sum_and_nowhere_else(stored: str) -> None:
    file = a_file()
    with pytest.raises(ValidationError, match="stored"):
        EvidenceFile.model_validate(
            {**file.model_dump(), "stored": stored.replace("SUM", file.sha256)}
        )


async def test_an_item_answers_the_question_that_was_asked_before_it_and_no_later_one(
    books: Books,
) -> None:
    async with books.transaction() as tx:
        await tx.append_event(opened())
        await tx.append_event(event(EventKind.DECIDED, decided_body(verdict="ask", slots=[])))
    await keys_of(books, CASE.customer, "key-1")
    assert (await give(books)).answers == 0
    async with books.transaction() as tx:
        await tx.append_event(a_question("ask"))
    assert (await give(books)).answers == 0, "it was there before the question"
    assert (await give(books)).message == NOTHING_NEW
    for _ in range(2):
        told = await give(books, a_file(), click="c2")
        assert (told.answers, told.message) == (1, "")
    async with books.transaction() as tx:
        await tx.append_event(a_question("ask#2"))
    assert (await give(books, a_file(), click="c2")).answers == 0
    for _ in range(2):
        told = await give(books, a_file(), click="c9")
        assert (told.recorded, told.answers, told.message) == (True, 0, NOTHING_NEW)


def a_question(step: str) -> CaseEvent:
    until = {"until": instant(AT), "reason_key": "proof", "ordinal": 1}
    return event(EventKind.INFORMATION_REQUESTED, until, step=step)


def an_item(click: str) -> CaseEvent:
    body = {"kind": "statement", "text": "sealed", "file": None}
    return event(EventKind.EVIDENCE_ADDED, body, step=f"evidence:{click}")


@pytest.mark.parametrize(
    ("events", "information", "count"),
    [
        ([], Information.NOT_ASKED, 0),
        ([an_item("a")], Information.NOT_ASKED, 1),
        ([an_item("a"), a_question("ask")], Information.SILENT, 1),
        ([a_question("ask"), an_item("a")], Information.GIVEN, 1),
        ([a_question("ask"), an_item("a"), a_question("ask#2")], Information.SILENT, 1),
        ([a_question("ask"), an_item("a"), an_item("b")], Information.GIVEN, 2),
    ],
)
def test_what_became_of_the_last_question_is_what_came_after_it(
    events: list[CaseEvent], information: Information, count: int
) -> None:
    inquiry = inquiry_of(events)
    assert (inquiry.information, inquiry.items) == (information, count)


async def test_items_are_read_back_in_the_clear_until_their_key_is_destroyed(
    sqlite_books: Books,
) -> None:
    keyring = Keyring(sqlite_books, bytes(32))
    file = a_file().model_copy(update={"name": await keyring.seal("cus_ann", "bill.pdf")})
    text = await keyring.seal("cus_ann", "it was twice")
    events = [
        event(EventKind.EVIDENCE_ADDED, {"kind": "statement", "text": text, "file": None}),
        event(EventKind.EVIDENCE_ADDED, {"kind": "file", "text": "", "file": file}, step="b"),
    ]
    statement, shown = await evidence_of(events, keyring)
    assert (statement.text, shown.file and shown.file.name) == ("it was twice", "bill.pdf")
    await keyring.destroy("cus_ann")
    statement, shown = await evidence_of(events, keyring)
    assert (statement.text, shown.file and shown.file.name) == (TOMBSTONE, TOMBSTONE)


# -- the audit -----------------------------------------------------------------------------


@pytest.fixture
async def asking(books: Books) -> Books:
    """A case that asks its customer, as the engine writes it."""
    async with books.transaction() as tx:
        await tx.append_event(opened(amount=usd(2500)))
        await tx.append_event(event(EventKind.DECIDED, decided_body(verdict="ask", slots=[])))
        await tx.append_event(a_question("ask"))
    return books


async def findings(books: Books) -> list[tuple[str, str]]:
    found = without_guards(await verify(books))
    return [(each.invariant, each.table) for each in found]


async def test_a_case_that_asks_waits_for_its_customer_and_is_clean(asking: Books) -> None:
    async with asking.reading() as reading:
        row = await reading.case(CASE.case_id)
    assert row is not None
    assert (row.status, row.waits_for, row.due_at) == (Status.AWAITING_INFORMATION, "customer", AT)
    assert await findings(asking) == []


async def test_money_held_while_a_customer_is_asked_is_found(asking: Books) -> None:
    async with asking.transaction() as tx:
        await tx.lock_charge("ch_1")
        await tx.reserve(
            case_id=CASE.case_id, step="hold", scope=ReservationScope.CHARGE, key="ch_1",
            amount=usd(2500), at=AT,
        )  # fmt: skip
    assert await findings(asking) == [("I3", "reservations")]


async def test_a_question_that_nobody_decided_to_ask_is_found(books: Books) -> None:
    async with books.transaction() as tx:
        await tx.append_event(opened())
        await tx.append_event(a_question("ask"))
    assert ("I4", "case_events") in await findings(books)


async def test_a_case_that_ends_while_it_asks_leaves_nothing(asking: Books) -> None:
    async with asking.transaction() as tx:
        await CASE.close(tx, Outcome.WITHDRAWN, 3)
    assert await findings(asking) == []


async def test_a_file_that_is_gone_is_found_and_one_that_no_event_names_is_counted(
    sqlite_books: Books, store: EvidenceStore, tmp_path: Path
) -> None:
    async with sqlite_books.transaction() as tx:
        await CASE.open_and_decide(tx)
    folder = tmp_path / "evidence"
    file = await kept(store)
    assert (await verify(sqlite_books, evidence=folder)).unnamed_files == 1
    for click in ("c1", "c2"):
        assert (await give(sqlite_books, file, click=click)).recorded
    assert (await give(sqlite_books, click="c3")).recorded
    await kept(store, OTHER)
    report = await verify(sqlite_books, evidence=folder)
    assert (report.is_clean, report.unnamed_files) == (True, 1)
    (folder / file.stored).unlink()
    report = await verify(sqlite_books, evidence=folder)
    (gone,) = report.findings
    assert (gone.invariant, gone.row) == ("evidence", f"{CASE.case_id}:evidence:c1")
    assert gone.sentence == f"its file {file.stored} is gone"
    assert (await verify(sqlite_books)).unnamed_files is None, "nobody looked"
    await Keyring(sqlite_books, bytes(32)).destroy("cus_ann")
    assert (await verify(sqlite_books, evidence=folder)).is_clean, "nobody could read it"


async def test_a_whole_folder_that_is_gone_is_found(
    sqlite_books: Books, store: EvidenceStore, tmp_path: Path
) -> None:
    async with sqlite_books.transaction() as tx:
        await CASE.open_and_decide(tx)
    assert (await give(sqlite_books, await kept(store))).recorded
    report = await verify(sqlite_books, evidence=tmp_path / "nowhere")
    assert (len(report.findings), report.unnamed_files) == (1, 0)
