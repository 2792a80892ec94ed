"""Driving cases through their scripts: every instant in order, provider and case in step.

A case's clock and its customer's clock at the provider are moved together: first the
provider's, so that what happened there by an instant is visible when the case's own timer
fires at it. Between two lines of a script the case's own deadlines are instants too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx

from client import CaseHandle, Client
from domain.approvals import Action
from domain.errors import InvalidRequest, Refused, Unreachable
from ledger.projection import CaseRow, slots_of
from simulation.clock import CaseClock, utc_now
from simulation.scenario import Does, ProviderAct, Scenario, Step

NATURALLY = 0.05
"""Seconds to wait for a timer at which a case stands: it lies milliseconds ahead and fires by
itself. Skipping past it instead could be taken for a skip without an end (simulation/clock.py)."""

ACTIONS = {
    Does.APPROVE: Action.APPROVE,
    Does.DECLINE: Action.DECLINE,
    Does.WITHDRAW: Action.WITHDRAW,
}

LONGEST_WAIT = 0.5

FRUITLESS = 200
"""Waits without any effect after which a case counts as stuck: a minute and a half."""


class Stuck(Exception):
    """A case waits for nothing that will ever come (I6)."""


@dataclass
class CaseRun:
    """One case under way. ``started`` tells whether it has a workflow, which a request refused
    at the door has not; ``refused`` are the codes of refused attempts, in order; ``unsent``
    counts messages that had no case to go to."""

    scenario: Scenario
    instants: list[datetime]
    handle: CaseHandle | None = None
    row: CaseRow | None = None
    started: bool = False
    invalid_field: str = ""
    refused: list[str] = field(default_factory=list)
    unsent: int = 0
    error: str = ""
    slot: str = ""
    _next: int = 0

    @classmethod
    def of(cls, scenario: Scenario) -> CaseRun:
        return cls(scenario, scenario.instants())

    def next_at(self) -> datetime | None:
        """The next instant at which something happens to this case; None when it is over."""
        scripted = self.instants[self._next] if self._next < len(self.instants) else None
        due = self.due_at
        if due is not None and (scripted is None or due <= scripted):
            return due
        return scripted

    @property
    def due_at(self) -> datetime | None:
        """The case's own next deadline, while it lives."""
        if self.row is None or self.row.outcome is not None:
            return None
        if self.row.due_at is None:
            raise Stuck(f"{self.scenario.id} is {self.row.status.value} without a deadline")
        return self.row.due_at

    def take(self) -> Step | None:
        """The script's next line; None for the opening."""
        self._next += 1
        return self.scenario.script[self._next - 2] if self._next > 1 else None

    @property
    def is_begun(self) -> bool:
        return self._next > 0

    @property
    def is_its_own(self) -> bool:
        """Whether the next instant is the case's deadline and not a line of the script."""
        scripted = self.instants[self._next] if self._next < len(self.instants) else None
        due = self.due_at
        return due is not None and (scripted is None or due <= scripted)

    def is_alone(self, waiting: int) -> bool:
        """Whether nobody will say anything more, here or in the ``waiting`` cases of its chain."""
        scripted = self._next < len(self.instants)
        return waiting == 1 and not scripted and self.due_at is not None

    def fields(self) -> dict[str, Any]:
        """The request as :meth:`client.Client.open_refund` takes it."""
        scenario, request = self.scenario, self.scenario.request
        return {
            **request.model_dump(exclude={"charge"}),
            "request_id": scenario.id,
            "customer": scenario.customer_id,
            "charge": scenario.charge_id(scenario.charge),
            "currency": scenario.charge.currency,
        }


class Provider:
    """The sandbox's control routes, as far as a script needs them."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self._url = url
        self._http = http

    async def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """GET, or POST with a body. Raises :class:`InvalidRequest` with the sandbox's word."""
        url = f"{self._url}/_sandbox/{path}"
        answer = await (self._http.get(url) if body is None else self._http.post(url, json=body))
        if answer.status_code in (400, 409):
            said = answer.json()["error"]["message"]
            raise InvalidRequest("provider", said, "see docs/scenarios.md")
        answer.raise_for_status()
        return answer.json()

    async def seed(self, chain: Sequence[Scenario]) -> None:
        """Customers and charges of a chain; the customers' clocks at the first instant."""
        customers: dict[str, dict[str, Any]] = {}
        for scenario in chain:
            person = scenario.customer
            customer = customers.setdefault(
                scenario.customer_id,
                {
                    "id": scenario.customer_id,
                    "created": person.created_at.isoformat(),
                    "clock_at": scenario.opened_at.isoformat(),
                    "charges": {},
                    **({"name": person.name} if person.name else {}),
                    **({"email": person.email} if person.email else {}),
                },
            )
            for charge in scenario.charges:
                if charge.amount_minor:
                    customer["charges"][charge.ref] = {
                        "id": scenario.charge_id(charge),
                        "amount": charge.amount_minor,
                        "currency": charge.currency,
                        "created": charge.created_at.isoformat(),
                        "payment_method": charge.instrument,
                        **(
                            {"refund_behaviour": charge.refund_behaviour}
                            if charge.refund_behaviour
                            else {}
                        ),
                    }
        given = [{**each, "charges": list(each["charges"].values())} for each in customers.values()]
        await self.ask("seed", {"customers": given})

    async def move_to(self, customer: str, instant: datetime) -> int | None:
        """Move a customer's clock; answers when the next thing falls due (epoch), if any will."""
        body = {"customer": customer, "to": instant.isoformat(), "or_later": True}
        answer = await self.ask("clock", body)
        due: int | None = answer["next_due"]
        return due

    async def act(self, act: ProviderAct, run: CaseRun) -> bool:
        """Do what the script says; False when there is no refund to do it to."""
        if act.dispute:
            charge = run.scenario.charge_id(run.scenario.charge)
            await self.ask(f"charges/{charge}/dispute", {"status": act.dispute})
        if not (act.refund or act.reference):
            return True
        if run.row is None or not run.row.provider_id:
            return False
        forced: dict[str, Any] = {}
        if act.refund:
            forced["status"] = act.refund
        if act.failure_reason:
            forced["failure_reason"] = act.failure_reason
        if act.reference:
            forced |= {"reference": act.reference, "reference_status": "available"}
        await self.ask(f"refunds/{run.row.provider_id}", forced)
        return True


