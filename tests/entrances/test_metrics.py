"""The metrics command, its table and its picture, over a book counted by hand."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from commands.metrics import moment, span
from commands.metrics_plot import durations_svg
from domain.cases import Outcome
from domain.errors import InvalidRequest
from ledger.books import Books
from ledger.figures import By, Metrics
from ledger.metrics import metrics
from ledger.migrate import migrate
from tests.entrances.machine import Answer, command
from tests.ledger.builders import AT
from tests.ledger.counted import DAY, Case, fill

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
ALL = ("--since", "2026-11-01", "--until", "2026-12-31")


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Books]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'books.db'}"
    await migrate(url)
    opened = await Books.open(url)
    yield opened
    await opened.close()


def ask(books: Books, folder: Path, *arguments: str) -> Answer:
    return command(folder, "metrics", *arguments, REDRESS_DATABASE_URL=books.url)


async def measured(books: Books, by: By | None = None) -> Metrics:
    async with books.reading() as reading:
        window = {"since": AT - DAY, "until": AT + 5 * DAY, "now": AT + 10 * DAY}
        return await metrics(reading, by=by, **window)


async def test_the_command_tells_the_figures_as_json_as_a_table_and_as_a_plot(
    books: Books, tmp_path: Path
) -> None:
    await fill(books)
    told = ask(books, tmp_path, *ALL, "--by", "channel", "--json")
    assert told.code == 0
    assert told.json["total"]["answered_in_time"] == {"count": 2, "of": 4, "share_bps": 5000}
    assert [each["name"] for each in told.json["groups"]] == [
        "chat", "email", "phone", "unknown", "web",
    ]  # fmt: skip
    shown = ask(books, tmp_path, *ALL, "--plot", "times.svg")
    assert shown.code == 0
    rows = dict(re.findall(r"^(\S.*?\S)  +(\S.*?) *$", shown.out, re.MULTILINE))
    assert rows["first answer, p50 / p90"] == "20.0 min / 3.0 d, n 7"
    assert rows["answered in time"] == "50.0 %, 2 of 4"
    assert rows["satisfaction, 5 is the best"] == "2.67, n 3 (1:1 2:1 5:1)"
    assert rows["given"] == "10.00 EUR"
    assert "fewer than 20 cases" in shown.out
    ElementTree.fromstring((tmp_path / "times.svg").read_text(encoding="utf-8"))


async def test_without_cases_no_share_and_no_length_is_told(books: Books, tmp_path: Path) -> None:
    shown = ask(books, tmp_path, "--plot", "times.svg")
    assert shown.code == 0
    assert "%" not in shown.out
    assert "NaN" not in (tmp_path / "times.svg").read_text(encoding="utf-8")
    assert ask(books, tmp_path, "--json").json["total"]["cases"] == 0


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("--since", "soon"), "since"), (("--since", "2026-13-01"), "since"),
        (("--since", "2026-11-01T09:00:00"), "since"), (("--until", "30days"), "until"),
        (("--since", "2026-11-02", "--until", "2026-11-02"), "since"),
    ],
)  # fmt: skip
async def test_a_moment_that_is_none_is_named(
    books: Books, tmp_path: Path, arguments: tuple[str, ...], field: str
) -> None:
    told = ask(books, tmp_path, *arguments, "--json")
    assert (told.code, told.json["field"]) == (2, field)
    assert "30d" in told.json["allowed"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("0d", NOW), ("30d", NOW - timedelta(days=30)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00:00+01:00", datetime(2026, 11, 1, 9, tzinfo=UTC)),
        ("2026-11-01T09:00Z", datetime(2026, 11, 1, 9, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_a_moment_is_a_number_of_days_a_day_or_an_instant(text: str, at: datetime) -> None:
    assert moment("since", text, NOW) == at


def test_days_before_there_was_a_calendar_are_no_moment() -> None:
    with pytest.raises(InvalidRequest, match="since"):
        moment("since", "99999d", NOW.replace(year=200))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"), (0, "0 s"), (59, "59 s"), (60, "1.0 min"), (62, "1.0 min"), (63, "1.1 min"),
        (3_599, "60.0 min"), (3_600, "1.0 h"), (86_399, "24.0 h"), (86_400, "1.0 d"),
    ],
)  # fmt: skip
def test_a_length_is_told_in_the_unit_that_suits_it(seconds: int | None, words: str) -> None:
    assert span(seconds) == words


# -- the picture -----------------------------------------------------------------------


async def test_the_plot_has_a_title_its_units_and_says_in_words_what_it_draws(
    books: Books,
) -> None:
    await fill(books)
    picture = ElementTree.fromstring(durations_svg(await measured(books, By.CHANNEL)))
    assert picture.get("role") == "img"
    title, told = picture.find(f"{SVG}title"), picture.find(f"{SVG}desc")
    assert title is not None
    assert title.text == "How long cases took, by channel"
    assert told is not None
    assert "opened → first answer, phone: 0 s, 20.0 min, n 2 (few)" in (told.text or "")
    assert "opened → money sent, chat: no case yet" in (told.text or "")
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert "time since the case was opened, logarithmic; under 1 s is drawn at 1 s" in texts
    assert {"1 s", "1 min", "1 h", "1 day", "7 days"} <= set(texts)


async def test_what_takes_longer_is_drawn_further_right_and_inside_the_picture(
    books: Books,
) -> None:
    for days in (1, 2, 20, 400, 4000):
        case = await Case(books, f"after-{days}").open(language=f"l{days:04}", charge=f"ch_{days}")
        await case.waits()
        await case.close(Outcome.EXPIRED, days * DAY)
    found = await measured(books, By.LANGUAGE)
    assert [each.first_response.n for each in found.groups] == [1] * 5
    picture = ElementTree.fromstring(durations_svg(found))
    slow = [each for each in picture.iter(f"{SVG}circle") if each.get("r") == "7"]
    drawn = [int(each.get("cx", "")) for each in slow[1:]]  # the first is the legend's
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 5
    assert drawn[-1] <= int(picture.get("width", ""))


async def test_names_are_text_and_no_markup(books: Books) -> None:
    await (await Case(books, "a").open(language="<b>&")).refuse()
    svg = durations_svg(await measured(books, By.LANGUAGE))
    assert "<b>" not in svg
    ElementTree.fromstring(svg)
