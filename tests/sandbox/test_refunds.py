"""Refunds and account credit, and the table of every status they may take."""

from __future__ import annotations

import pytest

from sandbox.transitions import DISPUTE, REFUND, TABLES, may_become
from tests.sandbox.box import Box


async def test_stacked_partial_refunds_stop_at_what_was_captured(box: Box) -> None:
    charge = await box.charge(6200)
    for amount in (3200, 900, 800, 300, 600, 300):
        assert (await box.refund(charge, amount))["status"] == "succeeded"
    too_much = await box.post("/v1/refunds", {"charge": charge, "amount": 200})
    assert too_much.status_code == 400
    assert too_much.json()["error"] == {
        "type": "invalid_request_error",
        "param": "amount",
        "message": "Refund amount ($2.00) is greater than unrefunded amount on charge ($1.00)",
    }
    assert not (await box.get(f"/v1/charges/{charge}"))["refunded"]
    await box.refund(charge, 100)
    nothing_left = await box.post("/v1/refunds", {"charge": charge, "amount": 200})
    assert nothing_left.status_code == 400
    assert nothing_left.json()["error"]["code"] == "charge_already_refunded"
    assert nothing_left.json()["error"]["message"] == f"Charge {charge} has already been refunded."
    after = await box.get(f"/v1/charges/{charge}")
    assert (after["amount_refunded"], after["refunded"]) == (6200, True)
    assert len(await box.effects(customer="cus_a")) == 7


async def test_a_refund_beyond_the_charge_is_worded_as_stripe_words_it(box: Box) -> None:
    for currency, amount, asked, words in (
        ("jpy", 500, 501, "Refund amount (¥501) is greater than charge amount (¥500)"),
        (
            "kwd",
            1230,
            5000,
            "Refund amount (5.000 KWD) is greater than charge amount (1.230 KWD)",
        ),
    ):
        charge = await box.charge(amount, customer=f"cus_{currency}", currency=currency)
        answer = await box.post("/v1/refunds", {"charge": charge, "amount": asked})
        assert answer.json()["error"]["message"] == words
        assert (await box.refund(charge))["amount"] == amount


async def test_a_refund_by_payment_intent_is_a_refund_of_its_charge(box: Box) -> None:
    charge = await box.charge()
    intent = (await box.get(f"/v1/charges/{charge}"))["payment_intent"]
    answer = await box.post(
        "/v1/refunds",
        {
            "payment_intent": intent,
            "amount": 1000,
            "reason": "duplicate",
            "metadata[case_id]": "case_1",
            "expand[]": "charge",
        },
    )
    row = answer.json()
    assert row["charge"]["id"] == charge
    assert row["charge"]["amount_refunded"] == 1000
    assert (row["reason"], row["metadata"]) == ("duplicate", {"case_id": "case_1"})
    listed = await box.get("/v1/refunds", payment_intent=intent)
    assert [each["id"] for each in listed["data"]] == [row["id"]]
    again = await box.post(f"/v1/refunds/{row['id']}", {"metadata[seen]": "yes"})
    assert again.json()["metadata"] == {"case_id": "case_1", "seen": "yes"}


async def test_an_uncaptured_or_unknown_charge_cannot_be_refunded(box: Box) -> None:
    charge = await box.charge(captured=False)
    assert (await box.post("/v1/refunds", {"charge": charge})).status_code == 400
    unknown = await box.post("/v1/refunds", {"charge": "ch_nobody"})
    assert unknown.json()["error"]["code"] == "resource_missing"
    assert await box.effects() == []


@pytest.mark.parametrize(
    ("form", "param", "code"),
    [
        ({"charge": "ch_a", "amount": "ten"}, "amount", "parameter_invalid_integer"),
        ({"charge": "ch_a", "amount": "-5"}, "amount", "parameter_invalid_integer"),
        ({"charge": "ch_a", "amount": "0"}, "amount", "parameter_invalid_integer"),
        ({"charge": "ch_a", "amount": ""}, "amount", "parameter_invalid_empty"),
        ({"charge": "ch_a", "amount": "9" * 30}, "amount", "parameter_invalid_integer"),
        ({"charge": "ch_a", "colour": "red"}, "colour", "parameter_unknown"),
        ({"charge": "ch_a", "reason": "because"}, "reason", None),
        ({"charge": "ch_a", "metadata[note]": "x" * 501}, "metadata[note]", None),
        ({}, None, None),
    ],
)
async def test_nonsense_is_refused_as_stripe_refuses_it(
    box: Box, form: dict[str, str], param: str | None, code: str | None
) -> None:
    box.refereed = False
    await box.charge(id="ch_a")
    answer = await box.post("/v1/refunds", form)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error.get("param"), error.get("code")) == (
        "invalid_request_error",
        param,
        code,
    )
    assert answer.headers["Request-Id"].startswith("req_")


