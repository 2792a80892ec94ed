"""What cases are made of: every builder has defaults that work and takes overrides."""

from __future__ import annotations

import itertools
import os
import shutil
from datetime import date
from pathlib import Path
from typing import Any

from domain.actors import Actor, Role
from tests.stack import Stack

SERVICE = Actor(id="shop", role=Role.SERVICE)
CUSTOMER = Actor(id="customer-1", role=Role.CUSTOMER)
AGENT = Actor(id="agent-1", role=Role.AGENT)
LEAD = Actor(id="lead-1", role=Role.LEAD)
FINANCE = Actor(id="finance-1", role=Role.FINANCE)
AUDITOR = Actor(id="auditor-1", role=Role.AUDITOR)

SMALL, MEDIUM, LARGE = 2_685, 9_000, 90_000
"""Minor units that the tests' pack asks nobody, one person and two persons about."""

PICTURE = b"\x89PNG\r\n\x1a\nQuetzalcoatl Zephyrine, at the counter"
"""An image by its first bytes, with words in it that can be looked for."""

_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """Another id at every call, also beside other runs on the same server."""
    return f"{prefix}{os.getpid()}x{next(_numbers)}"


async def a_charge(
    stack: Stack, *, customer: str = "", charge: str = "", amount: int = LARGE, **fields: Any
) -> dict[str, str]:
    """A charge of a new customer at the sandbox; answers both ids by their request names."""
    seeded = {
        "id": charge or unique("ch_t"),
        "amount": amount,
        "currency": "usd",
        "payment_method": "pm_card_visa",
        **fields,
    }
    named = {"id": customer or unique("cus_t"), "name": "Ada Example", "charges": [seeded]}
    await stack.control("seed", {"customers": [named]})
    return {"customer": str(named["id"]), "charge": str(seeded["id"])}


def a_request(**fields: Any) -> dict[str, Any]:
    """The fields of a refund request, as a caller writes them."""
    return {
        "request_id": unique("request-"),
        "amount_minor": SMALL,
        "currency": "usd",
        "reason": "service_unavailable",
        "requested_by": SERVICE.model_dump(mode="json"),
        **fields,
    }


def with_version_2(policies: Path, folder: Path, day: date, repin: str) -> Path:
    """A copy of ``policies`` in ``folder`` with a version 2 of the refund policy, in force from
    ``day``, that lets agents say yes to twice as much; ``repin`` is its line about that, or none.
    """
    copied = Path(shutil.copytree(policies, folder / "policies"))
    lines = []
    for line in (copied / "refund/v1.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("version:"):
            line = f"version: 2\n{repin}"
        elif line.startswith("effective_from:"):
            line = f'effective_from: "{day}"'
        lines.append(line)
    newer = "\n".join(lines).replace("each: {usd: 10000,", "each: {usd: 20000,")
    newer = newer.replace("per_day: {usd: 15000,", "per_day: {usd: 30000,")
    (copied / "refund/v2.yaml").write_text(newer, encoding="utf-8")
    return copied
