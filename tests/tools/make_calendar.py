"""Development only: writes ``policies/calendars/*.yaml`` from the ``holidays`` package.

    python -m tests.tools.make_calendar policies/calendars

The files are data that is reviewed and released; the product never asks the package.
Holidays whose date is an estimate (moon sightings) say so. Federal Reserve Banks are open on
the Friday before a holiday that falls on a Saturday (unlike federal offices), so those
observed Fridays are left out of the banking calendar.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import holidays

YEARS = range(2026, 2030)
ESTIMATED = " (estimated)"


@dataclass(frozen=True)
class Maker:
    """One file: which days, in which zone, until which hour."""

    id: str
    country: str
    zone: str
    weekend: tuple[str, ...]
    title: str
    category: str = "public"
    cutoff: str | None = None
    open_fridays: bool = False


CALENDARS = (
    Maker(
        "us-banking",
        "US",
        "America/New_York",
        ("sat", "sun"),
        "Holidays of the Federal Reserve Banks, on which banks settle nothing",
        cutoff="17:00",
        open_fridays=True,
    ),
    Maker("nl", "NL", "Europe/Amsterdam", ("sat", "sun"), "Public holidays of the Netherlands"),
    Maker("es", "ES", "Europe/Madrid", ("sat", "sun"), "National public holidays of Spain"),
    Maker("kr", "KR", "Asia/Seoul", ("sat", "sun"), "Public holidays of Korea"),
    Maker("ae", "AE", "Asia/Dubai", ("sat", "sun"), "Public holidays of the Emirates"),
    Maker("sa", "SA", "Asia/Riyadh", ("fri", "sat"), "Public holidays of Saudi Arabia"),
    Maker("il", "IL", "Asia/Jerusalem", ("fri", "sat"), "Public holidays of Israel"),
)


def days_of(maker: Maker) -> list[tuple[date, str, bool]]:
    """Day, English name and whether it is estimated; days of the weekend are left out."""
    country = getattr(holidays, maker.country)
    options = {"years": YEARS, "language": "en_US", "categories": (maker.category,)}
    try:
        table = country(**options, islamic_show_estimated=True)
    except TypeError:  # no holidays by the moon there
        table = country(**options)
    numbers = {"mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6, "sun": 7}
    weekend = {numbers[day] for day in maker.weekend}
    found = []
    for day in sorted(table):
        name = table[day].replace("(observed, estimated)", "(observed) (estimated)")
        if day.year not in YEARS or day.isoweekday() in weekend:
            continue
        if not (maker.open_fridays and "(observed)" in name and day.isoweekday() == 5):
            found.append((day, name.replace(ESTIMATED, ""), ESTIMATED.strip() in name))
    return found


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def lines_of(maker: Maker) -> Iterable[str]:
    yield f"# {maker.title}, {YEARS[0]}-{YEARS[-1]}; days of the weekend are left out."
    yield "# An estimated day may move: publish a newer version of this file when it does."
    yield "format: 1"
    yield "calendars:"
    yield f"  {maker.id}:"
    yield f'    version: "{YEARS[0]}-{YEARS[-1]}.1"'
    yield f"    zone: {maker.zone}"
    yield f"    weekend: [{', '.join(maker.weekend)}]"
    if maker.cutoff:
        yield f'    cutoff: "{maker.cutoff}"'
    yield "    day_zero: receipt"
    yield f'    covers: {{from: "{YEARS[0]}-01-01", to: "{YEARS[-1]}-12-31"}}'
    yield "    holidays:"
    for day, name, estimated in days_of(maker):
        tail = ", estimated: true" if estimated else ""
        yield f'      - {{date: "{day.isoformat()}", name: {quoted(name)}{tail}}}'


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for maker in CALENDARS:
        text = "\n".join(lines_of(maker)) + "\n"
        (directory / f"{maker.id}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
