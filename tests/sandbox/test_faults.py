"""Each kind of fault, as an HTTP client sees it."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from sandbox.app import ConnectionDropped, create_app
from tests.sandbox.box import Box


async def refunded(box: Box, charge: str) -> int:
    amount: int = (await box.get(f"/v1/charges/{charge}"))["amount_refunded"]
    return amount


@pytest.mark.parametrize(
    ("status", "type", "code"),
    [
        (400, "invalid_request_error", None),
        (402, "card_error", "card_declined"),
        (409, "idempotency_error", "idempotency_key_in_use"),
        (429, "invalid_request_error", "rate_limit"),
        (500, "api_error", None),
        (503, "api_error", None),
    ],
)
async def test_an_error_status_has_stripes_shape_and_does_nothing(
    box: Box, status: int, type: str, code: str | None
) -> None:
    charge = await box.charge()
    await box.control("faults", {"method": "POST", "kind": "status", "status": status, "count": 1})
    form = {"charge": charge, "amount": 100}
    answer = await box.post("/v1/refunds", form, key="k")
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["type"], error.get("code")) == (type, code)
    assert await refunded(box, charge) == 0
    again = await box.post("/v1/refunds", form, key="k")
    kept = status in (400, 402, 500)
    assert again.status_code == (status if kept else 200)


async def test_a_reset_before_does_nothing(box: Box) -> None:
    charge = await box.charge()
    await box.control("faults", {"method": "POST", "kind": "reset_before", "count": 1})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await box.post("/v1/refunds", {"charge": charge}, key="k")
    assert await refunded(box, charge) == 0
    assert (await box.post("/v1/refunds", {"charge": charge}, key="k")).status_code == 200


async def test_an_answer_lost_after_commit_leaves_the_refund_made(box: Box) -> None:
    charge = await box.charge()
    await box.control("faults", {"method": "POST", "kind": "lost_after_commit", "count": 1})
    form = {"charge": charge, "amount": 100}
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await box.post("/v1/refunds", form, key="k")
    assert await refunded(box, charge) == 100
    again = await box.post("/v1/refunds", form, key="k")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert [again.json()["id"]] == await box.effects()
    entries = await box.journal(method="POST")
    assert [(row["fault"], row["answered"], row["status"]) for row in entries] == [
        ("lost_after_commit", False, 200),
        (None, True, 200),
    ]


async def test_a_truncated_answer_cannot_be_read(box: Box) -> None:
    charge = await box.charge()
    await box.control("faults", {"method": "POST", "kind": "truncated", "count": 1})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await box.post("/v1/refunds", {"charge": charge, "amount": 100})
    assert await refunded(box, charge) == 100


@pytest.mark.parametrize("committed", [False, True])
async def test_a_proxys_html_is_no_json(box: Box, committed: bool) -> None:
    charge = await box.charge()
    await box.control(
        "faults", {"method": "POST", "kind": "html", "count": 1, "committed": committed}
    )
    answer = await box.post("/v1/refunds", {"charge": charge, "amount": 100})
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")
    assert "<html>" in answer.text
    assert await refunded(box, charge) == (100 if committed else 0)


@pytest.mark.parametrize(("kind", "at_time_out"), [("slow_before", 0), ("slow_after", 100)])
async def test_a_slow_answer_outlasts_the_client(box: Box, kind: str, at_time_out: int) -> None:
    charge = await box.charge()
    await box.control("faults", {"method": "POST", "kind": kind, "ms": 500, "count": 1})
    began = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        await box.client.post(
            f"{box.url}/v1/refunds",
            data={"charge": charge, "amount": 100},
            headers={"Authorization": "Bearer sk_test_1"},
            timeout=0.2,
        )
    assert time.monotonic() - began < 0.45
    assert await refunded(box, charge) == at_time_out


async def test_without_a_socket_a_dropped_connection_is_an_exception() -> None:
    app = create_app()
    box = app.state.sandbox
    with box.store.transaction():
        box.faults.add({"kind": "reset_before"})
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        with pytest.raises(ConnectionDropped):
            await client.get("/v1/charges", headers={"Authorization": "Bearer sk_test_1"})
    box.close()


async def test_a_500_may_hide_a_committed_refund(box: Box) -> None:
    charge = await box.charge()
    await box.control("faults", {"kind": "status_500", "committed": True, "count": 1})
    form = {"charge": charge, "amount": 100}
    assert (await box.post("/v1/refunds", form, key="k")).status_code == 500
    assert await refunded(box, charge) == 100
    assert (await box.post("/v1/refunds", form, key="k")).status_code == 500
    assert len(await box.effects()) == 1


async def test_a_fault_strikes_what_matches_after_skips_and_not_more(box: Box) -> None:
    charge = await box.charge()
    await box.control(
        "faults",
        {
            "method": "POST",
            "path": "/v1/ref.*",
            "body": {"metadata[case_id]": "c1"},
            "skip": 1,
            "count": 2,
            "kind": "status_503",
        },
    )

    async def status(case: str) -> int:
        form = {"charge": charge, "amount": 100, "metadata[case_id]": case}
        code: int = (await box.post("/v1/refunds", form)).status_code
        return code

    assert [await status("c2"), await status("c1")] == [200, 200]
    assert [await status("c1"), await status("c2"), await status("c1")] == [503, 200, 503]
    assert await status("c1") == 200
    fault = (await box.control("faults", method="GET"))["faults"][0]
    assert (fault["matched"], fault["struck"]) == (4, 2)
    assert (await box.control("faults", method="DELETE"))["cleared"] == 1


async def test_random_faults_are_the_same_for_the_same_seed(box: Box) -> None:
    async def run(seed: int) -> list[Any]:
        await box.control("reset")
        await box.charge()
        chance = {"seed": seed, "rate": 0.5, "kinds": ["status_429", "status_503"]}
        await box.control("faults", {"random": chance, "path": "/v1/charges"})
        found = []
        for _ in range(20):
            answer = await box.client.get(
                f"{box.url}/v1/charges", headers={"Authorization": "Bearer sk_test_1"}
            )
            found.append(answer.status_code)
        return found

    first, again, other = await run(7), await run(7), await run(8)
    assert first == again != other
    assert set(first) == {200, 429, 503}
