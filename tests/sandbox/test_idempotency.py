"""Idempotency keys as docs.stripe.com/api/idempotent_requests describes them."""

from __future__ import annotations

import asyncio

from tests.sandbox.box import AUTHORIZATION, Box


async def test_five_concurrent_refunds_with_one_key_make_one_refund(box: Box) -> None:
    charge = await box.charge()
    form = {"charge": charge, "amount": 1000}
    answers = await asyncio.gather(
        *(box.post("/v1/refunds", form, key="case_1:refund") for _ in range(5))
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    ids = {answer.json()["id"] for answer in answers if answer.status_code == 200}
    assert len(ids) == 1
    assert len(await box.effects()) == 1
    assert (await box.get(f"/v1/charges/{charge}"))["amount_refunded"] == 1000


async def test_the_same_key_twice_makes_one_refund_and_says_so(box: Box) -> None:
    charge = await box.charge()
    first = await box.post("/v1/refunds", {"charge": charge, "amount": 1000}, key="k")
    again = await box.post("/v1/refunds", {"charge": charge, "amount": 1000}, key="k")
    assert first.json() == again.json()
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert again.headers["Request-Id"] != first.headers["Request-Id"]
    entries = await box.journal(method="POST", path="/v1/refunds", key="k")
    assert [(entry["replayed"], len(entry["effects"])) for entry in entries] == [
        (False, 1),
        (True, 0),
    ]


async def test_the_same_key_with_another_body_or_path_is_an_error(box: Box) -> None:
    charge = await box.charge()
    await box.post("/v1/refunds", {"charge": charge, "amount": 1000}, key="k")
    other_body = await box.post("/v1/refunds", {"charge": charge, "amount": 1001}, key="k")
    path = "/v1/customers/cus_a/balance_transactions"
    other_path = await box.post(path, {"amount": -1, "currency": "usd"}, key="k")
    for answer in (other_body, other_path):
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "idempotency_error"
    assert len(await box.effects()) == 1


async def test_a_key_in_flight_answers_409(box: Box) -> None:
    charge = await box.charge()
    await box.control("faults", {"kind": "slow_before", "ms": 400, "count": 1})
    form = {"charge": charge, "amount": 1000}
    slow = asyncio.create_task(box.post("/v1/refunds", form, key="k"))
    await asyncio.sleep(0.1)
    meanwhile = await box.post("/v1/refunds", form, key="k")
    assert meanwhile.status_code == 409
    assert meanwhile.json()["error"]["code"] == "idempotency_key_in_use"
    first = await slow
    after = await box.post("/v1/refunds", form, key="k")
    assert after.json()["id"] == first.json()["id"]
    assert len(await box.effects()) == 1


async def test_a_business_refusal_is_replayed_and_a_validation_failure_is_not(box: Box) -> None:
    box.refereed = False
    charge = await box.charge(1000)
    await box.refund(charge)
    refused = await box.post("/v1/refunds", {"charge": charge}, key="refused")
    again = await box.post("/v1/refunds", {"charge": charge}, key="refused")
    assert refused.json()["error"]["code"] == "charge_already_refunded"
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await box.charge(1000, customer="cus_b")
    wrong = await box.post("/v1/refunds", {"charge": other, "amount": "x"}, key="wrong")
    assert wrong.status_code == 400
    right = await box.post("/v1/refunds", {"charge": other, "amount": "5"}, key="wrong")
    assert right.status_code == 200


async def test_a_decline_is_replayed_and_stays_on_the_books(box: Box) -> None:
    form = {
        "amount": 1000,
        "currency": "usd",
        "payment_method": "pm_card_chargeDeclined",
        "confirm": "true",
    }
    first = await box.post("/v1/payment_intents", form, key="k")
    again = await box.post("/v1/payment_intents", form, key="k")
    assert first.status_code == again.status_code == 402
    assert first.json() == again.json()
    error = first.json()["error"]
    assert (error["type"], error["code"], error["decline_code"]) == (
        "card_error",
        "card_declined",
        "generic_decline",
    )
    charges = (await box.get("/v1/charges"))["data"]
    assert [(charge["status"], charge["paid"]) for charge in charges] == [("failed", False)]


async def test_a_500_is_replayed_for_ever(box: Box) -> None:
    charge = await box.charge()
    await box.control("faults", {"kind": "status_500", "count": 1})
    form = {"charge": charge, "amount": 1000}
    first = await box.post("/v1/refunds", form, key="k")
    again = await box.post("/v1/refunds", form, key="k")
    assert first.status_code == again.status_code == 500
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await box.effects() == []
    assert (await box.post("/v1/refunds", form, key="fresh")).status_code == 200


async def test_a_key_is_forgotten_after_24_hours_of_its_customers_clock(box: Box) -> None:
    charge = await box.charge()
    form = {"charge": charge, "amount": 1000}
    first = (await box.post("/v1/refunds", form, key="k")).json()
    await box.charge(customer="cus_b")
    await box.forward(2, customer="cus_b")
    await box.control("clock", {"customer": "cus_a", "by_seconds": 23 * 3600})
    assert (await box.post("/v1/refunds", form, key="k")).json()["id"] == first["id"]
    await box.control("clock", {"customer": "cus_a", "by_seconds": 3600})
    assert (await box.post("/v1/refunds", form, key="k")).json()["id"] != first["id"]
    assert len(await box.effects()) == 2


async def test_only_test_keys_are_let_in(box: Box) -> None:
    url = f"{box.url}/v1/charges"
    for headers in ({}, {"Authorization": "Bearer sk_live_abcdefgh"}):
        answer = await box.client.get(url, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "abcde" not in answer.text
    assert (await box.client.get(url, auth=("sk_test_1", ""))).status_code == 200
    old = await box.client.get(url, headers=AUTHORIZATION | {"Stripe-Version": "2020-08-27"})
    assert old.status_code == 400
    version = (await box.client.get(url, headers=AUTHORIZATION)).headers["Stripe-Version"]
    assert version == "2026-08-26.dahlia"
