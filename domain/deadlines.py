"""Business calendars and deadlines: lengths in business days become UTC instants, once.

A calendar is data of a policy pack (zone, weekend, holidays with a version, cut-off hour,
day-0 rule); this module is the arithmetic over it. Rule of counting: the day of receipt is
day 0 unless the calendar says ``next``; a receipt on a day that is no business day, or at or
after the cut-off, counts as received on the next business day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.decisions import RefundMethod

DAY_MINUTES = 24 * 60


class DayZero(StrEnum):
    """Whether the day of receipt is day 0 (``receipt``) or the business day after it (``next``)."""

    RECEIPT = "receipt"
    NEXT = "next"


class BeyondCalendar(ValueError):
    """A deadline past the days whose holidays are known."""


class BusinessCalendar(BaseModel):
    """Which days count, in which zone, until which hour.

    ``weekend`` holds ISO weekdays (Monday = 1). ``covers`` bounds the years whose holidays
    are known: a deadline that runs past them is an error, not a guess.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    version: str
    zone: str
    weekend: frozenset[int] = Field(default=frozenset({6, 7}))
    holidays: frozenset[date] = frozenset()
    cutoff: time | None = None
    day_zero: DayZero = DayZero.RECEIPT
    covers_from: date = date(1970, 1, 1)
    covers_to: date = date(9999, 12, 31)

    def is_business_day(self, day: date) -> bool:
        return day.isoweekday() not in self.weekend and day not in self.holidays

    def next_business_day(self, day: date) -> date:
        """The first business day after ``day``. Raises :class:`BeyondCalendar`."""
        day += timedelta(days=1)
        while not self.is_business_day(day):
            day += timedelta(days=1)
        if not self.covers_from <= day <= self.covers_to:
            raise BeyondCalendar(
                f"calendar {self.id} {self.version} knows holidays from {self.covers_from} to "
                f"{self.covers_to}; {day} lies outside: publish a newer calendar"
            )
        return day

    def day_zero_of(self, received: datetime) -> date:
        """The date that counts as day 0 for something received at an instant."""
        local = received.astimezone(ZoneInfo(self.zone))
        day = local.date()
        late = self.cutoff is not None and local.time() >= self.cutoff
        if late or not self.is_business_day(day):
            day = self.next_business_day(day)
        if self.day_zero is DayZero.NEXT:
            day = self.next_business_day(day)
        return day

    def date_after(self, received: datetime, business_days: int) -> date:
        """The local date of the ``business_days``-th business day after day 0."""
        day = self.day_zero_of(received)
        for _ in range(business_days):
            day = self.next_business_day(day)
        return day

    def instant_after(self, received: datetime, business_days: int) -> datetime:
        """The UTC instant at which that day closes: its cut-off hour, or its midnight."""
        return self.closing(self.date_after(received, business_days))

    def closing(self, day: date) -> datetime:
        zone = ZoneInfo(self.zone)
        if self.cutoff is None:
            return datetime.combine(day + timedelta(days=1), time(0), zone).astimezone(UTC)
        return datetime.combine(day, self.cutoff, zone).astimezone(UTC)

    def after_office_minutes(
        self, received: datetime, minutes: int, hours: OfficeHours
    ) -> datetime:
        """The UTC instant at which the office has been open for ``minutes`` since ``received``.

        It is open on business days from the instant at which the clocks first show ``hours.open``
        to the one at which they first show ``hours.close``, so that a day on which they are
        changed counts what it really had. Cut-off and day 0 have no part in it. What runs out
        with the closing hour is due then, and not on the next morning. ``minutes`` is 1 or more;
        raises ``ValueError`` past the known years.
        """
        zone, left = ZoneInfo(self.zone), timedelta(minutes=minutes)
        day = received.astimezone(zone).date() - timedelta(days=1)
        while True:
            day = self.next_business_day(day)
            opens = max(_first_shown(day, hours.open, zone), received.astimezone(UTC))
            closes = _first_shown(day, hours.close, zone)
            if closes - opens >= left:
                return opens + left
            left -= max(closes - opens, timedelta())


class OfficeHours(BaseModel):
    """From when until when somebody answers, in minutes of the local day; 1440 is its end."""

    model_config = ConfigDict(frozen=True)

    open: int = Field(ge=0)
    close: int = Field(le=DAY_MINUTES)

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> Self:
        if self.open >= self.close:
            raise ValueError(f"hours from minute {self.open} to {self.close} are none")
        return self


def _first_shown(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """The UTC instant at which the clocks of ``zone`` first show that minute of ``day``; where
    they are put forward over it, the instant of that."""
    wanted = datetime.combine(day, time(0)) + timedelta(minutes=minute)
    at = wanted.replace(tzinfo=zone).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == wanted:
        return at
    at = wanted.replace(tzinfo=zone, fold=1).astimezone(UTC)  # in a gap the second fold is before
    while at.astimezone(zone).replace(tzinfo=None) < wanted:
        at += timedelta(minutes=1)
    return at


class Settlement(BaseModel):
    """The clock of money under way, in business days after the provider accepted it.

    ``looks`` are the days at which the engine asks the provider itself, ascending, the last
    one being the maximum: for (5, 8, 10) the customer is told "between day 5 and day 10".
    ``trace_looks`` more looks follow a maximum day with no answer, ``trace_every`` apart.
    ``on_failure`` is what is tried, in this order, when the bank sends the money back; the
    customer has ``alternative_days`` to agree to it.
    """

    model_config = ConfigDict(frozen=True)

    looks: tuple[int, ...]
    calendar: BusinessCalendar
    trace_every: int = 5
    trace_looks: int = 6
    on_failure: tuple[RefundMethod, ...] = ()
    alternative_days: int = 0

    def fallback_after(self, tried: RefundMethod | None) -> RefundMethod | None:
        """What follows on a failure: the first way, or the one after ``tried``; None at the end."""
        ways = self.on_failure
        if tried in ways:
            ways = ways[ways.index(tried) + 1 :]
        return ways[0] if ways else None

    def instants(self, accepted_at: datetime) -> tuple[datetime, ...]:
        """The look instants in UTC, ascending."""
        return tuple(self.calendar.instant_after(accepted_at, days) for days in self.looks)

    def trace_instants(self, accepted_at: datetime) -> tuple[datetime, ...]:
        last = self.looks[-1]
        return tuple(
            self.calendar.instant_after(accepted_at, last + self.trace_every * n)
            for n in range(1, self.trace_looks + 1)
        )

    def expected_dates(self, accepted_at: datetime) -> tuple[date, date]:
        """The first and the last local date on which the money is expected."""
        return (
            self.calendar.date_after(accepted_at, self.looks[0]),
            self.calendar.date_after(accepted_at, self.looks[-1]),
        )