async def test_a_card_refund_gets_its_bank_reference_after_three_business_days(box: Box) -> None:
    charge = await box.charge()
    row = await box.refund(charge, 1000)
    card = row["destination_details"]["card"]
    assert (card["type"], card["reference_status"]) == ("refund", "pending")
    await box.control("clock", {"customer": "cus_a", "to": "2026-03-05T11:59:00Z"})
    row = await box.get(f"/v1/refunds/{row['id']}")
    assert row["destination_details"]["card"]["reference_status"] == "pending"
    moved = await box.control("clock", {"customer": "cus_a", "to": "2026-03-06T00:00:00Z"})
    assert [due["act"] for due in moved["fired"]] == ["refund_arrives"]
    card = (await box.get(f"/v1/refunds/{row['id']}"))["destination_details"]["card"]
    assert card["reference_status"] == "available"
    assert len(card["reference"]) == 23
    assert await box.events() == [
        "refund.created",
        "charge.refunded",
        "refund.updated",
        "charge.refund.updated",
    ]
    event = (await box.get("/v1/events", type="refund.updated"))["data"][0]
    assert event["created"] == row["created"] + 3 * 86_400  # Monday to Thursday, same time of day
    before = event["data"]["previous_attributes"]["destination_details"]["card"]
    assert before["reference_status"] == "pending"


async def test_a_pending_refund_succeeds_after_business_days(box: Box) -> None:
    charge = await box.charge(payment_method="pm_card_pendingRefund")
    await box.control("clock", {"customer": "cus_a", "to": "2026-03-05T12:00:00Z"})
    row = await box.refund(charge)
    assert (row["status"], row["pending_reason"]) == ("pending", "processing")
    await box.control("clock", {"customer": "cus_a", "to": "2026-03-10T11:59:00Z"})
    assert (await box.get(f"/v1/refunds/{row['id']}"))["status"] == "pending"
    await box.control("clock", {"customer": "cus_a", "to": "2026-03-10T12:00:01Z"})
    after = await box.get(f"/v1/refunds/{row['id']}")
    assert after["status"] == "succeeded"
    assert "pending_reason" not in after


async def test_a_refund_that_fails_gives_the_charge_its_money_back(box: Box) -> None:
    charge = await box.charge(payment_method="pm_card_refundFail")
    row = await box.refund(charge)
    assert row["status"] == "succeeded"
    await box.forward(3)
    after = await box.get(f"/v1/refunds/{row['id']}", **{"expand[]": "failure_balance_transaction"})
    assert (after["status"], after["failure_reason"]) == ("failed", "expired_or_canceled_card")
    assert after["failure_balance_transaction"]["amount"] == 5200
    charge_after = await box.get(f"/v1/charges/{charge}")
    assert (charge_after["amount_refunded"], charge_after["refunded"]) == (0, False)
    assert (await box.events())[2:] == ["refund.failed", "refund.updated", "charge.refund.updated"]
    assert (await box.refund(charge))["amount"] == 5200


async def test_a_refund_that_needs_the_customer_may_be_canceled_and_no_other(box: Box) -> None:
    charge = await box.charge(payment_method="pm_multibanco", currency="eur")
    row = await box.refund(charge, instructions_email="a@example.com")
    assert row["status"] == "requires_action"
    assert row["next_action"]["type"] == "display_details"
    canceled = (await box.post(f"/v1/refunds/{row['id']}/cancel")).json()
    assert (canceled["status"], canceled["failure_reason"]) == ("canceled", "merchant_request")
    card = await box.refund(await box.charge(customer="cus_b"))
    assert (await box.post(f"/v1/refunds/{card['id']}/cancel")).status_code == 400


@pytest.mark.parametrize(
    ("behaviour", "first", "last"),
    [
        ("silent", "succeeded", "succeeded"),
        ("stuck", "pending", "pending"),
        ("low_balance", "pending", "succeeded"),
        ("pending_fails", "pending", "failed"),
        ("requires_action", "requires_action", "failed"),
    ],
)
async def test_a_charge_may_choose_what_becomes_of_its_refunds(
    box: Box, behaviour: str, first: str, last: str
) -> None:
    charge = await box.charge(refund_behaviour=behaviour)
    row = await box.refund(charge)
    assert row["status"] == first
    await box.forward(60)
    after = await box.get(f"/v1/refunds/{row['id']}")
    assert after["status"] == last
    if behaviour == "silent":
        assert after["destination_details"]["card"]["reference_status"] == "pending"


