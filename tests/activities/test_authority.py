"""A linked refund carries out another case's decision: every word of that is held to the books."""

from __future__ import annotations

from typing import Any

import pytest

from activities.authority import check_authority, left_of, root_of
from domain.approvals import Action
from domain.cases import CaseKind, EventKind, Outcome
from domain.decisions import RefundVerdict
from domain.errors import InvalidRequest
from domain.money import Money
from domain.refunds import Authority, RefundRequest
from ledger.records import ReservationScope
from tests.activities.office import MONDAY, Case, Office
from tests.ledger.builders import DIGEST, approval, decision, event, opened, opened_body
from tests.workflows.builders import FINANCE, LARGE, LEAD, MEDIUM, a_request

OTHER = "0" * 64


def usd(amount_minor: int) -> Money:
    return Money(amount_minor=amount_minor, currency="usd")


async def granted(office: Office, amount: int = MEDIUM) -> tuple[Case, Authority]:
    """A case that was approved, whose money the bank sent back; and its authority."""
    place = await office.a_charge(refund_behaviour="stuck")
    case = await office.decided(place, amount_minor=amount)
    for slot, person in enumerate((LEAD, FINANCE)[: len(case.made.slots)]):
        assert (await office.judge(case, slot, by=person)).recorded
    await office.send(case)
    await office.refund_is(case, status="failed")
    assert (await office.look(case)).outcome is Outcome.FAILED_AT_BANK
    return case, await authority_of(office, case)


async def authority_of(office: Office, case: Case) -> Authority:
    async with office.books.reading() as reading:
        stored = await reading.decision(case.id)
    assert stored is not None
    return stored.authority(case.charge)


async def judge(
    office: Office, case: Case, authority: Authority | None, amount: int = MEDIUM, **fields: Any
) -> None:
    asked = a_request(customer=case.customer, charge=case.charge, authorised_by=authority)
    request = RefundRequest.model_validate({**asked, **fields}, strict=False)
    async with office.books.reading() as reading:
        money = Money(amount_minor=amount, currency=request.currency)
        await check_authority(reading, request, money)


async def refused(
    office: Office, case: Case, authority: Authority, why: str, allowed: str, **fields: Any
) -> None:
    with pytest.raises(InvalidRequest, match=why) as no:
        await judge(office, case, authority, **fields)
    assert (no.value.field, no.value.allowed) == ("authorised_by", allowed)


async def test_a_request_without_an_authority_is_not_judged_by_one(office: Office) -> None:
    await judge(office, await office.decided(), None)


@pytest.mark.parametrize("amount", [MEDIUM, LARGE], ids=["one approval", "two approvals"])
async def test_what_was_granted_and_came_back_may_be_paid(office: Office, amount: int) -> None:
    case, authority = await granted(office, amount)
    await judge(office, case, authority, amount)


async def test_what_went_after_all_is_not_paid_again_unless_it_came_back(office: Office) -> None:
    place = await office.a_charge(refund_behaviour="stuck")
    case = await office.decided(place, amount_minor=MEDIUM)
    assert (await office.judge(case, by=LEAD)).recorded
    await office.send_late(case)
    authority = await authority_of(office, case)
    await judge(office, case, authority)
    assert await office.hear_from_outside() == 1
    no = ("names money that went after all", "a case whose money did not move")
    await refused(office, case, authority, *no)
    await office.late_refund_failed(case)
    await judge(office, case, authority)


@pytest.mark.parametrize(
    ("change", "why", "allowed"),
    [
        ({"case_id": "refund-nobody"}, "decided nothing", "a case in the books with a decision"),
        ({"decision_hash": OTHER}, "decision_hash", "the hash of that decision"),
        ({"approval_digest": OTHER}, "approval_digest", "the digest of that decision"),
        ({"charge": "ch_other"}, "charge is another one", ""),
        ({"amount": usd(MEDIUM + 1)}, "not what was granted", "90.00 USD"),
        ({"amount": usd(MEDIUM - 1)}, "not what was granted", "90.00 USD"),
        ({"amount": Money(amount_minor=MEDIUM, currency="eur")}, "in another currency", "usd"),
    ],
    ids=["case", "decision", "digest", "charge", "more", "less", "currency"],
)
async def test_what_is_not_as_it_was_decided_is_refused(
    office: Office, change: dict[str, Any], why: str, allowed: str
) -> None:
    case, authority = await granted(office)
    false = authority.model_copy(update=change)
    await refused(office, case, false, why, allowed or case.charge)


