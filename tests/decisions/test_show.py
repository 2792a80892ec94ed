"""A policy as a page: words for every shape of a cell, in every language, and sound HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest

from decisions import Pack
from decisions.in_words import Wording, is_amounts
from decisions.sheets import Grid, Sheet, html, markdown
from decisions.show import show, tree_rows
from decisions.types import ValueType
from domain.cases import Language
from tests.decisions.builders import POLICIES, SMALL, changed

REFUND = Pack.load(POLICIES / "refund" / "v1.yaml")
EN, ES, KO = (Wording(language) for language in (Language.EN, Language.ES, Language.KO))
MONEY, WHOLE, DAYS, BPS = (ValueType(kind) for kind in ("money", "int", "days", "bps"))
DATE, INSTANT, BOOL, SET = (ValueType(kind) for kind in ("date", "instant", "bool", "set"))
WORD = ValueType("enum", values=("a", "b", "c"))


def spaced(text: str) -> str:
    return text.replace("\xa0", " ").replace("\u202f", " ")


CONDITIONS: list[tuple[ValueType, Any, str, str, str]] = [
    (WORD, "a", "a", "a", "a"),
    (WORD, ["a", "b", "c"], "a, b or c", "a, b o c", "a, b 또는 c"),
    (BOOL, True, "true", "verdadero", "참"),
    (BOOL, False, "false", "falso", "거짓"),
    (WHOLE, 1200, "1,200", "1.200", "1,200"),
    (WHOLE, {"gte": 2, "lt": 5}, "at least 2 and under 5", "como mínimo 2 y menos de 5",
     "2 이상 및 5 미만"),
    (WHOLE, {"gt": 2, "lte": 5}, "over 2 and at most 5", "más de 2 y como máximo 5",
     "2 초과 및 5 이하"),
    (WHOLE, {"eq": 2}, "exactly 2", "exactamente 2", "정확히 2"),
    (DAYS, {"lt": 1}, "under 1 day", "menos de 1 día", "1일 미만"),
    (DAYS, {"lt": 2}, "under 2 days", "menos de 2 días", "2일 미만"),
    (BPS, {"lt": 2550}, "under 25.5%", "menos de 25,5 %", "25.5% 미만"),
    (MONEY, {"lte": {"usd": 5000, "krw": 70000}}, "at most $50.00 / ₩70,000",
     "como máximo 50,00 US$ / 70.000 KRW", "US$50.00 / ₩70,000 이하"),
    (MONEY, {"usd": 5000}, "$50.00", "50,00 US$", "US$50.00"),
    (DAYS, None, "empty", "vacío", "비어 있음"),
    (DAYS, {"is_null": True}, "empty", "vacío", "비어 있음"),
    (DAYS, {"is_null": False}, "not empty", "no vacío", "비어 있지 않음"),
    (DAYS, {"gte": 180, "or_null": True}, "at least 180 days or empty",
     "como mínimo 180 días o vacío", "180일 이상 또는 비어 있음"),
    (DATE, {"gte": "2026-12-01"}, "December 1, 2026 or after", "1 de diciembre de 2026 o después",
     "2026년 12월 1일 또는 그 후"),
    (DATE, {"older_than": "P1Y"}, "1 year ago or more", "de hace 1 año o más", "1년 이상 경과"),
    (INSTANT, {"younger_than": "90min"}, "less than 90 minutes ago",
     "de hace menos de 90 minutos", "90분 미만 경과"),
    (DATE, {"older_than": "10bd"}, "10 business days ago or more",
     "de hace 10 días hábiles o más", "10영업일 이상 경과"),
    (SET, {"any_of": ["a", "b"]}, "any of a, b", "alguno de a, b", "a, b 중 하나 이상"),
    (SET, {"subset": []}, "nothing but none", "nada más que ninguno", "오직 없음만"),
    (WHOLE, {"gte": {"lookup": {"by": "tier", "gold": 3, "silver": 1}}},
     "at least by tier: gold: 3, silver: 1", "como mínimo según tier: gold: 3, silver: 1",
     "tier별: gold: 3, silver: 1 이상"),
]  # fmt: skip


@pytest.mark.parametrize("case", CONDITIONS, ids=lambda case: str(case[1]))
def test_a_condition_is_told_in_every_language(case: tuple[ValueType, Any, str, str, str]) -> None:
    kind, cell, *told = case
    assert [spaced(words.condition(kind, cell)) for words in (EN, ES, KO)] == told


OUTPUTS: list[tuple[ValueType, Any, str, str]] = [
    (MONEY, {"of": "price"}, "the same as price", "igual a price"),
    (MONEY, {"of": "price", "times": 6, "bps": 3000, "round": "half_even", "max": {"usd": 60000}},
     "price × 6 × 30% (rounded, a half to the even digit), at most $600.00",
     "price × 6 × 30 % (redondeado, la mitad al dígito par), como máximo 600,00 US$"),
    (MONEY, {"of": "price", "plus": "tax", "minus": {"usd": 1}, "min": {"usd": 0}},
     "price + tax − $0.01, at least $0.00", "price + tax − 0,01 US$, como mínimo 0,00 US$"),
    (INSTANT, {"in": "10bd"}, "10 business days after the decision",
     "10 días hábiles después de la decisión"),
    (INSTANT, {"in": "P1Y", "from": "opened"}, "1 year after opened", "1 año después de opened"),
    (ValueType("list"), [], "none", "ninguno"),
    (ValueType("list"), ["a", "b"], "a and b", "a y b"),
    (ValueType("list"), [{"due": {"in": "3bd"}, "id": "report"}],
     "id report, due 3 business days after the decision",
     "id report, due 3 días hábiles después de la decisión"),
    (ValueType("enum"), {"lookup": {"by": "tier", "gold": "a", "silver": "b"}},
     "by tier: gold: a, silver: b", "según tier: gold: a, silver: b"),
    (ValueType("text"), None, "empty", "vacío"),
]  # fmt: skip


@pytest.mark.parametrize("case", OUTPUTS, ids=lambda case: str(case[1]))
def test_an_output_is_told_in_words(case: tuple[ValueType, Any, str, str]) -> None:
    kind, cell, *told = case
    assert [spaced(words.output(kind, cell)) for words in (EN, ES)] == told


def test_amounts_are_told_from_maps_with_keys_of_three_letters() -> None:
    assert is_amounts({"usd": 1, "krw": 2})
    for other in ({"lte": 1}, {"min": 1, "max": 2}, {"usd": "1"}, {"usd": True}, {}, 5):
        assert not is_amounts(other)


def rules_of(sheet: Sheet, table: int = 0) -> Mapping[str, tuple[str, ...]]:
    return {row[0]: row for row in sheet.grids[table].rows}


def test_every_rule_is_a_row_and_a_sentence() -> None:
    told = {language: rules_of(show(REFUND, language)) for language in Language}
    for table, rules in told.items():
        assert list(rules) == [rule.id for rule in REFUND.tables[0].rules], table
    old = told[Language.EN]["TOO_OLD"]
    assert old[1:3] == (
        "charge_age_days: over 540 days\nconsents_to_credit: false",
        "reason: refund.too_old\nverdict: refuse",
    )
    assert [told[language]["TOO_OLD"][4] for language in Language] == [
        "If charge_age_days is over 540 days, and consents_to_credit is false, then reason is "
        "refund.too_old and verdict is refuse.",
        "Si charge_age_days es más de 540 días y además consents_to_credit es falso, entonces "
        "reason es refund.too_old y verdict es refuse.",
        "charge_age_days 540일 초과이고 consents_to_credit 거짓인 경우 결과는 reason "
        "refund.too_old 및 verdict refuse입니다.",
    ]
    assert told[Language.EN]["REASONED"][4].startswith("In every other case, ")
    assert told[Language.KO]["REASONED"][4].startswith("그 밖의 모든 경우")


def test_a_table_says_when_it_runs_and_which_rule_decides() -> None:
    guarded = show(REFUND, Language.EN).grids[1]
    assert guarded.note == (
        "It runs only if eligibility.verdict is approve. The first rule that holds decides."
    )


def test_a_rule_that_stands_alone_and_a_gap_are_told_as_such() -> None:
    text = changed("when: {tenure: {gte: 24}}", "when: {}", SMALL)
    rest = text[text.index("  - {id: REST") : text.index("examples:")]
    alone = show(Pack.from_text(text.replace(rest, "")), Language.EN)
    assert rules_of(alone)["LOYAL"][4].startswith("Always, ")
    gap = "accept_gaps: [{when: {tenure: {lt: 24}}, why: nobody knows yet}]\nexamples:"
    gaps = show(Pack.from_text(SMALL.replace(rest, "").replace("examples:", gap)), Language.ES)
    assert gaps.grids[1].caption == "Sin decidir a propósito en small"
    assert gaps.grids[1].rows == (
        ("tenure: menos de 24", "nobody knows yet",
         "Si tenure es menos de 24, no se decide nada."),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (Language.EN, "finance after 5 business days"),
        (Language.ES, "finance tras 5 días hábiles"),
        (Language.KO, "5영업일 후 finance"),
    ],
)
def test_a_slot_says_who_is_asked_later_on(language: Language, words: str) -> None:
    slot = "{id: one, roles: [lead], expires: 10bd, escalate: {after: 5bd, to: [finance]}}"
    pack = Pack.from_text(changed("currencies:", f"routes: {{up: [{slot}]}}\ncurrencies:"))
    rows = [row for grid in show(pack, language).grids for row in grid.rows if row[0] == "up"]
    assert [row[-1] for row in rows] == [words]


def test_timers_routes_authority_calendars_and_texts_are_shown() -> None:
    sheet = show(REFUND, Language.EN)
    grids = {grid.caption: grid for grid in sheet.grids}
    assert ("settlement › max_business_days", "10") in grids["Timers"].rows
    assert grids["Approval routes"].rows[0] == (
        "agent", "agent", "agent, lead or finance", "10 business days", "3 business days", "none",
    )  # fmt: skip
    assert ("auto", "nobody is asked", "", "", "", "") in grids["Approval routes"].rows
    limits = {row[0]: row for row in grids["Who may approve how much"].rows}
    assert limits["agent"][2].endswith("MX$3,600.00 / $200.00")
    calendar = grids["Calendars"].rows[0][1]
    assert "holidays from January 1, 2026" in calendar
    assert calendar.endswith(": 39")
    texts = show(REFUND, Language.KO).grids[-1].rows
    assert ("refund.too_old", REFUND.text("refund.too_old", "ko")) in texts
    assert all(len(row) == len(grid.columns) for grid in sheet.grids for row in grid.rows)


def test_what_is_not_verified_is_marked() -> None:
    clocks = {
        "refund": {"within": "14d", "source": "Art. 13", "verified": False},
        "receipt": {"within": "1d", "source": "Art. 11a", "verified": True},
    }
    assert list(tree_rows(EN, {"EU": {"name": "Union", "clocks": clocks}})) == [
        ("EU › name", "Union"),
        ("EU › clocks › refund", "within 14 days, source Art. 13 (not verified)"),
        ("EU › clocks › receipt", "within 1 day, source Art. 11a"),
    ]


class Outline(HTMLParser):
    """What a page is made of: its elements with their attributes, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("language", Language)
