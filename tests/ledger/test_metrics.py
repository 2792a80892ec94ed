"""Figures over a book whose cases can be counted by hand, in both databases."""

from __future__ import annotations

import re
from array import array
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.metrics import ROWS
from domain.canonical import instant, plain
from domain.cases import EventKind, Outcome
from ledger.books import Books
from ledger.figures import By, Figures, Metrics, nearest_rank
from ledger.metrics import metrics
from ledger.projection import is_answer
from settings import ROOT
from tests.ledger.builders import AT, decided_body, event, slot
from tests.ledger.counted import DAY, HOUR, Case, fill

NOW, SINCE, UNTIL = AT + 10 * DAY, AT - DAY, AT + 5 * DAY
PAGE = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")


async def measured(books: Books, by: By | None = None, **window: datetime) -> Metrics:
    window = {"since": SINCE, "until": UNTIL, "now": NOW, **window}
    async with books.reading() as reading:
        return await metrics(reading, by=by, **window)


def seconds(length: timedelta) -> int:
    return length // timedelta(seconds=1)


async def test_the_figures_are_those_counted_by_hand(books: Books) -> None:
    await fill(books)
    found = (await measured(books)).total
    nobody_is_late_again = {"count": 1, "of": 1, "p50_seconds": seconds(49 * DAY)}
    assert plain(found) == {
        "name": "all",
        "cases": 8,
        # 0, 0, 30 s, 20 min, 1 h, 2 h, 3 days; the withdrawn one was told nothing
        "first_response": {"n": 7, "p50_seconds": 1200, "p90_seconds": seconds(3 * DAY)},
        # paid and no in time, again after 20 of 15 minutes, expired after 3 days of 8 hours
        "answered_in_time": {"count": 2, "of": 4, "share_bps": 5000},
        # no, appeal and credit at once, paid after 1 h, declined after 2 h
        "time_to_decision": {"n": 5, "p50_seconds": 0, "p90_seconds": 7200},
        "time_to_acceptance": {"n": 2, "p50_seconds": 30, "p90_seconds": 3600},
        "time_to_confirmation": {"n": 2, "p50_seconds": 30, "p90_seconds": seconds(6 * DAY)},
        # of the six that ended and were not withdrawn all but the expired one
        "resolved": {"count": 5, "of": 6, "share_bps": 8333},
        # the appeal is none: of no, declined, appeal and expired only the first was asked again
        "asked_again": {"count": 1, "of": 4, "share_bps": 2500},
        "appealed": {"count": 1, "of": 3, "share_bps": 3333},
        "effort": {"n": 3, "mean_hundredths": 400,
                   "counts": {"1": 0, "2": 1, "3": 0, "4": 0, "5": 2}},
        "satisfaction": {"n": 3, "mean_hundredths": 267,
                         "counts": {"1": 1, "2": 1, "3": 0, "4": 0, "5": 1}},
        "outcomes": {"credited": 1, "declined": 1, "expired": 1, "refunded": 1, "refused": 2,
                     "withdrawn": 1},
        "given_minor": {"eur": 1000, "usd": 2500},
        "approvals_overdue": {"count": 1, "of": 2, "p50_seconds": seconds(6 * DAY),
                              "oldest_seconds": seconds(6 * DAY)},
        "first_responses_overdue": {**nobody_is_late_again, "oldest_seconds": seconds(49 * DAY)},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("by", "cases"),
    [
        (By.KIND, {"refund": 8}),
        (By.CHANNEL, {"chat": 0, "email": 1, "phone": 2, "unknown": 2, "web": 3}),
        (By.LANGUAGE, {"en": 4, "es": 2, "ko": 2}),
        (By.DESK, {"billing": 7, "finance": 1}),
        (By.POLICY, {"refund v3": 8}),
    ],
)
async def test_cases_are_told_apart_by(books: Books, by: By, cases: dict[str, int]) -> None:
    await fill(books)
    found = await measured(books, by)
    assert {each.name: each.cases for each in found.groups} == cases
    assert sum(each.resolved.of for each in found.groups) == found.total.resolved.of
    assert found.total == (await measured(books)).total


async def test_a_channel_has_its_own_figures(sqlite_books: Books) -> None:
    await fill(sqlite_books)
    groups = {each.name: each for each in (await measured(sqlite_books, By.CHANNEL)).groups}
    phone, chat = groups["phone"], groups["chat"]
    assert (phone.first_response.n, phone.first_response.p90_seconds) == (2, 1200)
    assert (phone.answered_in_time.count, phone.answered_in_time.of) == (1, 2)
    assert (phone.asked_again.count, phone.asked_again.of) == (1, 1)
    assert chat.first_responses_overdue.count == 1
    assert chat.answered_in_time.of == 0, "it was opened before the window"


async def test_nothing_is_a_share_of_nothing(books: Books) -> None:
    found = (await measured(books)).total
    assert found.cases == 0
    for name in ("answered_in_time", "resolved", "asked_again", "appealed"):
        assert plain(getattr(found, name)) == {"count": 0, "of": 0, "share_bps": None}
    assert (found.first_response.n, found.first_response.p50_seconds) == (0, None)
    assert (found.effort.n, found.effort.mean_hundredths) == (0, None)


