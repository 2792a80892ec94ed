"""What people tell a case, and the calls to those it waits for, in both databases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from temporalio.client import Client as TemporalClient
from temporalio.testing import ActivityEnvironment

from activities.messages import Messages
from activities.records import Records
from audit.verify import verify
from client import Client
from domain.actors import Actor, Role, sign
from domain.approvals import Answer, DeskAction, RefusalCode
from domain.canonical import sha256_of
from domain.cases import Channel, Desk, Direction, EventKind
from domain.errors import Refused
from domain.messages import (
    Assignment,
    Contact,
    Delegation,
    DeskMessage,
    RecordMessageInput,
    RemindInput,
    Transfer,
)
from ledger import tables as t
from ledger.books import Books
from ledger.keys import Keyring
from ledger.projection import CaseRow, slots_of
from ledger.records import StoredEvent
from tests.ledger.builders import AGENT, AT, DIGEST, FINANCE, LEAD, Refund

KEY = Ed25519PrivateKey.generate()
CASE = Refund()
CUSTOMER = Actor(id="customer-1", role=Role.CUSTOMER)
OTHER_LEAD = Actor(id="lead-2", role=Role.LEAD)
LATER = AT + timedelta(days=1)


@pytest.fixture
async def waiting(books: Books) -> Books:
    """Books with one case that waits for a lead or for finance."""
    async with books.transaction() as tx:
        await CASE.open_and_decide(tx)
    return books


def contact(by: Actor = CUSTOMER, click: str = "c1", **content: Any) -> Contact:
    content = {"channel": Channel.CHAT, "text": "", **content}
    return Contact(signed=signed(DeskAction.CONTACT, by, click, content), **content)


def transfer(desk: Desk, by: Actor = AGENT, click: str = "c1", **content: Any) -> Transfer:
    content = {"desk": desk, "reason": "", **content}
    return Transfer(signed=signed(DeskAction.TRANSFER, by, click, content), **content)


def assignment(to: str, by: Actor = AGENT, click: str = "c1") -> Assignment:
    return Assignment(signed=signed(DeskAction.ASSIGN, by, click, {"to": to}), to=to)


def delegation(to: Actor, by: Actor = LEAD, click: str = "c1", **content: Any) -> Delegation:
    content = {"slot": "lead", "to": to, "digest": DIGEST, **content}
    return Delegation(signed=signed(DeskAction.DELEGATE, by, click, content), **content)


def signed(action: DeskAction, by: Actor, click: str, content: dict[str, Any]) -> Any:
    return sign(
        KEY, actor=by, action=action.value, case_id=CASE.case_id, digest=sha256_of(content),
        click_id=click, at=AT,
    )  # fmt: skip


async def tell(books: Books, message: DeskMessage) -> Answer:
    messages = Messages(books, KEY.public_key(), lambda: AT)
    record: Any = {
        Contact: messages.record_contact,
        Transfer: messages.record_transfer,
        Assignment: messages.record_assignment,
        Delegation: messages.record_delegation,
    }[type(message)]
    given: Any = RecordMessageInput(case_id=CASE.case_id, message=message, now=LATER)
    return cast(Answer, await ActivityEnvironment().run(record, given))


async def remind(books: Books, **what: Any) -> None:
    given = RemindInput(case_id=CASE.case_id, now=LATER, **{"ordinal": 1, **what})
    await ActivityEnvironment().run(Records(books).remind_approvers, given)


async def row_of(books: Books) -> CaseRow:
    async with books.reading() as reading:
        row = await reading.case(CASE.case_id)
    assert row is not None
    return row


async def events_of(books: Books) -> list[StoredEvent]:
    async with books.reading() as reading:
        return await reading.events(CASE.case_id)


async def notices_of(books: Books) -> list[str]:
    async with books.reading() as reading:
        found = await reading.execute(select(t.outbox.c.key).order_by(t.outbox.c.id))
        return [row.key.removeprefix(f"{CASE.case_id}:") for row in found]


async def assert_refused(
    books: Books, message: DeskMessage, code: RefusalCode, *words: str
) -> None:
    before = await row_of(books)
    answer = await tell(books, message)
    assert (answer.recorded, answer.code) == (False, code)
    for word in words:
        assert word in answer.message
    assert await row_of(books) == before
    async with books.reading() as reading:
        kept = [(a.action, a.code, a.actor) for a in await reading.refused_attempts(CASE.case_id)]
    assert (message.signed.action, code, message.signed.actor) in kept


def kinds(events: Iterable[StoredEvent]) -> list[EventKind]:
    return [event.kind for event in events][2:]


async def test_a_contact_is_recorded_once_a_click_with_who_and_how(waiting: Books) -> None:
    for click in ("c1", "c1", "c2"):
        assert (await tell(waiting, contact(click=click, text="sealed"))).recorded
    events = await events_of(waiting)
    assert kinds(events) == [EventKind.CONTACTED] * 2
    assert events[-1].actor == CUSTOMER
    assert events[-1].body == {"channel": "chat", "text": "sealed", "click_id": "c2"}
    assert (await verify(waiting)).is_clean


@pytest.mark.parametrize("role", [Role.AGENT, Role.LEAD, Role.FINANCE])
async def test_an_answer_of_staff_is_no_contact_of_the_customer(waiting: Books, role: Role) -> None:
    staff = Actor(id="staff-1", role=role)
    for _ in range(2):
        answer = contact(staff, text="sealed", direction=Direction.OUTGOING)
        assert (await tell(waiting, answer)).recorded
    events = await events_of(waiting)
    assert kinds(events) == [EventKind.ANSWERED]
    assert events[-1].body["direction"] == "outgoing"
    assert (await row_of(waiting)).first_responded_at == LATER
    assert (await verify(waiting)).is_clean


@pytest.mark.parametrize("role", [Role.CUSTOMER, Role.SERVICE])
async def test_only_staff_answers_a_customer(waiting: Books, role: Role) -> None:
    answer = contact(Actor(id="somebody", role=role), direction=Direction.OUTGOING)
    await assert_refused(waiting, answer, RefusalCode.NOT_AUTHORISED, "agent, finance, lead")
    assert (await row_of(waiting)).first_responded_at is None


async def test_an_answer_cannot_be_made_of_a_contact_on_the_way(waiting: Books) -> None:
    turned = contact(AGENT).model_copy(update={"direction": Direction.OUTGOING})
    await assert_refused(waiting, turned, RefusalCode.NOT_AUTHENTIC)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.PUBLISHER, Role.ADMIN, Role.ENGINE])
async def test_who_only_reads_leaves_no_word_in_a_case(waiting: Books, role: Role) -> None:
    somebody = Actor(id="somebody", role=role)
    await assert_refused(waiting, contact(somebody), RefusalCode.NOT_AUTHORISED, "customer")


async def test_a_message_that_was_changed_on_its_way_is_not_authentic(waiting: Books) -> None:
    changed = transfer(Desk.RETENTION).model_copy(update={"desk": Desk.FINANCE})
    await assert_refused(waiting, changed, RefusalCode.NOT_AUTHENTIC)


async def test_a_click_id_is_one_persons_only(waiting: Books) -> None:
    await tell(waiting, contact())
    await assert_refused(waiting, contact(AGENT), RefusalCode.REQUEST_REUSED, "click_id")


async def test_a_transferred_case_is_at_the_other_desk_which_is_told(waiting: Books) -> None:
    assert (await tell(waiting, transfer(Desk.FINANCE))).recorded
    assert (await tell(waiting, transfer(Desk.FINANCE))).recorded, "the same click again"
    assert (await row_of(waiting)).desk == "finance"
    await assert_refused(
        waiting, transfer(Desk.FINANCE, click="c2"), RefusalCode.INVALID,
        "desk: the case is at finance already", "billing, retention",
    )  # fmt: skip
    assert (await tell(waiting, transfer(Desk.BILLING, click="c3"))).recorded
    assert (await row_of(waiting)).desk == "billing"
    told = [key for key in await notices_of(waiting) if key.startswith("case.transferred")]
    assert len(told) == 2
    assert (await verify(waiting)).is_clean


async def test_a_case_that_has_ended_hears_nothing_more(waiting: Books) -> None:
    async with waiting.transaction() as tx:
        await tx.lock_charge(CASE.charge)
        await CASE.void(tx)
    for message in (contact(), transfer(Desk.FINANCE), delegation(OTHER_LEAD)):
        await assert_refused(waiting, message, RefusalCode.CLOSED, "ended as expired")


async def test_a_slot_that_is_handed_over_is_that_persons_who_is_told(waiting: Books) -> None:
    assert (await tell(waiting, delegation(FINANCE))).recorded
    (slot,) = slots_of(await events_of(waiting))
    assert slot.delegate == FINANCE
    assert await notices_of(waiting) == ["case.delegated.lead:finance-1:2"]
    refusal = slot.why_may_not_fill(Actor(id="finance-2", role=Role.FINANCE), AT)
    assert refusal is not None
    assert refusal[0] is RefusalCode.NOT_AUTHORISED
    assert "handed to finance-1" in refusal[1]


@pytest.mark.parametrize(
    ("message", "code", "word"),
    [
        (delegation(LEAD), RefusalCode.INVALID, "another person"),
        (delegation(Actor(id=AGENT.id, role=Role.LEAD)), RefusalCode.SELF_APPROVAL, AGENT.id),
        (delegation(Actor(id="a-2", role=Role.AGENT)), RefusalCode.NOT_AUTHORISED, "lead, finance"),
        (delegation(FINANCE, by=Actor(id="a-2", role=Role.AGENT)), RefusalCode.NOT_AUTHORISED, ""),
        (delegation(FINANCE, digest="0" * 64), RefusalCode.STALE, "changed"),
        (delegation(FINANCE, slot="none"), RefusalCode.ALREADY_DECIDED, "none"),
    ],
    ids=["to oneself", "to the requester", "to a role", "by a role", "stale", "no slot"],
)
async def test_a_slot_is_not_handed_to_or_by_who_may_not_fill_it(
    waiting: Books, message: Delegation, code: RefusalCode, word: str
) -> None:
    await assert_refused(waiting, message, code, word)


async def test_a_person_takes_a_case_and_gives_it_back(waiting: Books) -> None:
    for _ in range(2):
        assert (await tell(waiting, assignment(AGENT.id))).recorded
    assert (await row_of(waiting)).assignee == AGENT.id
    assert (await tell(waiting, assignment("", click="c2"))).recorded
    assert (await row_of(waiting)).assignee == ""
    events = await events_of(waiting)
    assert kinds(events) == [EventKind.ASSIGNED] * 2
    assert [(e.body["from"], e.body["to"]) for e in events[2:]] == [("", AGENT.id), (AGENT.id, "")]
    assert (await verify(waiting)).is_clean


async def test_a_case_that_somebody_holds_is_taken_by_a_lead_only(waiting: Books) -> None:
    await tell(waiting, assignment(AGENT.id))
    other = Actor(id="agent-2", role=Role.AGENT)
    for by, to in ((other, other.id), (other, ""), (FINANCE, FINANCE.id)):
        message = assignment(to, by=by, click=f"{by.id}-{to}")
        await assert_refused(waiting, message, RefusalCode.NOT_AUTHORISED, "agent-1 holds the case")
    assert (await tell(waiting, assignment(LEAD.id, by=LEAD, click="c3"))).recorded
    assert (await row_of(waiting)).assignee == LEAD.id
    assert (await verify(waiting)).is_clean


@pytest.mark.parametrize(
    ("message", "code", "word"),
    [
        (assignment(LEAD.id), RefusalCode.INVALID, "to: lead-1"),
        (assignment(""), RefusalCode.INVALID, "nobody holds"),
        (assignment(CUSTOMER.id, by=CUSTOMER), RefusalCode.NOT_AUTHORISED, "agent, finance, lead"),
    ],
)
async def test_a_case_is_held_by_staff_that_asks_for_it(
    waiting: Books, message: Assignment, code: RefusalCode, word: str
) -> None:
    await assert_refused(waiting, message, code, word)


async def test_who_holds_a_case_does_not_take_it_again(waiting: Books) -> None:
    await tell(waiting, assignment(AGENT.id))
    again = assignment(AGENT.id, click="c2")
    await assert_refused(waiting, again, RefusalCode.INVALID, "agent-1 holds the case already")


async def test_another_desk_finds_a_case_in_its_queue(waiting: Books) -> None:
    await tell(waiting, assignment(AGENT.id))
    await tell(waiting, transfer(Desk.FINANCE, click="c2"))
    row = await row_of(waiting)
    assert (row.desk, row.assignee) == ("finance", "")
    assert (await tell(waiting, assignment(FINANCE.id, by=FINANCE, click="c3"))).recorded
    assert (await verify(waiting)).is_clean


async def test_a_filled_slot_is_not_handed_over(books: Books) -> None:
    case = Refund(slots=("lead", "second"))
    async with books.transaction() as tx:
        await case.open_and_decide(tx)
        await case.approve(tx)
    await assert_refused(books, delegation(FINANCE), RefusalCode.ALREADY_DECIDED)
    again = delegation(LEAD, by=FINANCE, slot="second")
    await assert_refused(books, again, RefusalCode.SELF_APPROVAL, "another step")


async def test_a_reminder_names_what_is_open_and_is_written_once(books: Books) -> None:
    case = Refund(slots=("lead", "second"))
    async with books.transaction() as tx:
        await case.open_and_decide(tx)
        await case.approve(tx)
    for _ in range(2):
        await remind(books, reminded=("lead", "second"))
    *_, last = await events_of(books)
    assert (last.step, last.kind) == ("remind:1", EventKind.REMINDED)
    assert [slot["id"] for slot in last.body["slots"]] == ["second"]
    assert last.body["expires_at"].startswith("2026-12-04")
    assert await notices_of(books) == ["case.reminded:desk:1"]
    assert (await verify(books)).is_clean


async def test_an_escalation_says_who_is_asked_from_now_on(waiting: Books) -> None:
    for _ in range(2):
        await remind(waiting, ordinal=0, escalated=("lead",))
    assert kinds(await events_of(waiting)) == [EventKind.ESCALATED]
    assert await notices_of(waiting) == ["case.escalated.lead:desk:0"]


async def test_nobody_is_reminded_of_a_case_that_waits_no_longer(books: Books) -> None:
    async with books.transaction() as tx:
        await CASE.open_and_decide(tx)
        await CASE.approve(tx)
    before = await events_of(books)
    await remind(books, reminded=("lead",), escalated=("lead",))
    assert await events_of(books) == before
    assert await notices_of(books) == []


# -- the survey ------------------------------------------------------------------------


class Survey:
    """The survey of one case; it needs books, and no Temporal."""

    def __init__(self, books: Books) -> None:
        keyring = Keyring(books, bytes(32))
        nobody = cast(TemporalClient, None)
        self.case = Client(nobody, books, keyring, KEY).case(CASE.case_id)
        self.keyring = keyring
        self.books = books

    async def refused(self, code: RefusalCode, **answers: Any) -> str:
        before = await row_of(self.books)
        with pytest.raises(Refused) as no:
            await self.case.survey(**{"by": CUSTOMER, "effort": 2, "satisfaction": 4, **answers})
        assert no.value.code == code
        assert await row_of(self.books) == before
        async with self.books.reading() as reading:
            last = (await reading.refused_attempts(CASE.case_id))[-1]
        assert (last.action, last.code) == ("survey", code)
        return no.value.message


async def test_a_case_that_has_ended_is_surveyed_once(books: Books) -> None:
    await CASE.refunded(books)
    survey = Survey(books)
    for _ in range(2):
        answer = await survey.case.survey(
            CUSTOMER, effort=1, satisfaction=5, text="thank you", click_id="c1"
        )
        assert answer.recorded
    said = (await events_of(books))[-1]
    assert (said.kind, said.actor) == (EventKind.SURVEYED, CUSTOMER)
    assert (said.body["effort"], said.body["satisfaction"]) == (1, 5)
    assert await survey.keyring.unseal(said.body["text"]) == "thank you"
    assert "already" in await survey.refused(RefusalCode.ALREADY_DECIDED)
    assert (await verify(books)).is_clean


async def test_a_service_answers_for_the_customer_and_an_agent_does_not(books: Books) -> None:
    await CASE.refunded(books)
    survey = Survey(books)
    assert "customer, service" in await survey.refused(RefusalCode.NOT_AUTHORISED, by=AGENT)
    shop = Actor(id="shop", role=Role.SERVICE)
    assert (await survey.case.survey(shop, effort=5, satisfaction=1)).recorded


@pytest.mark.parametrize("wrong", [0, 6, -1, True, 10**15])
@pytest.mark.parametrize("field", ["effort", "satisfaction"])
async def test_a_score_is_a_whole_number_from_one_to_five(
    sqlite_books: Books, field: str, wrong: int
) -> None:
    await CASE.refunded(sqlite_books)
    message = await Survey(sqlite_books).refused(RefusalCode.INVALID, **{field: wrong})
    assert message.startswith(f"{field}: {wrong}; allowed: whole numbers from 1 to 5")


async def test_a_survey_before_the_end_is_too_early(waiting: Books) -> None:
    await Survey(waiting).refused(RefusalCode.TOO_EARLY)


async def test_a_survey_holds_no_card_number(books: Books) -> None:
    await CASE.refunded(books)
    message = await Survey(books).refused(RefusalCode.INVALID, text="it is 4242 4242 4242 4242")
    assert "4242" not in message
