"""I1 as a run checks it: refunds by charge, added up from the provider's journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from domain.money import Money
from simulation.checks import Check, captured_of, within_captured
from simulation.driving import Provider
from tests.simulation.test_scenario_files import case

CAPTURED = {"ch_1": Money(amount_minor=8000, currency="eur")}


def refund(id: str, amount: int, **changes: Any) -> dict[str, Any]:
    made = {"object": "refund", "id": id, "charge": "ch_1", "amount": amount, "currency": "eur"}
    return {"response": made | {"status": "succeeded"} | changes}


def looked(status: str) -> dict[str, Any]:
    return {"response": {"object": "refund", "status": status}}


async def checked(
    *effects: dict[str, Any],
    looks: Mapping[str, list[dict[str, Any]]] | None = None,
    broken: list[dict[str, Any]] | None = None,
) -> Check:
    def answer(request: httpx.Request) -> httpx.Response:
        query = request.url.params
        if request.url.path.endswith("/stats"):
            return httpx.Response(200, json={"requests": 12})
        if "status_from" in query:
            return httpx.Response(200, json={"entries": broken or []})
        id = query["path"].rsplit("/", 1)[-1]
        return httpx.Response(200, json={"entries": (looks or {}).get(id, [])})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        return await within_captured(Provider("http://provider", http), CAPTURED, effects)


async def test_refunds_up_to_what_was_captured_hold() -> None:
    check = await checked(refund("re_1", 5000), refund("re_2", 3000))
    assert check.holds
    assert check.seen == "1 charge with refunds, 12 requests, 0 breaches"


async def test_a_cent_more_than_was_captured_breaks_it() -> None:
    check = await checked(refund("re_1", 5000), refund("re_2", 3001))
    assert check.faults == ("ch_1: 80.01 EUR of 80.00 EUR captured",)


async def test_a_refund_that_failed_gives_its_room_back() -> None:
    effects = refund("re_1", 8000), refund("re_2", 8000)
    assert (await checked(*effects, looks={"re_1": [looked("succeeded"), looked("failed")]})).holds
    assert not (await checked(*effects, looks={"re_1": [looked("succeeded")]})).holds


async def test_a_charge_of_nobody_or_another_currency_breaks_it() -> None:
    check = await checked(refund("re_1", 1, charge="ch_2"), refund("re_2", 1, currency="usd"))
    assert check.faults == (
        "ch_1: a refund in another currency than eur",
        "ch_2 has refunds and is no charge of these cases",
    )


async def test_the_providers_own_alarm_breaks_it_and_an_error_that_was_asked_for_does_not() -> None:
    alarm = {"code": "sandbox_violation", "message": "refunds exceed the captured"}
    path = {"method": "POST", "path": "/v1/refunds"}
    asked_for = path | {"response": {"error": {"code": None, "message": "as you wished"}}}
    assert (await checked(broken=[asked_for])).holds
    check = await checked(broken=[asked_for, path | {"response": {"error": alarm}}])
    assert check.faults == ("POST /v1/refunds: refunds exceed the captured",)


def test_what_was_captured_is_what_the_file_says() -> None:
    assert captured_of([case()]) == {"ch_ada_c1": Money(amount_minor=8000, currency="eur")}
