"""What the engine itself might write wrongly: each invariant of a case, broken and found."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from audit.case_files import PAGE
from audit.rebuild import rebuild
from audit.verify import VerifyReport, verify
from domain.actors import Actor, Role
from domain.cases import EventKind, Outcome
from domain.decisions import RefundMethod
from domain.linked import ALTERNATIVE_REFUSED, OUTSIDE_REFUND, alternative_id
from domain.refunds import Authority
from ledger import postings
from ledger.books import Books
from ledger.records import OUTSIDE
from ledger.writing import BookTransaction
from tests.ledger.builders import (
    AGENT,
    AT,
    DIGEST,
    FINANCE,
    LEAD,
    Refund,
    accepted_body,
    approval,
    decided_body,
    decision,
    event,
    opened,
    opened_body,
    usd,
    without_guards,
)
from tests.ledger.conftest import Place

Wrong = Callable[[BookTransaction], Awaitable[Any]]
REFUND = Refund()
DAY = timedelta(days=1)


async def written(books: Books, *steps: Wrong) -> VerifyReport:
    for step in steps:
        async with books.transaction() as tx:
            await step(tx)
    return await verify(books)


async def test_money_without_approval_is_found(sqlite_books: Books) -> None:
    report = await written(sqlite_books, REFUND.open_and_decide, REFUND.accept)
    assert {f.invariant for f in report.findings} == {"I4"}
    assert [f.sentence for f in report.findings] == [
        "money moved without a yes on slot lead",
        "money moved while the case, by its events, was awaiting_approval",
    ]


async def test_a_case_that_goes_on_from_one_that_does_not_name_it_is_found(
    sqlite_books: Books,
) -> None:
    await REFUND.refunded(sqlite_books)
    first = REFUND.case_id
    report = await written(
        sqlite_books,
        lambda tx: tx.append_event(opened("refund-b", request_id="b", appeal_of=first)),
        lambda tx: tx.append_event(opened("refund-c", request_id="c", alternative_to=first)),
    )
    assert [(f.invariant, f.sentence) for f in report.findings] == [
        ("I13", f"it goes on from {first}, which does not name it")
    ] * 2


@pytest.mark.parametrize(
    ("goes_on", "since", "told", "is_found"),
    [
        (True, DAY, "", False),
        (True, DAY + timedelta.resolution, "", True),
        (True, DAY + timedelta.resolution, "case.failed_at_bank", True),
        (True, DAY + timedelta.resolution, ALTERNATIVE_REFUSED, False),
        (True, DAY + timedelta.resolution, "of another request", True),
        (False, 30 * DAY, "", False),
    ],
)
async def test_what_a_case_owes_at_its_end_and_nobody_pays_or_knows_of_is_found(
    sqlite_books: Books, goes_on: bool, since: timedelta, told: str, is_found: bool
) -> None:
    async def fail(tx: BookTransaction) -> None:
        await REFUND.fail(tx, goes_on=goes_on)
        if told == "of another request":
            await notice(tx, ALTERNATIVE_REFUSED, case="refund-typo")
        elif told:
            await notice(tx, told, case=alternative_id(REFUND.case_id))

    async def notice(tx: BookTransaction, topic: str, **body: str) -> None:
        await tx.enqueue(case_id=REFUND.case_id, topic=topic, key=topic, body=body, at=AT)

    await REFUND.settling(sqlite_books)
    await written(sqlite_books, fail)
    ended = AT + 9 * DAY
    report = await verify(sqlite_books, now=ended + since)
    why = "it ended with money to be paid another way, and no case pays it: `reopen` does"
    assert [(f.invariant, f.sentence) for f in report.findings] == [("I6", why)] * is_found


async def test_an_appeal_that_was_decided_by_its_first_judge_is_found(
    sqlite_books: Books,
) -> None:
    await REFUND.refunded(sqlite_books)
    second = replace(REFUND, case_id="refund-b", provider_id="re_2")
    link = event(EventKind.LINKED, {"case_id": second.case_id, "why": "appeal"}, step="link:appeal")
    report = await written(
        sqlite_books,
        lambda tx: tx.append_event(opened("refund-b", request_id="b", appeal_of=REFUND.case_id)),
        lambda tx: tx.append_event(link),
        lambda tx: tx.record_approval(approval(case_id=second.case_id)),
    )
    assert ("I5", f"{LEAD.id} judged {REFUND.case_id} and its appeal") in {
        (f.invariant, f.sentence) for f in report.findings
    }


@pytest.mark.parametrize("is_the_same", [False, True])
async def test_what_the_provider_moved_once_and_the_books_twice_is_found(
    sqlite_books: Books, is_the_same: bool
) -> None:
    await REFUND.settling(sqlite_books)
    refund = REFUND.provider_id if is_the_same else "re_by_hand"
    made = postings.outside("exception-x", OUTSIDE, usd(1), RefundMethod.ORIGINAL, refund, AT)
    report = await written(sqlite_books, lambda tx: tx.post(made))
    twice = [(f.row, f.sentence) for f in report.findings if f.invariant == "I2"]
    found = ("refund-a:post", f"{refund} is booked here and in exception-x:{OUTSIDE}")
    assert twice == [found] * is_the_same


@pytest.mark.parametrize("was_known", [False, True])
async def test_an_appeal_that_was_paid_though_a_hand_had_given_it_is_found(
    sqlite_books: Books, was_known: bool
) -> None:
    """What is booked from its last yes on could not hold it up any more."""
    first = REFUND.case_id
    appeal = replace(REFUND, case_id="refund-b", provider_id="re_2")
    given = {"case_id": "exception-x", "why": OUTSIDE_REFUND}

    async def begin(tx: BookTransaction) -> None:
        await tx.append_event(opened(first))
        await tx.append_event(opened(appeal.case_id, request_id="b", appeal_of=first))
        link = {"case_id": appeal.case_id, "why": "appeal"}
        await tx.append_event(event(EventKind.LINKED, link, step="link:appeal"))

    async def give(tx: BookTransaction) -> None:
        await tx.append_event(event(EventKind.LINKED, given, step="link:exception-x"))

    last = [give, appeal.approve] if was_known else [appeal.approve, give]
    report = await written(sqlite_books, begin, appeal.open_and_decide, *last, appeal.accept)
    twice = [f.sentence for f in report.findings if "for the same" in f.sentence]
    said = "it moved money, and so did exception-x, or may yet, for the same"
    assert twice == [said] * was_known


@pytest.mark.parametrize("gave_nothing", [False, True])
async def test_a_claim_that_was_given_two_ways_is_found(
    sqlite_books: Books, gave_nothing: bool
) -> None:
    """An appeal succeeds, and what the refusal offered instead is taken too."""
    first = REFUND.case_id
    appeal = replace(REFUND, case_id="refund-b", provider_id="re_2", slots=())
    instead = replace(REFUND, case_id="refund-c", provider_id="re_3", slots=())
    ways = {"appeal": appeal.case_id, "alternative": instead.case_id}
    begun = [
        opened(first),
        opened(appeal.case_id, request_id="b", appeal_of=first),
        opened(instead.case_id, request_id="c", alternative_to=first),
        *(
            event(EventKind.LINKED, {"case_id": case_id, "why": why}, step=f"link:{why}")
            for why, case_id in ways.items()
        ),
    ]
    async with sqlite_books.transaction() as tx:
        for told in begun:
            await tx.append_event(told)
    report = await written(
        sqlite_books,
        appeal.open_and_decide,
        appeal.void if gave_nothing else appeal.accept,
        instead.open_and_decide,
        instead.accept,
    )
    twice = {f.row: f.sentence for f in report.findings if "for the same" in f.sentence}
    said = "it moved money, and so did {}, or may yet, for the same"
    assert twice == (
        {}
        if gave_nothing
        else {
            f"{appeal.case_id}:opened": said.format(instead.case_id),
            f"{instead.case_id}:opened": said.format(appeal.case_id),
        }
    )


async def test_cases_that_go_on_from_each_other_are_read_to_an_end(sqlite_books: Books) -> None:
    a, b = "refund-a", "refund-b"
    for case_id, other in ((a, b), (b, a)):
        body = {"case_id": other, "why": "appeal"}
        refund = replace(REFUND, case_id=case_id, provider_id=f"re_{case_id}", slots=())
        async with sqlite_books.transaction() as tx:
            await tx.append_event(opened(case_id, request_id=case_id, appeal_of=other))
            link = event(EventKind.LINKED, body, case_id=case_id, step="link:appeal")
            await tx.append_event(link)
        await refund.settling(sqlite_books)
    report = await verify(sqlite_books)
    endless = {f.row for f in report.findings if f.invariant == "I13"}
    assert endless == {f"{a}:opened", f"{b}:opened"}


async def test_money_that_moves_on_a_decision_that_was_not_made_is_found(
    sqlite_books: Books,
) -> None:
    await REFUND.refunded(sqlite_books)
    second = replace(REFUND, case_id="refund-b", provider_id="re_2", slots=())
    said = Authority(
        case_id=REFUND.case_id, decision_hash="0" * 64, approval_digest=DIGEST,
        charge="ch_1", amount=second.amount,
    )  # fmt: skip
    begin = opened("refund-b", request_id="b", authorised_by=said.model_dump(mode="json"))
    report = await written(
        sqlite_books, lambda tx: tx.append_event(begin), second.open_and_decide, second.accept
    )
    assert ("I4", f"money moved on a decision that {REFUND.case_id} did not make") in {
        (f.invariant, f.sentence) for f in report.findings
    }


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        ({}, {}),
        ({"customer": "cus_bob"}, {}),
        ({"charge": "ch_2"}, {}),
        ({}, {"charge": "ch_2"}),
        ({}, {"amount": usd(2501)}),
    ],
)
async def test_money_that_moves_on_the_decision_of_another_thing_is_found(
    thing: dict[str, Any], said: dict[str, Any], sqlite_books: Books
) -> None:
    first = replace(REFUND, slots=())
    await written(sqlite_books, first.open_and_decide, first.accept, first.fail)
    async with sqlite_books.reading() as reading:
        stored = await reading.decision(first.case_id)
    assert stored is not None
    authority = stored.authority("ch_1").model_copy(update=said)
    second = replace(REFUND, case_id="refund-b", provider_id="re_2", slots=(), **thing)
    body = {"request_id": "b", "authorised_by": authority.model_dump(mode="json"), **thing}
    begin = opened("refund-b", **body)
    report = await written(
        sqlite_books, lambda tx: tx.append_event(begin), second.open_and_decide, second.accept
    )
    sentence = "money moved on what refund-a decided of another thing"
    found = [f.invariant for f in report.findings if f.sentence == sentence]
    assert found == (["I4"] if thing or said else [])


async def test_money_that_a_rule_moves_needs_no_approval(sqlite_books: Books) -> None:
    await replace(REFUND, slots=()).refunded(sqlite_books)
    assert (await verify(sqlite_books)).is_clean


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"actor": Actor(id=AGENT.id, role=Role.LEAD)}, "agent-1 was not to decide this case"),
        ({"actor": Actor(id="clerk", role=Role.SERVICE)}, "a service may not fill it"),
        ({"digest": "0" * 64}, "it binds to something else than was asked"),
        ({"policy_hash": "0" * 64}, "it was given under another policy than the decision"),
        ({"amount": usd(1)}, "it is for another amount than was decided"),
        ({"at": AT + timedelta(days=4)}, "it was given after the slot had expired"),
    ],
)
async def test_an_approval_that_does_not_hold_is_found(
    overrides: dict[str, Any], sentence: str, sqlite_books: Books
) -> None:
    async def approve(tx: BookTransaction) -> None:
        await tx.record_approval(given)
        body = {"slot": given.slot, "verdict": "approve", "approver": given.actor, "note": ""}
        event = REFUND.event(EventKind.APPROVAL_RECORDED, {**body, "slots_left": 0}, 1, given.actor)
        await tx.append_event(event)

    given = approval(**overrides)
    report = await written(sqlite_books, REFUND.open_and_decide, approve, REFUND.accept)
    assert sentence in [f.sentence for f in report.findings]
    assert {f.table for f in report.findings} == {"approvals"}


async def test_one_person_in_two_slots_is_found(sqlite_books: Books) -> None:
    refund = replace(REFUND, slots=("lead", "second"))
    report = await written(
        sqlite_books,
        refund.open_and_decide,
        lambda tx: refund.approve(tx, LEAD, "lead"),
        lambda tx: refund.approve(tx, LEAD, "second"),
        refund.accept,
    )
    assert [(f.invariant, f.sentence) for f in report.findings] == [
        ("I5", "lead-1 filled two slots")
    ]


async def test_two_persons_in_two_slots_are_clean(sqlite_books: Books) -> None:
    refund = replace(REFUND, slots=("lead", "second"))
    report = await written(
        sqlite_books,
        refund.open_and_decide,
        lambda tx: refund.approve(tx, LEAD, "lead"),
        lambda tx: refund.approve(tx, FINANCE, "second"),
        refund.accept,
    )
    assert report.is_clean


async def test_money_that_went_while_the_books_waited_for_a_yes_is_found(
    sqlite_books: Books,
) -> None:
    refund = replace(REFUND, slots=("lead", "second"))
    report = await written(
        sqlite_books,
        refund.open_and_decide,
        lambda tx: refund.approve(tx, LEAD, "lead"),
        lambda tx: refund.approve(tx, FINANCE, "second", left=1),
        refund.accept,
    )
    sentence = "money moved while the case, by its events, was awaiting_approval"
    assert [(f.invariant, f.sentence) for f in report.findings] == [("I4", sentence)]


async def test_money_that_was_never_decided_is_found(sqlite_books: Books) -> None:
    async def open_only(tx: BookTransaction) -> None:
        await tx.append_event(event(EventKind.OPENED, opened_body()))

    report = await written(sqlite_books, open_only, REFUND.accept)
    found = {(f.invariant, f.sentence) for f in report.findings}
    assert ("I4", "money moved without a decision to approve") in found


async def test_a_post_that_nobody_tells_of_is_found(sqlite_books: Books) -> None:
    async def post_alone(tx: BookTransaction) -> None:
        method = REFUND.method
        await tx.post(postings.post("refund-a", "post", usd(2500), method, "courtesy", "re_9", AT))

    report = await written(sqlite_books, REFUND.open_and_decide, post_alone)
    assert [f.sentence for f in report.findings] == [
        "money was posted that no accepted event tells of"
    ]


async def test_a_second_post_of_the_same_money_is_found(sqlite_books: Books) -> None:
    async def post_again(tx: BookTransaction) -> None:
        method = REFUND.method
        await tx.post(
            postings.post("refund-a", "post#2", usd(2500), method, "courtesy", "re_1", AT)
        )

    report = await written(
        sqlite_books, REFUND.open_and_decide, REFUND.approve, REFUND.accept, post_again
    )
    assert [(f.invariant, f.table, f.row) for f in report.findings] == [
        ("I2", "ledger_transactions", "refund-a:post#2"),
        ("I4", "ledger_transactions", "refund-a:post#2"),
    ]


async def test_an_acceptance_without_its_post_is_found(sqlite_books: Books) -> None:
    async def accept_only(tx: BookTransaction) -> None:
        await tx.append_event(event(EventKind.ACCEPTED, accepted_body(), at=AT + DAY * 2))

    report = await written(sqlite_books, REFUND.open_and_decide, REFUND.approve, accept_only)
    assert [f.sentence for f in report.findings] == [
        "no post of 25.00 USD in the ledger belongs to it"
    ]


async def test_another_amount_than_decided_is_found(sqlite_books: Books) -> None:
    other = replace(REFUND, amount=usd(2600))
    report = await written(
        sqlite_books, REFUND.open_and_decide, lambda tx: REFUND.approve(tx), other.accept
    )
    assert "another amount moved than was decided" in [f.sentence for f in report.findings]


async def test_a_case_that_ends_with_its_hold_standing_is_found(sqlite_books: Books) -> None:
    report = await written(
        sqlite_books,
        REFUND.open_and_decide,
        lambda tx: REFUND.close(tx, Outcome.EXPIRED, 3),
    )
    found = [f.sentence for f in report.findings]
    assert "the case has ended with 25.00 USD left on pending:refunds" in found
    assert "the case has ended and still holds 25.00 USD" in found
    assert any(s.startswith("no case is open, but 2500 minor units") for s in found)
    assert {f.invariant for f in report.findings} == {"I3"}


async def test_a_reservation_that_says_other_than_the_ledger_is_found(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await REFUND.refunded(sqlite_books)
    sqlite_place.vandal.attempt("UPDATE reservations SET amount_minor = 1 WHERE scope = 'charge'")
    report = await verify(sqlite_books)
    assert [f.sentence for f in report.findings] == [
        "0.01 USD is reserved as posted on the charge, the ledger says 25.00 USD"
    ]


async def test_the_case_row_is_held_against_its_events(place: Place, books: Books) -> None:
    await REFUND.settling(books)
    place.vandal.attempt("UPDATE cases SET status = 'closed', due_at = NULL")
    report = await verify(books)
    assert [(f.invariant, f.sentence) for f in report.findings] == [
        ("I8", "the row differs from its events in status, due_at")
    ]
    place.vandal.attempt("DELETE FROM cases")
    report = await verify(books)
    assert [f.sentence for f in report.findings] == ["the case has events but no row"]


async def test_an_open_case_that_nobody_moves_is_found(sqlite_books: Books) -> None:
    await REFUND.settling(sqlite_books)
    due = AT + timedelta(days=7)
    assert (await verify(sqlite_books, now=due)).is_clean
    report = await verify(sqlite_books, now=due + timedelta(hours=2))
    assert [f.invariant for f in report.findings] == ["I6"]


async def test_an_open_case_without_a_due_instant_is_found(sqlite_books: Books) -> None:
    async with sqlite_books.transaction() as tx:
        await REFUND.open_and_decide(tx)
        await REFUND.approve(tx)
        body = {
            "provider_id": "re_1",
            "amount": usd(2500),
            "method": REFUND.method,
            "looks": [],
            "trace_looks": [],
            "expected": [],
        }
        await tx.append_event(event(EventKind.ACCEPTED, body))
        await tx.post(
            postings.post("refund-a", "post", usd(2500), REFUND.method, "courtesy", "re_1", AT)
        )
    found = await verify(sqlite_books)
    assert "settling, but waits for bank without a due instant" in [
        f.sentence for f in found.findings
    ]


async def test_an_event_after_the_end_and_out_of_number_is_found(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await REFUND.refunded(sqlite_books)
    sqlite_place.vandal.attempt(
        "INSERT INTO case_events SELECT 'refund-a:late', case_id, 'late', ordinal + 2, 'reminded', "
        "occurred_at, actor_id, actor_role, body, policy, policy_version, policy_hash, "
        "workflow_id, run_id, recorded_at FROM case_events WHERE step = 'closed'"
    )
    report = await verify(sqlite_books)
    found = {(f.invariant, f.row) for f in report.findings}
    assert ("I13", "refund-a:late") in found
    assert ("I8", "refund-a:late") in found
    assert ("chain", "refund-a:late") in found


async def test_a_decision_whose_policy_is_not_kept_is_found(sqlite_books: Books) -> None:
    unkept = hashlib.sha256(b"another").hexdigest()
    async with sqlite_books.transaction() as tx:
        await tx.keep_policy("refund", 4, "1" * 64, "not what the hash says")
        await tx.record_decision(
            case_id="refund-z", step="decide", decision=decision(hash=unkept), outcome={}, at=AT
        )
    found = {(f.table, f.row) for f in (await verify(sqlite_books)).findings}
    assert found == {("decisions", "refund-z:decide"), ("policy_contents", "1" * 64)}


async def test_a_case_without_any_event_is_found(sqlite_books: Books) -> None:

    async def hold_alone(tx: BookTransaction) -> None:
        await tx.post(postings.hold("refund-a", "hold", usd(1), AT))

    report = await written(sqlite_books, hold_alone)
    assert [f.sentence for f in report.findings] == ["the case has rows but no events"]


async def test_events_that_do_not_fit_together_are_found(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await REFUND.settling(sqlite_books)
    sqlite_place.vandal.run("UPDATE case_events SET kind = 'reminded' WHERE step = 'opened'")
    found = [f.sentence for f in (await verify(sqlite_books)).findings if f.invariant == "I8"]
    assert found == [
        "its events do not fit together: refund-a begins with reminded, not with opened"
    ]


async def test_events_sealed_in_another_order_than_numbered_are_found(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await REFUND.settling(sqlite_books)
    sqlite_place.vandal.run(
        "UPDATE case_events SET ordinal = 90 WHERE step = 'approve:lead'",
        "UPDATE case_events SET ordinal = 3 WHERE step = 'accepted'",
        "UPDATE case_events SET ordinal = 4 WHERE step = 'approve:lead'",
    )
    found = [(f.invariant, f.row, f.sentence) for f in (await verify(sqlite_books)).findings]
    assert (
        "I8",
        "refund-a:approve:lead",
        "it was sealed before the event that it follows",
    ) in found


async def test_a_movement_that_cannot_be_judged_is_found(sqlite_books: Books) -> None:
    async def decide_without_slots_field(tx: BookTransaction) -> None:
        await tx.append_event(event(EventKind.OPENED, opened_body(requested_by=None)))
        await tx.append_event(event(EventKind.DECIDED, decided_body()))

    report = await written(sqlite_books, decide_without_slots_field, REFUND.accept)
    found = {(f.row, f.sentence.split(":")[0]) for f in report.findings}
    assert ("refund-a:accepted", "its movement cannot be judged") in found
    assert ("refund-a:decided", "no decision is kept that names its policy") in found


async def test_a_balance_that_is_off_is_found_by_its_transaction(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await REFUND.settling(sqlite_books)
    sqlite_place.vandal.run("UPDATE ledger_entries SET amount_minor = 7 WHERE ordinal = 1")
    found = {f.row for f in (await verify(sqlite_books)).findings if f.invariant == "I3"}
    assert {"refund-a:hold", "refund-a:post"} <= found


async def test_an_entry_of_no_transaction_is_found(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await REFUND.settling(sqlite_books)
    sqlite_place.vandal.run(
        "PRAGMA foreign_keys=OFF",
        "INSERT INTO ledger_entries VALUES ('refund-z:hold', 1, 'pending:refunds', 0, 'usd')",
    )
    found = {(f.table, f.row) for f in without_guards(await verify(sqlite_books))}
    assert found == {("ledger_entries", "refund-z:hold#1")}


async def test_another_kind_of_case_need_not_reserve_on_its_charge(sqlite_books: Books) -> None:
    async with sqlite_books.transaction() as tx:
        await tx.append_event(event(EventKind.OPENED, opened_body(kind="fee_waiver")))
        await tx.append_event(event(EventKind.CLOSED, {"outcome": "refused"}))
    assert (await verify(sqlite_books)).is_clean


async def test_more_cases_than_one_page_are_all_proven(sqlite_books: Books) -> None:
    async with sqlite_books.transaction() as tx:
        for n in range(PAGE + 5):
            await tx.append_event(opened(f"refund-{n:03}"))
    assert (await verify(sqlite_books)).is_clean
    assert await rebuild(sqlite_books) == PAGE + 5
    assert (await verify(sqlite_books)).is_clean
