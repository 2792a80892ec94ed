"""A linked refund carries out another case's decision: every word of that is held to the books."""

from __future__ import annotations

from typing import Any

import pytest

from activities.authority import check_authority, is_given_elsewhere, left_of, root_of
from audit.verify import verify
from domain.approvals import Action
from domain.cases import CaseKind, EventKind, Outcome
from domain.decisions import RefundMethod, RefundVerdict
from domain.errors import InvalidRequest
from domain.money import Money
from domain.refunds import Authority, RefundRequest, SendStatus
from ledger.records import ReservationScope
from tests.activities.office import MONDAY, Case, Office
from tests.ledger.builders import DIGEST, approval, decision, event, opened, opened_body
from tests.workflows.builders import FINANCE, LARGE, LEAD, MEDIUM, SMALL, a_request

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
    return case, await office.authority(case)


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
    authority = await office.authority(case)
    await judge(office, case, authority)
    assert await office.hear_from_outside() == 1
    no = ("names money that went after all", "a case whose money did not move")
    await refused(office, case, authority, *no)
    await office.late_refund_failed(case)
    await judge(office, case, authority)


async def test_what_was_given_by_hand_for_a_case_that_came_back_is_no_more_owed_until_it_comes_back(
    office: Office,
) -> None:
    case, authority = await granted(office)
    given = await office.refund_by_hand(case, 700, in_its_name=True)
    await office.heard_of(case.id, given)
    assert await office.hear_from_outside() == 1
    await judge(office, case, authority, MEDIUM - 700)
    no = ("no such amount left", f"{usd(MEDIUM - 700)} of {usd(MEDIUM)}")
    await refused(office, case, authority, *no, amount=MEDIUM - 699)
    await office.control(f"refunds/{given}", {"status": "failed"})
    await office.heard_of(case.id, given)
    assert await office.hear_from_outside() == 1
    await judge(office, case, authority)


async def test_what_a_hand_gave_and_named_later_is_drawn_all_the_same_and_once(
    office: Office,
) -> None:
    case, authority = await granted(office)
    given = await office.refund_by_hand(case, 700)
    await office.heard_of(given)
    assert await office.hear_from_outside() == 1
    await judge(office, case, authority)
    await office.rename(given, case.id)
    for _ in range(2):
        await office.heard_of(case.id, case.charge, given)
        assert await office.hear_from_outside() == 1
        await judge(office, case, authority, MEDIUM - 700)
        no = ("no such amount left", f"{usd(MEDIUM - 700)} of {usd(MEDIUM)}")
        await refused(office, case, authority, *no, amount=MEDIUM - 699)
    await office.control(f"refunds/{given}", {"status": "failed"})
    for _ in range(2):
        await office.heard_of(case.id, given)
        assert await office.hear_from_outside() == 1
        await judge(office, case, authority)
    assert (await verify(office.books)).is_clean


@pytest.mark.parametrize("credit", [False, True], ids=["refund", "credit"])
async def test_what_a_linked_case_gave_too_late_is_drawn_from_what_the_first_granted(
    office: Office, credit: bool
) -> None:
    case, authority = await granted(office)
    linked = await office.decided(
        {"customer": case.customer, "charge": case.charge},
        amount_minor=MEDIUM, authorised_by=authority, consents_to_credit=credit,
    )  # fmt: skip
    assert (linked.made.method is RefundMethod.ACCOUNT_CREDIT) is credit
    await office.send_late(linked)
    assert await office.hear_from_outside() == 1
    await refused(office, case, authority, "no such amount left", f"0.00 USD of {usd(MEDIUM)}")
    assert (await verify(office.books)).is_clean


@pytest.mark.parametrize("more", [0, 1])
async def test_nothing_is_left_where_all_of_it_or_more_was_given_by_hand(
    office: Office, more: int
) -> None:
    case, authority = await granted(office)
    given = await office.refund_by_hand(case, MEDIUM + more, in_its_name=True)
    await office.heard_of(case.id, given)
    assert await office.hear_from_outside() == 1
    await refused(office, case, authority, "no such amount left", f"0.00 USD of {usd(MEDIUM)}")


