"""Letting time pass for running cases and for the sandbox together. For development only.

Each case has a clock of its own, and the sandbox has one per customer. A customer's cases and
the sandbox's clock are moved by the same span, in steps: to each instant at which a case looks
by itself, and to each at which something falls due at the provider. At a case's own instant the
provider goes first, so that the look sees what is true then; at the provider's the case goes
first, so that its webhook finds the case on the day on which it was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx
from temporalio.service import RPCError

from client import Client
from domain.cases import Status
from domain.deadlines import BusinessCalendar, Settlement
from domain.errors import InvalidRequest, Refused, Unreachable
from ledger.projection import CaseRow
from simulation.clock import CaseClock

SPANS = "3bd (business days), 2d, 1w, 5h, 30m"
_SPAN = re.compile(r"\+?([0-9]{1,4})(bd|w|d|h|m)")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}

MARGIN = timedelta(seconds=1)
"""How far before its own look a case waits while the provider goes ahead."""

STEPS = 200
"""More stops than any span holds; a provider that invents new dates for ever ends here."""

IDLE_SECONDS = 60
LOOKS, PAUSE = 100, 0.05
"""How often, and how many seconds apart, the books are asked whether it has happened."""


def after(now: datetime, span: str, calendar: BusinessCalendar) -> datetime:
    """The instant ``span`` after ``now``.

    A business day lasts until its closing hour; on a day that is none, counting starts at the
    next one. Raises :class:`InvalidRequest` when the span is none.
    """
    match = _SPAN.fullmatch(span.strip())
    if match is None:
        raise InvalidRequest("span", f"{span!r} is no length of time", SPANS)
    count, unit = int(match[1]), match[2]
    if unit != "bd":
        return now + timedelta(**{_UNITS[unit]: count})
    day = now.astimezone(ZoneInfo(calendar.zone)).date()
    if not calendar.is_business_day(day):
        day = calendar.next_business_day(day)
    for _ in range(count):
        day = calendar.next_business_day(day)
    return max(now, calendar.closing(day))


class SandboxClock:
    """The sandbox's control routes for one provider address."""

    def __init__(self, http: httpx.AsyncClient, base_url: str) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")

    async def require(self) -> None:
        """Raises :class:`InvalidRequest` when the provider is not our sandbox on this machine,
        :class:`Unreachable` when it does not answer."""
        allowed = "the sandbox of `starter.py dev`, on loopback"
        shown = self._base_url or "Stripe itself"
        if not _is_loopback(self._base_url):
            raise InvalidRequest(
                "REDRESS_STRIPE_BASE_URL",
                f"the provider is {shown}: nobody can let its time pass",
                allowed,
            )
        try:
            answer = await self._http.get(f"{self._base_url}/_sandbox/health")
        except httpx.HTTPError as error:
            raise Unreachable(f"the sandbox does not answer at {shown}") from error
        if answer.status_code != 200 or "api_version" not in answer.text:
            raise InvalidRequest(
                "REDRESS_STRIPE_BASE_URL", f"what answers at {shown} is no sandbox", allowed
            )

    async def ask(self, path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
        url = f"{self._base_url}/_sandbox/{path}"
        try:
            answer = await (
                self._http.get(url, params=query)
                if body is None
                else self._http.post(url, json=body)
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"the sandbox does not answer at {self._base_url}") from error
        if answer.status_code != 200:
            raise Refused("sandbox", f"the sandbox refuses: {answer.text[:300]}")
        return answer.json()

    async def read(self, customer: str) -> tuple[datetime, datetime | None]:
        """The customer's instant at the provider, and when the next thing falls due there."""
        clock = await self.ask("clock", customer=customer)
        due = clock["next_due"]
        return _utc(clock["now"]), None if due is None else _utc(due)

    async def move(self, customer: str, to: datetime) -> None:
        """To an instant (a clock that is there already stays), with all that falls due."""
        await self.ask("clock", {"customer": customer, "to": _ceil(to), "or_later": True})

    async def deliver_webhooks(self) -> int:
        """Wait until its webhooks are delivered; answers how many are still to be."""
        flushed = await self.ask("webhooks/flush", {"timeout_seconds": 5, "hurry": True})
        return int(flushed["pending"])


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _utc(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def _ceil(instant: datetime) -> int:
    """Whole seconds, not before the instant: the provider is never behind a case."""
    return -int(-instant.timestamp() // 1)


@dataclass
class Moved:
    """One case before and after; ``to`` is where its clock stands."""

    before: CaseRow
    after: CaseRow
    since: datetime
    to: datetime
    webhooks_pending: int = 0


@dataclass
class _Traveller:
    """One running case on its way: ``start`` is its own instant at the beginning."""

    before: CaseRow
    row: CaseRow
    start: datetime
    calendar: BusinessCalendar
    running: bool = True
    reached: timedelta = field(default=timedelta(0))


class Passage:
    """Lets time pass for cases of one customer after the other."""

    def __init__(self, client: Client, sandbox: SandboxClock) -> None:
        self._client = client
        self._sandbox = sandbox
        self._clock = CaseClock(client.temporal)

    async def running(self, customer: str | None = None) -> list[CaseRow]:
        """Every case that has been decided and has not ended."""
        found: list[CaseRow] = []
        async with self._client.books.reading() as reading:
            while page := await reading.open_cases(
                customer=customer, after=found[-1].case_id if found else None, limit=500
            ):
                found.extend(page)
        return [row for row in found if row.status is not Status.OPEN]

    async def rest(self, row: CaseRow) -> None:
        """Wait until nothing of a case is in flight; a minute at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await self._clock.until_idle(self._client.case(row.case_id).workflow)

    async def advance_case(self, row: CaseRow, span: str) -> list[Moved]:
        """Let time pass for a case and its customer's other running cases.

        ``span`` is empty for "until the case's next instant". Raises :class:`Refused` when
        the case has ended.
        """
        if row.status is Status.CLOSED:
            raise Refused("closed", f"{row.case_id} has ended: time no longer passes for it")
        companions = [
            other for other in await self.running(row.customer) if other.case_id != row.case_id
        ]
        return await self._advance([row, *companions], span)

    async def advance_all(
        self, span: str, on_done: Callable[[int], object] = lambda count: None, *, at_once: int = 8
    ) -> list[Moved]:
        """The same for every running case, customer by customer."""
        groups: dict[str, list[CaseRow]] = {}
        for row in await self.running():
            groups.setdefault(row.customer, []).append(row)
        places = asyncio.Semaphore(at_once)

        async def one(rows: list[CaseRow]) -> list[Moved]:
            async with places:
                moved = await self._advance(rows, span)
            on_done(len(rows))
            return moved

        return [
            moved for each in await asyncio.gather(*map(one, groups.values())) for moved in each
        ]

    # -- one customer ----------------------------------------------------------------

    async def _advance(self, rows: Sequence[CaseRow], span: str) -> list[Moved]:
        travellers = [await self._traveller(row) for row in rows]
        lead = travellers[0]
        if span:
            whole = after(lead.start, span, lead.calendar) - lead.start
        else:
            whole = self._due(lead) or timedelta(0)
        provider_start, _ = await self._sandbox.read(lead.row.customer)
        pending, reached = 0, timedelta(0)
        for _ in range(STEPS):
            if reached >= whole or not any(t.running for t in travellers):
                break
            dues = [due for t in travellers if (due := self._due(t)) is not None]
            _, falls_due = await self._sandbox.read(lead.row.customer)
            provider_due = None if falls_due is None else falls_due - provider_start
            stops = [stop for stop in (*dues, provider_due) if stop is not None and stop > reached]
            stop = min([*stops, whole])
            looks = any(abs(due - stop) < 2 * MARGIN for due in dues)
            await self._move(travellers, stop - MARGIN if looks else stop)
            await self._sandbox.move(lead.row.customer, provider_start + stop)
            if provider_due is not None and provider_due <= stop + MARGIN:
                pending = await self._news(travellers)
            await self._move(travellers, stop)
            if looks:
                await self._looked(travellers, stop)
            reached = stop
        return [await self._moved(traveller, pending) for traveller in travellers]

    async def _traveller(self, row: CaseRow) -> _Traveller:
        async with self._client.books.reading() as reading:
            decision = await reading.decision(row.case_id)
        if decision is None:
            raise Unreachable(f"{row.case_id} is not decided yet: is a worker running?")
        settlement = Settlement.model_validate(decision.outcome["settlement"], strict=False)
        handle = self._client.case(row.case_id).workflow
        try:
            now = await self._clock.now(handle)
        except RPCError as error:
            raise Unreachable(f"Temporal does not know {row.case_id}: {error.message}") from error
        return _Traveller(before=row, row=row, start=now, calendar=settlement.calendar)

    def _due(self, traveller: _Traveller) -> timedelta | None:
        """How far into the passage the case does something by itself."""
        due = traveller.row.due_at
        return None if due is None or not traveller.running else due - traveller.start

    async def _move(self, travellers: Sequence[_Traveller], to: timedelta) -> None:
        for traveller in travellers:
            if traveller.running and to > traveller.reached:
                await self._move_case(traveller, to)
            await self._refresh(traveller)

    async def _move_case(self, traveller: _Traveller, to: timedelta) -> None:
        case_id = traveller.row.case_id
        move = self._clock.advance_to(self._client.case(case_id).workflow, traveller.start + to)
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                traveller.running = await move
        except TimeoutError:
            raise Unreachable(
                f"{case_id} does not come to rest: is a worker running, and does the provider "
                "answer?"
            ) from None
        except RPCError as error:
            raise refusal(error) from error
        traveller.reached = to

    async def _looked(self, travellers: Sequence[_Traveller], stop: timedelta) -> None:
        """Wait for those whose own instant this was: a timer fires a moment after its time."""
        for traveller in travellers:
            due = self._due(traveller)
            if due is None or due > stop or traveller.row.status is Status.SENDING:
                continue
            for _ in range(LOOKS):
                await asyncio.sleep(PAUSE)
                await self._refresh(traveller)
                if self._due(traveller) != due:
                    break

    async def _refresh(self, traveller: _Traveller) -> None:
        row = await self._client.case(traveller.row.case_id).row()
        if row is not None:
            traveller.row = row
            traveller.running = traveller.running and row.status is not Status.CLOSED

    async def _news(self, travellers: Sequence[_Traveller]) -> int:
        """Wait until the provider's webhooks have been told to the cases and looked into."""
        pending = await self._sandbox.deliver_webhooks()
        ours = {traveller.row.case_id for traveller in travellers}
        for _ in range(LOOKS):
            if not await self._untold(ours):
                break
            await asyncio.sleep(PAUSE)
        for traveller in travellers:
            if traveller.running:
                handle = self._client.case(traveller.row.case_id).workflow
                await self._patiently(self._clock.until_idle(handle), traveller)
        return pending

    async def _untold(self, cases: set[str]) -> bool:
        async with self._client.books.reading() as reading:
            return any(cases & set(row.object_ids) for row in await reading.inbox("received"))

    async def _patiently(self, idle: Awaitable[bool], traveller: _Traveller) -> None:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                traveller.running = await idle
        except TimeoutError:
            raise Unreachable(
                f"{traveller.row.case_id} does not come to rest: is a worker running?"
            ) from None

    async def _moved(self, traveller: _Traveller, pending: int) -> Moved:
        await self._refresh(traveller)
        return Moved(
            before=traveller.before,
            after=traveller.row,
            since=traveller.start,
            to=traveller.start + traveller.reached,
            webhooks_pending=pending,
        )


def refusal(error: RPCError) -> Exception:
    """What a Temporal server without skipped time answers, in words."""
    if "skip" in error.message.lower():
        return InvalidRequest(
            "TEMPORAL_ADDRESS",
            f"this Temporal server lets no time be skipped: {error.message}",
            "the development server of `starter.py dev`",
        )
    return Unreachable(f"Temporal does not answer: {error.message}")