async def test_a_case_that_decided_nothing_grants_nothing(office: Office) -> None:
    case, authority = await granted(office)
    async with office.books.transaction() as tx:
        await tx.append_event(opened("refund-bare"))
    bare = authority.model_copy(update={"case_id": "refund-bare"})
    await refused(office, case, bare, "decided nothing", "a case in the books with a decision")


async def test_a_refusal_grants_nothing(office: Office) -> None:
    place = await office.a_charge()
    case = await office.decided(place, reason="courtesy", policy="generous")
    assert case.made.digest == ""
    claimed = Authority.model_construct(
        case_id=case.id, decision_hash=await hash_of(office, case), approval_digest="",
        charge=case.charge, amount=usd(MEDIUM),
    )  # fmt: skip
    with pytest.raises(InvalidRequest, match="approval_digest is not"):
        await check(office, case, claimed)


async def hash_of(office: Office, case: Case) -> str:
    async with office.books.reading() as reading:
        stored = await reading.decision(case.id)
    assert stored is not None
    return stored.hash


async def check(office: Office, case: Case, claimed: Authority) -> None:
    """As :func:`judge`, with an authority that no request can carry."""
    plain = RefundRequest.model_validate(
        a_request(customer=case.customer, charge=case.charge), strict=False
    )
    async with office.books.reading() as reading:
        await check_authority(
            reading, plain.model_copy(update={"authorised_by": claimed}), usd(MEDIUM)
        )


async def test_every_slot_needs_its_yes_to_exactly_this(office: Office) -> None:
    case = await office.decided(amount_minor=LARGE)
    authority = await authority_of(office, case)
    wanted = "names a decision that is not approved", "a decision with all its approvals"
    await refused(office, case, authority, *wanted, amount=LARGE)
    await office.judge(case, 0, by=LEAD)
    await refused(office, case, authority, *wanted, amount=LARGE)
    await office.judge(case, 1, Action.DECLINE, by=FINANCE)
    await refused(office, case, authority, *wanted, amount=LARGE)


@pytest.mark.parametrize("whose", ["customer", "charge"])
async def test_an_authority_holds_for_its_customers_charge_only(office: Office, whose: str) -> None:
    case, authority = await granted(office)
    other = await office.a_charge()
    allowed = "a case about this customer's charge"
    await refused(office, case, authority, "another charge", allowed, **{whose: other[whose]})


async def test_a_refund_that_moves_its_own_money_authorises_no_second(office: Office) -> None:
    place = await office.a_charge(refund_behaviour="silent")
    case = await office.decided(place, amount_minor=MEDIUM)
    await office.judge(case, by=LEAD)
    authority = await authority_of(office, case)
    no = "names a refund that moves its own money", "a case whose money did not move"
    await refused(office, case, authority, *no)
    await office.send(case)
    await refused(office, case, authority, *no)
    assert (await office.look(case, at_maximum=True)).outcome is Outcome.REFUNDED
    await refused(office, case, authority, *no)


async def test_what_the_provider_rejected_may_still_be_paid(office: Office) -> None:
    case = await office.decided(amount_minor=MEDIUM)
    await office.judge(case, by=LEAD)
    await office.fault("status_400", case, code="card_expired")
    assert (await office.send(case)).outcome is Outcome.REJECTED_BY_PROVIDER
    await judge(office, case, await authority_of(office, case))


