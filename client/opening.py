"""Opening cases, and taking up again what Temporal has lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from temporalio.client import Client as TemporalClient
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from client.case import CaseHandle
from client.checking import checked_request
from client.starting import start_case
from client.turns import Turns
from domain.actors import Actor
from domain.approvals import RefusalCode
from domain.archives import ArchiveSummary
from domain.cases import CaseKind, Desk
from domain.errors import InvalidRequest, Refused, Unreachable
from domain.linked import ALTERNATIVE_STEP, case_id_of, owed_request, request_of
from domain.refunds import RefundCaseInput, RefundRequest
from ledger.books import Books
from ledger.evidence import EvidenceStore
from ledger.keys import Keyring
from ledger.records import RefusedAttempt, RegisteredRequest
from ledger.writing import BookTransaction
from settings import Settings, load
from workflows.archive import SWEEP_ID, ArchiveSweep
from workflows.connection import TASK_QUEUE, connect

NEVER_HEARD_OF = "the books were restored from a back-up that never had this case"

STARTING = timedelta(minutes=1)
"""How long a caller may take between writing a request down and starting its case."""


def _now() -> datetime:
    return datetime.now(UTC)


class Client:
    """Opens cases and sends people's decisions. Make one with :meth:`connect`."""

    def __init__(
        self,
        temporal: TemporalClient,
        books: Books,
        keyring: Keyring,
        signing_key: Ed25519PrivateKey,
        *,
        attempt_seconds: int = 30,
        task_queue: str = TASK_QUEUE,
        evidence: EvidenceStore | None = None,
    ) -> None:
        self.temporal = temporal
        self.books = books
        self.keyring = keyring
        self.signing_key = signing_key
        self._attempt_seconds = attempt_seconds
        self._task_queue = task_queue
        self._evidence = evidence
        self.turns = Turns()

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: Settings | None = None) -> AsyncIterator[Client]:
        """A client by settings (default: this process's). Raises :class:`Unreachable`."""
        settings = settings or load()
        books = await Books.open(settings.database_url)
        try:
            keyring = Keyring(books, settings.master_key_bytes())
            yield cls(
                await connect(keyring),
                books,
                keyring,
                settings.signing_key(),
                attempt_seconds=settings.attempt_seconds,
                evidence=EvidenceStore(keyring, settings.evidence_dir, settings.evidence_limits()),
            )
        finally:
            await books.close()

    @property
    def evidence_store(self) -> EvidenceStore:
        """Where files go. Raises :class:`InvalidRequest` in a client that was given none."""
        if self._evidence is None:
            raise InvalidRequest("evidence", "this client keeps none", "a client with a store")
        return self._evidence

    def case(self, case_id: str) -> CaseHandle:
        return CaseHandle(self, case_id)

    async def open_refund(
        self, fields: Mapping[str, Any], *, start_delay: timedelta | None = None
    ) -> CaseHandle:
        """Open a refund case; the same request twice is the same case.

        ``fields`` are those of :class:`domain.refunds.RefundRequest`, with ``text`` in the
        clear (it is sealed here). Raises :class:`InvalidRequest` naming the field,
        :class:`Refused` when the request id was used with another body.
        """
        try:
            request = checked_request(fields)
        except InvalidRequest as invalid:
            await self._record_invalid(fields, invalid)
            raise
        return await self.open_request(request, start_delay=start_delay)

    async def open_request(
        self, request: RefundRequest, *, start_delay: timedelta | None = None
    ) -> CaseHandle:
        """As :meth:`open_refund`, for a request that was checked; ``text`` in the clear."""
        case_id = case_id_of(request)
        registered = await self._register(case_id, request)
        handle = CaseHandle(self, case_id)
        row = None if registered.is_new else await handle.row()
        if row is not None and row.outcome is not None:
            return handle  # Temporal may have forgotten it; the books have not
        if request.text:
            sealed = await self.keyring.seal(request.customer, request.text)
            request = request.model_copy(update={"text": sealed})
        await self._start(request, start_delay, asked_at=registered.created_at)
        return handle

    async def reopen(self, case_id: str) -> bool:
        """Start a case again from the books, if Temporal has lost it before it was done.

        False when there is nothing to do: it runs, or it has ended and owes nothing. Whatever was
        decided, approved, ordered or looked at stands; the case goes on from there. Raises
        :class:`InvalidRequest` for an unknown case, :class:`Unreachable`.
        """
        return await self._take_up(case_id, WorkflowIDConflictPolicy.USE_EXISTING)

    async def begin_again(self, case_id: str) -> bool:
        """As :meth:`reopen`, for books that were restored from an old back-up: a run is ended
        first, because it goes on from what these books have never heard of.

        What the restored books have stands, and what they lost is done again: decided, approved
        by people, and ordered only if the provider has no order of the case.
        """
        return await self._take_up(case_id, WorkflowIDConflictPolicy.TERMINATE_EXISTING)

    async def unknown(self) -> list[str]:
        """The cases that run and of which these books have never heard, by their ids.

        Raises :class:`Unreachable`.
        """
        running = (
            f"WorkflowType = 'RefundCase' AND TaskQueue = '{self._task_queue}' "
            "AND ExecutionStatus = 'Running'"
        )
        try:
            found = [run.id async for run in self.temporal.list_workflows(running)]
        except RPCError as error:
            raise Unreachable(f"Temporal does not answer: {error.message}") from error
        async with self.books.reading() as reading:
            known = await reading.registered(found)
        return sorted(set(found) - known)

    async def end_unknown(self) -> list[str]:
        """End the runs of cases that restored books have never heard of; their ids.

        Nothing can take these up from the books. Whoever asked for one asks again, with the same
        request id: it is decided anew, and what it had ordered is found at the provider. Raises
        :class:`Unreachable`.
        """
        unknown = await self.unknown()
        try:
            return [each for each in unknown if await self._end(each)]
        except RPCError as error:
            raise Unreachable(f"Temporal does not answer: {error.message}") from error

    async def _end(self, case_id: str) -> bool:
        try:
            await self.case(case_id).workflow.terminate(reason=NEVER_HEARD_OF)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False  # Temporal's list is a moment behind
        return True

    async def _take_up(self, case_id: str, conflict: WorkflowIDConflictPolicy) -> bool:
        joins = conflict is WorkflowIDConflictPolicy.USE_EXISTING
        # asked before the books are: what ends in between is ended in the books too
        runs = joins and await self._runs(case_id)
        async with self.books.reading() as reading:
            row = await reading.case(case_id)
            opened = await reading.event(case_id, "open")
            closing = await reading.event(case_id, "close")
            linked = await reading.event(case_id, ALTERNATIVE_STEP)
            stored = await reading.decision(case_id)
        if row is None or opened is None:
            raise InvalidRequest("case", f"{case_id} is not in the books", "see `list`")
        if runs:
            return False
        if closing is None:
            return await self._start(request_of(opened), desk=Desk(row.desk), conflict=conflict)
        if linked is not None or stored is None or not closing.body.get("goes_on"):
            return False
        authority = stored.authority(row.charge)
        await self.open_request(owed_request(opened, closing, stored.decision.facts, authority))
        return True

    async def archive(self) -> ArchiveSummary:
        """Keep the histories of ended cases now; joins a sweep that runs already.

        Raises :class:`Unreachable`.
        """
        try:
            return await self.temporal.execute_workflow(
                ArchiveSweep.run,
                id=SWEEP_ID,
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        except RPCError as error:
            raise Unreachable(f"Temporal does not answer: {error.message}") from error

    async def _runs(self, case_id: str) -> bool:
        try:
            found = await self.case(case_id).workflow.describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise Unreachable(f"Temporal does not answer: {error.message}") from error
        return found.status is WorkflowExecutionStatus.RUNNING

    async def _start(
        self,
        request: RefundRequest,
        start_delay: timedelta | None = None,
        *,
        asked_at: datetime | None = None,
        desk: Desk = Desk.BILLING,
        conflict: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.USE_EXISTING,
    ) -> bool:
        """Start a case that has no end in the books, whatever became of a run that they have
        never heard of. ``asked_at`` is when it was first asked for, now unless told."""
        case = RefundCaseInput(
            case_id=case_id_of(request),
            request=request,
            attempt_seconds=self._attempt_seconds,
            asked_at=(asked_at or _now()) + (start_delay or timedelta(0)),
        )
        return await start_case(
            self.temporal,
            case,
            task_queue=self._task_queue,
            start_delay=start_delay,
            desk=desk,
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            conflict=conflict,
        )

    async def was_asked(self, request: RefundRequest) -> bool:
        """Whether this very request is known: the same words of the same person (``text`` in the
        clear)."""
        async with self.books.reading() as reading:
            registered = await reading.request(request.request_id)
        return registered is not None and registered.body_hash == self._body_hash(request)

    def _body_hash(self, request: RefundRequest) -> str:
        # The text goes into the hash by a keyed digest, so that the row tells nothing of it.
        return request.body_hash(self.keyring.lookup_hash(request.text) if request.text else "")

    async def _register(self, case_id: str, request: RefundRequest) -> RegisteredRequest:
        """The request as it is known, new or not. Raises :class:`Refused` when its id stands for
        another."""
        body_hash = self._body_hash(request)
        async with self.books.transaction() as tx:
            registered = await _registered(tx, request, body_hash)
        if registered.body_hash != body_hash and (request.appeal_of or request.alternative_to):
            return await self._register_anew(case_id, request, body_hash, registered.created_at)
        if registered.body_hash != body_hash:
            refused = Refused(
                RefusalCode.REQUEST_REUSED.value,
                f"request_id: {request.request_id} was used with another body on "
                f"{registered.created_at:%Y-%m-%d}; allowed: a new request_id, or the same body",
            )
            await self._record(
                request.requested_by, refused.code, refused.message, request.request_id, case_id
            )
            raise refused
        return registered

    async def _register_anew(
        self, case_id: str, request: RefundRequest, body_hash: str, since: datetime
    ) -> RegisteredRequest:
        """Take the place of a request that came to nothing: its caller cannot choose another id.

        Whoever registered it a moment ago may still be starting it.
        """
        is_young = _now() - since < STARTING
        row = await self.case(case_id).row()
        if is_young or row is not None or await self._runs(case_id):
            message = f"it goes on as {case_id} since {since:%Y-%m-%d %H:%M} UTC"
            code = RefusalCode.ALREADY_DECIDED.value
            await self._record(request.requested_by, code, message, request.request_id, case_id)
            raise Refused(code, message)
        async with self.books.transaction() as tx:
            await tx.forget_request(request.request_id)
            return await _registered(tx, request, body_hash)

    async def _record_invalid(self, fields: Mapping[str, Any], invalid: InvalidRequest) -> None:
        try:
            actor = Actor.model_validate(fields.get("requested_by"))
        except ValidationError:
            actor = None
        request_id = fields.get("request_id")
        named = request_id if isinstance(request_id, str) and invalid.field != "request_id" else ""
        await self._record(actor, RefusalCode.INVALID.value, str(invalid), named, "")

    async def _record(
        self, actor: Actor | None, code: str, message: str, request_id: str, case_id: str
    ) -> None:
        async with self.books.transaction() as tx:
            await tx.record_refused_attempt(
                RefusedAttempt(
                    case_id=case_id,
                    action="open_refund",
                    actor=actor,
                    code=code,
                    message=message,
                    request_id=request_id,
                    at=_now(),
                )
            )


async def _registered(
    tx: BookTransaction, request: RefundRequest, body_hash: str
) -> RegisteredRequest:
    """What the request's id stands for: this request, or the one that came before it."""
    return await tx.register_request(
        request_id=request.request_id,
        kind=CaseKind.REFUND,
        body_hash=body_hash,
        case_id=case_id_of(request),
        customer=request.customer,
        at=_now(),
    )
