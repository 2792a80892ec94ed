"""A person's yes or no is recorded once, as it was said, and only if it may be said."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.verdicts import Verdicts
from decisions.library import Library
from domain.actors import Actor, Role, sign
from domain.approvals import Action, Answer, RefusalCode, Verdict
from domain.canonical import parse_instant
from domain.cases import EventKind, Outcome, Status
from domain.refunds import RecordVerdictInput
from ledger.records import ApprovalRow
from tests.activities.office import MONDAY, Case, Office
from tests.stack import SIGNING_KEY
from tests.workflows.builders import AGENT, FINANCE, LARGE, LEAD, MEDIUM, SERVICE, with_version_2
from tests.workflows.world import POLICIES

RECORDED = Answer(recorded=True)
MINUTE = timedelta(minutes=1)


def verdict(case: Case, action: Action = Action.APPROVE, slot: int = 0, **fields: Any) -> Any:
    """What a workflow hands over: a lead's word about the case as it was decided."""
    by = fields.pop("by", LEAD)
    signed = sign(
        SIGNING_KEY, actor=by, action=action.value, case_id=case.id,
        digest=fields.pop("digest", case.made.digest), click_id=fields.pop("click", "click-1"),
        at=fields.pop("signed_at", MONDAY),
    )  # fmt: skip
    given = {
        "case_id": case.id, "action": action, "signed": signed, "note": "", "now": MONDAY,
        "slot": None if action is Action.WITHDRAW else case.made.slots[slot],
    }  # fmt: skip
    return RecordVerdictInput.model_validate({**given, **fields})


async def record(office: Office, given: RecordVerdictInput) -> Answer:
    answer: Answer = await office.act(office.verdicts.record_verdict, given)
    return answer


async def refused(office: Office, given: RecordVerdictInput, code: RefusalCode, words: str) -> None:
    """Refused, twice, with one attempt on record, and nothing else."""
    before = await steps(office, given)
    attempts = await refused_attempts(office, given.case_id)
    first = await record(office, given)
    assert (first.recorded, first.code) == (False, code)
    assert words in first.message
    assert await record(office, given) == first
    (attempt,) = [
        row for row in await refused_attempts(office, given.case_id) if row not in attempts
    ]
    assert (attempt.case_id, attempt.action) == (given.case_id, given.action.value)
    assert (attempt.actor, attempt.request_id) == (given.signed.actor, given.signed.click_id)
    assert (attempt.code, attempt.message, attempt.at) == (code.value, first.message, given.now)
    assert await steps(office, given) == before


async def steps(office: Office, given: RecordVerdictInput) -> list[str]:
    async with office.books.reading() as reading:
        return [event.step for event in await reading.events(given.case_id)]


async def refused_attempts(office: Office, case_id: str) -> list[Any]:
    async with office.books.reading() as reading:
        return list(await reading.refused_attempts(case_id))


async def approvals(office: Office, case: Case) -> list[ApprovalRow]:
    async with office.books.reading() as reading:
        return list(await reading.approvals(case.id))


@pytest.fixture
async def case(office: Office) -> Case:
    return await office.decided(amount_minor=MEDIUM)


async def test_a_yes_is_recorded_once_as_it_was_said(office: Office, case: Case) -> None:
    given = verdict(case, note="sealed")
    for _ in range(2):
        assert await record(office, given) == RECORDED
    (row,) = await approvals(office, case)
    assert (row.slot, row.verdict, row.actor) == ("first", Verdict.APPROVE, LEAD)
    assert (row.digest, row.amount) == (case.made.digest, case.made.amount)
    assert (row.policy_hash, row.note, row.at) == (
        (await office.row(case)).policy_hash, "sealed", MONDAY,
    )  # fmt: skip
    assert given.signed.signature in row.signature_json
    event = await office.event(case, "approve:first")
    assert (event.kind, event.actor) == (EventKind.APPROVAL_RECORDED, LEAD)
    assert event.body == {
        "slot": "first", "verdict": "approve", "approver": {"id": LEAD.id, "role": "lead"},
        "note": "sealed", "slots_left": 0,
    }  # fmt: skip
    assert (await office.row(case)).status is Status.SENDING
    assert await office.booked(case) == [("hold", "")]


async def test_a_no_gives_the_money_free_and_ends_the_case_by_that_person(
    office: Office, case: Case
) -> None:
    for _ in range(2):
        assert await record(office, verdict(case, Action.DECLINE)) == RECORDED
    (row,) = await approvals(office, case)
    assert (row.verdict, row.actor) == (Verdict.DECLINE, LEAD)
    event = await office.event(case, "decline:first")
    assert (event.kind, event.body["verdict"]) == (EventKind.DECLINE_RECORDED, "decline")
    closing = await office.event(case, "close")
    assert (closing.actor, closing.body["outcome"]) == (LEAD, "declined")
    assert closing.body["reason_key"] == "declined"
    assert await office.booked(case) == [("hold", ""), ("void", "")]