@pytest.mark.parametrize(("given", "goes"), [(0, True), (1, False)])
async def test_what_was_decided_on_an_authority_does_not_go_beside_what_a_hand_gave_since(
    office: Office, given: int, goes: bool
) -> None:
    case, authority = await granted(office)
    linked = await office.decided(
        {"customer": case.customer, "charge": case.charge},
        amount_minor=MEDIUM, authorised_by=authority,
    )  # fmt: skip
    assert linked.made.slots == ()
    if given:
        by_hand = await office.refund_by_hand(case, given, in_its_name=True)
        await office.heard_of(case.id, by_hand)
        assert await office.hear_from_outside() == 1
    sent = await office.send(linked)
    assert await office.effects(linked) == goes
    assert (sent.status is SendStatus.ACCEPTED) is goes
    assert goes or sent.reason == "given_otherwise"


async def elsewhere(office: Office, case: Case) -> bool:
    async with office.books.reading() as reading:
        return await is_given_elsewhere(reading, case.id)


async def test_what_a_case_gives_is_given_elsewhere_by_a_hand_before_it_or_a_case_beside_it(
    office: Office,
) -> None:
    alone = await office.decided()
    assert await elsewhere(office, alone) is False

    place = await office.a_charge(refund_behaviour="stuck")
    late = await office.decided(place, amount_minor=MEDIUM)
    assert (await office.judge(late, by=LEAD)).recorded
    await office.send_late(late)
    authority = await office.authority(late)
    carried = await office.decided(place, amount_minor=MEDIUM, authorised_by=authority)
    assert await elsewhere(office, carried) is False
    assert await office.hear_from_outside() == 1
    assert await elsewhere(office, carried) is True

    first, instead = await refused_and_instead(office)
    assert await elsewhere(office, instead) is False
    link = {"case_id": "refund-beside", "why": "appeal"}
    async with office.books.transaction() as tx:
        await tx.append_event(event(EventKind.LINKED, link, case_id=first.id, step="link:appeal"))
    assert await elsewhere(office, instead) is True


async def test_what_a_hand_gave_for_the_first_of_a_chain_is_seen_by_who_carries_out_its_last(
    office: Office,
) -> None:
    first, instead = await refused_and_instead(office)
    dispute = await office.control(f"charges/{first.charge}/dispute", {"status": "needs_response"})
    assert (await office.send(instead)).outcome is Outcome.REJECTED_BY_PROVIDER
    await office.control(f"disputes/{dispute['id']}", {"status": "won"})
    carried = await office.decided(
        {"customer": first.customer, "charge": first.charge},
        amount_minor=SMALL, authorised_by=await office.authority(instead),
    )  # fmt: skip
    assert await elsewhere(office, carried) is False
    await office.refund_by_hand(first, 1, in_its_name=True)
    await office.heard_of(first.id)
    assert await office.hear_from_outside() == 1
    assert await elsewhere(office, carried) is True


async def refused_and_instead(office: Office) -> tuple[Case, Case]:
    """A refusal that offers credit, and the case by which that is taken."""
    asked: dict[str, Any] = {"policy": "generous", "reason": "courtesy", "amount_minor": SMALL}
    first = await office.decided(**asked)
    assert first.made.verdict is RefundVerdict.REFUSE
    place = {"customer": first.customer, "charge": first.charge}
    way: dict[str, Any] = {"alternative_to": first.id, "alternative": RefundMethod.ACCOUNT_CREDIT}
    return first, await office.decided(place, **asked, **way)


async def test_an_authority_names_nothing_that_was_given_by_hand_for_the_case_it_goes_on_from(
    office: Office,
) -> None:
    first, instead = await refused_and_instead(office)
    await office.refund_by_hand(first, 1, in_its_name=True)
    await office.heard_of(first.id)
    assert await office.hear_from_outside() == 1
    assert (await office.send(instead)).reason == "given_otherwise"
    authority = await office.authority(instead)
    no = ("names money that went after all", "a case whose money did not move")
    await refused(office, instead, authority, *no, amount=SMALL, policy="generous")


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
    authority = await office.authority(case)
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
    authority = await office.authority(case)
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
    await judge(office, case, await office.authority(case))


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
    again = await office.authority(second)
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
    again = await office.authority(second)
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
    await refused(office, case, await office.authority(case), *wanted)


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
    await judge(office, case, await office.authority(case))
