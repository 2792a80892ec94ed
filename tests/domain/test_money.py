"""Amounts are integers in minor units; nothing is lost by splitting or rounding them."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext

import pytest
from babel.numbers import get_currency_precision
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.cases import Language
from domain.money import (
    LARGEST_MINOR,
    Money,
    Rounding,
    divide,
    exponent,
    refundable_remainder,
    smallest,
    smallest_step,
    tax_share,
    total,
)
from domain.texts import money_in_words
from sandbox.currencies import may_be_charged

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


def test_a_single_unit_goes_to_whoever_has_any_weight() -> None:
    assert usd(-1).allocate([1]) == [usd(-1)]
    assert usd(1).allocate([0, 1]) == [usd(0), usd(1)]


def test_a_larger_remainder_comes_before_an_earlier_part() -> None:
    assert usd(5).allocate([1, 2, 4]) == [usd(1), usd(1), usd(3)]


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [3, -1]])
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
    with localcontext(Context(prec=60)):
        exact = Decimal(numerator) / Decimal(denominator)
        expected = exact.to_integral_value(rounding=modes[rounding])
    assert divide(numerator, denominator, rounding) == int(expected)


@pytest.mark.parametrize(
    ("rounding", "halves", "sevenths"),
    [
        (Rounding.UP, [-2, -1, 0, 0, 1, 1, 2, 3, 4], [0, 0, 1, 1]),
        (Rounding.DOWN, [-2, -1, 0, 0, 0, 1, 1, 2, 3], [0, 0, 0, 0]),
        (Rounding.HALF_UP, [-3, -1, -1, 0, 1, 1, 2, 3, 4], [-1, 0, 0, 1]),
        (Rounding.HALF_EVEN, [-2, -1, 0, 0, 0, 1, 2, 2, 4], [-1, 0, 0, 1]),
    ],
)
def test_halves_and_what_lies_beside_them_are_rounded_by_name(
    rounding: Rounding, halves: list[int], sevenths: list[int]
) -> None:
    assert [divide(n, 2, rounding) for n in (-5, -2, -1, 0, 1, 2, 3, 5, 7)] == halves
    assert [divide(n, 7, rounding) for n in (-4, -3, 3, 4)] == sevenths
    exact = [Decimal(n) / 2 for n in (-5, -2, -1, 0, 1, 2, 3, 5, 7)]
    read = [Money.from_decimal(amount, "jpy", rounding) for amount in exact]
    assert [money.amount_minor for money in read] == halves


ZERO, THREE = (
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf",
    "bhd jod kwd omr tnd",
)


@pytest.mark.parametrize(
    ("codes", "decimals"), [(ZERO, 0), (THREE, 3), ("usd eur gbp mxn", 2)], ids=["0", "3", "2"]
)
def test_a_currency_has_the_decimals_that_the_unicode_consortium_gives_it(
    codes: str, decimals: int
) -> None:
    for code in codes.split():
        assert exponent(code) == decimals == get_currency_precision(code.upper()), code


def test_a_currency_that_lost_its_decimals_is_counted_and_said_as_the_provider_does() -> None:
    owed = Money(amount_minor=500_000, currency="ugx")
    assert owed.to_decimal() == 5_000
    assert money_in_words(owed, Language.EN) == "UGX5,000"


@pytest.mark.parametrize(
    ("currency", "step"),
    [("usd", 1), ("jpy", 1), ("kwd", 10), ("tnd", 10), ("isk", 100), ("ugx", 100)],
)
def test_a_part_is_rounded_to_a_minor_unit_or_to_what_the_provider_takes(
    currency: str, step: int
) -> None:
    amount = Money(amount_minor=7 * step, currency=currency)
    exact = amount.times_ratio(1, 2, Rounding.DOWN)
    assert exact.amount_minor == 7 * step // 2
    in_steps = amount.times_ratio(1, 2, Rounding.DOWN, in_steps=True)
    assert in_steps.amount_minor == 3 * step
    up = amount.times_ratio(1, 2, Rounding.UP, in_steps=True)
    assert up.amount_minor == 4 * step


@pytest.mark.parametrize(
    ("currency", "step"),
    [("usd", 1), ("jpy", 1), ("kwd", 10), ("tnd", 10), ("isk", 100), ("ugx", 100)],
)
def test_amounts_go_in_the_steps_that_the_provider_takes(currency: str, step: int) -> None:
    assert smallest_step(currency) == step
    amounts = [Money(amount_minor=n, currency=currency) for n in range(1, 301)]
    taken = [amount.amount_minor for amount in amounts if amount.is_in_steps]
    assert taken == list(range(step, 301, step))
    assert taken == [n for n in range(1, 301) if may_be_charged(n, currency)], "as its double does"


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


def test_amounts_are_equal_to_less_than_and_the_opposite_of_others() -> None:
    assert usd(1) <= usd(1)
    assert usd(1) <= usd(2)
    assert not usd(2) <= usd(1)
    assert not usd(1) < usd(1)
    assert -usd(1) == usd(-1)
    assert [bool(usd(n)) for n in (-1, 0, 1)] == [True, False, True]
    assert str(usd(-2685)) == "-26.85 USD"


def test_the_largest_amount_is_ten_to_the_fifteenth() -> None:
    assert LARGEST_MINOR == 1_000_000_000_000_000
    assert [usd(n).amount_minor for n in (LARGEST_MINOR, -LARGEST_MINOR)] == [10**15, -(10**15)]


@pytest.mark.parametrize("currency", ["USD", "us", "usdt", "u1d", ""])
def test_a_currency_is_three_small_letters(currency: str) -> None:
    with pytest.raises(ValidationError):
        Money(amount_minor=1, currency=currency)


def test_money_does_not_change_under_those_who_hold_it() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        usd(1).amount_minor = 2  # type: ignore[misc]


@pytest.mark.parametrize("amount", [26.85, "26", True, LARGEST_MINOR + 1, -LARGEST_MINOR - 1])
def test_an_amount_that_is_no_bounded_integer_is_refused(amount: object) -> None:
    with pytest.raises(ValidationError):
        Money(amount_minor=amount, currency="usd")  # type: ignore[arg-type]


@pytest.mark.parametrize("denominator", [0, -1])
def test_a_ratio_to_nothing_is_refused(denominator: int) -> None:
    with pytest.raises(ValueError, match="positive denominator"):
        usd(100).times_ratio(1, denominator, Rounding.DOWN)
    assert usd(100).times_ratio(-3, 1, Rounding.DOWN) == usd(-300)


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
