"""What is granted can be carried out: its calendar knows every day until its last look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.records import case_event
from domain.cases import CaseKind, EventKind, Outcome, Status, case_id_for
from domain.refunds import DecideInput, RefundRequest
from tests.activities.office import Case, Office
from tests.workflows.builders import MEDIUM, SMALL, a_request

DAY = timedelta(days=1)


def november(day: int) -> datetime:
    """The tests' calendar ends with the year 2099. It looks ten business days and traces ten
    more, and an approval may take ten before that."""
    return datetime(2099, 11, 1, 15, tzinfo=UTC) + (day - 1) * DAY


async def asked_for(office: Office, amount_minor: int, **fields: Any) -> RefundRequest:
    asked = a_request(**await office.a_charge())
    return RefundRequest.model_validate(
        {**asked, "amount_minor": amount_minor, **fields}, strict=False
    )


async def decide(
    office: Office, request: RefundRequest, now: datetime, ordinal: int = 1
) -> tuple[Case, Any]:
    case_id = case_id_for(CaseKind.REFUND, request.request_id)
    asked = DecideInput(case_id=case_id, request=request, now=now, ordinal=ordinal)
    made = await office.act(office.decisions.decide_refund, asked)
    return Case(case_id, request.customer, request.charge, made), made


@pytest.mark.parametrize(
    ("amount_minor", "last", "status"),
    [(SMALL, 32, Status.SENDING), (MEDIUM, 17, Status.AWAITING_APPROVAL)],
    ids=["at once", "after its approval"],
)
async def test_nothing_is_granted_whose_dates_no_calendar_knows(
    office: Office, amount_minor: int, last: int, status: Status
) -> None:
    case, _ = await decide(office, await asked_for(office, amount_minor), november(last))
    assert (await office.row(case)).status is status
    request = await asked_for(office, amount_minor)
    for _ in range(2):
        with pytest.raises(ApplicationError, match="publish a newer calendar") as refused:
            await decide(office, request, november(last + 1))
        assert (refused.value.type, refused.value.details[0]) == ("InvalidRequest", "policy")
    async with office.books.reading() as reading:
        assert await reading.case(case_id_for(CaseKind.REFUND, request.request_id)) is None


async def test_credit_arrives_at_once_and_needs_no_dates(office: Office) -> None:
    request = await asked_for(office, SMALL, consents_to_credit=True)
    case, _ = await decide(office, request, november(60))
    assert (await office.row(case)).status is Status.SENDING


async def test_a_case_that_waited_for_its_customer_past_its_calendar_ends_and_its_desk_hears_why(
    office: Office,
) -> None:
    request = await asked_for(office, MEDIUM, policy="asking")
    asking, _ = await decide(office, request, november(10))
    assert (await office.row(asking)).status is Status.AWAITING_INFORMATION
    async with office.books.transaction() as tx:
        body = {"kind": "statement", "text": "sealed", "file": None}
        row = await office.row(asking)
        added = case_event(row, "evidence:click-1", EventKind.EVIDENCE_ADDED, november(11), body)
        await tx.append_event(added)
    for _ in range(2):
        await decide(office, request, november(40), ordinal=2)
    assert (await office.row(asking)).outcome is Outcome.EXPIRED
    told = (await office.notices(asking))["case.undecided", "desk"]
    assert "publish a newer calendar" in told["message"]


@pytest.mark.parametrize(("amount", "is_taken"), [(5_119, False), (5_120, True), (5_121, False)])
async def test_an_amount_that_the_provider_would_not_take_is_refused_before_anybody_approves_it(
    office: Office, amount: int, is_taken: bool
) -> None:
    place = await office.a_charge(currency="kwd", amount=50_000)
    asked = {"amount_minor": amount, "currency": "kwd"}
    if is_taken:
        assert (await office.decided(place, **asked)).made.amount.amount_minor == amount
        return
    with pytest.raises(ApplicationError, match="the provider takes no") as refused:
        await office.decided(place, **asked)
    field, _, allowed = refused.value.details
    assert field == "amount_minor"
    assert allowed.startswith("a multiple of 10, or all that is left")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            {"amount_minor": 190, "currency": "kwd"},
            "shares v1, rule SHARE, grants 0.000 KWD; allowed: an amount above zero, or a refusal",
        ),
        (
            {"amount_minor": 19, "currency": "usd"},
            "shares v1, rule SHARE, grants 0.00 USD; allowed: an amount above zero, or a refusal",
        ),
        (
            {"amount_minor": 5_120, "currency": "kwd", "reason": "courtesy"},
            "shares v1, rule ODD, grants 5.125 KWD, which the provider does not take; "
            "allowed: a multiple of 10",
        ),
    ],
)
async def test_what_a_policy_grants_and_nobody_could_pay_is_refused_and_names_its_rule(
    office: Office, asked: dict[str, Any], says: str
) -> None:
    place = await office.a_charge(currency=asked["currency"], amount=50_000)
    with pytest.raises(ApplicationError) as refused:
        await office.decided(place, policy="shares", **asked)
    assert refused.value.details[0] == "policy"
    assert says in refused.value.message
    assert refused.value.non_retryable


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ({"amount_minor": 200, "currency": "kwd"}, 10),
        ({"amount_minor": 20, "currency": "usd"}, 1),
        ({"amount_minor": 5_120, "currency": "usd", "reason": "courtesy"}, 5_125),
    ],
)
async def test_the_least_that_can_be_paid_is_granted(
    office: Office, asked: dict[str, Any], granted: int
) -> None:
    place = await office.a_charge(currency=asked["currency"], amount=50_000)
    made = (await office.decided(place, policy="shares", **asked)).made
    assert made.amount.amount_minor == granted
