"""Bad input: refused at once, by field, with what is allowed; only the refusal is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from domain.errors import InvalidRequest, Refused
from domain.money import LARGEST_MINOR
from domain.refunds import LONGEST_TEXT
from tests.workflows.builders import LARGE, LEAD, MEDIUM, SMALL, a_charge, a_request, unique
from tests.workflows.world import Case, World

CARD = "4242 4242 4242 4242"
AT_ONCE: dict[str, tuple[dict[str, Any], str]] = {
    "amount of nothing": ({"amount_minor": 0}, "amount_minor"),
    "negative amount": ({"amount_minor": -5}, "amount_minor"),
    "fraction of a minor unit": ({"amount_minor": 26.85}, "amount_minor"),
    "amount in words": ({"amount_minor": "2685"}, "amount_minor"),
    "amount of a truth": ({"amount_minor": True}, "amount_minor"),
    "amount beyond all money": ({"amount_minor": 10**16}, "amount_minor"),
    "amount just beyond all money": ({"amount_minor": LARGEST_MINOR + 1}, "amount_minor"),
    "currency in capitals": ({"currency": "USD"}, "currency"),
    "unknown reason": ({"reason": "because"}, "reason"),
    "charge of another shape": ({"charge": "in_123"}, "charge"),
    "customer of another shape": ({"customer": "Ada"}, "customer"),
    "request id with spaces": ({"request_id": "a b"}, "request_id"),
    "request id with a NUL": ({"request_id": "a\x00b"}, "request_id"),
    "nobody asking": ({"requested_by": None}, "requested_by"),
    "an unknown role asking": ({"requested_by": {"id": "x", "role": "king"}}, "requested_by.role"),
    "an unknown field": ({"colour": "red"}, "colour"),
    "a card number in the text": ({"text": f"my card is {CARD}, thanks"}, "text"),
    "a card number in an attribute": ({"attributes": {"tier": CARD}}, "attributes.tier"),
    "a text of two megabytes": ({"text": "x" * 2_000_000}, "text"),
    "a text of digits without end": ({"text": "4" * 500_000}, "text"),
    "a text with a NUL": ({"text": "a\x00b"}, "text"),
    "a text with half a character": ({"text": "a\ud800b"}, "text"),
    "an attribute of a fraction": ({"attributes": {"tier": 1.5}}, "attributes.tier"),
    "an attribute without end": ({"attributes": {"tier": "x" * 2_000}}, "attributes.tier"),
    "a country of another shape": ({"jurisdiction": "Utopia"}, "jurisdiction"),
}


@pytest.mark.parametrize("name", AT_ONCE)
async def test_input_that_cannot_be_right_is_refused_before_anything_starts(
    world: World, name: str
) -> None:
    change, field = AT_ONCE[name]
    request = a_request(**{**await a_charge(world.stack), **change})
    before = await world.counts()
    with pytest.raises(InvalidRequest) as refused:
        await world.client.open_refund(request)
    assert refused.value.field == field
    assert refused.value.allowed
    assert CARD not in str(refused.value)
    assert len(str(refused.value)) < 1_000, "the input is not repeated"
    assert_only_the_refusal_was_written(before, await world.counts())


async def another_customers(world: World) -> dict[str, Any]:
    theirs, mine = await a_charge(world.stack), await a_charge(world.stack)
    return {"customer": mine["customer"], "charge": theirs["charge"]}


async def above_the_remainder(world: World) -> dict[str, Any]:
    seeded = await a_charge(world.stack, amount=MEDIUM)
    return {**seeded, "amount_minor": MEDIUM + 1}


async def nothing_left(world: World) -> dict[str, Any]:
    case = await world.open_settling({"amount": SMALL})
    return {"customer": case.customer, "charge": case.charge, "amount_minor": 1}


async def held_by_a_waiting_case(world: World) -> dict[str, Any]:
    case = await world.open_decided({"amount": MEDIUM}, amount_minor=MEDIUM - 500)
    return {"customer": case.customer, "charge": case.charge, "amount_minor": 501}


def with_charge(**change: Any) -> Callable[[World], Any]:
    async def build(world: World) -> dict[str, Any]:
        return {**await a_charge(world.stack), **change}

    return build


LOYAL = {"policy": "loyalty"}
BY_FACTS: dict[str, tuple[Callable[[World], Any], str, str]] = {
    "unknown charge": (with_charge(charge="ch_nobody"), "charge", "an existing charge id"),
    "unknown customer": (with_charge(customer="cus_nobody"), "charge", "a charge of cus_nobody"),
    "another customer's charge": (another_customers, "charge", "a charge of cus_"),
    "wrong currency": (with_charge(currency="eur"), "currency", "usd"),
    "above what is left": (above_the_remainder, "amount_minor", f"1 to {MEDIUM}"),
    "above what is not held": (held_by_a_waiting_case, "amount_minor", "1 to 500"),
    "nothing left": (nothing_left, "charge", "a charge with a remainder"),
    "unknown policy": (with_charge(policy="moon"), "policy", "loyalty, patient, refund"),
    "missing attribute": (with_charge(**LOYAL), "attributes.tier", "gold"),
    "unknown attribute": (
        with_charge(**LOYAL, attributes={"tier": "gold", "account_days": 1, "shoe_size": 43}),
        "attributes.shoe_size",
        "account_days, tax_minor, tier, vip",
    ),
    "mistyped attribute": (
        with_charge(**LOYAL, attributes={"tier": "gold", "account_days": "many"}),
        "attributes.account_days",
        "0",
    ),
    "attribute out of its words": (
        with_charge(**LOYAL, attributes={"tier": "tin", "account_days": 1}),
        "attributes.tier",
        "gold",
    ),
    "attribute to a policy without any": (
        with_charge(attributes={"tier": "gold"}),
        "attributes.tier",
        "no attributes",
    ),
}


@pytest.mark.parametrize("name", BY_FACTS)
async def test_input_that_the_facts_contradict_is_refused_by_field(world: World, name: str) -> None:
    build, field, allowed = BY_FACTS[name]
    request = a_request(**await build(world))
    before = await world.counts()
    handle = await world.client.open_refund(request)
    with pytest.raises(InvalidRequest) as refused:
        await handle.decided()
    assert refused.value.field == field
    assert allowed in refused.value.allowed
    assert_only_the_refusal_was_written(before, await world.counts())
    assert await world.effects(Case(handle, request["customer"], request["charge"])) == 0


async def test_declared_attributes_of_the_right_types_are_accepted(world: World) -> None:
    case = await world.open_settling(
        policy="loyalty", attributes={"tier": "gold", "account_days": 400}
    )
    assert (await world.row(case)).policy == "loyalty"


async def test_a_request_id_used_for_something_else_is_refused_with_the_date(
    world: World,
) -> None:
    case = await world.open_settling(request_id=(request_id := unique("reused-")))
    await world.calm(case)
    before = await world.counts()
    other = a_request(request_id=request_id, customer=case.customer, charge=case.charge)
    with pytest.raises(Refused, match=f"request_id: {request_id} was used.*allowed: a new") as no:
        await world.client.open_refund({**other, "amount_minor": SMALL + 1})
    assert no.value.code == "request_reused"
    assert_only_the_refusal_was_written(before, await world.counts())
    assert await world.refused_attempts(case) == [("open_refund", "request_reused")]


async def test_a_refused_request_may_be_sent_again_once_it_is_right(world: World) -> None:
    seeded = await a_charge(world.stack, amount=LARGE)
    wrong = a_request(**seeded, currency="eur")
    handle = await world.client.open_refund(wrong)
    with pytest.raises(InvalidRequest):
        await handle.decided()
    again = await world.client.open_refund({**wrong, "currency": "usd"})
    assert again.case_id == handle.case_id
    assert (await again.decided()).amount_minor == SMALL


@pytest.mark.parametrize(
    "text",
    [
        "مرحبا \u202e evil",
        "가" * LONGEST_TEXT,
        "\u0000".replace("\x00", "\u2400"),
        "'; DROP TABLE--",
    ],
    ids=["right to left", "longest", "a picture of NUL", "sql"],
)
async def test_any_real_text_is_kept_as_it_is(world: World, text: str) -> None:
    case = await world.open_decided(text=text)
    sealed = (await world.events(case))[0].body["text"]
    assert text not in sealed
    assert await world.stack.keyring.unseal(sealed) == text


async def test_a_note_is_held_to_the_same_rules_as_a_text(world: World) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    for note in (CARD, "x" * (LONGEST_TEXT + 1), "\x00"):
        with pytest.raises(Refused, match="note"):
            await case.handle.decline(LEAD, note=note)
    assert await world.refused_attempts(case) == [("decline", "invalid")] * 3


def assert_only_the_refusal_was_written(before: dict[str, int], after: dict[str, int]) -> None:
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert grown.pop("refused_attempts") == 1
    assert grown.pop("chain_links") == 1
    grown.pop("customer_keys", None)  # its payloads were sealed; a key tells nothing
    grown.pop("lock_rows", None)
    assert grown == {}, "something else was written"
