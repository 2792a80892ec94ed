"""Stripe's own Python library works against the sandbox, typed objects and errors included."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import stripe

from tests.sandbox.box import Box

# The library hands httpx a text body in a way that httpx deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
async def library(box: Box) -> AsyncIterator[stripe.StripeClient]:
    transport = stripe.HTTPXClient()
    yield stripe.StripeClient(
        "sk_test_sandbox",
        http_client=transport,
        max_network_retries=0,
        base_addresses={"api": box.url},
        stripe_version="2026-08-26.dahlia",
    )
    await transport.close_async()  # type: ignore[no-untyped-call]


async def test_a_refund_made_and_looked_up_by_the_library(
    box: Box, library: stripe.StripeClient
) -> None:
    charge = await box.charge()
    refund = await library.v1.refunds.create_async(
        {
            "charge": charge,
            "amount": 1000,
            "reason": "requested_by_customer",
            "metadata": {"case_id": "case_1", "step": "refund"},
            "expand": ["charge", "balance_transaction"],
        },
        {"idempotency_key": "case_1:refund"},
    )
    assert refund.status == "succeeded"
    assert isinstance(refund.charge, stripe.Charge)
    assert refund.charge.amount_refunded == 1000
    assert isinstance(refund.balance_transaction, stripe.BalanceTransaction)
    assert refund.balance_transaction.amount == -1000
    assert refund.last_response is not None
    assert (refund.last_response.request_id or "").startswith("req_")
    again = await library.v1.refunds.create_async(
        {
            "charge": charge,
            "amount": 1000,
            "reason": "requested_by_customer",
            "metadata": {"case_id": "case_1", "step": "refund"},
            "expand": ["charge", "balance_transaction"],
        },
        {"idempotency_key": "case_1:refund"},
    )
    assert again.id == refund.id
    found = await library.v1.refunds.list_async({"charge": charge, "limit": 100})
    assert [row.id for row in found.data] == [refund.id]
    assert found.data[0].metadata is not None
    assert found.data[0].metadata["case_id"] == "case_1"
    await box.forward(4)
    looked_up = await library.v1.refunds.retrieve_async(refund.id)
    assert looked_up.destination_details is not None
    assert looked_up.destination_details.card is not None
    assert looked_up.destination_details.card.reference_status == "available"


async def test_pages_are_walked_by_the_library(box: Box, library: stripe.StripeClient) -> None:
    charge = await box.charge()
    made = [(await box.refund(charge, 100))["id"] for _ in range(5)]
    page = await library.v1.refunds.list_async({"charge": charge, "limit": 2})
    assert [row.id async for row in page.auto_paging_iter()] == made[::-1]
    charges = await library.v1.charges.list_async(
        {"customer": "cus_a", "created": {"gte": 0}, "expand": ["data.customer"]}
    )
    assert [row.id for row in charges.data] == [charge]


async def test_account_credit_and_chargebacks_through_the_library(
    box: Box, library: stripe.StripeClient
) -> None:
    charge = await box.charge()
    credit = await library.v1.customers.balance_transactions.create_async(
        "cus_a",
        {"amount": -500, "currency": "usd", "description": "goodwill"},
        {"idempotency_key": "case_2:credit"},
    )
    assert (credit.amount, credit.ending_balance) == (-500, -500)
    opened = await box.control(f"charges/{charge}/dispute")
    dispute = await library.v1.disputes.retrieve_async(opened["id"])
    assert not dispute.is_charge_refundable
    updated = await library.v1.disputes.update_async(
        opened["id"], {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True}
    )
    assert updated.status == "under_review"


async def test_errors_are_raised_as_the_library_knows_them(
    box: Box, library: stripe.StripeClient
) -> None:
    charge = await box.charge(1000)
    refunds = library.v1.refunds
    await refunds.create_async({"charge": charge}, {"idempotency_key": "k"})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await refunds.create_async({"charge": charge})
    assert refused.value.code == "charge_already_refunded"
    with pytest.raises(stripe.IdempotencyError):
        await refunds.create_async({"charge": charge, "amount": 5}, {"idempotency_key": "k"})
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        await library.v1.charges.retrieve_async("ch_nobody")
    assert (unknown.value.http_status, unknown.value.code) == (404, "resource_missing")
    for fault, error in (
        ({"kind": "status_409"}, stripe.APIError),
        ({"kind": "status_429"}, stripe.RateLimitError),
        ({"kind": "status_500"}, stripe.APIError),
        ({"kind": "status_401"}, stripe.AuthenticationError),
        ({"kind": "status_402"}, stripe.CardError),
        ({"kind": "reset_before"}, stripe.APIConnectionError),
        ({"kind": "truncated"}, stripe.APIConnectionError),
        ({"kind": "html"}, stripe.APIError),
    ):
        await box.control("faults", {**fault, "count": 1})
        with pytest.raises(error):
            await library.v1.charges.retrieve_async(charge)


async def test_a_payment_is_made_by_the_library(box: Box, library: stripe.StripeClient) -> None:
    customer = await library.v1.customers.create_async({"name": "A", "metadata": {"n": "1"}})
    intent = await library.v1.payment_intents.create_async(
        {
            "amount": 2000,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "expand": ["latest_charge"],
        }
    )
    assert intent.status == "succeeded"
    assert isinstance(intent.latest_charge, stripe.Charge)
    assert intent.latest_charge.payment_method_details is not None
    assert intent.latest_charge.payment_method_details.card is not None
    assert intent.latest_charge.payment_method_details.card.last4 == "4242"
    with pytest.raises(stripe.CardError) as declined:
        await library.v1.payment_intents.create_async(
            {
                "amount": 2000,
                "currency": "usd",
                "payment_method": "pm_card_visa_chargeDeclined",
                "confirm": True,
            }
        )
    assert declined.value.code == "card_declined"
