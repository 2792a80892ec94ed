"""Chargebacks from first notice to outcome, and the clock that drives them."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.sandbox.box import Box

DAY = 86_400


async def test_a_chargeback_takes_the_funds_and_blocks_refunds(box: Box) -> None:
    charge = await box.charge()
    dispute = await box.control(f"charges/{charge}/dispute", {"reason": "product_not_received"})
    assert (dispute["status"], dispute["is_charge_refundable"]) == ("needs_response", False)
    assert dispute["evidence_details"]["due_by"] == dispute["created"] + 14 * DAY
    assert [row["amount"] for row in dispute["balance_transactions"]] == [-5200]
    assert (await box.get(f"/v1/charges/{charge}"))["disputed"]
    refused = await box.post("/v1/refunds", {"charge": charge, "amount": 100})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "charge_disputed"
    assert refused.json()["error"]["message"] == (
        f"Charge {charge} has been charged back; cannot issue a refund."
    )
    listed = await box.get("/v1/disputes", charge=charge)
    assert [row["id"] for row in listed["data"]] == [dispute["id"]]
    assert await box.events() == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]


async def test_without_a_response_by_due_by_a_chargeback_is_lost(box: Box) -> None:
    charge = await box.charge()
    opened = await box.control(
        f"charges/{charge}/dispute", {"due_by": "2026-03-09T23:59:59Z", "amount": 2000}
    )
    await box.control("clock", {"customer": "cus_a", "to": "2026-03-09T23:59:00Z"})
    dispute = await box.get(f"/v1/disputes/{opened['id']}")
    assert dispute["status"] == "needs_response"
    await box.control("clock", {"customer": "cus_a", "to": "2026-03-10T00:00:00Z"})
    dispute = await box.get(f"/v1/disputes/{opened['id']}")
    assert (dispute["status"], dispute["evidence_details"]["past_due"]) == ("lost", True)
    assert (await box.events())[-1] == "charge.dispute.closed"
    refused = await box.post("/v1/refunds", {"charge": charge})
    assert refused.json()["error"]["code"] == "charge_disputed"


@pytest.mark.parametrize(("words", "outcome"), [("winning_evidence", "won"), ("our story", "lost")])
async def test_evidence_is_staged_then_submitted_once(box: Box, words: str, outcome: str) -> None:
    charge = await box.charge()
    opened = await box.control(f"charges/{charge}/dispute")
    path = f"/v1/disputes/{opened['id']}"
    staged = await box.post(path, {"evidence[uncategorized_text]": words, "submit": "false"})
    details = staged.json()["evidence_details"]
    assert (details["has_evidence"], details["submission_count"]) == (True, 0)
    submitted = (await box.post(path, {"submit": "true"})).json()
    assert submitted["status"] == "under_review"
    assert submitted["evidence_details"]["submission_count"] == 1
    assert (await box.post(path, {"submit": "true"})).status_code == 400
    await box.forward(61)
    decided = await box.get(path)
    assert decided["status"] == outcome
    booked = [row["amount"] for row in decided["balance_transactions"]]
    assert booked == ([-5200, 5200] if outcome == "won" else [-5200])
    refund = await box.post("/v1/refunds", {"charge": charge})
    assert refund.status_code == (200 if outcome == "won" else 400)


async def test_an_inquiry_moves_no_funds_until_it_escalates(box: Box) -> None:
    charge = await box.charge()
    opened = await box.control(f"charges/{charge}/dispute", {"status": "warning_needs_response"})
    assert opened["is_charge_refundable"]
    assert opened["balance_transactions"] == []
    await box.refund(charge, 1000)
    escalated = await box.control(f"disputes/{opened['id']}", {"status": "needs_response"})
    assert not escalated["is_charge_refundable"]
    assert len(escalated["balance_transactions"]) == 1
    other = await box.charge(customer="cus_b")
    inquiry = await box.control(f"charges/{other}/dispute", {"status": "warning_needs_response"})
    await box.forward(121, customer="cus_b")
    assert (await box.get(f"/v1/disputes/{inquiry['id']}"))["status"] == "warning_closed"


async def test_a_chargeback_overtakes_a_pending_refund(box: Box) -> None:
    charge = await box.charge(payment_method="pm_card_pendingRefund")
    refund = await box.refund(charge)
    await box.control(f"charges/{charge}/dispute")
    after = await box.get(f"/v1/refunds/{refund['id']}")
    assert after["failure_reason"] == "charge_for_pending_refund_disputed"
    assert (await box.get(f"/v1/charges/{charge}"))["amount_refunded"] == 0


async def test_an_accepted_chargeback_is_lost_at_once(box: Box) -> None:
    charge = await box.charge()
    opened = await box.control(f"charges/{charge}/dispute")
    path = f"/v1/disputes/{opened['id']}/close"
    assert (await box.post(path)).json()["status"] == "lost"
    assert (await box.post(path)).status_code == 400


async def test_a_payment_with_the_dispute_card_is_disputed_after_it(box: Box) -> None:
    paid = await box.post(
        "/v1/payment_intents",
        {
            "amount": 4200,
            "currency": "eur",
            "payment_method": "pm_card_createDispute",
            "confirm": "true",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
            "expand[]": "latest_charge.balance_transaction",
        },
    )
    charge = paid.json()["latest_charge"]
    assert charge["balance_transaction"]["net"] == 4200 - charge["balance_transaction"]["fee"]
    dispute = (await box.get("/v1/disputes", charge=charge["id"]))["data"][0]
    assert dispute["reason"] == "fraudulent"


# clocks


async def test_each_customer_has_a_clock_of_its_own(box: Box) -> None:
    first, second = await box.charge(), await box.charge(customer="cus_b")
    await box.forward(30)
    early = await box.refund(second)
    late = await box.refund(first)
    assert 30 * DAY <= late["created"] - early["created"] <= 30 * DAY + 5
    clock = await box.control("clock?customer=cus_a", method="GET")
    assert clock["now"] - int(time.time()) == pytest.approx(clock["offset_seconds"], abs=2)


async def test_due_things_happen_in_order_at_their_own_instants(box: Box) -> None:
    charge = await box.charge()
    first = await box.refund(charge, 100)
    await box.forward(1)
    second = await box.refund(charge, 200)
    moved = await box.forward(40)
    assert [due["object"] for due in moved["fired"]] == [first["id"], second["id"]]
    updated = (await box.get("/v1/events", type="refund.updated"))["data"][::-1]
    assert [event["data"]["object"]["id"] for event in updated] == [first["id"], second["id"]]
    assert [event["created"] for event in updated] == [due["at"] for due in moved["fired"]]
    assert [event["request"]["id"] for event in updated] == [None, None]


async def test_a_clock_goes_back_only_while_nothing_later_exists(box: Box) -> None:
    charge = await box.charge()
    back = {"customer": "cus_a", "to": "2026-02-10T00:00:00Z"}
    await box.control("clock", back)
    await box.forward(10)
    await box.refund(charge)
    refused = await box.client.post(f"{box.url}/_sandbox/clock", json=back)
    assert refused.status_code == 409
    await box.control("clock", back | {"or_later": True})
    assert (await box.get(f"/v1/charges/{charge}"))["amount_refunded"] == 5200


async def test_what_falls_due_by_the_wall_clock_happens_by_itself(box: Box) -> None:
    await box.control("settings", {"settle_days_min": 0, "settle_days_max": 0})
    await box.refund(await box.charge())
    async with asyncio.timeout(5):
        while "refund.updated" not in await box.events():  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.1)


async def test_seeding_is_idempotent_by_id_and_quick_for_many(box: Box) -> None:
    customers = [
        {
            "id": f"cus_{n}",
            "metadata": {"n": str(n)},
            "clock_at": "2026-01-01T00:00:00Z",
            "charges": [{"id": f"ch_{n}x{k}", "amount": 100 + k, "created": 1767000000 + k}]
            * (k + 1),
        }
        for n in range(1000)
        for k in (0, 1)
    ]
    began = time.monotonic()
    seeded = await box.control("seed", {"customers": customers})
    assert time.monotonic() - began < 8
    assert seeded["customers"][3] == {"id": "cus_1", "charges": ["ch_1x1", "ch_1x1"]}
    await box.control("seed", {"customers": customers})
    objects = (await box.control("stats", method="GET"))["objects"]
    assert (objects["customer"], objects["charge"], objects["event"]) == (1000, 2000, 0)
    listed = await box.get("/v1/charges", customer="cus_7")
    assert [row["id"] for row in listed["data"]] == ["ch_7x1", "ch_7x0"]
    assert listed["data"][0]["created"] == 1767000001


async def test_the_journal_keeps_as_much_as_it_is_told(box: Box) -> None:
    await box.control("settings", {"journal_limit": 3})
    charge = await box.charge()
    made = [(await box.refund(charge, 100))["id"] for _ in range(5)]
    assert await box.effects() == made[2:]


async def test_nonsense_in_control_routes_changes_nothing(box: Box) -> None:
    for path, body in (
        ("seed", {"customers": [{"id": "cus_z"}, {"id": "wrong"}]}),
        ("seed", {"customers": [{"id": "cus_z", "charges": [{"amount": 1.5}]}]}),
        ("clock", {"customer": "cus_a", "to": "2026-01-01T00:00:00"}),
        ("faults", {"kind": "meteor"}),
        ("faults", {"kind": "status", "statuss": 500}),
        ("webhooks/plan", {"mode": "sideways"}),
        ("settings", {"settle_days_min": 9}),
        ("settings", {"refund_behaviour": "magic"}),
    ):
        answer = await box.client.post(f"{box.url}/_sandbox/{path}", json=body)
        assert answer.status_code in (400, 409), (path, body, answer.text)
        assert answer.json()["error"]["message"]
    assert (await box.control("stats", method="GET"))["objects"]["customer"] == 0
