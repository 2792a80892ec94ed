"""Computed amounts: the order of steps, every rounding, exponents, and what cannot be."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions import FactError, Pack
from domain.money import Money, Rounding
from tests.decisions.builders import NOON, money, unchecked

TEXT = """\
format: 1
policy: amounts
version: 1
effective_from: "2026-01-01"
owner: tests
inputs:
  price:  {type: money, nullable: true}
  paid:   {type: money, nullable: true}
  months: {type: int, min: -100, max: 1000000000000}
  share:  {type: bps, min: 0, max: 20000}
  tier:   {type: enum, values: [gold, silver]}
outputs:
  cap: {type: money, min: -1000000000000}
  many: {type: int, min: 0, max: 1000000}
rules:
  - {id: ALL, why: all, when: {}, then: {cap: CAP, many: MANY}}
"""


BY_NAME = {
    Rounding.HALF_EVEN: ROUND_HALF_EVEN,
    Rounding.HALF_UP: ROUND_HALF_UP,
    Rounding.DOWN: ROUND_DOWN,
    Rounding.UP: ROUND_CEILING,
}


def pack_with(cap: str, many: str = "0") -> Pack:
    return unchecked(TEXT.replace("CAP", cap).replace("MANY", many))


def cap(
    cell: str, price: Money | None, *, paid: Money | None = None, months: int = 1, share: int = 0,
    tier: str = "gold",
) -> Money:  # fmt: skip
    facts = {"price": price, "paid": paid, "months": months, "share": share, "tier": tier}
    return Money.model_validate(pack_with(cell).decide(facts, NOON).outputs["cap"])


def test_a_copy_is_the_fact_itself() -> None:
    assert cap("{of: price}", money(1234, "kwd")) == money(1234, "kwd")


@pytest.mark.parametrize(
    ("rounding", "amounts"),
    [
        ("half_even", [(1, 0), (3, 2), (-1, 0), (-3, -2)]),
        ("half_up", [(1, 1), (3, 2), (-1, -1), (-3, -2)]),
        ("down", [(1, 0), (3, 1), (-1, 0), (-3, -1)]),
        ("up", [(1, 1), (3, 2), (-1, 0), (-3, -1)]),
    ],
)
def test_a_share_is_rounded_once_by_its_name(rounding: str, amounts: list[tuple[int, int]]) -> None:
    for amount, half in amounts:
        cell = f"{{of: price, bps: 5000, round: {rounding}}}"
        assert cap(cell, money(amount)) == money(half)


def test_a_multiple_needs_no_rounding_and_has_none() -> None:
    assert cap("{of: price, times: 3}", money(14, "kwd")) == money(42, "kwd")


@pytest.mark.parametrize(
    ("currency", "amount", "halves"),
    [
        ("kwd", 5_130, {"half_even": 2_560, "half_up": 2_570, "down": 2_560, "up": 2_570}),
        ("kwd", 5_140, {"half_even": 2_570, "half_up": 2_570, "down": 2_570, "up": 2_570}),
        ("isk", 700, {"half_even": 400, "half_up": 400, "down": 300, "up": 400}),
        ("ugx", 500, {"half_even": 200, "half_up": 300, "down": 200, "up": 300}),
    ],
)
def test_a_share_is_one_that_the_provider_takes(
    currency: str, amount: int, halves: dict[str, int]
) -> None:
    for rounding, half in halves.items():
        cell = f"{{of: price, bps: 5000, round: {rounding}}}"
        assert cap(cell, money(amount, currency)) == money(half, currency)


def test_the_steps_are_taken_in_one_order_whatever_the_order_written() -> None:
    one = "{of: price, times: 6, bps: 3000, plus: {usd: 7}, minus: {usd: 2}, round: half_even}"
    other = "{round: half_even, minus: {usd: 2}, plus: {usd: 7}, bps: 3000, of: price, times: 6}"
    assert cap(one, money(1999)) == cap(other, money(1999)) == money(3603)


def test_the_most_wins_over_the_least() -> None:
    cell = "{of: price, min: {usd: 500}, max: {usd: 300}}"
    assert cap(cell, money(100)) == money(300)
    assert cap("{of: price, min: {usd: 500}}", money(499)) == money(500)
    assert cap("{of: price, max: {usd: 500}}", money(501)) == money(500)


def test_operands_may_be_facts_and_lookups() -> None:
    assert cap("{of: price, max: paid}", money(100), paid=money(60)) == money(60)
    assert cap("{of: price, times: months}", money(100), months=3) == money(300)
    cell = "{of: price, bps: share, round: down}"
    assert cap(cell, money(999), share=1250) == money(124)
    looked = "{of: price, max: {lookup: {by: tier, gold: {usd: 90}, silver: {usd: 50}}}}"
    assert cap(looked, money(100), tier="silver") == money(50)
    whole = "{lookup: {by: tier, gold: {usd: 90, jpy: 9}, silver: {usd: 50, jpy: 5}}}"
    assert cap(whole, money(1, "jpy"), tier="gold") == money(9, "jpy")


def test_an_amount_from_a_null_fact_is_an_error_that_names_it() -> None:
    with pytest.raises(FactError, match="paid: is null, and cap is computed with it"):
        cap("{of: price, max: paid}", money(1))
    with pytest.raises(FactError, match="price: is null, and cap is computed from it"):
        cap("{of: price, max: paid}", None, paid=money(1))
    with pytest.raises(FactError, match="price: is null, and cap copies it"):
        cap("{of: price}", None, paid=money(1))


def test_an_amount_beyond_what_the_product_holds_is_an_error() -> None:
    with pytest.raises(FactError, match="cap cannot be computed from it"):
        cap("{of: price, times: months}", money(10**14), months=10**12)
    with pytest.raises(FactError, match="cap comes out as"):
        cap("{of: price, times: -2}", money(10**12))


def test_a_literal_in_no_currency_is_an_error() -> None:
    with pytest.raises(FactError, match="tells no currency, and the rules name amounts by"):
        cap("{usd: 1}", None)


@pytest.mark.parametrize(
    ("currency", "prices"), [("usd", [None, money(9)]), ("eur", [None, money(9, "eur")])]
)
def test_a_pack_of_one_currency_needs_no_fact_to_tell_it(
    currency: str, prices: list[Money | None]
) -> None:
    text = TEXT.replace("inputs:", f"currencies: [{currency}]\ninputs:", 1).replace("MANY", "0")
    pack = unchecked(text.replace("CAP", f"{{{currency}: 7}}"))
    facts = {"paid": None, "months": 1, "share": 0, "tier": "gold"}
    for price in prices:
        outputs = pack.decide({**facts, "price": price}, NOON).outputs
        assert Money.model_validate(outputs["cap"]) == money(7, currency)
    with pytest.raises(FactError, match=f"price: is in GBP; allowed: money in {currency}"):
        pack.decide({**facts, "price": money(9, "gbp")}, NOON)


def test_a_pack_of_one_currency_without_money_facts_names_amounts() -> None:
    head, _, tail = TEXT.partition("inputs:")
    tail = "\n".join(line for line in tail.splitlines() if "type: money, nullable" not in line)
    text = f"{head}currencies: [usd]\ninputs:{tail}\n".replace("CAP", "{usd: 7}")
    pack = unchecked(text.replace("MANY", "0"))
    outputs = pack.decide({"months": 1, "share": 0, "tier": "gold"}, NOON).outputs
    assert Money.model_validate(outputs["cap"]) == money(7)


def test_two_currencies_are_not_guessed_between() -> None:
    text = TEXT.replace("inputs:", "currencies: [usd, eur]\ninputs:", 1).replace("MANY", "0")
    pack = unchecked(text.replace("CAP", "{usd: 7, eur: 6}"))
    facts = {"price": None, "paid": None, "months": 1, "share": 0, "tier": "gold"}
    with pytest.raises(FactError, match="tells no currency"):
        pack.decide(facts, NOON)


def test_whole_numbers_are_computed_too() -> None:
    pack = pack_with("{of: price}", "{of: months, times: 3, plus: 1, max: 10}")
    facts = {"price": money(1), "paid": None, "months": 2, "share": 0, "tier": "gold"}
    assert pack.decide(facts, NOON).outputs["many"] == 7
    assert pack.decide({**facts, "months": 9}, NOON).outputs["many"] == 10


@given(
    st.integers(-(10**9), 10**9),
    st.integers(0, 50),
    st.integers(0, 20_000),
    st.sampled_from(list(Rounding)),
    st.sampled_from([("usd", 1), ("krw", 1), ("kwd", 10), ("isk", 100)]),
)
def test_a_computed_amount_equals_exact_arithmetic(
    amount: int, months: int, share: int, rounding: Rounding, unit: tuple[str, int]
) -> None:
    currency, step = unit
    cell = f"{{of: price, times: months, bps: share, round: {rounding.value}}}"
    got = cap(cell, money(amount, currency), months=months, share=share)
    steps = Decimal(amount * months * share) / (10_000 * step)
    exact = int(steps.quantize(Decimal(1), rounding=BY_NAME[rounding])) * step
    assert got == money(exact, currency)
