"""Where a case is, derived from its events and nothing else."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from domain.canonical import instant
from domain.cases import CaseEvent, EventKind, Outcome, Status
from ledger.projection import SENDING_PATIENCE, CaseRow, fold, project, slots_of
from tests.ledger.builders import (
    AT,
    FINANCE,
    LEAD,
    accepted_body,
    decided_body,
    event,
    opened,
    slot,
    usd,
)

OPENED = opened()
DECIDED = event(EventKind.DECIDED, decided_body())
APPROVED = event(EventKind.APPROVAL_RECORDED, {"slot": "lead", "slots_left": 0})
ACCEPTED = event(EventKind.ACCEPTED, accepted_body())
TRACED = event(
    EventKind.TRACE_OPENED,
    {"next_look_at": instant(AT + timedelta(days=20)), "reference": "re_1"},
)
CLOSED = event(EventKind.CLOSED, {"outcome": "refunded", "reason_key": "", "rule": ""})
NO_ANSWER = (Outcome.WITHDRAWN, Outcome.RECORDED)
"""The customer's own end, and one that no customer asked for."""


def row_of(*events: CaseEvent) -> CaseRow:
    row = fold(events)
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("events", "status", "waits_for", "due_at"),
    [
        ([], Status.OPEN, "", None),
        ([DECIDED], Status.AWAITING_APPROVAL, "approval", AT + timedelta(days=3)),
        (
            [event(EventKind.DECIDED, decided_body(slots=[]))],
            Status.SENDING,
            "provider",
            AT + SENDING_PATIENCE,
        ),
        ([event(EventKind.DECIDED, decided_body(verdict="refuse"))], Status.OPEN, "", None),
        ([DECIDED, APPROVED], Status.SENDING, "provider", AT + SENDING_PATIENCE),
        (
            [DECIDED, event(EventKind.APPROVAL_RECORDED, {"slot": "lead", "slots_left": 1})],
            Status.AWAITING_APPROVAL,
            "approval",
            AT + timedelta(days=3),
        ),
        ([DECIDED, APPROVED, ACCEPTED], Status.SETTLING, "bank", AT + timedelta(days=7)),
        (
            [
                DECIDED,
                ACCEPTED,
                event(EventKind.LOOKED, {"next_look_at": instant(AT + timedelta(days=14))}),
            ],
            Status.SETTLING,
            "bank",
            AT + timedelta(days=14),
        ),
        (
            [DECIDED, ACCEPTED, event(EventKind.LOOKED, {"next_look_at": None})],
            Status.SETTLING,
            "bank",
            AT + timedelta(days=7),
        ),
        ([DECIDED, ACCEPTED, TRACED], Status.TRACING, "trace", AT + timedelta(days=20)),
        ([DECIDED, ACCEPTED, TRACED, CLOSED], Status.CLOSED, "", None),
    ],
)
def test_status_follows_from_the_last_lifecycle_event(
    events: list[CaseEvent], status: Status, waits_for: str, due_at: Any
) -> None:
    row = row_of(OPENED, *events)
    assert (row.status, row.waits_for, row.due_at) == (status, waits_for, due_at)
    assert row.events == len(events) + 1


@pytest.mark.parametrize(
    "kind",
    [
        EventKind.REMINDED,
        EventKind.ESCALATED,
        EventKind.DELEGATED,
        EventKind.CONTACTED,
        EventKind.SURVEYED,
        EventKind.DECLINE_RECORDED,
        EventKind.LINKED,
        EventKind.CONFIRMED,
        EventKind.FAILED,
        EventKind.OUTCOME_UNKNOWN,
    ],
)
def test_events_that_tell_but_do_not_move_leave_the_status(kind: EventKind) -> None:
    before = row_of(OPENED, DECIDED, APPROVED, ACCEPTED)
    after = project(before, event(kind, {}))
    assert after == before.model_copy(update={"events": before.events + 1})


def test_the_earliest_slot_is_the_one_that_is_due() -> None:
    slots = [slot("a", expires_at=instant(AT + timedelta(days=n))) for n in (5, 2, 3)]
    row = row_of(OPENED, event(EventKind.DECIDED, decided_body(slots=slots)))
    assert row.due_at == AT + timedelta(days=2)


def test_a_row_tells_what_was_decided_and_what_was_told_the_customer() -> None:
    row = row_of(OPENED, DECIDED, ACCEPTED, CLOSED)
    assert (row.rule, row.method, row.reason_key) == ("courtesy-small", "original", "courtesy")
    assert (row.policy, row.policy_version) == ("refund", 3)
    assert (row.expected_from, row.expected_to) == (date(2026, 12, 8), date(2026, 12, 15))
    assert (row.amount_minor, row.provider_id) == (2500, "re_1")
    assert (row.outcome, row.closed_at) == (Outcome.REFUNDED, AT)


