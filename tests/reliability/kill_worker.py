"""The product's own worker, composed by a test so that it can be made to die at a named point.

``main`` runs in a process of its own, with two more variables: ``KILL_QUEUE``, the task queue
to listen on, and ``KILL_PLAN``, a JSON file that is read at every point:

    {"case_id": "...", "point": "send_refund:committed"}     an effect boundary; "occurrence": 2
                                                             is the second time that it is reached
    {"case_id": "...", "after_event": 7}                     the first moment at which the worker
                                                             has event 7 of the history behind it

Points of each activity: ``begin``, ``in_transaction``, ``committed``, ``end`` (before its
completion is reported). Points of the order at the provider: ``order:before``,
``order:flying`` (committed there, the answer still on its way), ``order:lost`` (the answer
never came), ``order:after``. The death is a SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import httpx
import temporalio.client
import temporalio.worker
from temporalio import activity
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)

import worker
from activities.provider import Provider, ProviderUnavailable
from domain.provider import ProviderRefund
from ledger.books import Books
from ledger.keys import Keyring
from ledger.writing import BookTransaction
from workflows import connection

T = TypeVar("T")

TASK_SECONDS = 2
"""Of a workflow task here: what a worker took with it is given to its successor after this."""


@dataclass(frozen=True)
class Plan:
    """Where this process has to die; empty when nowhere."""

    case_id: str = ""
    point: str = ""
    after_event: int = 0
    occurrence: int = 1

    @classmethod
    def read(cls) -> Plan:
        text = Path(os.environ["KILL_PLAN"]).read_text(encoding="utf-8")
        return cls(**json.loads(text)) if text else cls()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_reached: Counter[str] = Counter()


def reach(point: str, case_id: str) -> None:
    """Die here if this is the point, reached as often as was planned."""
    plan = Plan.read()
    if plan.point == point and plan.case_id == case_id:
        _reached[case_id] += 1
        if _reached[case_id] == plan.occurrence:
            die()


def reach_in_activity(point: str) -> None:
    if activity.in_activity():
        info = activity.info()
        reach(f"{info.activity_type}:{point}", info.workflow_id or "")


class MortalBooks(Books):
    """Dies inside a transaction, or when it has been committed."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[BookTransaction]:
        async with super().transaction() as transaction:
            yield transaction
            reach_in_activity("in_transaction")
        reach_in_activity("committed")


class MortalProvider(Provider):
    """Dies around the two requests that move money."""

    async def order_refund(self, *, case_id: str, **order: Any) -> ProviderRefund:
        return await _mortal(case_id, super().order_refund(case_id=case_id, **order))

    async def order_credit(self, *, case_id: str, **order: Any) -> str:
        return await _mortal(case_id, super().order_credit(case_id=case_id, **order))


async def _mortal(case_id: str, order: Coroutine[Any, Any, T]) -> T:
    reach("order:before", case_id)
    asking = asyncio.ensure_future(order)
    if Plan.read().point == "order:flying":
        await _until_committed(case_id)
        reach("order:flying", case_id)
    try:
        made = await asking
    except ProviderUnavailable:
        reach("order:lost", case_id)
        raise
    reach("order:after", case_id)
    return made


async def _until_committed(case_id: str) -> None:
    journal = f"{os.environ['REDRESS_STRIPE_BASE_URL']}/_sandbox/journal"
    wanted = {"key": f"{case_id}:send", "effects": "true"}
    async with httpx.AsyncClient() as http, asyncio.timeout(30):
        while not (await http.get(journal, params=wanted)).json()["entries"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class ShortTasks(temporalio.client.Interceptor):
    """Workflow tasks of two seconds instead of ten: waiting is all that a longer one adds."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _StartsShort(super().intercept_client(next))


class _StartsShort(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        input.task_timeout = timedelta(seconds=TASK_SECONDS)
        return await super().start_workflow(input)


class MortalActivities(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """Dies before an activity runs, or before its completion is reported."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _MortalActivity(next)


class _MortalActivity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        reach_in_activity("begin")
        await _reach_event()
        answer = await super().execute_activity(input)
        await _reach_event()
        reach_in_activity("end")
        return answer


async def _reach_event() -> None:
    plan, info = Plan.read(), activity.info()
    if plan.after_event and plan.case_id == info.workflow_id:
        described = await activity.client().get_workflow_handle(plan.case_id).describe()
        if described.history_length >= plan.after_event:
            die()


class MortalRunner(WorkflowRunner):
    """Dies as it is given a workflow task."""

    def __init__(self, runner: WorkflowRunner) -> None:
        self._runner = runner

    def prepare_workflow(self, defn: Any) -> None:
        self._runner.prepare_workflow(defn)

    def set_worker_level_failure_exception_types(self, types: Any) -> None:
        self._runner.set_worker_level_failure_exception_types(types)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _MortalInstance(self._runner.create_instance(det), det.info.workflow_id)


class _MortalInstance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance, workflow_id: str) -> None:
        self._instance = instance
        self._workflow_id = workflow_id

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        plan = Plan.read()
        is_mine = plan.after_event and plan.case_id == self._workflow_id
        if is_mine and not act.is_replaying and act.history_length >= plan.after_event:
            die()
        return self._instance.activate(act)

    def get_serialization_context(self, command_info: Any) -> Any:
        return self._instance.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._instance.get_external_store_context(command_info)

    def get_info(self) -> Any:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()


async def connect(keyring: Keyring) -> temporalio.client.Client:
    client = await connection.connect(keyring)
    config = {**client.config(), "interceptors": [ShortTasks(), MortalActivities()]}
    return temporalio.client.Client(**config)  # type: ignore[arg-type]


_runner, _build_worker = worker.workflow_runner, worker.build_worker


def compose() -> None:
    """Put the mortal parts where the worker's composition root looks for the real ones."""
    vars(worker).update(
        Books=MortalBooks,
        Provider=MortalProvider,
        connect=connect,
        workflow_runner=lambda *, sandboxed: MortalRunner(_runner(sandboxed=sandboxed)),
        build_worker=partial(_build_worker, task_queue=os.environ["KILL_QUEUE"]),
    )


def main(environment: Mapping[str, str], log: str) -> NoReturn:
    """Be the worker that ``environment`` describes, until death; say what happens in ``log``."""
    _become(environment, log)
    compose()
    os._exit(worker.run())


def main_as_it_is(environment: Mapping[str, str], log: str) -> NoReturn:
    """The same with nothing put in its place: death comes from outside."""
    _become(environment, log)
    os._exit(worker.run())


def _become(environment: Mapping[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(written, stream)
