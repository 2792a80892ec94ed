"""Past cases under two versions: what is counted, in which cell, and what memory it takes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from decisions import Pack
from decisions.sheets import html
from decisions.transitions import (
    NOTHING,
    SAMPLES,
    Transitions,
    transitions_json,
    transitions_sheet,
    transitions_svg,
)
from domain.canonical import plain
from domain.cases import Language
from domain.money import Money
from tests.decisions.builders import NOON, changed

# ruff: noqa: E501 - a rule of a policy stands on one line
GRANT = """\
format: 1
policy: grant
version: 1
effective_from: "2026-01-01"
owner: tests
currencies: [usd, eur]
inputs:
  price: {type: money, min: 0}
tables:
  - table: size
    outputs: {size: {type: enum, values: [small, large]}, share: {type: money}}
    rules:
      - {id: SMALL, why: small, when: {price: {lte: {usd: 100, eur: 100}}}, then: {size: small, share: {of: price}}}
      - {id: LARGE, why: large, when: {}, then: {size: large, share: {of: price, bps: 5000, round: down}}}
  - table: routing
    when: {size.size: large}
    outputs: {route: {type: route}}
    rules:
      - {id: ASK, why: large, when: {}, then: {route: two}}
routes:
  two: [{id: one, roles: [lead], expires: 10bd}, {id: other, roles: [lead], expires: 10bd}]
timers: {calendar: office}
calendars:
  office: {version: "1", zone: UTC, weekend: [sun], cutoff: "17:00", day_zero: receipt, covers: {from: "2026-01-01", to: "2027-12-31"}, holidays: []}
examples:
  - {given: {price: {usd: 1}}, expect: {rule: SMALL}}
  - {given: {price: {usd: 1000}}, expect: {rule: LARGE}}
"""
BEFORE = Pack.from_text(GRANT)
AFTER = Pack.from_text(changed("usd: 100, eur", "usd: 300, eur", GRANT))


def priced(amount_minor: int, currency: str = "usd") -> dict[str, Any]:
    price: dict[str, Any] = plain(Money(amount_minor=amount_minor, currency=currency))
    return {"price": price}


def counted(*facts: dict[str, Any], after: Pack = AFTER) -> Transitions:
    found = Transitions(BEFORE, after)
    for number, each in enumerate(facts):
        found.add(f"case-{number}", each, NOON)
    return found


def test_cases_below_at_and_above_both_limits_fall_into_their_cells() -> None:
    found = counted(*(priced(amount) for amount in (100, 101, 300, 301)))
    assert {states: cell.cases for states, cell in found.rules["size"].items()} == {
        ("SMALL", "SMALL"): 1, ("LARGE", "SMALL"): 2, ("LARGE", "LARGE"): 1,
    }  # fmt: skip
    assert {states: cell.cases for states, cell in found.outcomes["route"].items()} == {
        ("two", NOTHING): 2, ("two", "two"): 1,
    }  # fmt: skip
    assert found.rules["size"]["LARGE", "SMALL"].samples == ["case-1", "case-2"]
    assert (found.total.cases, found.changed.cases) == (4, 2)


def test_money_is_summed_by_output_and_currency_and_never_across_currencies() -> None:
    after = Pack.from_text(changed("usd: 100, eur: 100", "usd: 300, eur: 300", GRANT))
    found = counted(priced(200), priced(201), priced(200, "eur"), priced(50), after=after)
    # half of it before, all of it after; the half of 201 is rounded down
    money = {key: str(amount) for key, amount in found.changed.money.items()}
    assert money == {("share", "usd"): "2.01 USD", ("share", "eur"): "1.00 EUR"}
    back = Transitions(after, BEFORE)
    back.add("case-0", priced(200), NOON)
    assert str(back.total.money["share", "usd"]) == "-1.00 USD"


def test_the_load_of_approvals_is_the_difference_in_people_asked() -> None:
    found = counted(priced(200), priced(50), priced(900))
    assert found.total.approvals == -2
    assert found.rules["size"]["LARGE", "SMALL"].approvals == -2
    assert found.rules["size"]["LARGE", "LARGE"].approvals == 0


def test_facts_that_a_version_asks_for_and_nobody_recorded_are_a_state_of_their_own() -> None:
    asks = changed(
        "  price: {type: money, min: 0}",
        "  price: {type: money, min: 0}\n  vip: {type: bool}",
        GRANT,
    )
    asks = asks.replace("given: {", "given: {vip: true, ")
    found = counted(priced(200), after=Pack.from_text(asks))
    [(states, cell)] = found.rules["size"].items()
    assert states == ("LARGE", "vip is missing")
    assert cell.cases == 1
    assert str(found.changed.money["share", "usd"]) == "-1.00 USD"


def test_a_cell_keeps_a_bounded_number_of_samples_and_counts_all() -> None:
    found = counted(*[priced(200)] * (SAMPLES + 3))
    cell = found.rules["size"]["LARGE", "SMALL"]
    assert cell.cases == SAMPLES + 3
    assert cell.samples == [f"case-{n}" for n in range(SAMPLES)]


def test_nothing_changes_between_a_version_and_itself() -> None:
    found = counted(priced(100), priced(200), after=BEFORE)
    assert found.changed.cases == 0
    assert all(was == now for matrix in found.rules.values() for was, now in matrix)


def test_what_was_counted_is_json() -> None:
    told = transitions_json(counted(priced(200), priced(50)))
    assert json.loads(json.dumps(told)) == told
    assert told["changed"] == {
        "cases": 1, "approvals": -2, "samples": ["case-0"],
        "money": [{"output": "share", "amount_minor": 100, "currency": "usd"}],
    }  # fmt: skip
    assert [(each["before"], each["after"]) for each in told["rules"]["size"]] == [
        ("LARGE", "SMALL"), ("SMALL", "SMALL"),
    ]  # fmt: skip


@pytest.mark.parametrize("language", Language)
def test_what_was_counted_is_a_page_and_a_plot(language: Language) -> None:
    found = counted(priced(200), priced(50), priced(900))
    sheet = transitions_sheet(found, language)
    size = sheet.grids[1]
    assert [row[:3] for row in size.rows] == [
        ("LARGE", "SMALL", "1"), ("LARGE", "LARGE", "1"), ("SMALL", "SMALL", "1"),
    ]  # fmt: skip
    assert size.rows[0][4] == "-2"
    assert f'lang="{language.value}"' in html(sheet)
    drawn = ElementTree.fromstring(transitions_svg(found, language))
    squares = drawn.findall(".//{*}g")
    assert len(squares) == sum(len(m) for m in (*found.rules.values(), *found.outcomes.values()))
    assert drawn[0].text == sheet.title


def test_names_in_a_plot_cannot_become_markup() -> None:
    found = counted(priced(200))
    found.rules["size"] = {("<b>", "&"): found.rules["size"]["LARGE", "SMALL"]}
    drawn = ElementTree.fromstring(transitions_svg(found, Language.EN))
    assert any("<b>" in (each.text or "") for each in drawn.iter())
