"""What a customer wrote is sealed wherever it is kept, and gone once their key is destroyed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from sqlalchemy import select
from temporalio.client import WorkflowFailureError
from temporalio.converter import DataConverter

from audit.verify import verify
from domain.cases import Outcome
from domain.errors import InvalidRequest
from ledger import tables as t
from ledger.in_words import status_in_words
from ledger.keys import TOMBSTONE, Keyring
from tests.workflows.builders import LEAD, MEDIUM
from tests.workflows.world import Case, World
from workflows.converter import TOMBSTONE as PAYLOAD_TOMBSTONE
from workflows.converter import sealing_converter

SECRET = "Quetzalcoatl Zephyrine, 12 Rue de l'Ombre"
NOTE = "Zephyrine rang twice"


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """Everything that is logged meanwhile."""
    with structlog.testing.capture_logs() as lines:
        yield lines


async def a_case_with_texts(world: World) -> Case:
    case = await world.open_decided(amount_minor=MEDIUM, text=SECRET)
    await case.handle.decline(LEAD, note=NOTE)
    assert (await world.result(case)).outcome is Outcome.DECLINED
    return case


async def test_what_a_customer_wrote_is_nowhere_in_the_clear(
    world: World, logged: list[Any]
) -> None:
    case = await a_case_with_texts(world)
    history = (await case.handle.workflow.fetch_history()).to_json()
    kept = await world.stack.kept()
    assert case.id.encode() in kept["books"]
    for word in ("Quetzalcoatl", "Zephyrine", "Ombre"):
        assert word not in history
        assert word not in str(logged)
        for name, content in kept.items():
            assert word.encode() not in content, f"{word} lies in {name}"


async def test_payloads_in_the_history_are_sealed_under_the_customers_key(world: World) -> None:
    case = await a_case_with_texts(world)
    key_id, _ = await world.stack.keyring.data_key(case.customer)
    history = (await case.handle.workflow.fetch_history()).events
    (started,) = history[0].workflow_execution_started_event_attributes.input.payloads
    assert started.metadata["key-id"] == key_id.encode()
    assert case.customer.encode() not in started.data


async def test_a_history_names_nobody_who_decided(world: World) -> None:
    case = await a_case_with_texts(world)
    history = (await case.handle.workflow.fetch_history()).to_json()
    assert "decline:" in history, "the update's id is in the clear"
    assert LEAD.id not in history


async def test_the_text_of_a_failure_is_sealed_too(world: World) -> None:
    case = await world.open(text=SECRET, currency="eur")
    with pytest.raises(InvalidRequest):
        await case.handle.decided()
    history = (await case.handle.workflow.fetch_history()).to_json()
    assert "Encoded failure" in history
    assert "is not the charge" not in history, "not even our own words about the input"


async def test_a_summary_in_temporals_pages_names_no_person(world: World) -> None:
    case = await a_case_with_texts(world)
    description = await case.handle.workflow.describe()
    attributes = str(description.typed_search_attributes)
    for word in (case.customer, "Zephyrine", "shop"):
        assert word not in case.id
        assert word not in attributes


async def test_a_destroyed_key_leaves_the_books_proven_and_the_case_readable(
    world: World,
) -> None:
    case = await a_case_with_texts(world)
    events = await world.events(case)
    sealed = [events[0].body["text"], events[2].body["note"]]
    assert [await world.stack.keyring.unseal(text) for text in sealed] == [SECRET, NOTE]
    wrapped = await key_rows(world, case)
    head = (await verify(world.stack.books)).head

    await world.stack.keyring.destroy(case.customer)

    report = await verify(world.stack.books, expected_head=head)
    assert report.is_clean, report.findings
    assert [await world.stack.keyring.unseal(text) for text in sealed] == [TOMBSTONE, TOMBSTONE]
    row = await world.row(case)
    assert "declined" in status_in_words(row), "what happened is still told"
    assert (await world.events(case))[0].body["text"] == sealed[0], "the row is as it was"
    kept = await world.stack.kept_books()
    for secret in wrapped:
        assert secret.encode() not in kept, "the wrapped key is overwritten"


async def test_a_history_under_a_destroyed_key_decodes_to_a_tombstone_and_raises_nothing(
    world: World,
) -> None:
    case = await a_case_with_texts(world)
    failed = await world.open({"customer": case.customer}, text=SECRET, currency="eur")
    with pytest.raises(InvalidRequest):
        await failed.handle.decided()
    await world.stack.keyring.destroy(case.customer)
    later = reader_after(world)
    history = await case.handle.workflow.fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes.input.payloads
    assert await later.decode(started) == [PAYLOAD_TOMBSTONE]
    failure = (await failed.handle.workflow.fetch_history()).events[-1]
    decoded = await later.decode_failure(failure.workflow_execution_failed_event_attributes.failure)
    assert SECRET not in str(decoded)


async def test_asking_temporal_for_a_failed_case_under_a_destroyed_key_raises_its_failure_only(
    world: World,
) -> None:
    case = await world.open(text=SECRET, currency="eur")
    with pytest.raises(InvalidRequest):
        await case.handle.decided()
    await world.stack.keyring.destroy(case.customer)
    with pytest.raises(WorkflowFailureError):
        await case.handle.result()


async def test_a_customer_who_comes_back_gets_another_key(world: World) -> None:
    case = await a_case_with_texts(world)
    first, _ = await world.stack.keyring.data_key(case.customer)
    await world.stack.keyring.destroy(case.customer)
    again = await world.open_decided({"customer": case.customer}, text="hello again")
    second, _ = await world.stack.keyring.data_key(case.customer)
    assert first != second
    text = (await world.events(again))[0].body["text"]
    assert await world.stack.keyring.unseal(text) == "hello again"


def reader_after(world: World) -> DataConverter:
    """A converter of another process, which has no key in memory."""
    keyring = Keyring(world.stack.books, world.stack.settings.master_key_bytes())
    return sealing_converter(keyring)


async def key_rows(world: World, case: Case) -> list[str]:
    k = t.customer_keys.c
    async with world.stack.books.reading() as reading:
        rows = await reading.execute(select(k.wrapped).where(k.customer == case.customer))
    return [str(row.wrapped) for row in rows]
