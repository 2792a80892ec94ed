"""The books' database fails, on both kinds of it: read-only, cut off in mid-transaction, and put
back from an old back-up. Nothing is paid twice, and nothing is ordered that was not written down.

Made-up errors anywhere in a case (busy, dropped, answer lost) are in ``test_whole_cases.py``, a
server that is killed is in ``test_soak.py``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError
from temporalio.client import Client as TemporalClient

from audit.verify import verify
from client import turns
from domain.cases import Outcome, Status
from domain.errors import Unreachable
from ledger.chain import Head
from ledger.keys import Keyring
from ledger.migrate import migrate
from settings import ROOT
from tests.reliability.broken_databases import (
    BackUp,
    BreakableBooks,
    dropped_once,
    opened,
    set_read_only,
)
from tests.reliability.test_lost_store import lose_the_store
from tests.reliability.test_provider_faults import orders_of, wait_for_effect
from tests.stack import Stack, TemporalServer, environment_of, new_database, settings_for
from tests.workflows.builders import LARGE, LEAD, MEDIUM, SMALL, a_charge, a_request
from tests.workflows.world import PATIENCE, Case, World, empty_world, new_queue
from workflows.converter import sealing_converter

DATABASES = ("sqlite", "postgresql")
REFERENCE = "74000000000000000000007"


@dataclass(frozen=True)
class Place:
    """A world whose books can be broken."""

    world: World
    books: BreakableBooks


@asynccontextmanager
async def breakable(temporal_address: str, url: str) -> AsyncIterator[Place]:
    async with empty_world(temporal_address, url) as empty, opened(url) as books:
        world = World(replace(empty.stack, books=books), empty.queue)
        async with world.stack.worker(task_queue=world.queue):
            yield Place(world, books)
            await world.assert_sound()


@pytest.fixture(scope="module", params=DATABASES)
async def place(
    request: pytest.FixtureRequest,
    temporal_server: TemporalServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Place]:
    url = new_database(tmp_path_factory.mktemp("books"), request.param)
    async with breakable(temporal_server.address, url) as place:
        yield place


@pytest.fixture(scope="module")
async def postgres_place(temporal_server: TemporalServer) -> AsyncIterator[Place]:
    async with breakable(temporal_server.address, new_database(Path(), "postgresql")) as place:
        yield place


async def paid_once(world: World, case: Case) -> None:
    assert await world.effects(case) == 1
    assert len(await orders_of(world, case)) == 1
    async with world.stack.books.reading() as reading:
        kinds = [x.kind.value for x in await reading.ledger_transactions(case.id)]
    assert sorted(kinds) == ["hold", "post"]


# -- read-only ---------------------------------------------------------------------------


async def test_while_the_books_are_read_only_nothing_new_is_ordered_and_afterwards_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = place.world
    unapproved = await world.open_decided(amount_minor=MEDIUM)
    await world.calm(unapproved)
    undecided = await world.open(start_delay=timedelta(seconds=2))
    monkeypatch.setattr(turns, "TURN", timedelta(seconds=3))
    with place.books.read_only():
        with pytest.raises(Unreachable, match="no answer"):
            await unapproved.handle.approve(LEAD, click_id="while-read-only")
        with pytest.raises(DBAPIError):
            await world.open()
        for case in (unapproved, undecided):
            await until_tried(case, 3)
            assert await orders_of(world, case) == []
        assert (await world.row(unapproved)).status is Status.AWAITING_APPROVAL
        assert await undecided.handle.row() is None
    for case in (unapproved, undecided):
        await world.until(case, Status.SETTLING)
        await paid_once(world, case)
    again = await unapproved.handle.approve(LEAD, click_id="while-read-only")
    assert again.recorded, "the click that got no answer was taken in the end"


async def test_an_order_whose_answer_cannot_be_written_down_is_found_and_not_repeated(
    place: Place,
) -> None:
    world = place.world
    case = await world.open(start_delay=timedelta(seconds=1))
    await world.fault(case, kind="slow_after", ms=2_000, count=1)
    await wait_for_effect(world, case)
    with place.books.read_only():
        await until_tried(case, 3)
        assert (await world.row(case)).status is Status.SENDING
        assert len(await orders_of(world, case)) == 1
    await world.until(case, Status.SETTLING)
    await paid_once(world, case)


async def until_tried(case: Case, attempts: int) -> None:
    """Until the activity that the case waits for is at this attempt."""
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while True:
            pending = (await case.handle.workflow.describe()).raw_description.pending_activities
            if any(activity.attempt >= attempts for activity in pending):
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(
    "command",
    [
        ("refund", "--charge", "ch_1", "--customer", "cus_1", "--request-id", "r1"),
        ("approve", "refund-of-nobody", "--by", "lin", "--as", "lead"),
    ],
    ids=["refund", "approve"],
)
async def test_a_command_on_read_only_books_says_so_and_leaves_with_code_3(
    temporal_server: TemporalServer, tmp_path: Path, database: str, command: tuple[str, ...]
) -> None:
    url = new_database(tmp_path, database)
    await migrate(url, app_role=None)
    set_read_only(url)
    settings = settings_for(tmp_path, url, "http://127.0.0.1:9")
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(ROOT / "starter.py"), *command, "--json"],
        cwd=tmp_path, env=environment_of(settings, temporal_server.address),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    said = json.loads(done.stdout)
    assert said["error"] == "not reachable"
    assert "the database of the books:" in said["message"]
    assert "read" in said["message"]
    assert "Traceback" not in done.stderr


# -- cut off -----------------------------------------------------------------------------


async def test_a_case_whose_every_transaction_loses_its_connection_is_as_any_other(
    postgres_place: Place,
) -> None:
    """Each transaction is dropped once, with all of it written and nothing committed.

    PostgreSQL only: SQLite has no connection that somebody else could end. Its transaction ends
    with its process, which ``test_kills.py`` kills at these very points.
    """
    world, url = postgres_place.world, postgres_place.books.url
    calm = await life(world)
    dropped = await life(world, url)
    await paid_once(world, dropped)
    assert await world.account(dropped) == await world.account(calm)


async def life(world: World, url: str = "") -> Case:
    """A refund with one approval, to its end; with each transaction dropped once if ``url``."""

    async def once(doing: Any) -> Any:
        return await (dropped_once(url, doing) if url else doing)

    case = await world.open(
        {"refund_behaviour": "silent"}, amount_minor=MEDIUM, start_delay=timedelta(seconds=2)
    )
    await once(case.handle.decided(PATIENCE))
    await world.calm(case)
    await world.fault(case, kind="slow_before", ms=2_500, count=1)
    await once(case.handle.approve(LEAD))
    await once(world.until(case, Status.SETTLING))
    await world.calm(case)
    await world.at_bank(case, reference=REFERENCE)
    looks, _ = await world.looks(case)
    await once(world.advance_past(case, looks[0]))
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    return case


# -- put back from an old back-up --------------------------------------------------------


@pytest.fixture(params=DATABASES)
async def stack(
    request: pytest.FixtureRequest, own_server: TemporalServer, tmp_path: Path
) -> AsyncIterator[Stack]:
    """Servers and books that no process of the product has open."""
    url = new_database(tmp_path, request.param)
    async with empty_world(own_server.address, url) as world:
        await world.stack.books.close()
        yield world.stack


@pytest.fixture
def queue() -> str:
    return new_queue()


@asynccontextmanager
async def running(stack: Stack, queue: str) -> AsyncIterator[World]:
    """Client and worker as new processes have them: nothing in memory, the books opened anew."""
    async with opened(stack.books.url) as books:
        keyring = Keyring(books, stack.settings.master_key_bytes())
        temporal = await TemporalClient.connect(
            stack.temporal_address, data_converter=sealing_converter(keyring)
        )
        alive = replace(stack, books=books, keyring=keyring, temporal=temporal)
        async with alive.worker(task_queue=queue):
            yield World(alive, queue)


def seen_by(world: World, case: Case) -> Case:
    return Case(world.client.case(case.id), case.customer, case.charge)


async def settled(world: World, case: Case) -> None:
    """The bank has the money by the first look."""
    await world.until(case, Status.SETTLING)
    await world.calm(case)
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    assert (await world.result(case)).outcome is Outcome.REFUNDED


async def assert_settled_and_paid_once(world: World, case: Case) -> None:
    await settled(world, case)
    await paid_once(world, case)
    await world.assert_sound()


@pytest.mark.parametrize("is_lost", [False, True], ids=["store_kept", "store_lost"])
async def test_a_refund_that_restored_books_have_forgotten_is_found_and_not_paid_again(
    stack: Stack, queue: str, own_server: TemporalServer, tmp_path: Path, is_lost: bool
) -> None:
    async with running(stack, queue) as world:
        case = await world.open_decided({"refund_behaviour": "arrives"}, amount_minor=MEDIUM)
        await world.calm(case)
    old = BackUp(stack.books.url, tmp_path)
    async with running(stack, queue) as world:
        case = seen_by(world, case)
        await case.handle.approve(LEAD)
        await world.until(case, Status.SETTLING)
        await world.calm(case)
    old.put_back()
    if is_lost:
        await lose_the_store(own_server)
    await world.stack.control("clock", {"customer": case.customer, "by_seconds": 25 * 3600})
    async with running(stack, queue) as world:
        case = seen_by(world, case)
        assert (await world.row(case)).status is Status.AWAITING_APPROVAL
        assert await world.client.reopen(case.id) is is_lost, "one that runs is left alone"
        if not is_lost:
            for _ in range(2):  # the second takes up the first one's run, which knows as much
                assert await world.client.begin_again(case.id)
        await case.handle.approve(LEAD)
        await assert_settled_and_paid_once(world, case)


async def test_a_case_that_ended_after_the_back_up_ends_once_more_and_pays_nothing(
    stack: Stack, queue: str, tmp_path: Path
) -> None:
    async with running(stack, queue) as world:
        case = await world.open_decided({"refund_behaviour": "arrives"}, amount_minor=MEDIUM)
        await world.calm(case)
    old = BackUp(stack.books.url, tmp_path)
    async with running(stack, queue) as world:
        case = seen_by(world, case)
        await case.handle.approve(LEAD)
        await settled(world, case)
    old.put_back()
    async with running(stack, queue) as world:
        case = seen_by(world, case)
        assert await world.client.reopen(case.id)
        await case.handle.approve(LEAD)
        await assert_settled_and_paid_once(world, case)


@pytest.mark.parametrize(
    ("captured", "asked"), [(LARGE, SMALL), (SMALL, None)], ids=["part", "all"]
)
async def test_a_request_that_restored_books_never_had_finds_its_refund_when_it_is_repeated(
    stack: Stack, queue: str, tmp_path: Path, captured: int, asked: int | None
) -> None:
    old = BackUp(stack.books.url, tmp_path)
    async with running(stack, queue) as world:
        charge = await a_charge(world.stack, amount=captured, refund_behaviour="arrives")
        request = a_request(**charge, amount_minor=asked)
        case = Case(await world.client.open_refund(request), charge["customer"], charge["charge"])
        await settled(world, case)
    old.put_back()
    async with running(stack, queue) as world:
        again = await world.client.open_refund(request)
        assert again.case_id == case.id
        case = seen_by(world, case)
        await assert_settled_and_paid_once(world, case)


async def test_a_run_that_restored_books_never_had_is_ended_and_its_request_pays_once(
    stack: Stack, queue: str, tmp_path: Path
) -> None:
    """It cannot even be read: its payloads are sealed under a key that went with the books."""
    async with running(stack, queue) as world:
        waiting = await world.open_decided(amount_minor=MEDIUM)
        await world.calm(waiting)
    old = BackUp(stack.books.url, tmp_path)
    async with running(stack, queue) as world:
        charge = await a_charge(world.stack, refund_behaviour="arrives")
        request = a_request(**charge)
        case = Case(await world.client.open_refund(request), charge["customer"], charge["charge"])
        await world.until(case, Status.SETTLING)
        await world.calm(case)
    old.put_back()
    async with running(stack, queue) as world:
        assert await until_ended(world, 1) == [case.id]
        assert await world.client.end_unknown() == []
        assert not await world.client.reopen(waiting.id), "what the books have is left alone"
        await world.client.open_refund(request)
        case = seen_by(world, case)
        await assert_settled_and_paid_once(world, case)


async def until_ended(world: World, count: int) -> list[str]:
    """The runs that were ended; Temporal's list of runs is a moment behind."""
    ended: list[str] = []
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while len(ended) < count:
            ended += await world.client.end_unknown()
    return ended