async def test_a_window_holds_its_beginning_and_not_its_end(sqlite_books: Books) -> None:
    for name, at in (("first", SINCE), ("before", SINCE - DAY), ("end", UNTIL)):
        await (await Case(sqlite_books, name, at).open()).refuse()
    found = (await measured(sqlite_books)).total
    assert found.cases == found.outcomes["refused"] == 1


@pytest.mark.parametrize(
    ("late_by", "is_in_time"),
    [(timedelta(microseconds=-1), 1), (timedelta(), 1), (timedelta(microseconds=1), 0)],
)
async def test_an_answer_at_its_instant_is_in_time(
    sqlite_books: Books, late_by: timedelta, is_in_time: int
) -> None:
    case = await Case(sqlite_books, "a").open(HOUR)
    await case.say(EventKind.ANSWERED, {}, HOUR + late_by)
    found = (await measured(sqlite_books)).total.answered_in_time
    assert (found.count, found.of) == (is_in_time, 1)


@pytest.mark.parametrize(
    ("after", "clocks"),
    [(HOUR - timedelta(microseconds=1), 0), (HOUR, 0), (HOUR + timedelta(microseconds=1), 1)],
)
async def test_a_clock_that_still_runs_is_not_counted_and_one_that_ran_out_is(
    sqlite_books: Books, after: timedelta, clocks: int
) -> None:
    case = await Case(sqlite_books, "a").open(HOUR)
    await case.waits()
    running = (await measured(sqlite_books, now=AT + after)).total
    assert (running.answered_in_time.count, running.answered_in_time.of) == (0, clocks)
    assert running.first_responses_overdue.count == clocks
    await case.close(Outcome.WITHDRAWN, after)
    withdrawn = (await measured(sqlite_books)).total
    assert (withdrawn.answered_in_time.count, withdrawn.answered_in_time.of) == (0, clocks)
    assert withdrawn.first_responses_overdue.of == 0


async def test_an_approval_is_overdue_from_the_first_call_for_a_slot_that_is_open(
    sqlite_books: Books,
) -> None:
    case = await Case(sqlite_books, "a").open()
    first = slot("first", remind_at=[instant(AT + DAY)], expires_at=instant(AT + 9 * DAY))
    second = slot("second", escalates_at=instant(AT + 2 * DAY), expires_at=instant(AT + 9 * DAY))
    await case.say(EventKind.DECIDED, decided_body(slots=[first, second]))

    async def age(now: datetime) -> int | None:
        return (await measured(sqlite_books, now=now)).total.approvals_overdue.oldest_seconds

    assert await age(AT + DAY) is None
    assert await age(AT + DAY + HOUR) == 3600
    filled = {"slot": "first", "slots_left": 1}
    await case.say(EventKind.APPROVAL_RECORDED, filled, 30 * HOUR)
    assert await age(AT + 2 * DAY) is None, "the slot that was called for is filled"
    assert await age(AT + 2 * DAY + HOUR) == 3600


async def test_one_who_asks_before_the_end_or_by_another_way_has_not_asked_again(
    sqlite_books: Books,
) -> None:
    charge: dict[str, Any] = {"charge": "ch_1"}
    no = await Case(sqlite_books, "no", AT).open(**charge)
    beside = await Case(sqlite_books, "beside", AT + HOUR).open(**charge)
    await no.close(Outcome.EXPIRED, 2 * HOUR)
    after = AT + 3 * HOUR
    await Case(sqlite_books, "credit", after).open(**charge, alternative_to=no.id)
    await Case(sqlite_books, "other", after).open(charge="ch_2")
    found = (await measured(sqlite_books)).total.asked_again
    assert (found.count, found.of) == (0, 1)
    await beside.close(Outcome.WITHDRAWN, 3 * HOUR)
    await Case(sqlite_books, "exactly-then", AT + 2 * HOUR).open(**charge)
    found = (await measured(sqlite_books)).total.asked_again
    assert (found.count, found.of) == (1, 1)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.sampled_from([50, 90]))
def test_a_percentile_is_the_least_that_so_many_do_not_pass(
    lengths: list[int], percent: int
) -> None:
    found = nearest_rank(array("q", lengths), percent)
    assert found in lengths

    def share(limit: int) -> int:
        return 100 * sum(each <= limit for each in lengths)

    assert share(found) >= percent * len(lengths)
    assert all(share(less) < percent * len(lengths) for less in lengths if less < found)


def test_no_percentile_of_nothing() -> None:
    assert nearest_rank(array("q"), 50) is None


# -- what is shown is defined ----------------------------------------------------------


def test_every_figure_is_shown_and_defined_and_nothing_else_is() -> None:
    figures = [name for name in Figures.model_fields if name != "name"]
    assert list(ROWS) == figures
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == figures


def test_every_figure_says_what_it_counts_from_which_events_and_in_which_unit() -> None:
    for line in re.findall(r"^\| `\w+` \|.*$", PAGE, re.MULTILINE):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 4
        assert all(cells), line


def test_the_page_names_every_event_that_stops_the_first_response_clock() -> None:
    lines = PAGE.splitlines()
    said = {"outcome": Outcome.REFUSED.value}
    stops = {kind.value for kind in EventKind if is_answer(event(kind, said))}
    ended = {EventKind.CLOSED.value}  # an open case is none
    for name, kinds in (("first_response", stops), ("first_responses_overdue", stops - ended)):
        (row,) = (line for line in lines if line.startswith(f"| `{name}` |"))
        assert kinds <= set(re.findall(r"`(\w+)`", row)), name