class Driver:
    """Takes chains of cases through time; safe to drive many chains at once."""

    def __init__(self, client: Client, clock: CaseClock, provider: Provider) -> None:
        self._client = client
        self._clock = clock
        self._provider = provider

    async def drive(self, chain: Sequence[Scenario]) -> list[CaseRun]:
        """All cases of one chain, interleaved in business-time order, to their ends."""
        runs = [CaseRun.of(scenario) for scenario in chain]
        if any(charge.amount_minor for scenario in chain for charge in scenario.charges):
            await self._provider.seed(chain)
        fruitless = 0
        while True:
            waiting = [(at, n) for n, run in enumerate(runs) if (at := run.next_at()) is not None]
            if not waiting:
                return runs
            at, number = min(waiting)
            run = runs[number]
            if run.is_alone(len(waiting)) and await self._run_out(run, at):
                fruitless = 0
                continue
            before = (run.row, run.is_begun)
            moved = await self._live(run, at)
            if moved or before != (run.row, run.is_begun):
                fruitless = 0
                continue
            fruitless += 1
            if fruitless > FRUITLESS:
                raise Stuck(f"{run.scenario.id} does nothing at its deadline {at:%Y-%m-%d %H:%M}")
            await asyncio.sleep(min(NATURALLY * fruitless, LONGEST_WAIT))

    async def _run_out(self, run: CaseRun, at: datetime) -> bool:
        """Let a case go its own way to its end, if nothing can happen to it any more.

        One skip instead of one a deadline. False when something falls due at the provider
        after ``at``: then each look must find the provider at its own day.
        """
        assert run.handle is not None
        if await self._provider.move_to(run.scenario.customer_id, at) is not None:
            return False
        await self._clock.run_out(run.handle.workflow)
        run.row = await run.handle.row()
        return True

    async def _live(self, run: CaseRun, at: datetime) -> bool:
        """Let one case live until ``at`` and do what is due there; whether a line was done."""
        if run.is_its_own:
            await self._until(run, at)
            return False
        step = run.take()
        if step is None:
            await self._open(run, at)
            return True
        if run.handle is None:
            run.unsent += 1
            return True
        await self._until(run, at)
        if step.do is Does.PROVIDER:
            assert step.with_ is not None
            if not await self._provider.act(step.with_, run):
                run.unsent += 1
        else:
            await self._say(run, run.handle, step)
        return True

    async def _until(self, run: CaseRun, at: datetime) -> None:
        """Provider first, then the case; both stand at ``at`` when this answers."""
        if run.row is not None and run.row.outcome is not None:
            return
        assert run.handle is not None
        await self._provider.move_to(run.scenario.customer_id, at)
        await self._clock.advance_to(run.handle.workflow, at)
        run.row = await run.handle.row()

    async def _open(self, run: CaseRun, at: datetime) -> None:
        ahead = at - utc_now()
        if ahead < timedelta(0):
            raise Unreachable(
                f"{run.scenario.id} opens at {at:%Y-%m-%d %H:%M}, which the wall clock has "
                "passed: start again with more --shift-weeks"
            )
        try:
            if run.scenario.charge.amount_minor:
                await self._provider.move_to(run.scenario.customer_id, at)
            handle = await self._client.open_refund(run.fields(), start_delay=ahead)
            run.started = True
            await self._clock.advance_to(handle.workflow, at)
            run.row = await self._begun(handle)
        except InvalidRequest as invalid:
            run.invalid_field = invalid.field
            return
        run.handle = handle
        run.slot = await self._slot_of(handle)

    async def _begun(self, handle: CaseHandle) -> CaseRow:
        """The row once the case is decided and idle. Raises :class:`InvalidRequest`."""
        for _ in range(FRUITLESS):
            await asyncio.sleep(NATURALLY)
            lives = await self._clock.until_idle(handle.workflow)
            row = await handle.row()
            if row is not None:
                return row
            if not lives:
                break
        return await handle.decided()

    async def _slot_of(self, handle: CaseHandle) -> str:
        """The one slot of a case, so that it need not be looked up for each message."""
        async with self._client.books.reading() as reading:
            slots = slots_of(await reading.events(handle.case_id))
        return slots[0].id if len(slots) == 1 else ""

    async def _say(self, run: CaseRun, handle: CaseHandle, step: Step) -> None:
        assert step.by is not None
        click = f"{run.scenario.id}:{run._next - 1}"
        try:
            await handle.judge(
                ACTIONS[step.do],
                step.by,
                slot="" if step.do is Does.WITHDRAW else run.slot,
                note=step.note,
                click_id=click,
            )
        except Refused as refused:
            run.refused.append(refused.code)
            return
        await self._clock.until_idle(handle.workflow)
        run.row = await handle.row()