def test_the_closing_amount_stands() -> None:
    body = {"outcome": "refunded", "amount": usd(2400)}
    assert row_of(OPENED, DECIDED, event(EventKind.CLOSED, body)).amount_minor == 2400


def test_an_opening_may_name_an_amount_and_a_thing() -> None:
    row = row_of(opened(amount=usd(700), business_key="charge:ch_1"))
    assert (row.amount_minor, row.business_key) == (700, "charge:ch_1")


def test_a_transferred_case_is_at_the_other_desk() -> None:
    moved = [event(EventKind.TRANSFERRED, {"desk": desk}) for desk in ("finance", "retention")]
    assert row_of(OPENED, DECIDED, *moved).desk == "retention"
    assert row_of(OPENED, DECIDED, *moved).status is Status.AWAITING_APPROVAL


def test_a_slot_is_the_last_delegates_and_the_other_slots_are_nobodys() -> None:
    decided = event(EventKind.DECIDED, decided_body(slots=[slot("a"), slot("b")]))
    handed = [event(EventKind.DELEGATED, {"slot": "b", "to": to}) for to in (LEAD, FINANCE)]
    assert [s.delegate for s in slots_of([OPENED, decided])] == [None, None]
    assert [s.delegate for s in slots_of([OPENED, decided, *handed])] == [None, FINANCE]


DUE = AT + timedelta(hours=8)
ASKED = opened(channel="phone", first_response_due=instant(DUE))
ANSWERED = event(EventKind.ANSWERED, {"channel": "phone", "text": "", "direction": "outgoing"})


def test_a_case_knows_how_it_was_asked_and_by_when_to_answer() -> None:
    row = row_of(ASKED, DECIDED)
    assert (row.channel, row.first_response_due, row.first_responded_at) == ("phone", DUE, None)
    follows = row_of(opened(appeal_of="refund-b", alternative_to="refund-c"))
    assert (follows.appeal_of, follows.alternative_to) == ("refund-b", "refund-c")
    before_there_were_channels = row_of(OPENED)
    assert before_there_were_channels.channel is None
    assert before_there_were_channels.first_response_due is None


@pytest.mark.parametrize(
    ("events", "is_answer"),
    [
        ([DECIDED], False),
        ([DECIDED, APPROVED], False),
        ([DECIDED, event(EventKind.CONTACTED, {"channel": "phone", "text": ""})], False),
        ([DECIDED, event(EventKind.REMINDED, {})], False),
        ([DECIDED, ANSWERED], True),
        ([event(EventKind.INFORMATION_REQUESTED, {"until": instant(AT)})], True),
        ([DECIDED, event(EventKind.EVIDENCE_ADDED, {})], False),
        ([DECIDED, APPROVED, ACCEPTED], True),
        *(
            ([event(EventKind.CLOSED, {"outcome": outcome})], outcome not in NO_ANSWER)
            for outcome in Outcome
        ),
    ],
)
def test_the_clock_stops_at_the_first_answer_of_substance(
    events: list[CaseEvent], is_answer: bool
) -> None:
    at = AT + timedelta(minutes=3)
    *before, last = events
    row = row_of(ASKED, *before, last.model_copy(update={"occurred_at": at}))
    assert row.first_responded_at == (at if is_answer else None)


def test_a_later_answer_does_not_move_the_first_one() -> None:
    later = [
        e.model_copy(update={"occurred_at": AT + timedelta(days=1)}) for e in (ACCEPTED, CLOSED)
    ]
    assert row_of(ASKED, DECIDED, ANSWERED, *later).first_responded_at == AT


def test_an_answer_is_overdue_once_its_instant_has_passed_and_while_the_case_is_open() -> None:
    tick = timedelta(microseconds=1)
    waiting = row_of(ASKED, DECIDED)
    assert [waiting.is_unanswered(DUE + by) for by in (-tick, timedelta(), tick)] == [
        False, False, True,
    ]  # fmt: skip
    withdrawn = event(EventKind.CLOSED, {"outcome": "withdrawn"})
    for row in (row_of(ASKED, ANSWERED), row_of(ASKED, withdrawn), row_of(OPENED, DECIDED)):
        assert not row.is_unanswered(DUE + tick)


def test_no_events_are_no_case() -> None:
    assert fold([]) is None


@pytest.mark.parametrize(
    ("before", "wrong", "sentence"),
    [
        (None, DECIDED, "refund-a begins with decided, not with opened"),
        (row_of(OPENED), OPENED, "refund-a was opened already"),
        (
            row_of(OPENED),
            event(EventKind.DECIDED, {"verdict": "approve"}),
            "refund-a:decided: a decided event without 'rule'",
        ),
    ],
)
def test_events_that_do_not_fit_are_named(
    before: CaseRow | None, wrong: CaseEvent, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        project(before, wrong)
