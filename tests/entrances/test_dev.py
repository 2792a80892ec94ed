"""`starter.py dev`: comes up, shows what was promised, ends clean, goes on where it was."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator

import httpx
import pytest

from tests.entrances.machine import Dev, command, is_alive

PROMISED = {
    "sample-01-duplicate": "settling",
    "sample-02-settled": "refunded",
    "sample-03-returned": "failed_at_bank",
    "sample-04-waits": "awaiting_approval",
    "sample-05-courtesy": "awaiting_approval",
    "sample-06-too-old": "refused",
    "sample-07-credit": "credited",
    "sample-08-declined": "declined",
    "sample-09-lapsed": "expired",
    "sample-10-spanish": "settling",
    "sample-11-spanish-refused": "refused",
    "sample-12-korean": "settling",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    machine = Dev(tmp_path_factory.mktemp("own"))
    yield machine
    machine.stop()


def states(machine: Dev) -> dict[str, str]:
    cases = machine.command("list", "--json").json
    return {each["request_id"]: each["outcome"] or each["status"] for each in cases}


def test_an_empty_folder_becomes_a_living_machine_with_cases_in_the_promised_states(
    own: Dev,
) -> None:
    own.start()
    assert states(own) == PROMISED
    assert set(own.children()) == {"temporal", "sandbox", "worker", "web"}
    assert httpx.get(own.state["temporal_ui"]).status_code == 200
    assert httpx.get(f"{own.state['web']}/readyz").json() == {"status": "ready"}
    for address in (own.state["temporal_ui"], own.state["web"], own.state["sandbox"]):
        assert address in own.said()
        assert "127.0.0.1" in address


def test_the_keys_are_readable_by_their_owner_alone(own: Dev) -> None:
    mode = stat.S_IMODE((own.folder / "var" / "dev.env").stat().st_mode)
    assert mode == 0o600


def test_a_second_one_in_the_same_folder_is_refused_naming_the_first(own: Dev) -> None:
    second = own.command("dev")
    assert second.code == 2
    assert f"as process {own.pid}" in second.err
    assert is_alive(own.children()["worker"])


def test_ctrl_c_ends_every_process(own: Dev) -> None:
    children = own.children()
    assert own.interrupt() == 0
    assert not [name for name, pid in children.items() if is_alive(pid)]
    assert own.state["pid"] is None


def test_the_books_can_be_read_while_nothing_runs_and_no_case_can_be_opened(own: Dev) -> None:
    assert own.command("list", "--status", "settling", "--json").code == 0
    asked = own.command("refund", "--request-id", "r", "--customer", "cus_a", "--charge", "ch_a")
    assert asked.code == 3
    assert "TEMPORAL_ADDRESS" in asked.err
    assert "starter.py dev" in asked.err


def test_the_next_run_goes_on_with_the_same_cases_on_the_same_ports(own: Dev) -> None:
    before = {each["case_id"] for each in own.command("list", "--json").json}
    ports = own.state["ports"]
    own.start()
    assert {each["case_id"] for each in own.command("list", "--json").json} == before
    assert states(own) == PROMISED
    assert own.state["ports"] == ports


def test_a_fresh_start_after_a_kill_ends_what_still_runs_and_says_what_it_removed(
    own: Dev,
) -> None:
    (own.folder / "var" / "mine.txt").write_text("keep", encoding="utf-8")
    orphans = own.children()
    os.kill(own.pid, signal.SIGKILL)
    own.wait()
    assert all(is_alive(pid) for pid in orphans.values())
    own.start("--fresh", "--no-samples")
    assert not [name for name, pid in orphans.items() if is_alive(pid)]
    assert "removed books.db" in own.said()
    assert states(own) == {}
    assert (own.folder / "var" / "mine.txt").exists()


def test_a_part_that_dies_is_said_loudly_and_takes_the_rest_along(own: Dev) -> None:
    children = own.children()
    os.kill(children["sandbox"], signal.SIGKILL)
    assert own.wait() == 3
    assert f"sandbox (process {children['sandbox']}) ended by itself with code -9" in own.said()
    assert not [name for name, pid in children.items() if is_alive(pid)]


def test_a_variable_that_leads_elsewhere_is_refused_before_anything_starts(own: Dev) -> None:
    refused = own.command("dev", REDRESS_DATABASE_URL="postgresql+psycopg://production/books")
    assert refused.code == 2
    assert "REDRESS_DATABASE_URL" in refused.err
    assert "unset" in refused.err


def test_books_without_their_keys_are_left_alone(own: Dev) -> None:
    (own.folder / "var" / "dev.env").unlink()
    refused = command(own.folder, "dev")
    assert refused.code == 2
    assert "dev.env" in refused.err
