"""The invariants of one case, judged from its file alone. Pure; I3 … I13 of the design."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from audit.case_files import CaseFile
from audit.findings import Findings
from domain.approvals import RefusalCode
from domain.canonical import parse_instant, plain
from domain.cases import AFTER_THE_END, CaseKind, EventKind, Status
from domain.decisions import RefundVerdict
from domain.linked import FAILED_LATE
from domain.money import Money, total
from ledger.postings import EXPENSE_PREFIX, TRANSIENT_PREFIXES, Entry, TransactionKind
from ledger.projection import CaseRow, fold, slots_of
from ledger.records import (
    ApprovalRow,
    ReservationScope,
    ReservationState,
    StoredEvent,
    StoredTransaction,
)

LATE_AFTER = timedelta(hours=1)
"""How far past its due instant an open case is a finding: recovery takes minutes, not hours."""

WAITING = frozenset(
    {
        Status.AWAITING_INFORMATION,
        Status.AWAITING_APPROVAL,
        Status.SENDING,
        Status.SETTLING,
        Status.TRACING,
    }
)


def check_case(file: CaseFile, found: Findings, now: datetime | None) -> bool:
    """All checks of one case; ``now`` (UTC) also finds what should have happened by then.

    Returns whether the case has ended, by its events: the row of ``cases`` proves nothing.
    """
    if not file.is_legible:
        return False
    folded = check_projection(file, found)
    check_order(file, found)
    check_ended_is_ended(file, found)
    check_movements(file, found)
    check_outside(file, found)
    if folded is None:
        return False
    check_waits(folded, found, now)
    check_question(folded, file, found)
    has_ended = folded.status is Status.CLOSED
    if has_ended:
        check_closed_sums(file, found)
        check_reservations(folded, file, found)
    return has_ended


def check_projection(file: CaseFile, found: Findings) -> CaseRow | None:
    """I8: the row of ``cases`` is the fold of the case's events. Returns the fold."""
    try:
        folded = fold(file.events)
    except ValueError as error:
        found.add("I8", "case_events", file.case_id, f"its events do not fit together: {error}")
        return None
    if folded is None:
        found.add("I8", "case_events", file.case_id, "the case has rows but no events")
    elif file.row is None:
        found.add("I8", "cases", file.case_id, "the case has events but no row")
    elif file.row != folded:
        names = ", ".join(differing(file.row, folded))
        found.add("I8", "cases", file.case_id, f"the row differs from its events in {names}")
    return folded


def differing(row: CaseRow, other: CaseRow) -> list[str]:
    """Names of the fields in which two rows differ."""
    return [name for name in CaseRow.model_fields if getattr(row, name) != getattr(other, name)]


def check_order(file: CaseFile, found: Findings) -> None:
    """I8: a case's events are numbered 1, 2, 3 … in the order in which they were sealed."""
    last_seq = 0
    for place, event in enumerate(file.events, start=1):
        if event.ordinal != place:
            found.add(
                "I8",
                "case_events",
                f"{event.case_id}:{event.step}",
                f"it is number {event.ordinal} of its case where {place} was expected",
                seq=event.seq or None,
            )
            return
        if event.seq and event.seq < last_seq:
            found.add(
                "I8",
                "case_events",
                f"{event.case_id}:{event.step}",
                "it was sealed before the event that it follows",
                seq=event.seq,
            )
        last_seq = max(last_seq, event.seq)


def check_ended_is_ended(file: CaseFile, found: Findings) -> None:
    """I13: after the end there are links to other cases and the survey, and nothing else."""
    has_ended = False
    for event in file.events:
        if has_ended and event.kind not in AFTER_THE_END:
            found.add(
                "I13",
                "case_events",
                f"{event.case_id}:{event.step}",
                f"a {event.kind.value} event after the case had ended",
                seq=event.seq or None,
            )
        has_ended = has_ended or event.kind is EventKind.CLOSED


def check_waits(row: CaseRow, found: Findings, now: datetime | None) -> None:
    """I6: an open case waits for something that has a due instant, and it is not overdue.

    Between ``opened`` and ``decided`` the engine itself has the turn.
    """
    if row.status in WAITING and (not row.waits_for or row.due_at is None):
        found.add(
            "I6",
            "cases",
            row.case_id,
            f"{row.status.value}, but waits for {row.waits_for or 'nothing'} without a due instant",
        )
    if now is None or row.status is Status.CLOSED:
        return
    due = row.due_at or row.opened_at
    if due + LATE_AFTER < now:
        found.add(
            "I6",
            "cases",
            row.case_id,
            f"{row.status.value}, and nothing has happened since it was due at {due.isoformat()}",
        )