async def test_a_no_says_until_when_it_is_heard_again_where_the_policy_does(
    office: Office,
) -> None:
    case = await office.decided(amount_minor=MEDIUM, policy="generous")
    assert await record(office, verdict(case, Action.DECLINE)) == RECORDED
    five_business_days = datetime(2027, 3, 8, 22, tzinfo=UTC)
    closing = await office.event(case, "close")
    assert parse_instant(closing.body["appeal_until"]) == five_business_days


async def test_the_no_to_an_appeal_is_heard_no_further(office: Office) -> None:
    place = await office.a_charge()
    first = await office.decided(place, policy="generous", amount_minor=MEDIUM)
    assert await record(office, verdict(first, Action.DECLINE)) == RECORDED
    assert "appeal_until" in (await office.event(first, "close")).body
    appeal = {"appeal_of": first.id, "text": "sealed news"}
    again = await office.decided(place, policy="generous", amount_minor=MEDIUM, **appeal)
    assert await record(office, verdict(again, Action.DECLINE, by=FINANCE)) == RECORDED
    assert "appeal_until" not in (await office.event(again, "close")).body


async def test_a_withdrawal_gives_the_money_free_and_is_no_verdict(
    office: Office, case: Case
) -> None:
    given = verdict(case, Action.WITHDRAW, by=SERVICE)
    for _ in range(2):
        assert await record(office, given) == RECORDED
    assert await approvals(office, case) == []
    closing = await office.event(case, "close")
    assert (closing.actor, closing.body["outcome"]) == (SERVICE, "withdrawn")
    assert closing.body["reason_key"] == "withdrawn"
    assert await office.booked(case) == [("hold", ""), ("void", "")]
    ended = "the case ended as withdrawn"
    await refused(office, verdict(case, Action.WITHDRAW), RefusalCode.CLOSED, ended)


async def test_a_case_that_waits_for_its_customer_is_withdrawn_without_a_hold(
    office: Office,
) -> None:
    case = await office.decided(policy="asking", amount_minor=MEDIUM)
    assert (await office.row(case)).status is Status.AWAITING_INFORMATION
    assert await record(office, verdict(case, Action.WITHDRAW, by=SERVICE)) == RECORDED
    assert (await office.row(case)).outcome is Outcome.WITHDRAWN
    assert await office.booked(case) == []


async def test_the_same_word_of_another_person_is_not_taken_for_the_first(
    office: Office, case: Case
) -> None:
    await record(office, verdict(case))
    other = verdict(case, by=FINANCE)
    await refused(office, other, RefusalCode.ALREADY_DECIDED, f"decided by {LEAD.id} already")
    assert [row.actor for row in await approvals(office, case)] == [LEAD]


async def test_of_two_who_say_yes_at_once_the_later_in_the_books_lets_the_money_go(
    office: Office,
) -> None:
    """Neither's workflow knew of the other when it asked."""
    case = await office.decided(amount_minor=LARGE)
    both = [verdict(case, slot=slot, by=by) for slot, by in ((1, FINANCE), (0, LEAD))]
    left = []
    for given in both:
        assert await record(office, given) == RECORDED
        left.append((await office.event(case, f"approve:{given.slot.id}")).body["slots_left"])
    assert left == [1, 0]
    assert (await office.row(case)).status is Status.SENDING


async def test_a_no_beside_a_yes_leaves_its_own_slot_open(office: Office) -> None:
    case = await office.decided(amount_minor=LARGE)
    assert await record(office, verdict(case)) == RECORDED
    given = verdict(case, Action.DECLINE, slot=1, by=FINANCE)
    assert await record(office, given) == RECORDED
    assert (await office.event(case, "decline:second")).body["slots_left"] == 1


async def test_two_slots_are_two_people_by_the_books(office: Office) -> None:
    case = await office.decided(amount_minor=LARGE)
    await record(office, verdict(case))
    again = "has decided another step of this case"
    for action in (Action.APPROVE, Action.DECLINE):
        await refused(office, verdict(case, action, 1), RefusalCode.SELF_APPROVAL, again)
    assert await record(office, verdict(case, slot=1, by=FINANCE)) == RECORDED


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1)])
async def test_a_slot_is_filled_until_its_instant_and_not_after(
    office: Office, case: Case, late: timedelta
) -> None:
    now = case.made.slots[0].expires_at + late
    given = verdict(case, now=now)
    if late:
        await refused(office, given, RefusalCode.ALREADY_DECIDED, "time to decide has run out")
    else:
        assert await record(office, given) == RECORDED


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.PUBLISHER, Role.ADMIN])
@pytest.mark.parametrize("action", list(Action))
async def test_who_moves_no_money_says_neither_yes_nor_no(
    office: Office, case: Case, role: Role, action: Action
) -> None:
    given = verdict(case, action, by=Actor(id="reader", role=role))
    words = f"role {role.value} moves no money"
    await refused(office, given, RefusalCode.NOT_AUTHORISED, words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"digest": "0" * 64}, "for another act"),
        ({"signed_at": MONDAY - 16 * MINUTE}, "has expired"),
        ({"signed_at": MONDAY + 2 * MINUTE}, "has expired"),
    ],
    ids=["another digest", "old", "of the future"],
)
async def test_a_signature_is_for_this_act_and_of_now(
    office: Office, case: Case, fields: dict[str, Any], words: str
) -> None:
    given = verdict(case, **fields)
    await refused(office, given, RefusalCode.NOT_AUTHENTIC, words)