def test_the_page_needs_nothing_else_and_its_tables_have_captions_and_scopes(
    language: Language,
) -> None:
    sheet = show(REFUND, language)
    page = html(sheet)
    outline = Outline(page)
    assert outline.all("html") == [{"lang": language.value}]
    assert len(outline.all("h1")) == len(outline.all("title")) == len(outline.all("main")) == 1
    assert len(outline.all("table")) == len(outline.all("caption")) == len(sheet.grids)
    assert {each.get("scope") for each in outline.all("th")} == {"col", "row"}
    assert all(each["aria-label"] for each in outline.all("div"))
    for tag in ("script", "link", "img", "iframe", "a"):
        assert not outline.all(tag), tag
    assert not [each for _, each in outline.elements if {"src", "href", "style"} & set(each)]
    assert "url(" not in page
    assert "@import" not in page


def test_what_an_author_writes_cannot_become_markup() -> None:
    nasty = "<script>alert(1)</script> | `x` *y* a_b"
    sheet = Sheet(nasty, nasty, (Grid(nasty, (nasty,), ((nasty,),), nasty),), "en")
    assert not Outline(html(sheet)).all("script")
    row = markdown(sheet).splitlines()[-1]
    assert row == "| \\<script\\>alert(1)\\</script\\> \\| \\`x\\` \\*y\\* a\\_b |"
