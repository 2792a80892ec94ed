"""Composition root of the worker: settings, then collaborators, then the Temporal worker.

Run ``python worker.py``. SIGTERM and SIGINT let running activities finish, then close every
client. The process leaves by ``os._exit``: temporalio may abort at interpreter exit with
calls pending, which would spoil the exit code.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import structlog
import uvloop
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.archives import Archives
from activities.decisions import Decisions
from activities.linked import Linked
from activities.messages import Messages
from activities.notices import FileDelivery, NoticeSender
from activities.outside import OutsideNews
from activities.payments import Payments
from activities.provider import Provider
from activities.records import Records
from activities.verdicts import Verdicts
from client.starting import start_case
from decisions.library import Library
from domain.errors import RedressError, Unreachable
from ledger.books import Books
from ledger.keys import Keyring
from settings import Settings, load
from workflows.archive import ArchiveSweep, keep_archiving
from workflows.connection import TASK_QUEUE, connect
from workflows.refund import RefundCase

log = structlog.get_logger()

PASSED_THROUGH = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "domain")
"""Loaded once instead of once per case; pure and free of state. ``domain`` brings
``cryptography`` along, whose native module must never be loaded twice."""


def workflow_runner(*, sandboxed: bool) -> WorkflowRunner:
    """What runs workflow code: Temporal's sandbox, which catches what would not replay, or
    nothing in between (docs/decisions/0020)."""
    if not sandboxed:
        return UnsandboxedWorkflowRunner()
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(
            *PASSED_THROUGH, "cryptography", "activities", "workflows.desk", "workflows.steps"
        )
    )


def build_worker(
    client: Client,
    settings: Settings,
    books: Books,
    provider: Provider,
    library: Library,
    *,
    task_queue: str = TASK_QUEUE,
) -> Worker:
    """A worker with every collaborator in place; the caller runs and closes it."""
    decisions = Decisions(books, provider, library)
    verdicts = Verdicts(books, library, settings.verify_key())
    payments = Payments(books, provider)
    records = Records(books)
    messages = Messages(books, settings.verify_key(), limits=settings.evidence_limits())
    linked = Linked(books, partial(start_case, client, task_queue=task_queue))
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[RefundCase, ArchiveSweep],
        activities=[
            decisions.decide_refund,
            verdicts.record_verdict,
            payments.send_refund,
            payments.look_at_refund,
            records.expire_case,
            records.alarm_unknown,
            Archives(books, client, settings.archive).archive_histories,
            records.remind_approvers,
            messages.record_contact,
            messages.record_evidence,
            messages.record_transfer,
            messages.record_assignment,
            messages.record_delegation,
            linked.open_linked_case,
        ],
        workflow_runner=workflow_runner(sandboxed=settings.workflow_sandbox),
        workflow_failure_exception_types=[ApplicationError],
        max_cached_workflows=settings.worker_cache,
        max_concurrent_activities=settings.worker_slots,
        graceful_shutdown_timeout=timedelta(seconds=settings.attempt_seconds),
        deployment_config=WorkerDeploymentConfig(
            version=WorkerDeploymentVersion("redress", settings.build_id),
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
        )
        if settings.build_id
        else None,
    )


@asynccontextmanager
async def collaborators(
    settings: Settings, stop: asyncio.Event
) -> AsyncIterator[tuple[Books, Keyring, Provider, Library]]:
    """Everything a worker holds open, closed again at the end."""
    if not settings.stripe_api_key.get_secret_value():
        raise Unreachable("REDRESS_STRIPE_API_KEY is not set: the provider cannot be called")
    library = Library.load(settings.policies, with_drafts=settings.allow_drafts)
    books = await Books.open(settings.database_url)

    def misconfigured(why: str) -> None:
        log.error("worker_stops", why=why)
        stop.set()

    provider = Provider(
        settings.stripe_api_key.get_secret_value(),
        base_url=settings.stripe_base_url or None,
        on_misconfigured=misconfigured,
    )
    try:
        yield books, Keyring(books, settings.master_key_bytes()), provider, library
    finally:
        await provider.close()
        await books.close()


GARBAGE_EVERY = 20_000
"""Allocations between two collections: at the default of 700 the collector takes a tenth of the
worker's time."""

OLDER_EVERY = 1
"""Collections of a generation before the next older one takes its turn. A case that leaves the
cache is a knot of cycles, by then in the oldest generation: if that is rarely collected, the
worker grows with every case it has ever seen."""


def _stop_if_dead(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    """A worker that tells nobody anything any more looks healthy: end it instead."""
    if not task.cancelled() and task.exception() is not None:
        log.error("worker_stops", exc_info=task.exception())
        stop.set()


async def main() -> int:
    settings = load()
    gc.freeze()
    gc.set_threshold(GARBAGE_EVERY, OLDER_EVERY, OLDER_EVERY)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with collaborators(settings, stop) as (books, keyring, provider, library):
        client = await connect(keyring)
        sender = NoticeSender(books, FileDelivery(settings.notices_file))
        async with build_worker(client, settings, books, provider, library):
            await keep_archiving(client, TASK_QUEUE)
            log.info("worker_ready", task_queue=TASK_QUEUE, pid=os.getpid())
            beside = [
                asyncio.create_task(sender.run()),
                asyncio.create_task(OutsideNews(books, provider).run()),
            ]
            for task in beside:
                task.add_done_callback(partial(_stop_if_dead, stop))
            await stop.wait()
            for task in beside:
                task.cancel()
    return 0


def run() -> int:
    """Exit codes: 0 stopped as asked, 2 wrong settings, 3 a server is not reachable."""
    try:
        return uvloop.run(main())
    except Unreachable as error:
        print(f"worker: {error}", file=sys.stderr)
        return 3
    except RedressError as error:
        print(f"worker: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
