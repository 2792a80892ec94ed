"""The format: what a file may say, what each mistake is told as, and how time is moved."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from simulation.scenario import (
    MARGIN,
    Scenario,
    ScenarioFaults,
    after,
    chains,
    least_weeks,
    load,
    shift,
    shifted,
    write,
)

AMSTERDAM = "Europe/Amsterdam"
AGENT = {"id": "mia", "role": "agent"}
LEAD = {"id": "ana", "role": "lead"}


def line(**changes: Any) -> dict[str, Any]:
    """A case that is right; ``changes`` are its top-level fields."""
    return {
        "id": "case-1",
        "kind": "refund",
        "zone": AMSTERDAM,
        "opened_at": "2027-01-11T09:00:00+01:00",
        "customer": {"ref": "ada", "created_at": "2025-01-01T00:00:00+01:00"},
        "charges": [
            {
                "ref": "c1",
                "amount_minor": 8000,
                "currency": "eur",
                "created_at": "2027-01-01T09:00:00+01:00",
            }
        ],
        "request": {"charge": "c1", "reason": "other", "requested_by": AGENT},
        **changes,
    }


def case(**changes: Any) -> Scenario:
    return Scenario.model_validate(line(**changes))


def customer(ref: str) -> dict[str, str]:
    return {"ref": ref, "created_at": "2025-01-01T00:00:00+01:00"}


def file_of(folder: Path, *lines: dict[str, Any] | str) -> Path:
    file = folder / "cases.jsonl"
    texts = [each if isinstance(each, str) else json.dumps(each) for each in lines]
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return file


def faults(folder: Path, *lines: dict[str, Any] | str) -> list[str]:
    with pytest.raises(ScenarioFaults) as raised:
        load(file_of(folder, *lines))
    assert str(raised.value) == "\n".join(raised.value.faults)
    return raised.value.faults


STEP = {"at": "+2h", "do": "approve", "by": LEAD}


@pytest.mark.parametrize(
    ("changes", "field", "remedy"),
    [
        ({"kind": "refnud"}, "kind", "'refund'"),
        ({"zone": "Europe/Amsterdm"}, "zone", "such as Europe/Amsterdam"),
        ({"opened_at": "2027-01-11T09:00:00"}, "opened_at", "timezone"),
        ({"script": [STEP | {"at": "+2 hours"}]}, "script.0.at", "+30m, +2h, +2d, +1w, +3bd"),
        ({"script": [STEP | {"do": "aprove"}]}, "script.0.do", "'approve', 'decline', 'withdraw'"),
        ({"script": [{"at": "+2h", "do": "approve"}]}, "script.0", 'approve has "by"'),
        ({"script": [{"at": "+2h", "do": "provider"}]}, "script.0", 'a provider step has "with"'),
        (
            {"script": [{"at": "+2h", "do": "provider", "with": {}}]},
            "script.0.with",
            "give refund, reference or dispute",
        ),
        ({"script": [STEP | {"at": "2027-01-11T08:59:00+01:00"}]}, "case", "must not go back"),
        (
            {"request": {"charge": "c2", "reason": "other", "requested_by": AGENT}},
            "case",
            "request.charge is 'c2', but charges has c1",
        ),
        (
            {"request": {"charge": "c1", "reason": "because", "requested_by": AGENT}},
            "request.reason",
            "'duplicate_charge'",
        ),
        ({"expects": {}}, "expects", "no such field"),
        ({"charges": []}, "charges", "at least 1"),
        ({"id": "with a space"}, "id", "pattern"),
    ],
)
def test_a_mistake_is_told_with_file_line_field_and_what_would_be_right(
    changes: dict[str, Any], field: str, remedy: str, tmp_path: Path
) -> None:
    (told,) = faults(tmp_path, line(id="before"), line(**changes))
    assert told.startswith(f"cases.jsonl:2: {field}: ")
    assert remedy in told


def test_an_amount_that_is_no_whole_number_is_a_mistake(tmp_path: Path) -> None:
    charge = {**line()["charges"][0], "amount_minor": 80.5}
    (told,) = faults(tmp_path, line(charges=[charge]))
    assert told.startswith("cases.jsonl:1: charges.0.amount_minor: ")


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    told = faults(tmp_path, "{not json", line(kind="x", zone="y"), line(), line())
    where = [each.split(": ")[0] for each in told]
    assert where == ["cases.jsonl:1", "cases.jsonl:2", "cases.jsonl:2", "cases.jsonl:4"]
    assert told[-1] == "cases.jsonl:4: id: 'case-1' is on line 3 too"


def test_two_lines_that_say_different_things_of_one_customer_or_charge_are_a_mistake(
    tmp_path: Path,
) -> None:
    charge = {**line()["charges"][0], "amount_minor": 8001}
    other = {"ref": "ada", "created_at": "2025-01-02T00:00:00+01:00"}
    told = faults(
        tmp_path, line(), line(id="case-2", charges=[charge]), line(id="case-3", customer=other)
    )
    assert told == [
        "cases.jsonl:2: charges.ref ada/c1: differs from line 1; say the same, or rename it",
        "cases.jsonl:3: customer.ref ada: differs from line 1; say the same, or rename it",
    ]


def test_a_file_without_a_case_or_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "holds no case" in faults(tmp_path, "")[0]
    with pytest.raises(ScenarioFaults, match=r"nothing\.jsonl: cannot be read"):
        load(tmp_path / "nothing.jsonl")


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    cases = [
        case(script=[STEP, {"at": "+3bd", "do": "provider", "with": {"refund": "failed"}}]),
        case(id="case-2", expect={"outcome": "declined", "refused": ["stale"]}),
    ]
    file = tmp_path / "written.jsonl"
    assert write(file, cases) == 2
    assert load(file) == cases


FRIDAY = datetime(2027, 3, 26, 17, tzinfo=ZoneInfo(AMSTERDAM))
"""Two days before the clocks go forward."""


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ("+30m", "2027-03-26T17:30+01:00"),
        ("+48h", "2027-03-28T18:00+02:00"),
        ("+2d", "2027-03-28T17:00+02:00"),
        ("+1w", "2027-04-02T17:00+02:00"),
        ("+1bd", "2027-03-29T17:00+02:00"),
        ("+3bd", "2027-03-31T17:00+02:00"),
        ("+0bd", "2027-03-26T17:00+01:00"),
    ],
)
def test_hours_are_hours_and_days_keep_the_local_hour(offset: str, expected: str) -> None:
    assert after(FRIDAY, offset, AMSTERDAM) == datetime.fromisoformat(expected)


def test_offsets_count_from_the_step_before() -> None:
    script = [STEP, STEP | {"at": "+2d"}, STEP | {"at": "2027-01-20T12:00:00+01:00"}, STEP]
    assert [
        at.astimezone(ZoneInfo(AMSTERDAM)).isoformat() for at in case(script=script).instants()
    ] == [
        "2027-01-11T09:00:00+01:00",
        "2027-01-11T11:00:00+01:00",
        "2027-01-13T11:00:00+01:00",
        "2027-01-20T12:00:00+01:00",
        "2027-01-20T14:00:00+01:00",
    ]


@pytest.mark.parametrize("weeks", [1, 10, 11, 26, 52, 522])
def test_whole_weeks_keep_weekday_and_local_hour_over_a_change_of_the_clocks(weeks: int) -> None:
    zone = ZoneInfo(AMSTERDAM)
    moved = shifted(
        case(script=[STEP | {"at": "2027-06-01T16:30:00+02:00"}, STEP | {"at": "+2d"}]), weeks
    )
    before = case(script=[STEP | {"at": "2027-06-01T16:30:00+02:00"}, STEP | {"at": "+2d"}])
    pairs = [
        *zip(before.instants(), moved.instants(), strict=True),
        (before.charge.created_at, moved.charge.created_at),
        (before.customer.created_at, moved.customer.created_at),
    ]
    for old, new in pairs:
        local_old, local_new = old.astimezone(zone), new.astimezone(zone)
        assert (local_new.weekday(), local_new.time()) == (local_old.weekday(), local_old.time())
        assert (local_new.date() - local_old.date()) == timedelta(weeks=weeks)


def test_an_hour_that_the_clocks_skip_becomes_the_hour_after_it() -> None:
    sunday = datetime(2027, 3, 21, 2, 30, tzinfo=ZoneInfo(AMSTERDAM))
    moved = shift(sunday, 1, AMSTERDAM).astimezone(ZoneInfo(AMSTERDAM))
    assert moved.isoformat() == "2027-03-28T03:30:00+02:00"


def test_moved_steps_keep_their_order_where_the_clocks_tell_one_hour_twice() -> None:
    script = [
        STEP | {"at": "2027-10-31T02:50:00+02:00"},
        STEP | {"at": "2027-10-31T02:10:00+01:00"},
    ]
    instants = shifted(case(script=script), 1).instants()
    assert instants == sorted(instants)


def test_the_least_number_of_weeks_puts_the_first_case_a_day_ahead() -> None:
    cases = [case(opened_at="2026-02-02T09:00:00+01:00"), case()]
    now = datetime(2026, 7, 15, 12, tzinfo=UTC)
    weeks = least_weeks(cases, now)
    first = shift(cases[0].opened_at, weeks, AMSTERDAM)
    assert now + MARGIN <= first < now + MARGIN + timedelta(weeks=1)
    assert least_weeks([case()], now) == 0


def test_cases_of_one_customer_or_budget_are_one_chain_in_order_of_opening() -> None:
    cases = [
        case(id="late", opened_at="2027-02-01T09:00:00+01:00"),
        case(id="alone", customer=customer("bob")),
        case(id="early", opened_at="2027-01-05T09:00:00+01:00"),
        case(id="spends", customer=customer("cleo"), budget="easter"),
        case(id="spends-too", customer=customer("dan"), budget="easter"),
    ]
    assert [[each.id for each in chain] for chain in chains(cases)] == [
        ["early", "late"],
        ["alone"],
        ["spends", "spends-too"],
    ]


def test_a_case_that_joins_two_chains_makes_them_one() -> None:
    cases = [
        case(id="a", customer=customer("ada")),
        case(id="b", customer=customer("bob"), budget="easter"),
        case(id="c", customer=customer("ada"), budget="easter"),
        case(id="d", customer=customer("bob")),
    ]
    assert [[each.id for each in chain] for chain in chains(cases)] == [["a", "b", "c", "d"]]
