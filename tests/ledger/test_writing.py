"""What is written once stays once, and what is wrong is not written at all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from audit.verify import verify
from domain.approvals import Verdict
from domain.cases import CaseKind, EventKind, Outcome, Status
from domain.decisions import RefundMethod
from domain.errors import Refused
from ledger import postings
from ledger.books import Books
from ledger.records import AlreadyOpen, ArchiveRow, ReservationScope, ReservationState
from tests.ledger.builders import (
    AT,
    FINANCE,
    LEAD,
    POLICY_HASH,
    POLICY_TEXT,
    Refund,
    approval,
    decided_body,
    decision,
    event,
    numbered,
    opened,
    refused_attempt,
    slot,
    usd,
)

ORIGINAL = RefundMethod.ORIGINAL


async def test_a_whole_refund_leaves_clean_books(books: Books) -> None:
    await Refund().refunded(books)
    report = await verify(books)
    assert report.findings == ()
    async with books.reading() as reading:
        row = await reading.case("refund-a")
        balances = {b.account: b.amount_minor for b in await reading.trial_balance()}
        ended = await reading.ended_on_charge("ch_1")
        of_object = await reading.case_of_provider_object("re_1")
    assert row is not None
    assert row.status is Status.CLOSED
    assert row.outcome is Outcome.REFUNDED
    assert row.policy_hash == POLICY_HASH
    assert balances == {
        "clearing:refunds": 0,
        "pending:refunds": 0,
        "expense:refunds:courtesy": 2500,
        "provider:stripe": -2500,
    }
    assert ended == [row]
    assert of_object == row


async def test_every_step_of_a_case_may_be_repeated(books: Books) -> None:
    refund = Refund()
    await refund.refunded(books)
    async with books.reading() as reading:
        before = await reading.counts()
        head = await reading.head()
        row = await reading.case(refund.case_id)
    await refund.refunded(books)
    async with books.reading() as reading:
        assert await reading.counts() == before
        assert await reading.head() == head
        assert await reading.case(refund.case_id) == row


async def test_an_event_is_written_once_and_says_whether_it_was(books: Books) -> None:
    async with books.transaction() as tx:
        assert await tx.append_event(opened())
        assert not await tx.append_event(opened(reason="other"))
    async with books.transaction() as tx:
        assert not await tx.append_event(opened(reason="other"))
        row = await tx.reading.case("refund-a")
        assert row is not None
        assert row.reason == "courtesy"
        events = await tx.reading.events("refund-a")
    assert [(e.ordinal, e.seq, e.kind) for e in events] == [(1, 1, EventKind.OPENED)]
    assert events[0].hash


async def test_a_transaction_reads_its_own_events_before_they_are_sealed(books: Books) -> None:
    async with books.transaction() as tx:
        await tx.append_event(opened())
        events = await tx.reading.events("refund-a")
    assert [(e.ordinal, e.seq, e.hash) for e in events] == [(1, 0, "")]


async def test_an_error_inside_a_transaction_leaves_nothing(books: Books) -> None:
    async def fail_in_the_middle() -> None:
        async with books.transaction() as tx:
            await tx.append_event(opened())
            raise LookupError

    with pytest.raises(LookupError):
        await fail_in_the_middle()
    async with books.reading() as reading:
        assert await reading.case("refund-a") is None
        assert (await reading.head()).seq == 0


async def test_a_transaction_is_posted_once(books: Books) -> None:
    hold = postings.hold("refund-a", "hold", usd(100), AT)
    async with books.transaction() as tx:
        assert await tx.post(hold)
        assert not await tx.post(hold)
    async with books.reading() as reading:
        stored = await reading.ledger_transactions("refund-a")
    assert [(x.step, x.entries) for x in stored] == [("hold", hold.entries)]


async def test_transactions_are_read_in_pages(sqlite_books: Books) -> None:
    for refund in numbered(3):
        async with sqlite_books.transaction() as tx:
            await refund.open_and_decide(tx)
    async with sqlite_books.reading() as reading:
        first = await reading.ledger_transactions(limit=2)
        second = await reading.ledger_transactions(
            after=f"{first[-1].case_id}:{first[-1].step}", limit=2
        )
        pages = await reading.cases(limit=2), await reading.cases(after="refund-001")
    assert [x.case_id for x in first + second] == ["refund-000", "refund-001", "refund-002"]
    assert [[row.case_id for row in page] for page in pages] == [
        ["refund-000", "refund-001"],
        ["refund-002"],
    ]


async def test_reservations_go_from_held_to_posted_to_released(books: Books) -> None:
    scope = ReservationScope.CHARGE
    async with books.transaction() as tx:
        for expected in (True, False):
            reserved = await tx.reserve(
                case_id="refund-a", step="hold", scope=scope, key="ch_1", amount=usd(5), at=AT
            )
            assert reserved is expected
    steps = []
    async with books.transaction() as tx:
        for move in (tx.settle_reservations, tx.release_reservations):
            for _ in range(2):
                await move("refund-a", "hold")
                steps.append(await tx.reading.reservations(scope, "ch_1", "usd"))
        await tx.settle_reservations("refund-a", "hold")
        of_case = await tx.reading.reservations_of_case("refund-a")
    assert [[r.state for r in step] for step in steps] == [
        [ReservationState.POSTED],
        [ReservationState.POSTED],
        [],
        [],
    ]
    assert [(r.state, r.amount) for r in of_case] == [(ReservationState.RELEASED, usd(5))]


async def test_a_decision_and_its_policy_are_kept_once(books: Books) -> None:
    for expected in (True, False):
        async with books.transaction() as tx:
            await tx.keep_policy("refund", 3, POLICY_HASH, POLICY_TEXT)
            kept = await tx.record_decision(
                case_id="refund-a", step="decide", decision=decision(), outcome={"a": 1}, at=AT
            )
            assert kept is expected
    async with books.reading() as reading:
        stored = await reading.decision("refund-a")
        assert await reading.policy_content(POLICY_HASH) == POLICY_TEXT
        assert await reading.decision("refund-b") is None
    assert stored is not None
    assert stored.decision == decision()
    assert stored.outcome == {"a": 1}
    assert len(stored.hash) == 64


async def test_a_slot_has_one_verdict_whoever_comes_second(books: Books) -> None:
    async with books.transaction() as tx:
        await tx.append_event(opened())
        assert await tx.record_approval(approval())
        assert not await tx.record_approval(approval())
        assert not await tx.record_approval(approval(actor=FINANCE, verdict=Verdict.DECLINE))
        await tx.record_approval(approval(slot="second", amount=usd(10)))
        await tx.record_approval(approval(slot="no", verdict=Verdict.DECLINE))
    async with books.reading() as reading:
        rows = await reading.approvals("refund-a")
        day = AT.replace(hour=0, minute=0)
        approved = [
            await reading.approved_on(LEAD.id, "usd", CaseKind.REFUND, day + a, day + b)
            for a, b in (
                (timedelta(0), timedelta(days=1)),
                (timedelta(days=1), timedelta(days=2)),
            )
        ]
    assert [row.actor for row in rows if row.slot == "lead"] == [LEAD]
    assert approved == [usd(2510), usd(0)]


async def test_refused_attempts_are_kept_with_whatever_was_typed(books: Books) -> None:
    attempt = refused_attempt(message="nul \x00 and half a pair \ud800", case_id="")
    async with books.transaction() as tx:
        await tx.record_refused_attempt(attempt)
        await tx.record_refused_attempt(attempt)
        await tx.record_refused_attempt(refused_attempt(actor=None))
    async with books.reading() as reading:
        of_case = await reading.refused_attempts("refund-a")
        everything = await reading.refused_attempts()
    assert [a.actor for a in of_case] == [None]
    assert len(everything) == 2
    assert attempt in everything


async def test_what_leaves_is_queued_once_per_key_and_sent_once(books: Books) -> None:
    for body in ({"n": 1}, {"n": 2}):
        async with books.transaction() as tx:
            await tx.enqueue(case_id="refund-a", topic="case.closed", key="k", body=body, at=AT)
    async with books.reading() as reading:
        assert await reading.due_outbox(AT - timedelta(seconds=1)) == []
        (row,) = await reading.due_outbox(AT)
    later = AT + timedelta(minutes=5)
    async with books.transaction() as tx:
        await tx.mark_failed(row.id, AT, later)
        await tx.mark_failed(row.id, AT, later)
        assert await tx.reading.due_outbox(AT) == []
        (again,) = await tx.reading.due_outbox(later)
        await tx.mark_sent([row.id], later)
        await tx.mark_sent([row.id], later + timedelta(days=1))
        (sent,) = await tx.reading.outbox_of_case("refund-a")
        assert await tx.reading.due_outbox(later) == []
    assert (row.body, row.attempts, again.attempts, sent.sent_at) == ({"n": 1}, 0, 1, later)


async def test_a_request_stands_for_its_case_for_ever(books: Books) -> None:
    async def register(body_hash: str) -> tuple[str, bool]:
        async with books.transaction() as tx:
            known = await tx.register_request(
                request_id="req-1",
                kind=CaseKind.REFUND,
                body_hash=body_hash,
                case_id="refund-a",
                customer="cus_ann",
                at=AT,
            )
        return known.body_hash, known.is_new

    assert await register("a" * 64) == ("a" * 64, True)
    assert await register("a" * 64) == ("a" * 64, False)
    assert await register("b" * 64) == ("a" * 64, False)
    async with books.transaction() as tx:
        await tx.forget_request("req-1")
        await tx.forget_request("req-1")
    assert await register("b" * 64) == ("b" * 64, True)
    async with books.transaction() as tx:
        await tx.append_event(opened())
        await tx.forget_request("req-1")
        assert await tx.reading.request("req-1") is not None


async def test_a_providers_event_is_taken_in_once(books: Books) -> None:
    async with books.transaction() as tx:
        for expected in (True, False):
            taken = await tx.take_inbox(
                event_id="evt_1", event_type="refund.updated", object_ids=["re_1", "ch_1"], at=AT
            )
            assert taken is expected
        (row,) = await tx.reading.inbox()
        await tx.finish_inbox("evt_1", "done")
        await tx.finish_inbox("evt_1", "done")
        assert await tx.reading.inbox() == []
        assert len(await tx.reading.inbox("done")) == 1
    assert row.object_ids == ["re_1", "ch_1"]


async def test_an_archive_is_named_once_per_run(books: Books) -> None:
    archive = ArchiveRow(
        case_id="refund-a",
        workflow_id="refund-a",
        run_id="run-1",
        file="refund-a/run-1.json.gz",
        sha256="a" * 64,
        size_bytes=1234,
        at=AT,
    )
    async with books.transaction() as tx:
        assert await tx.record_archive(archive)
        assert not await tx.record_archive(archive)
    async with books.reading() as reading:
        assert await reading.archives("refund-a") == [archive]


async def test_ended_is_ended_and_only_a_link_may_follow(books: Books) -> None:
    await Refund().refunded(books)
    async with books.transaction() as tx:
        with pytest.raises(Refused, match="has ended") as refused:
            await tx.append_event(event(EventKind.REMINDED, {"slot": "lead"}))
        body = {"case_id": "refund-b", "relation": "follow_up"}
        assert await tx.append_event(event(EventKind.LINKED, body))
    assert refused.value.code == "closed"


async def test_one_thing_has_one_open_case(books: Books) -> None:
    key = "charge:ch_1"
    first = Refund(business_key=key)
    await first.settling(books)
    async with books.transaction() as tx:
        with pytest.raises(AlreadyOpen) as already:
            await tx.append_event(opened("refund-b", business_key=key))
    assert already.value.case_id == first.case_id
    async with books.transaction() as tx:
        await first.confirm(tx)
        assert await tx.append_event(opened("refund-b", business_key=key))


async def test_a_case_cannot_begin_in_the_middle(sqlite_books: Books) -> None:
    async with sqlite_books.transaction() as tx:
        with pytest.raises(ValueError, match="begins with decided"):
            await tx.append_event(event(EventKind.DECIDED, decided_body()))
        with pytest.raises(ValueError, match="opened event without 'customer'"):
            await tx.append_event(event(EventKind.OPENED, {"kind": "refund", "request_id": "r"}))


async def test_locks_are_taken_in_the_houses_order(books: Books) -> None:
    async with books.transaction() as tx:
        await tx.lock_charge("ch_1")
        await tx.lock_concessions("cus_ann", "usd")
        await tx.lock_budget("agent-1", "usd", AT.date())
        await tx.lock_charge("ch_1")  # held already: nothing to wait for
        with pytest.raises(RuntimeError, match="the order is charge, concessions, budget"):
            await tx.lock_charge("ch_2")


async def test_no_lock_is_waited_for_once_an_event_is_written(books: Books) -> None:
    async with books.transaction() as tx:
        await tx.lock_charge("ch_1")
        await tx.append_event(opened())
        await tx.lock_charge("ch_1")
        with pytest.raises(RuntimeError, match="take locks before writing"):
            await tx.lock_concessions("cus_ann", "usd")


async def test_a_transaction_within_a_transaction_is_refused(books: Books) -> None:
    async with books.transaction():
        with pytest.raises(RuntimeError, match="a transaction open already"):
            async with books.transaction():
                pass
    async with books.transaction() as tx:
        assert await tx.append_event(opened())


async def test_a_customers_history_counts_what_was_given_and_kept(books: Books) -> None:
    kept, failed, expired = numbered(3, customer="cus_ann")
    await kept.refunded(books)
    await failed.settling(books)
    async with books.transaction() as tx:
        await failed.fail(tx)
    async with books.transaction() as tx:
        await expired.open_and_decide(tx)
        await expired.void(tx)
    async with books.reading() as reading:
        history = await reading.customer_history("cus_ann", AT)
        later = await reading.customer_history("cus_ann", AT + timedelta(seconds=1))
    assert (history.refunds, history.refunded) == (1, {"usd": usd(2500)})
    assert (history.concessions, history.conceded) == (1, {"usd": usd(2500)})
    assert (later.refunds, later.concessions, later.refunded) == (0, 0, {})
    assert (await verify(books)).findings == ()


async def test_what_is_due_is_also_a_first_answer_that_nobody_gave(sqlite_books: Books) -> None:
    due = AT + timedelta(minutes=15)
    asked = {"channel": "phone", "first_response_due": due}
    events = [
        opened(f"refund-{name}", request_id=name, charge=f"ch_{name}", **asked)
        for name in ("answered", "ended", "silent")
    ]
    told = event(EventKind.ANSWERED, {"channel": "phone"}, case_id="refund-answered")
    ended = event(EventKind.CLOSED, {"outcome": "withdrawn"}, case_id="refund-ended")
    async with sqlite_books.transaction() as tx:
        for each in (*events, told, ended):
            await tx.append_event(each)
    async with sqlite_books.reading() as reading:
        before = await reading.cases(due_before=due)
        after = await reading.cases(due_before=due + timedelta(microseconds=1))
        first, *_ = await reading.by_urgency()
    assert before == []
    assert first.case_id == "refund-silent"
    assert [row.case_id for row in after] == ["refund-silent"]


async def test_lists_filter_by_what_a_desk_asks_for(sqlite_books: Books) -> None:
    first, second = numbered(2, slots=("lead",))
    await first.refunded(sqlite_books)
    async with sqlite_books.transaction() as tx:
        await second.open_and_decide(tx)
    async with sqlite_books.reading() as reading:
        waiting = await reading.cases(status=Status.AWAITING_APPROVAL, kind=CaseKind.REFUND)
        ended = await reading.cases(outcome=Outcome.REFUNDED, customer="cus_ann", charge="ch_0")
        due = await reading.open_cases(due_before=AT + timedelta(days=4))
        not_due = await reading.open_cases(due_before=AT + timedelta(days=3))
        totals = {(x.status, x.outcome): x for x in await reading.totals()}
    assert [row.case_id for row in waiting] == [second.case_id]
    assert [row.case_id for row in ended] == [first.case_id]
    assert [row.case_id for row in due] == [second.case_id]
    assert not_due == []
    assert totals[Status.CLOSED, Outcome.REFUNDED].amount_minor == 2500
    assert slot()["expires_at"] == "2026-12-04T09:30:00.000000Z"