async def test_an_authority_pays_its_cents_once(office: Office) -> None:
    case, authority = await granted(office)
    left, all_of_it = "no such amount left", f"{usd(MEDIUM)} of {usd(MEDIUM)}"
    await refused(office, case, authority, left, all_of_it, amount=MEDIUM + 1)
    part = {"customer": case.customer, "charge": case.charge}
    drawn = await office.decided(part, amount_minor=MEDIUM - 100, authorised_by=authority)
    async with office.books.reading() as reading:
        (held,) = await reading.reservations(ReservationScope.AUTHORITY, case.id, "usd")
    assert (held.case_id, held.amount) == (drawn.id, usd(MEDIUM - 100))
    await judge(office, case, authority, amount=99)
    await judge(office, case, authority, amount=100)
    await refused(office, case, authority, left, f"{usd(100)} of {usd(MEDIUM)}", amount=101)
    await office.decided(part, amount_minor=100, authorised_by=authority)
    for amount in (1, 0):  # nothing is left, and nothing is no amount to move
        await refused(office, case, authority, left, f"{usd(0)} of {usd(MEDIUM)}", amount=amount)
    assert (await office.row(drawn)).opened_at == MONDAY


async def test_a_chain_draws_on_the_case_that_was_approved(office: Office) -> None:
    case, authority = await granted(office)
    part = {"customer": case.customer, "charge": case.charge}
    second = await office.decided(part, amount_minor=MEDIUM, authorised_by=authority)
    async with office.books.reading() as reading:
        assert await root_of(reading, second.id) == await root_of(reading, case.id) == case.id
    await office.send(second)
    await office.refund_is(second, status="failed")
    assert (await office.look(second)).outcome is Outcome.FAILED_AT_BANK
    again = await authority_of(office, second)
    third = await office.decided(part, amount_minor=MEDIUM - 100, authorised_by=again)
    async with office.books.reading() as reading:
        (held,) = await reading.reservations(ReservationScope.AUTHORITY, case.id, "usd")
        assert (held.case_id, held.amount) == (third.id, usd(MEDIUM - 100))
        assert await left_of(reading, authority) == await left_of(reading, again) == usd(100)
    for named in (authority, again):
        await judge(office, case, named, amount=100)
        left = f"{usd(100)} of {usd(MEDIUM)}"
        await refused(office, case, named, "no such amount left", left, amount=101)


async def test_a_part_that_came_back_pays_no_more_than_that_part(office: Office) -> None:
    case, authority = await granted(office)
    part = {"customer": case.customer, "charge": case.charge}
    second = await office.decided(part, amount_minor=4_000, authorised_by=authority)
    await office.send(second)
    await office.refund_is(second, status="failed")
    await office.look(second)
    again = await authority_of(office, second)
    async with office.books.reading() as reading:
        assert await left_of(reading, again) == usd(4_000)
        assert await left_of(reading, authority) == usd(MEDIUM)


async def test_what_was_never_decided_has_nothing_left(office: Office) -> None:
    _, authority = await granted(office)
    nobody = authority.model_copy(update={"case_id": "refund-bare"})
    async with office.books.reading() as reading:
        with pytest.raises(LookupError, match="refund-bare was never decided"):
            await left_of(reading, nobody)


async def test_a_yes_to_something_else_is_no_yes(office: Office) -> None:
    case = await office.decided(amount_minor=MEDIUM)
    async with office.books.transaction() as tx:
        other = approval(case_id=case.id, slot="first", digest=OTHER, amount=usd(MEDIUM))
        await tx.record_approval(other)
    wanted = "names a decision that is not approved", "a decision with all its approvals"
    await refused(office, case, await authority_of(office, case), *wanted)


async def test_a_case_of_another_kind_grants_while_it_is_open(office: Office) -> None:
    """Only a refund moves its money itself."""
    place = await office.a_charge()
    case = Case("overcharge-a", place["customer"], place["charge"], (await office.decided()).made)
    made = {
        "verdict": RefundVerdict.APPROVE, "digest": DIGEST, "slots": [],
        "amount": {"amount_minor": MEDIUM, "currency": "usd"},
    }  # fmt: skip
    async with office.books.transaction() as tx:
        body = opened_body(kind=CaseKind.OVERCHARGE, **place)
        await tx.append_event(event(EventKind.OPENED, body, case_id=case.id))
        await tx.record_decision(
            case_id=case.id, step="decide", decision=decision(), outcome={"made": made}, at=MONDAY
        )
    await judge(office, case, await authority_of(office, case))
