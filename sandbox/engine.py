"""The way of a request: key, fault, execution, money rules, journal, answer.

Nothing is awaited between the first and the last line of an execution, so each request is one
atomic step and its whole effect is committed before its answer leaves.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import API_VERSION, disputes, money_rules, refunds
from .calls import Call
from .errors import BrokenMoneyRule, StripeError, invalid, unauthorized, unknown_url
from .expand import expanded
from .faults import Fault, Faults
from .idempotency import Keys
from .journal import Entry, Journal
from .params import parse, typed
from .routes import Route, customer_concerned, find_route
from .settings import Settings
from .store import Json, Store
from .webhooks import Webhooks
from .world import Origin, World, random_id

ACTS: dict[str, Callable[[World, str], None]] = {
    "refund_arrives": refunds.arrives,
    "refund_reference_unavailable": refunds.reference_unavailable,
    "refund_succeeds": refunds.succeeds,
    "refund_fails": refunds.fails,
    "refund_action_expires": refunds.action_expires,
    "dispute_due": disputes.due_passes,
    "dispute_resolves": disputes.resolves,
    "dispute_wins": disputes.wins,
    "dispute_loses": disputes.loses,
    "dispute_inquiry_closes": disputes.inquiry_closes,
}
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>\n"


@dataclass(frozen=True)
class Incoming:
    """Header names in lower case."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """``delivery``: ``whole``, ``drop`` (no answer at all) or ``truncate`` (half of the body)."""

    status: int
    body: bytes
    headers: dict[str, str]
    delivery: str = "whole"

    @property
    def json(self) -> Json:
        value: Json = json.loads(self.body)
        return value


@dataclass
class _Request:
    incoming: Incoming
    entry: Entry
    route: Route
    ids: dict[str, str]

    @property
    def key(self) -> str | None:
        return self.entry.idempotency_key

    @property
    def params(self) -> Json:
        return self.entry.params


class Sandbox:
    def __init__(
        self,
        path: Path | None = None,
        settings: Settings | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.store = Store(path)
        self.world = World(self.store, settings or Settings(), wall)
        self.keys = Keys(self.world)
        self.faults = Faults(self.store)
        self.journal = Journal(self.store)
        self.webhooks = Webhooks(self.world)

    def close(self) -> None:
        self.store.close()

    # time

    def fire_due(self, customer: str) -> list[Json]:
        """Everything due by now on a customer's clock, each at its due instant, in order."""
        clocks, fired = self.world.clocks, []
        upto = clocks.now(customer)
        while (due := clocks.next_due(customer, upto)) is not None:
            due = dict(due)
            with self.store.transaction(), self.world.caused_by(Origin()):
                self.store.remove("_due", due["id"])
                with clocks.frozen(customer, due["at"]):
                    ACTS[due["act"]](self.world, due["object"])
                money_rules.check(self.store)
            fired.append(due)
        return fired

    def tick(self) -> None:
        for customer in self.world.clocks.customers_with_due():
            self.fire_due(customer)

    # requests

    async def answer(self, incoming: Incoming) -> Answer:
        entry = self._entry(incoming)
        try:
            request = self._understood(incoming, entry)
            if request.key is not None:
                self.keys.begin(request.key)
        except StripeError as error:
            return self._recorded(entry, error.status, error.body)
        try:
            fault = self._fault(request)
            if fault is not None and fault.kind == "slow" and fault.when == "before":
                await asyncio.sleep(fault.ms / 1000)
            answer = self._carried_out(request, fault)
        finally:
            if request.key is not None:
                self.keys.end(request.key)
        if fault is not None and fault.kind == "slow" and fault.when == "after":
            await asyncio.sleep(fault.ms / 1000)
        return answer

    def execute(self, incoming: Incoming) -> Answer:
        """``answer`` without waiting: for tests that need no server. Slow faults are not slow."""
        entry = self._entry(incoming)
        try:
            request = self._understood(incoming, entry)
        except StripeError as error:
            return self._recorded(entry, error.status, error.body)
        return self._carried_out(request, self._fault(request))

    def _entry(self, incoming: Incoming) -> Entry:
        return Entry(
            seq=self.store.serial(),
            request_id=random_id("req_", 14),
            at_ms=int(self.world.clocks.wall() * 1000),
            method=incoming.method,
            path=incoming.path,
        )

    def _understood(self, incoming: Incoming, entry: Entry) -> _Request:
        """Parse and authenticate; a refusal here leaves no trace but the journal's."""
        raw = incoming.query
        if incoming.method == "POST" and incoming.body:
            try:
                raw = incoming.body.decode("utf-8")
            except UnicodeDecodeError:
                raise invalid("Invalid request body: not UTF-8") from None
        try:
            entry.params = parse(raw)
        except UnicodeDecodeError:
            raise invalid("Invalid request: not UTF-8") from None
        if incoming.method == "POST":
            entry.idempotency_key = incoming.headers.get("idempotency-key") or None
        authenticate(incoming.headers.get("authorization"))
        version = incoming.headers.get("stripe-version", API_VERSION)
        if version != API_VERSION:
            raise invalid(f"Invalid Stripe API version: {version} (only {API_VERSION} is spoken)")
        found = find_route(incoming.method, incoming.path)
        if found is None:
            raise unknown_url(incoming.method, incoming.path)
        route, ids = found
        entry.customer = customer_concerned(self.world, ids, entry.params)
        entry.customer_now = self.world.clocks.now(entry.customer)
        return _Request(incoming, entry, route, ids)

    def _fault(self, request: _Request) -> Fault | None:
        with self.store.transaction():
            fault = self.faults.choose(request.entry.method, request.entry.path, request.params)
        if fault is not None:
            request.entry.fault = fault.name
        return fault

    def _carried_out(self, request: _Request, fault: Fault | None) -> Answer:
        entry = request.entry
        if fault is not None and fault.kind == "reset_before":
            return self._unanswered(entry, "drop")
        if fault is not None and fault.kind == "html" and not fault.committed:
            answer = self._unanswered(entry, "whole")
            return replace(answer, status=502, body=HTML, headers={"Content-Type": "text/html"})
        answer = self._executed(request, fault)
        match fault.kind if fault is not None else None:
            case "lost_after_commit":
                return replace(answer, delivery="drop")
            case "truncated":
                return replace(answer, delivery="truncate")
            case "html":
                return replace(answer, status=502, body=HTML, headers={"Content-Type": "text/html"})
            case _:
                return answer

    def _executed(self, request: _Request, fault: Fault | None) -> Answer:
        entry = request.entry
        entry.answered = fault is None or fault.kind in ("slow", "status")
        try:
            self.fire_due(entry.customer)
            if request.key is not None:
                kept = self.keys.kept(request.key, entry.method, entry.path, request.params)
                if kept is not None:
                    if fault is not None and fault.kind == "status":
                        entry.fault = None  # the kept answer came first
                    return self._replayed(entry, kept)
            instead = fault.error() if fault is not None and fault.kind == "status" else None
            if instead is not None and fault is not None and not fault.committed:
                raise instead
            return self._performed(request, instead)
        except StripeError as error:
            return self._recorded(entry, error.status, error.body, keep=error.executed)
        except Exception as problem:
            # Not kept under the key, not softened: the sandbox is broken and must be seen to be.
            traceback.print_exc(file=sys.stderr)
            what = "money rule" if isinstance(problem, BrokenMoneyRule) else "bug"
            broken = StripeError(
                500, f"sandbox {what}: {problem}", type="api_error", code="sandbox_violation"
            )
            return self._recorded(entry, 500, broken.body)

    def _performed(self, request: _Request, instead: StripeError | None) -> Answer:
        """Execute and commit; ``instead`` is answered although the effect stands."""
        entry, world = request.entry, self.world
        origin = Origin(entry.request_id, request.key)
        with world.caused_by(origin), self.store.transaction():
            params = typed(request.params, request.route.spec)
            status = 200
            try:
                row = request.route.endpoint(world, Call(request.ids, params, entry.customer))
                body = expanded(world, row, params.get("expand", ()))
            except StripeError as error:
                if not error.keeps_effects:
                    raise
                status, body = error.status, error.body
            if instead is not None:
                status, body = instead.status, instead.body
            if body.get("object") == "customer" and not entry.customer:
                entry.customer = body["id"]
            money_rules.check(self.store)
            entry.effects = origin.effects
            self._record(entry, status, body, keep=True)
        return self._wrapped(entry)

    # recording and answering

    def _recorded(self, entry: Entry, status: int, body: Json, *, keep: bool = False) -> Answer:
        with self.store.transaction():
            self._record(entry, status, body, keep=keep)
        return self._wrapped(entry)

    def _record(self, entry: Entry, status: int, body: Json, *, keep: bool) -> None:
        entry.status, entry.response = status, body
        if keep and entry.idempotency_key is not None:
            self.keys.keep(
                entry.idempotency_key,
                method=entry.method,
                path=entry.path,
                params=entry.params,
                customer=entry.customer,
                status=status,
                body=body,
                request_id=entry.request_id,
            )
        self.journal.add(entry, limit=self.world.settings.journal_limit)

    def _replayed(self, entry: Entry, kept: Json) -> Answer:
        entry.replayed = True
        answer = self._recorded(entry, kept["status"], kept["body"])
        headers = {"Idempotent-Replayed": "true", "Original-Request": kept["request_id"]}
        return replace(answer, headers=answer.headers | headers)

    def _unanswered(self, entry: Entry, delivery: str) -> Answer:
        entry.answered = False
        with self.store.transaction():
            self.journal.add(entry, limit=self.world.settings.journal_limit)
        return Answer(0, b"", {}, delivery)

    def _wrapped(self, entry: Entry) -> Answer:
        assert entry.status is not None
        headers = {
            "Content-Type": "application/json",
            "Request-Id": entry.request_id,
            "Stripe-Version": API_VERSION,
        }
        if entry.idempotency_key is not None and len(entry.idempotency_key) <= 255:
            headers["Idempotency-Key"] = entry.idempotency_key
            headers.setdefault("Original-Request", entry.request_id)
        return Answer(entry.status, json.dumps(entry.response).encode(), headers)


def authenticate(header: str | None) -> None:
    """docs.stripe.com/api/authentication: Bearer, or Basic with the key as user name."""
    scheme, _, credentials = (header or "").partition(" ")
    key = credentials.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key, validate=True).decode("utf-8").partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    elif scheme.lower() != "bearer":
        key = ""
    if not key:
        raise unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization "
            "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
        )
    if not key.startswith(("sk_test_", "rk_test_")):
        raise unauthorized(f"Invalid API Key provided: {key[:8]}{'*' * 8}{key[-4:]}")