async def test_a_head_that_was_kept_elsewhere_tells_that_the_books_are_older(
    stack: Stack, queue: str, tmp_path: Path
) -> None:
    async with running(stack, queue) as world:
        case = await world.open_decided(amount_minor=MEDIUM)
        await world.calm(case)
        before = (await verify(world.stack.books)).head
    old = BackUp(stack.books.url, tmp_path)
    async with running(stack, queue) as world:
        await seen_by(world, case).handle.decline(LEAD)
        await world.result(seen_by(world, case))
        kept = (await verify(world.stack.books)).head
    old.put_back()
    async with opened(stack.books.url) as books:
        assert (await verify(books)).is_clean, "by themselves they are sound"
        assert (await verify(books, expected_head=before)).is_clean
        (finding,) = (await verify(books, expected_head=kept)).findings
    assert f"end at {before.seq}, but were at {kept.seq} before" in str(finding)
    said = await asyncio.to_thread(audit_verify, stack, kept)
    assert said.returncode == 1
    assert "an old copy was put in their place" in " ".join(said.stderr.split())


def audit_verify(stack: Stack, head: Head) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "starter.py"), "audit", "verify"]
    return subprocess.run(
        [*command, "--head", f"{head.seq}:{head.hash}"],
        cwd=stack.folder, env=stack.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
