"""Amounts are integers in minor units; nothing is lost by splitting or rounding them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.money import (
    LARGEST_MINOR,
    Money,
    Rounding,
    divide,
    exponent,
    refundable_remainder,
    smallest,
    tax_share,
    total,
)

CURRENCIES = st.sampled_from(["usd", "eur", "jpy", "kwd", "krw", "mxn"])
MINOR = st.integers(min_value=-(10**12), max_value=10**12)
MONEY = st.builds(Money, amount_minor=MINOR, currency=CURRENCIES)
WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any)


def usd(amount_minor: int) -> Money:
    return Money(amount_minor=amount_minor, currency="usd")


@given(MONEY, WEIGHTS)
def test_allocated_parts_sum_exactly_to_the_whole(whole: Money, weights: list[int]) -> None:
    assert total(whole.allocate(weights), whole.currency) == whole


@given(MONEY, WEIGHTS)
def test_no_part_is_a_minor_unit_away_from_its_exact_share(
    whole: Money, weights: list[int]
) -> None:
    for part, weight in zip(whole.allocate(weights), weights, strict=True):
        exact = Decimal(whole.amount_minor) * weight / sum(weights)
        assert abs(Decimal(part.amount_minor) - exact) < 1


def test_leftover_units_go_to_the_largest_remainders_first() -> None:
    assert [part.amount_minor for part in usd(100).allocate([1, 1, 1])] == [34, 33, 33]
    assert [part.amount_minor for part in usd(-100).allocate([1, 1, 1])] == [-34, -33, -33]


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_weights_that_mean_nothing_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match=r"weights|min\(\)"):
        usd(100).allocate(weights)


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6), st.sampled_from(Rounding))
def test_division_rounds_as_its_name_says(
    numerator: int, denominator: int, rounding: Rounding
) -> None:
    modes = {
        Rounding.HALF_EVEN: "ROUND_HALF_EVEN",
        Rounding.HALF_UP: "ROUND_HALF_UP",
        Rounding.DOWN: "ROUND_DOWN",
        Rounding.UP: "ROUND_CEILING",
    }
    # 40 digits hold the quotient and tell every half apart for these sizes
    from decimal import Context, localcontext

    with localcontext(Context(prec=60)):
        exact = Decimal(numerator) / Decimal(denominator)
        expected = exact.to_integral_value(rounding=modes[rounding])
    assert divide(numerator, denominator, rounding) == int(expected)


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [("usd", "26.85", 2685), ("jpy", "500", 500), ("kwd", "1.234", 1234), ("krw", "12000", 12000)],
)
def test_major_units_become_minor_units_by_the_currencys_exponent(
    currency: str, text: str, minor: int
) -> None:
    money = Money.from_decimal(text, currency, Rounding.HALF_EVEN)
    assert money.amount_minor == minor
    assert money.to_decimal() == Decimal(text)
    assert -exponent(currency) == money.to_decimal().as_tuple().exponent


def test_a_long_decimal_tail_is_rounded_once_by_the_named_rule() -> None:
    tail = "26.85120450862128"
    assert Money.from_decimal(tail, "eur", Rounding.HALF_EVEN).amount_minor == 2685
    assert Money.from_decimal(tail, "eur", Rounding.UP).amount_minor == 2686


@given(MONEY, MONEY)
def test_two_currencies_are_never_added_or_compared(a: Money, b: Money) -> None:
    if a.currency == b.currency:
        assert (a + b) - b == a
        assert (a < b) == (a.amount_minor < b.amount_minor)
        return
    for mixed in (lambda: a + b, lambda: a - b, lambda: a < b, lambda: a <= b):
        with pytest.raises(ValueError, match="never added or compared"):
            mixed()


@pytest.mark.parametrize("amount", [26.85, "26", True, LARGEST_MINOR + 1, -LARGEST_MINOR - 1])
def test_an_amount_that_is_no_bounded_integer_is_refused(amount: object) -> None:
    with pytest.raises(ValidationError):
        Money(amount_minor=amount, currency="usd")  # type: ignore[arg-type]


def test_basis_points_are_a_share_of_ten_thousand() -> None:
    assert usd(1999).share(1000, Rounding.HALF_EVEN) == usd(200)
    assert usd(1999).share(1000, Rounding.DOWN) == usd(199)
    assert usd(5).share(5000, Rounding.HALF_EVEN) == usd(2)
    assert usd(5).share(5000, Rounding.HALF_UP) == usd(3)


def test_stacked_partial_refunds_leave_one_and_never_more_than_was_captured() -> None:
    captured, given_back = usd(62), [usd(n) for n in (32, 9, 8, 3, 6, 3)]
    assert refundable_remainder(captured, given_back, []) == usd(1)
    assert refundable_remainder(captured, given_back[:3], given_back[3:]) == usd(1)
    assert refundable_remainder(captured, [*given_back, usd(2)], []) == usd(0)


def test_the_smallest_of_amounts_is_the_smallest() -> None:
    assert smallest(usd(3), usd(1), usd(2)) == usd(1)


def shares_of(tax: Money, captured: Money, refunds: list[int]) -> list[Money]:
    """The tax share of each refund of a charge, one after the other."""
    none = Money.zero(captured.currency)
    shares: list[Money] = []
    refunded = none
    for refund in refunds:
        amount = Money(amount_minor=refund, currency=captured.currency)
        stated = total(shares, captured.currency)
        shares.append(tax_share(tax, captured, refunded=refunded, stated=stated, amount=amount))
        refunded = refunded + amount
    return shares


def test_the_tax_of_stacked_refunds_is_stated_and_sums_exactly() -> None:
    shares = shares_of(usd(1_000), usd(6_200), [3_200, 900, 800, 300, 600, 300, 100])
    assert [share.amount_minor for share in shares] == [516, 145, 129, 49, 96, 49, 16]
    assert total(shares, "usd") == usd(1_000)


PARTS = st.lists(st.integers(1, 10**9), min_size=1, max_size=12)


@given(PARTS, st.data())
def test_tax_shares_of_any_parts_of_a_whole_charge_sum_to_its_tax_and_fit_their_refunds(
    parts: list[int], data: st.DataObject
) -> None:
    captured = usd(sum(parts))
    tax = usd(data.draw(st.integers(0, captured.amount_minor)))
    shares = shares_of(tax, captured, parts)
    assert total(shares, "usd") == tax
    for share, part in zip(shares, parts, strict=True):
        assert 0 <= share.amount_minor <= part


@pytest.mark.parametrize(("amount", "share"), [(4, 0), (5, 1), (6, 1)])
def test_a_tax_share_is_rounded_half_up(amount: int, share: int) -> None:
    assert shares_of(usd(10), usd(100), [amount]) == [usd(share)]


def test_a_tax_share_is_never_negative_and_never_more_than_its_refund() -> None:
    """A refund that fails between two others leaves more stated, or less, than is due."""
    much, little, one = usd(9), usd(0), usd(1)
    for stated, share in ((much, 0), (usd(4), 1), (usd(5), 0), (little, 1)):
        found = tax_share(usd(10), usd(100), refunded=usd(49), stated=stated, amount=one)
        assert found == usd(share), f"stated {stated}"