def check_question(row: CaseRow, file: CaseFile, found: Findings) -> None:
    """I3: a case that asks its customer something holds nothing; each question was decided."""
    for event in file.of_kind(EventKind.INFORMATION_REQUESTED):
        before = [e for e in file.of_kind(EventKind.DECIDED) if e.ordinal < event.ordinal]
        if not before or before[-1].body.get("verdict") != RefundVerdict.ASK:
            _on_event(found, "I4", event, "the customer was asked without a decision to ask")
    if row.status is not Status.AWAITING_INFORMATION:
        return
    for booked in file.transactions:
        found.add(
            "I3",
            "ledger_transactions",
            f"{booked.case_id}:{booked.step}",
            "it is booked while the case still asks its customer",
        )
    for reservation in file.reservations:
        found.add(
            "I3",
            "reservations",
            f"{file.case_id}:{reservation.step}:{reservation.scope.value}",
            "it is reserved while the case still asks its customer",
        )


# --- I4 and I5: every movement has its approvals ---------------------------------------------


def check_movements(file: CaseFile, found: Findings) -> None:
    """Each ``accepted`` event has its decision, its approvals and its post; no post is alone."""
    accepted = file.of_kind(EventKind.ACCEPTED)
    posts = [x for x in file.transactions if x.kind is TransactionKind.POST]
    for event in accepted:
        try:
            _check_movement(file, event, found)
            moved = Money.model_validate(event.body["amount"])
            own = [x for x in posts if _is_post_of(x, event.body["provider_id"], moved)]
            if own:
                posts.remove(own[0])
            else:
                _on_event(found, "I2", event, f"no post of {moved} in the ledger belongs to it")
        except (KeyError, TypeError, ValueError) as error:
            _on_event(found, "I4", event, f"its movement cannot be judged: {error!r}")
    for post in posts:
        found.add(
            "I4",
            "ledger_transactions",
            f"{post.case_id}:{post.step}",
            "money was posted that no accepted event tells of",
        )


def check_outside(file: CaseFile, found: Findings) -> None:
    """I4: what is booked as moved without us is what a ``noticed`` event tells of."""
    told = [
        (e.body.get("provider_id"), e.body.get("amount")) for e in file.of_kind(EventKind.NOTICED)
    ]
    for booked in file.transactions:
        if booked.kind is not TransactionKind.OUTSIDE:
            continue
        moved = _expense(booked.entries, booked.entries[0].amount.currency)
        if (booked.provider_id, plain(moved)) not in told:
            found.add(
                "I4",
                "ledger_transactions",
                f"{booked.case_id}:{booked.step}",
                "it is booked as moved without us, and no noticed event tells of it",
            )


def _is_post_of(post: StoredTransaction, provider_id: str, moved: Money) -> bool:
    return post.provider_id == provider_id and _expense(post.entries, moved.currency) == moved


def _check_movement(file: CaseFile, accepted: StoredEvent, found: Findings) -> None:
    before = [e for e in file.of_kind(EventKind.DECIDED) if e.ordinal < accepted.ordinal]
    if not before or before[-1].body["verdict"] != RefundVerdict.APPROVE:
        _on_event(found, "I4", accepted, "money moved without a decision to approve")
        return
    decided = before[-1]
    if decided.policy_hash not in {kept.decision.hash for kept in file.decisions}:
        _on_event(found, "I4", decided, "no decision is kept that names its policy")
    if decided.body["amount"] != accepted.body["amount"]:
        _on_event(found, "I4", accepted, "another amount moved than was decided")
    asked_by = str(file.events[0].body["requested_by"]["id"])
    persons: set[str] = set()
    for slot in decided.body["slots"]:
        _check_slot(file, decided, slot, accepted, asked_by, persons, found)
    was = fold(event for event in file.events if event.ordinal < accepted.ordinal)
    if was is not None and was.status is not Status.SENDING:
        sentence = f"money moved while the case, by its events, was {was.status.value}"
        _on_event(found, "I4", accepted, sentence)


