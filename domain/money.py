"""Amounts: integers in minor units with their currency. The only place that calculates them.

Minor units are the provider's. Exponents follow ISO 4217 (list one, 2024-06): most currencies
have two decimals, some none, some three; ``ugx``, which has none any more, has two there
(docs.stripe.com/currencies, special cases). Percentages are basis points (1 bps = 1/10,000) and
every rounding is named by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

ZERO_DECIMALS = frozenset(
    [
        "bif",
        "clp",
        "djf",
        "gnf",
        "jpy",
        "kmf",
        "krw",
        "mga",
        "pyg",
        "rwf",
        "vnd",
        "vuv",
        "xaf",
        "xof",
        "xpf",
    ]
)
THREE_DECIMALS = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])

WHOLE_UNITS = frozenset(["isk", "ugx"])
"""Currencies written with two decimals, of which the provider takes no others than 00."""

LARGEST_MINOR = 10**15
"""Amounts beyond this are refused as input: no charge of a provider comes near it."""


def exponent(currency: str) -> int:
    """Decimals of an ISO 4217 currency, in lower case as the provider writes it."""
    if currency in ZERO_DECIMALS:
        return 0
    return 3 if currency in THREE_DECIMALS else 2


def smallest_step(currency: str) -> int:
    """In how many minor units the provider takes an amount: whole units of ``isk`` and ``ugx``, and
    three-decimal currencies with a 0 at the end (docs.stripe.com/currencies)."""
    if currency in WHOLE_UNITS:
        return 100
    return 10 if currency in THREE_DECIMALS else 1


class Rounding(StrEnum):
    """How a fraction of a minor unit becomes whole; always said at the call."""

    HALF_EVEN = "half_even"
    HALF_UP = "half_up"
    DOWN = "down"
    UP = "up"


_DECIMAL_ROUNDING = {
    Rounding.HALF_EVEN: ROUND_HALF_EVEN,
    Rounding.HALF_UP: ROUND_HALF_UP,
    Rounding.DOWN: ROUND_DOWN,
    Rounding.UP: ROUND_CEILING,
}


class Money(BaseModel):
    """``amount_minor`` minor units of ``currency`` (lower-case ISO 4217 code)."""

    model_config = ConfigDict(frozen=True, strict=True)

    amount_minor: int = Field(ge=-LARGEST_MINOR, le=LARGEST_MINOR)
    currency: str = Field(pattern=r"^[a-z]{3}$")

    @classmethod
    def zero(cls, currency: str) -> Self:
        return cls(amount_minor=0, currency=currency)

    @classmethod
    def from_decimal(cls, text: str | Decimal, currency: str, rounding: Rounding) -> Self:
        """Major units (``"26.85"``) to money, rounded once by ``rounding``."""
        scaled = Decimal(text).scaleb(exponent(currency))
        whole = scaled.quantize(Decimal(1), rounding=_DECIMAL_ROUNDING[rounding])
        return cls(amount_minor=int(whole), currency=currency)

    def to_decimal(self) -> Decimal:
        """Major units, exactly."""
        return Decimal(self.amount_minor).scaleb(-exponent(self.currency))

    @property
    def is_in_steps(self) -> bool:
        """Whether it is a multiple of the currency's :func:`smallest_step`."""
        return self.amount_minor % smallest_step(self.currency) == 0

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} are never added or compared")

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(amount_minor=self.amount_minor + other.amount_minor, currency=self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(amount_minor=self.amount_minor - other.amount_minor, currency=self.currency)

    def __neg__(self) -> Money:
        return Money(amount_minor=-self.amount_minor, currency=self.currency)

    def __lt__(self, other: Money) -> bool:
        self._same(other)
        return self.amount_minor < other.amount_minor

    def __le__(self, other: Money) -> bool:
        self._same(other)
        return self.amount_minor <= other.amount_minor

    def __bool__(self) -> bool:
        return self.amount_minor != 0

    def __str__(self) -> str:
        """``26.85 EUR``: for logs and error texts, not for customers."""
        return f"{self.to_decimal():f} {self.currency.upper()}"

    def share(self, bps: int, rounding: Rounding) -> Money:
        """``bps`` basis points of this amount."""
        return self.times_ratio(bps, 10_000, rounding)

    def times_ratio(
        self, numerator: int, denominator: int, rounding: Rounding, *, in_steps: bool = False
    ) -> Money:
        """This amount x ``numerator`` / ``denominator`` in exact arithmetic, rounded once: to a
        minor unit, or ``in_steps`` that the provider takes (:func:`smallest_step`).

        Raises ``ValueError`` when the denominator is not positive.
        """
        if denominator <= 0:
            raise ValueError("a ratio needs a positive denominator")
        step = smallest_step(self.currency) if in_steps else 1
        steps = divide(self.amount_minor * numerator, denominator * step, rounding)
        return Money(amount_minor=steps * step, currency=self.currency)

    def allocate(self, weights: Sequence[int]) -> list[Money]:
        """Split by integer ``weights`` so that the parts sum exactly to this amount.

        What is left after flooring goes one unit each to the largest remainders, earlier
        parts first. Raises ``ValueError`` when no weight is positive or one is negative.
        """
        total = sum(weights)
        if total <= 0 or min(weights) < 0:
            raise ValueError("weights must be non-negative with a positive sum")
        sign = -1 if self.amount_minor < 0 else 1
        whole = abs(self.amount_minor)
        floors = [whole * weight // total for weight in weights]
        order = sorted(range(len(weights)), key=lambda i: (-(whole * weights[i] % total), i))
        for i in order[: whole - sum(floors)]:
            floors[i] += 1
        return [Money(amount_minor=sign * part, currency=self.currency) for part in floors]


def divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """Integer division rounded by name; exact for any size."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    goes_up = {
        Rounding.UP: remainder > 0,
        Rounding.DOWN: remainder > 0 and numerator < 0,
        # away from zero at the half, as ROUND_HALF_UP of the decimal specification
        Rounding.HALF_UP: twice > denominator or (twice == denominator and numerator >= 0),
        Rounding.HALF_EVEN: twice > denominator or (twice == denominator and quotient % 2 == 1),
    }
    return quotient + goes_up[rounding]


def total(amounts: Iterable[Money], currency: str) -> Money:
    """Sum in one currency; zero when empty. Raises ``ValueError`` on another currency."""
    result = Money.zero(currency)
    for amount in amounts:
        result = result + amount
    return result


def smallest(*amounts: Money) -> Money:
    """The least of amounts in one currency."""
    return sorted(amounts)[0]


def tax_share(
    tax: Money, captured: Money, *, refunded: Money, stated: Money, amount: Money
) -> Money:
    """The tax in ``amount``, the next refund of a charge of ``captured`` with ``tax`` in it.

    ``refunded`` is what was refunded before, ``stated`` the tax that was said to be in it. The
    share is what is missing to the tax due on all that is refunded by then, rounded half up;
    rounding each refund alone would drift, so the shares of a charge that is refunded whole sum
    to its tax exactly. A share is never below zero or above its refund, not even after a refund
    between others has failed.
    """
    due = tax.times_ratio((refunded + amount).amount_minor, captured.amount_minor, Rounding.HALF_UP)
    return smallest(max(due - stated, Money.zero(tax.currency)), amount)


def refundable_remainder(
    captured: Money, refunded_at_provider: Iterable[Money], reserved_by_us: Iterable[Money]
) -> Money:
    """What may still be refunded of a charge, never below zero.

    ``reserved_by_us`` are holds and posts of ours that the provider does not list yet.
    """
    currency = captured.currency
    left = captured - total(refunded_at_provider, currency) - total(reserved_by_us, currency)
    return left if left.amount_minor > 0 else Money.zero(currency)