async def test_a_refund_can_be_forced_along_the_table_and_not_beside_it(box: Box) -> None:
    charge = await box.charge()
    row = await box.refund(charge, 1000)
    forced = await box.control(f"refunds/{row['id']}", {"reference": "7" * 23})
    assert forced["destination_details"]["card"]["reference"] == "7" * 23
    failed = await box.control(
        f"refunds/{row['id']}", {"status": "failed", "failure_reason": "lost_or_stolen_card"}
    )
    assert failed["failure_reason"] == "lost_or_stolen_card"
    url = f"{box.url}/_sandbox/refunds/{row['id']}"
    refused = await box.client.post(url, json={"status": "succeeded"})
    assert refused.status_code == 409
    assert "never goes from failed to succeeded" in refused.text


# account credit


async def test_account_credit_moves_the_balance_and_keeps_every_step(box: Box) -> None:
    await box.charge()
    path = "/v1/customers/cus_a/balance_transactions"
    first = (
        await box.post(
            path,
            {
                "amount": -1500,
                "currency": "usd",
                "description": "goodwill",
                "metadata[case_id]": "c1",
            },
        )
    ).json()
    second = (await box.post(path, {"amount": 400, "currency": "usd"})).json()
    assert (first["ending_balance"], second["ending_balance"]) == (-1500, -1100)
    customer = await box.get("/v1/customers/cus_a")
    assert (customer["balance"], customer["currency"]) == (-1100, "usd")
    listed = await box.get(path)
    assert [row["id"] for row in listed["data"]] == [second["id"], first["id"]]
    assert (await box.get(f"{path}/{first['id']}"))["metadata"] == {"case_id": "c1"}
    other = await box.post(path, {"amount": -1, "currency": "eur"})
    assert other.status_code == 400
    assert await box.effects() == [first["id"], second["id"]]
    sums = (await box.control("stats", method="GET"))["by_currency"]["usd"]
    assert (sums["credits"], sums["credited"]) == (2, 1100)


async def test_lists_are_newest_first_and_come_in_pages(box: Box) -> None:
    charge = await box.charge()
    ids = [(await box.refund(charge, 100))["id"] for _ in range(7)][::-1]
    page = await box.get("/v1/refunds", charge=charge, limit=3)
    assert ([row["id"] for row in page["data"]], page["has_more"]) == (ids[:3], True)
    page = await box.get("/v1/refunds", charge=charge, limit=3, starting_after=ids[2])
    assert ([row["id"] for row in page["data"]], page["has_more"]) == (ids[3:6], True)
    page = await box.get("/v1/refunds", charge=charge, limit=3, starting_after=ids[5])
    assert ([row["id"] for row in page["data"]], page["has_more"]) == (ids[6:], False)
    page = await box.get("/v1/refunds", charge=charge, limit=2, ending_before=ids[3])
    assert ([row["id"] for row in page["data"]], page["has_more"]) == (ids[1:3], True)
    assert (await box.get("/v1/refunds", limit=1))["data"][0]["id"] == ids[0]


# the table


def test_every_transition_names_the_page_it_was_read_from() -> None:
    for rows in TABLES.values():
        steps = [(row.before, row.after) for row in rows]
        assert len(steps) == len(set(steps))
        for row in rows:
            assert row.source.startswith("docs.stripe.com/"), row
            assert row.cause, row
            assert row.events, row


def test_the_table_is_exactly_what_stripe_documents() -> None:
    assert {(row.before, row.after) for row in REFUND} == {
        (None, "succeeded"),
        (None, "pending"),
        (None, "requires_action"),
        ("requires_action", "pending"),
        ("requires_action", "succeeded"),
        ("requires_action", "canceled"),
        ("requires_action", "failed"),
        ("pending", "succeeded"),
        ("pending", "failed"),
        ("pending", "canceled"),
        ("succeeded", "failed"),
    }
    assert {(row.before, row.after) for row in DISPUTE} == {
        (None, "needs_response"),
        (None, "under_review"),
        (None, "lost"),
        (None, "warning_needs_response"),
        (None, "prevented"),
        ("needs_response", "under_review"),
        ("needs_response", "lost"),
        ("needs_response", "won"),
        ("under_review", "won"),
        ("under_review", "lost"),
        ("warning_needs_response", "warning_under_review"),
        ("warning_needs_response", "warning_closed"),
        ("warning_under_review", "warning_closed"),
        ("warning_needs_response", "needs_response"),
        ("warning_under_review", "needs_response"),
    }
    for dead in ("failed", "canceled"):
        assert not any(may_become("refund", dead, row.after) for row in REFUND)
    for closed in ("won", "lost", "warning_closed", "prevented"):
        assert not any(may_become("dispute", closed, row.after) for row in DISPUTE)