def _check_slot(
    file: CaseFile,
    decided: StoredEvent,
    slot: dict[str, Any],
    accepted: StoredEvent,
    asked_by: str,
    persons: set[str],
    found: Findings,
) -> None:
    approval = file.yes_to(slot["id"])
    if approval is None:
        _on_event(found, "I4", accepted, f"money moved without a yes on slot {slot['id']}")
        return
    person = approval.actor.id
    wrong = [
        (person in {asked_by, *slot["excluded"]}, "I5", f"{person} was not to decide this case"),
        (person in persons, "I5", f"{person} filled two slots"),
        (
            _may_not_fill(file, approval, accepted),
            "I5",
            f"a {approval.actor.role.value} may not fill it",
        ),
        (approval.digest != slot["digest"], "I4", "it binds to something else than was asked"),
        (
            approval.policy_hash != decided.policy_hash,
            "I4",
            "it was given under another policy than the decision",
        ),
        (
            approval.amount != Money.model_validate(decided.body["amount"]),
            "I4",
            "it is for another amount than was decided",
        ),
        (
            approval.at > parse_instant(slot["expires_at"]),
            "I4",
            "it was given after the slot had expired",
        ),
        (approval.at > accepted.occurred_at, "I4", "it was given after the money had moved"),
    ]
    for is_wrong, invariant, sentence in wrong:
        if is_wrong:
            found.add(invariant, "approvals", f"{file.case_id}:{approval.slot}", sentence)
    persons.add(person)


def _may_not_fill(file: CaseFile, approval: ApprovalRow, accepted: StoredEvent) -> bool:
    """Whether the slot, as its approver found it, was not for this role or for this person."""
    recorded = [
        event.ordinal
        for event in file.of_kind(EventKind.APPROVAL_RECORDED)
        if event.body["slot"] == approval.slot
    ]
    before = min([*recorded, accepted.ordinal])
    slots = {slot.id: slot for slot in slots_of(e for e in file.events if e.ordinal < before)}
    refusal = slots[approval.slot].why_may_not_fill(approval.actor, approval.at)
    return refusal is not None and refusal[0] is RefusalCode.NOT_AUTHORISED


def _on_event(found: Findings, invariant: str, event: StoredEvent, sentence: str) -> None:
    found.add(
        invariant,
        "case_events",
        f"{event.case_id}:{event.step}",
        sentence,
        seq=event.seq or None,
    )


# --- I3: what is left of a case that has ended -----------------------------------------------


def check_closed_sums(file: CaseFile, found: Findings) -> None:
    """I3: nothing is left on pending and clearing accounts."""
    entries = [entry for x in file.transactions for entry in x.entries]
    transient = [e for e in entries if e.account.startswith(TRANSIENT_PREFIXES)]
    for account in sorted({entry.account for entry in transient}):
        for currency in sorted({e.amount.currency for e in transient if e.account == account}):
            amounts = [
                e.amount
                for e in transient
                if e.account == account and e.amount.currency == currency
            ]
            left = total(amounts, currency)
            if left:
                found.add(
                    "I3",
                    "ledger_entries",
                    file.case_id,
                    f"the case has ended with {left} left on {account}",
                )


def check_reservations(row: CaseRow, file: CaseFile, found: Findings) -> None:
    """I3: an ended case holds nothing, and what it posted on the charge is what moved and stands.

    What the bank sent back after the end is booked back by an exception, which the case names.
    """
    for reservation in file.reservations:
        if reservation.state is ReservationState.HELD:
            found.add(
                "I3",
                "reservations",
                f"{file.case_id}:{reservation.step}:{reservation.scope.value}",
                f"the case has ended and still holds {reservation.amount}",
            )
    on_charge = [r for r in file.reservations if r.scope is ReservationScope.CHARGE]
    if row.kind is not CaseKind.REFUND and not on_charge:
        return  # only a refund always reserves on its charge
    posted = total(
        (r.amount for r in on_charge if r.state is ReservationState.POSTED), row.currency
    )
    moved = _expense([e for x in file.transactions for e in x.entries], row.currency)
    if any(event.body["why"] == FAILED_LATE for event in file.of_kind(EventKind.LINKED)):
        moved = Money.zero(row.currency)
    if posted != moved:
        found.add(
            "I3",
            "reservations",
            file.case_id,
            f"{posted} is reserved as posted on the charge, the ledger says {moved}",
        )


def _expense(entries: Iterable[Entry], currency: str) -> Money:
    return total(
        (
            e.amount
            for e in entries
            if e.account.startswith(EXPENSE_PREFIX) and e.amount.currency == currency
        ),
        currency,
    )
