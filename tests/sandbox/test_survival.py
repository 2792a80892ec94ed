"""State in a file survives SIGKILL, and the process ends cleanly when asked to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import httpx

from tests.referee import referee
from tests.sandbox.box import Box
from tests.sandbox_process import ROOT, SandboxProcess


async def test_everything_answered_survives_a_kill_9(
    tmp_path: Path, client: httpx.AsyncClient
) -> None:
    async with SandboxProcess(tmp_path / "sandbox.db") as process:
        box = Box(process.url, client)
        charge = await box.charge(10_000)
        await box.control("settings", {"settle_days_max": 5})
        await box.control("faults", {"kind": "status_503", "body": {"amount": "7"}})
        first = await box.post("/v1/refunds", {"charge": charge, "amount": 100}, key="k")
        entries = await box.journal()
        old = process.pid
        process.kill9()
        process.start()
        assert process.pid != old
        assert await box.journal() == entries
        again = await box.post("/v1/refunds", {"charge": charge, "amount": 100}, key="k")
        assert again.json() == first.json()
        assert again.headers["Idempotent-Replayed"] == "true"
        clock = await box.control("clock?customer=cus_a", method="GET")
        assert clock["iso"].startswith("2026-03-02T12:")
        assert (await box.control("settings", method="GET"))["settle_days_max"] == 5
        assert (await box.post("/v1/refunds", {"charge": charge, "amount": 7})).status_code == 503
        await box.forward(9)
        row = await box.get(f"/v1/refunds/{first.json()['id']}")
        assert row["destination_details"]["card"]["reference_status"] == "available"
        assert referee().check_journal(await box.journal()) == []


async def test_killed_under_load_it_keeps_what_it_answered_and_its_rules(
    tmp_path: Path, client: httpx.AsyncClient
) -> None:
    async with SandboxProcess(tmp_path / "sandbox.db") as process:
        box = Box(process.url, client)
        charge = await box.charge(1_000_000)
        answered: dict[str, str] = {}

        async def refund(n: int) -> None:
            try:
                form = {"charge": charge, "amount": 10}
                answer = await box.post("/v1/refunds", form, key=f"k{n}")
                answered[f"k{n}"] = answer.json()["id"]
            except httpx.TransportError:
                pass

        tasks = [asyncio.create_task(refund(n)) for n in range(150)]
        while len(answered) < 40:  # noqa: ASYNC110 (a count, not an event)
            await asyncio.sleep(0.005)
        process.kill9()
        await asyncio.gather(*tasks)
        assert len(answered) < 150
        process.start()
        for key, id in list(answered.items()):
            again = await box.post("/v1/refunds", {"charge": charge, "amount": 10}, key=key)
            assert again.json()["id"] == id
        made = await box.effects()
        assert set(answered.values()) <= set(made)
        assert (await box.get(f"/v1/charges/{charge}"))["amount_refunded"] == 10 * len(made)


async def test_it_announces_its_address_and_quits_cleanly(tmp_path: Path) -> None:
    port_file = tmp_path / "port.json"
    for number in (signal.SIGTERM, signal.SIGINT):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sandbox",
            "--port-file",
            str(port_file),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        line = await process.stdout.readline()
        assert json.loads(line) == json.loads(port_file.read_text())
        async with httpx.AsyncClient(trust_env=False) as client:
            health = (await client.get(json.loads(line)["url"] + "/_sandbox/health")).json()
            assert health["pid"] == process.pid
            os.kill(process.pid, number)
            _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
