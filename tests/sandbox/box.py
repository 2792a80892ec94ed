"""A small client of the sandbox for its own tests: plain HTTP, no library of Stripe's."""

from __future__ import annotations

from typing import Any

import httpx

Json = dict[str, Any]
AUTHORIZATION = {"Authorization": "Bearer sk_test_sandbox"}
# A Monday noon, so that business days are easy to count.
MONDAY = "2026-03-02T12:00:00Z"


class Box:
    """``refereed`` says whether the test's requests are meant to be right."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self.client = client
        self.refereed = True

    async def post(self, path: str, form: Json | None = None, key: str | None = None) -> Any:
        headers = AUTHORIZATION | ({"Idempotency-Key": key} if key else {})
        return await self.client.post(self.url + path, data=form or {}, headers=headers)

    async def get(self, path: str, **params: Any) -> Json:
        answer = await self.client.get(self.url + path, params=params, headers=AUTHORIZATION)
        found: Json = answer.json()
        return found

    async def control(self, path: str, body: Json | None = None, method: str = "POST") -> Json:
        url = f"{self.url}/_sandbox/{path}"
        answer = await self.client.request(method, url, json=body or {})
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def journal(self, **filters: Any) -> list[Json]:
        answer = await self.client.get(f"{self.url}/_sandbox/journal", params=filters)
        entries: list[Json] = answer.json()["entries"]
        return entries

    async def effects(self, **filters: Any) -> list[str]:
        return [id for entry in await self.journal(**filters) for id in entry["effects"]]

    async def charge(self, amount: int = 5200, *, customer: str = "cus_a", **fields: Any) -> str:
        """A seeded charge, its customer's clock at MONDAY."""
        charge: Json = {"amount": amount, "currency": "usd", "created": "2026-02-01T08:00:00Z"}
        seeded = await self.control(
            "seed",
            {"customers": [{"id": customer, "clock_at": MONDAY, "charges": [charge | fields]}]},
        )
        id: str = seeded["customers"][0]["charges"][0]
        return id

    async def refund(self, charge: str, amount: int | None = None, **form: Any) -> Json:
        form = {"charge": charge, **form} | ({} if amount is None else {"amount": amount})
        answer = await self.post("/v1/refunds", form)
        assert answer.status_code == 200, answer.text
        row: Json = answer.json()
        return row

    async def forward(self, days: int, customer: str = "cus_a") -> Json:
        return await self.control("clock", {"customer": customer, "by_seconds": days * 86_400})

    async def events(self, **params: Any) -> list[str]:
        """Types of events, oldest first."""
        rows = (await self.get("/v1/events", limit=100, **params))["data"]
        return [row["type"] for row in reversed(rows)]
