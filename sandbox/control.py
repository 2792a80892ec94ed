"""The control routes under ``/_sandbox/``: JSON in, JSON out. They are not Stripe's.

A mistake in a control request is a 400 (409 when the state forbids it) with
``{"error": {"message": ...}}`` and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import API_VERSION, disputes, endpoints, refunds
from .clock import ACCOUNT, CannotGoBack, iso, parse_instant
from .engine import Sandbox
from .errors import StripeError
from .money_rules import check
from .seed import seed
from .stats import stats
from .store import Json
from .transitions import may_become

Control = Callable[[Request, Sandbox, Json], Awaitable[Any]]


class NotNow(Exception):
    """The request is well formed, but the state forbids it."""


def only(given: Json, *names: str) -> None:
    for name in given:
        if name not in names:
            raise ValueError(f"unknown field {name!r}: {', '.join(names) or 'none'}")


# time


def _clock(sandbox: Sandbox, customer: str, fired: list[Json] | None = None) -> Json:
    now = sandbox.world.clocks.now(customer)
    offset = sandbox.world.clocks.offset(customer)
    due = sandbox.world.clocks.next_due(customer)
    answer: Json = {
        "customer": customer,
        "now": now,
        "iso": iso(now),
        "offset_seconds": offset,
        "next_due": due["at"] if due else None,
    }
    return answer if fired is None else answer | {"fired": fired}


async def move_clock(request: Request, sandbox: Sandbox, given: Json) -> Json:
    only(given, "customer", "to", "by_seconds", "or_later")
    customer = str(given.get("customer") or ACCOUNT)
    if customer and sandbox.store.get("customer", customer) is None:
        raise NotNow(f"no such customer: {customer}")
    if ("to" in given) == ("by_seconds" in given):
        raise ValueError("give either to or by_seconds")
    now = sandbox.world.clocks.now(customer)
    if "to" in given:
        target = parse_instant(given["to"])
    elif type(given["by_seconds"]) is int:
        target = now + given["by_seconds"]
    else:
        raise ValueError("by_seconds is a whole number")
    if not (given.get("or_later") and target <= now):
        with sandbox.store.transaction():
            sandbox.world.clocks.set_to(customer, target)
    return _clock(sandbox, customer, sandbox.fire_due(customer))


async def read_clock(request: Request, sandbox: Sandbox, given: Json) -> Json:
    return _clock(sandbox, request.query_params.get("customer", ACCOUNT))


# what banks and issuers do


async def seed_customers(request: Request, sandbox: Sandbox, given: Json) -> Json:
    with sandbox.store.transaction():
        answer = seed(sandbox.world, given)
        check(sandbox.store)
    return {"customers": answer}


async def force_refund(request: Request, sandbox: Sandbox, given: Json) -> Json:
    only(given, "status", "failure_reason", "reference", "reference_status")
    id = request.path_params["id"]
    row = _existing(sandbox, "refund", id)
    reason = given.get("failure_reason")
    if reason not in (None, *refunds.FAILURE_REASONS):
        raise ValueError(f"failure_reason is one of {', '.join(refunds.FAILURE_REASONS)}")
    status = str(given.get("status", row["status"]))
    with sandbox.store.transaction():
        if status != row["status"]:
            _allowed("refund", row, status)
            refunds.move(sandbox.world, row, status, reason=reason)
        if "reference" in given or "reference_status" in given:
            reached = str(given.get("reference_status", "available"))
            refunds.set_reference(sandbox.world, row, reached, given.get("reference"))
        check(sandbox.store)
    return row


async def open_dispute(request: Request, sandbox: Sandbox, given: Json) -> Json:
    only(given, "status", "reason", "amount", "is_charge_refundable", "due_by")
    charge = _existing(sandbox, "charge", request.path_params["id"])
    fields: Json = {"status": "needs_response", "reason": "fraudulent", **given}
    if fields["reason"] not in disputes.REASONS:
        raise ValueError(f"reason is one of {', '.join(disputes.REASONS)}")
    if not may_become("dispute", None, fields["status"]):
        raise ValueError(f"a dispute never begins as {fields['status']}")
    if "amount" in given and (type(given["amount"]) is not int or given["amount"] < 1):
        raise ValueError("amount is a whole number of minor units, at least 1")
    if "due_by" in fields:
        fields["due_by"] = parse_instant(fields["due_by"])
    with sandbox.store.transaction():
        row = disputes.open_dispute(sandbox.world, charge, **fields)
        check(sandbox.store)
    return row


async def force_dispute(request: Request, sandbox: Sandbox, given: Json) -> Json:
    only(given, "status", "is_charge_refundable", "due_by")
    row = _existing(sandbox, "dispute", request.path_params["id"])
    status = str(given.get("status", row["status"]))
    with sandbox.store.transaction():
        if status != row["status"]:
            _allowed("dispute", row, status)
            disputes.move(sandbox.world, row, status)
        row = sandbox.world.edit(row)
        if "is_charge_refundable" in given:
            row["is_charge_refundable"] = bool(given["is_charge_refundable"])
        if "due_by" in given:
            due_by = parse_instant(given["due_by"])
            row["evidence_details"]["due_by"] = due_by
            customer = sandbox.world.customer_of(row)
            sandbox.world.clocks.schedule(customer, due_by, "dispute_due", row["id"])
        check(sandbox.store)
    return row


def _existing(sandbox: Sandbox, kind: str, id: str) -> Json:
    row = sandbox.store.get(kind, id)
    if row is None:
        raise NotNow(f"no such {kind}: {id}")
    return row


def _allowed(kind: str, row: Json, status: object) -> None:
    if not may_become(kind, row["status"], str(status)):
        raise NotNow(f"a {kind} never goes from {row['status']} to {status}")


async def set_refund_behaviour(request: Request, sandbox: Sandbox, given: Json) -> Json:
    only(given, "refund_behaviour")
    charge = _existing(sandbox, "charge", request.path_params["id"])
    behaviour = str(given.get("refund_behaviour", "by_instrument"))
    sandbox.world.settings.changed({"refund_behaviour": behaviour})
    with sandbox.store.transaction():
        if sandbox.store.get("_refund_behaviour", charge["id"]) is None:
            sandbox.store.add("_refund_behaviour", charge["id"], {})
        sandbox.store.edit("_refund_behaviour", charge["id"])["behaviour"] = behaviour
    return {"charge": charge["id"], "refund_behaviour": behaviour}


# settings and faults


async def change_settings(request: Request, sandbox: Sandbox, given: Json) -> Json:
    with sandbox.store.transaction():
        return sandbox.world.change_settings(given).as_json()


async def read_settings(request: Request, sandbox: Sandbox, given: Json) -> Json:
    return sandbox.world.settings.as_json()


async def add_fault(request: Request, sandbox: Sandbox, given: Json) -> Json:
    with sandbox.store.transaction():
        return sandbox.faults.add(given)


async def list_faults(request: Request, sandbox: Sandbox, given: Json) -> Json:
    return {"faults": sandbox.faults.list()}


async def clear_faults(request: Request, sandbox: Sandbox, given: Json) -> Json:
    with sandbox.store.transaction():
        return {"cleared": sandbox.faults.clear()}


# webhooks


async def plan_webhooks(request: Request, sandbox: Sandbox, given: Json) -> Json:
    with sandbox.store.transaction():
        return sandbox.webhooks.plan(given)


async def list_plans(request: Request, sandbox: Sandbox, given: Json) -> Json:
    return {"plans": sandbox.webhooks.plans()}


async def clear_plans(request: Request, sandbox: Sandbox, given: Json) -> Json:
    with sandbox.store.transaction():
        sandbox.webhooks.clear_plans()
    return {"plans": []}


async def resend_event(request: Request, sandbox: Sandbox, given: Json) -> Json:
    event = _existing(sandbox, "event", str(given.get("event")))
    plan = {name: value for name, value in given.items() if name != "event"}
    with sandbox.store.transaction():
        row = sandbox.webhooks.plan(plan)
        queued = sandbox.webhooks.resend(event, row)
        sandbox.store.remove("_plan", row["id"])
        sandbox.store.edit("event", event["id"])["pending_webhooks"] += queued
    return {"event": event["id"], "queued": queued}


async def emit_event(request: Request, sandbox: Sandbox, given: Json) -> Json:
    """An event of any type, known or not, about any object: for receivers that must not choke."""
    only(given, "type", "object", "customer")
    if not isinstance(given.get("type"), str) or not isinstance(given.get("object"), dict):
        raise ValueError('an event is {"type": "...", "object": {...}}')
    with sandbox.store.transaction():
        sandbox.world.emit(given["type"], given["object"], str(given.get("customer") or ACCOUNT))
    return sandbox.store.all("event")[-1]


async def register_endpoint(request: Request, sandbox: Sandbox, given: Json) -> Json:
    only(given, "url", "secret", "enabled_events")
    if not isinstance(given.get("url"), str):
        raise ValueError("url is missing")
    enabled = given.get("enabled_events") or ["*"]
    with sandbox.store.transaction():
        return endpoints.register(sandbox.world, given["url"], enabled, given.get("secret"))


async def webhook_log(request: Request, sandbox: Sandbox, given: Json) -> Json:
    query = request.query_params
    rows = [
        row
        for row in sandbox.webhooks.log()
        if query.get("event", row["event"]) == row["event"]
        and query.get("type", row["type"]) == row["type"]
    ]
    return {"attempts": rows, "pending": len(sandbox.webhooks.pending())}


async def flush_webhooks(request: Request, sandbox: Sandbox, given: Json) -> Json:
    only(given, "timeout_seconds", "hurry")
    timeout = given.get("timeout_seconds", 10)
    left = await sandbox.webhooks.flush(timeout, hurry=bool(given.get("hurry")))
    return {"pending": left}


# looking


async def read_journal(request: Request, sandbox: Sandbox, given: Json) -> Json:
    query = request.query_params
    rows = sandbox.journal.find(
        method=query.get("method"),
        path=query.get("path"),
        customer=query.get("customer"),
        key=query.get("key"),
        since=int(query.get("since", "0")),
        effects=query.get("effects", "false") == "true",
        status_from=int(query.get("status_from", "0")),
    )
    return {"entries": rows}


async def read_stats(request: Request, sandbox: Sandbox, given: Json) -> Json:
    return stats(sandbox.store)


async def health(request: Request, sandbox: Sandbox, given: Json) -> Json:
    path = sandbox.store.path
    return {
        "status": "ok",
        "pid": os.getpid(),
        "api_version": API_VERSION,
        "state": str(path) if path else None,
    }


async def reset(request: Request, sandbox: Sandbox, given: Json) -> Json:
    sandbox.store.clear()
    return {"status": "ok"}


CONTROLS: tuple[tuple[str, str, Control], ...] = (
    ("POST", "clock", move_clock),
    ("GET", "clock", read_clock),
    ("POST", "seed", seed_customers),
    ("POST", "refunds/{id}", force_refund),
    ("POST", "charges/{id}/dispute", open_dispute),
    ("POST", "charges/{id}/refund_behaviour", set_refund_behaviour),
    ("POST", "disputes/{id}", force_dispute),
    ("POST", "settings", change_settings),
    ("GET", "settings", read_settings),
    ("POST", "faults", add_fault),
    ("GET", "faults", list_faults),
    ("DELETE", "faults", clear_faults),
    ("POST", "webhooks/plan", plan_webhooks),
    ("GET", "webhooks/plan", list_plans),
    ("DELETE", "webhooks/plan", clear_plans),
    ("POST", "webhooks/resend", resend_event),
    ("POST", "webhooks/emit", emit_event),
    ("POST", "webhooks/endpoint", register_endpoint),
    ("GET", "webhooks/log", webhook_log),
    ("POST", "webhooks/flush", flush_webhooks),
    ("GET", "journal", read_journal),
    ("GET", "stats", read_stats),
    ("GET", "health", health),
    ("POST", "reset", reset),
)


def control_routes(sandbox: Sandbox) -> list[Route]:
    return [
        Route(f"/_sandbox/{path}", _guarded(control, sandbox), methods=[method])
        for method, path, control in CONTROLS
    ]


def _guarded(control: Control, sandbox: Sandbox) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        try:
            given = await request.json() if await request.body() else {}
            if not isinstance(given, dict):
                raise ValueError("the body is a JSON object")
            return JSONResponse(await control(request, sandbox, given))
        except (NotNow, CannotGoBack) as error:
            return _mistake(409, str(error))
        except StripeError as error:
            return _mistake(400, str(error))
        except (ValueError, TypeError) as error:
            return _mistake(400, str(error))

    return respond


def _mistake(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message}}, status_code=status)