@pytest.mark.parametrize("other", ["action", "case_id"])
async def test_a_signature_for_another_act_or_case_is_none_for_this(
    office: Office, case: Case, other: str
) -> None:
    mine = verdict(case)
    theirs = {
        "action": verdict(case, Action.DECLINE),
        "case_id": verdict(await office.decided(amount_minor=MEDIUM), digest=case.made.digest),
    }[other]
    given = mine.model_copy(update={"signed": theirs.signed})
    await refused(office, given, RefusalCode.NOT_AUTHENTIC, "for another act")


async def test_who_asked_does_not_decide(office: Office) -> None:
    case = await office.decided(amount_minor=MEDIUM, requested_by=LEAD)
    await refused(office, verdict(case), RefusalCode.SELF_APPROVAL, f"{LEAD.id} asked for it")
    assert await record(office, verdict(case, Action.WITHDRAW)) == RECORDED


@pytest.mark.parametrize("over", [0, 1])
async def test_a_yes_is_within_the_roles_limit_and_a_no_needs_none(
    office: Office, over: int
) -> None:
    """The tests' pack lets an agent give 100.00."""
    case = await office.decided(amount_minor=10_000 + over)
    if over:
        limit = "agent may approve a refund up to 100.00 USD; this is 100.01 USD"
        await refused(office, verdict(case, by=AGENT), RefusalCode.OVER_LIMIT, limit)
        assert await record(office, verdict(case, Action.DECLINE, by=AGENT)) == RECORDED
    else:
        assert await record(office, verdict(case, by=AGENT)) == RECORDED


@pytest.mark.parametrize(
    ("amount_minor", "later", "is_over"),
    [
        (6_000, timedelta(0), False),
        (6_001, timedelta(0), True),
        (7_000, timedelta(microseconds=1), False),
        (7_001, timedelta(microseconds=1), True),
    ],
    ids=["within", "above", "within, a day later", "above, a day later"],
)
async def test_the_limit_of_a_day_is_that_of_its_utc_day(
    office: Office, amount_minor: int, later: timedelta, is_over: bool
) -> None:
    """The tests' pack lets an agent give 150.00 a day."""
    evening = MONDAY.replace(hour=23, minute=59, second=59, microsecond=999_999)
    morning = MONDAY.replace(hour=0)
    tick, day = timedelta(microseconds=1), timedelta(days=1)
    spent = {morning - tick: 9_500, morning: 9_000, morning + day: 8_000, morning + 2 * day: 9_500}
    for at, spent_minor in spent.items():
        before = await office.decided(amount_minor=spent_minor)
        assert await record(office, verdict(before, by=AGENT, now=at)) == RECORDED
    case = await office.decided(amount_minor=amount_minor)
    given = verdict(case, by=AGENT, now=evening + later)
    if is_over:
        limit = "up to 150.00 USD a day"
        await refused(office, given, RefusalCode.OVER_LIMIT, limit)
    else:
        assert await record(office, given) == RECORDED


@pytest.mark.parametrize("early", [timedelta(0), timedelta(microseconds=1)])
async def test_a_newer_version_that_names_the_cases_says_who_may_decide_from_its_first_instant(
    office: Office, tmp_path: Path, early: timedelta
) -> None:
    policies = with_version_2(POLICIES, tmp_path, MONDAY.date() + timedelta(days=1), "repin: [1]")
    library = Library.load(policies)
    verdicts = Verdicts(office.books, library, SIGNING_KEY.public_key(), lambda: MONDAY)
    case = await office.decided(amount_minor=10_001)
    newer = library.versions("refund")[-1]
    first = newer.effective_at
    given = verdict(case, by=AGENT, now=first - early)
    answers = [await office.act(verdicts.record_verdict, given) for _ in range(2)]
    if early:
        assert {answer.code for answer in answers} == {RefusalCode.OVER_LIMIT}
        assert "repin:2" not in await office.steps(case)
        return
    assert answers == [RECORDED] * 2
    event = await office.event(case, "repin:2")
    assert (event.kind, event.occurred_at) == (EventKind.REPINNED, first)
    assert event.body == {"version": 2, "policy_hash": newer.hash}
    async with office.books.reading() as reading:
        assert await reading.policy_content(newer.hash) == newer.content


async def test_people_at_once_fill_a_slot_once(office: Office, case: Case) -> None:
    both = [verdict(case, by=by, click=by.id) for by in (LEAD, FINANCE)]
    answers = await asyncio.gather(*(record(office, given) for given in both))
    assert sorted(answer.recorded for answer in answers) == [False, True]
    assert len(await approvals(office, case)) == 1
