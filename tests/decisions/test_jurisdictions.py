"""What law asks, as data: sources beside numbers, what binds when, and doubt that stays visible."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from decisions import Finding, Library, Pack, PolicyErrors
from decisions.jurisdictions import RuleBook
from decisions.lock import LOCK, release
from decisions.show import show
from domain.cases import Language
from domain.errors import Refused
from tests.decisions.builders import NOON, POLICIES, SMALL, SMALL_FACTS, changed, findings_of

FILES = sorted(
    path.relative_to(POLICIES).as_posix()
    for folder in ("jurisdictions", "clocks")
    for path in (POLICIES / folder).glob("*.yaml")
)

# the rows of the law sheet whose source was read, and nothing else
VERIFIED = {
    "DE.cancel_steps", "DE.login", "DE.offers_mode", "DE.survey",
    "EU.withdrawal_function", "EU.withdrawal_receipt",
    "UK.cooling_off", "UK.cooling_off_periods", "UK.refund", "UK.refund_method",
    "psd2.answer", "psd2.ask_refund", "psd2.mandate", "psd2.unauthorised",
    "reg_e.compliance", "reg_e.correct", "reg_e.credit", "reg_e.credit_new_account",
    "reg_e.honour_items", "reg_e.inform_of_credit", "reg_e.investigate",
    "reg_e.investigate_new_account", "reg_e.notice", "reg_e.report", "reg_e.resolve",
    "reg_e.resolve_extended", "reg_e.written_confirmation",
    "reg_z.notice",
}  # fmt: skip

# ruff: noqa: E501 - a rule of a policy stands on one line
LAW = """\
jurisdictions:
  AA:
    name: Whole
    binds: everybody
    clocks:
      refund:  {within: 14d, from: asked, source: "Act 1", verified: true}
      receipt: {within: 0min, from: asked, source: "Act 2", verified: true, since: "2026-12-01"}
    terms:
      offers_mode:  {is: side_by_side, source: "Act 3", verified: true}
      cancel_steps: {is: 2, source: "Act 3", verified: false}
  AA-BB:
    name: Part
    binds: everybody there
    part_of: AA
    clocks:
      refund: {within: 7d, from: asked, source: "Decree 1", verified: false, since: "2026-12-02"}
      notice: {within: 5d, ahead: 30d, from: price_change, source: "Decree 2", verified: true}
      later:  {within: 3d, from: asked, source: "Bill", verified: true, since: null}
    records:
      consent: {keep: P3Y, from: consent, source: "Decree 3", verified: true}
clocks:
  trade:
    name: Trade rules
    binds: traders
    clocks:
      answer: {within: 10bd, from: asked, source: "Rule 1", verified: true}
"""

PACK = (
    """\
format: 1
policy: small
version: 1
effective_from: "2026-01-01"
owner: tests
inputs:
  asked: {type: instant}
outputs:
  due: {type: instant}
rules:
  - {id: DUE, why: it is due, when: {}, then: {due: {law: AA.refund}}}
examples:
  - {given: {asked: "2026-11-30T10:00:00Z"}, expect: {rule: DUE, due: "2026-12-15T00:00:00Z"}}
"""
    + LAW
)

ASKED = datetime(2026, 11, 30, 10, tzinfo=UTC)


def shipped_books() -> dict[str, RuleBook]:
    text = changed("currencies:", f"includes: [{', '.join(FILES)}]\ncurrencies:")
    return dict(Pack.from_text(text, root=POLICIES).rule_books)


BOOKS = shipped_books()


def law_of(text: str = LAW) -> dict[str, RuleBook]:
    return dict(Pack.from_text(SMALL + text).rule_books)


def finding(text: str) -> Finding:
    [found] = findings_of(text)
    return found


def without_example(text: str) -> str:
    """The pack with an example that expects nothing of the cell under test."""
    return text.replace(', due: "2026-12-15T00:00:00Z"', "")


def test_every_jurisdiction_and_clock_book_that_is_promised_is_there() -> None:
    assert set(BOOKS) == {
        "US", "US-CA", "US-MN", "US-NY", "DE", "EU", "UK", "MX", "KR", "reg_e", "reg_z", "psd2",
    }  # fmt: skip
    wholes = {code: book.part_of.id for code, book in BOOKS.items() if book.part_of}
    assert wholes == {"US-CA": "US", "US-MN": "US", "US-NY": "US", "DE": "EU"}


def test_only_numbers_whose_source_was_read_are_verified() -> None:
    verified = {
        f"{book.id}.{entry.id}"
        for book in BOOKS.values()
        for entry in book.entries()
        if entry.basis.verified
    }
    assert verified == VERIFIED


@pytest.mark.parametrize("name", ["reg_e", "reg_z", "psd2"])
def test_a_clock_book_of_banks_says_that_it_does_not_bind_merchants(name: str) -> None:
    assert BOOKS[name].binds.endswith("; not merchants")


def test_every_jurisdiction_has_a_mode_of_offers_on_the_day_of_release() -> None:
    modes = {
        code: book.on(NOON.date()).terms["offers_mode"].value
        for code, book in BOOKS.items()
        if code.isupper()
    }
    assert modes == {
        "US": "free", "US-CA": "simultaneous_cancel", "US-MN": "forbidden_in_flow",
        "US-NY": "free", "DE": "side_by_side", "EU": "side_by_side", "UK": "side_by_side",
        "MX": "side_by_side", "KR": "side_by_side",
    }  # fmt: skip


def test_the_planned_rules_of_the_united_kingdom_bind_nobody() -> None:
    book = BOOKS["UK"]
    assert all(clock.basis.planned for clock in book.clocks.values())
    assert set(book.on(date(9999, 12, 31)).clocks) == set()


@pytest.mark.parametrize(
    ("day", "within"),
    [(date(2026, 12, 1), "14d"), (date(2026, 12, 2), "7d"), (date(2026, 12, 3), "7d")],
)
def test_a_part_follows_the_whole_until_its_own_rule_is_law(day: date, within: str) -> None:
    assert str(law_of()["AA-BB"].on(day).clocks["refund"].within) == within


@pytest.mark.parametrize(
    ("day", "binds"),
    [(date(2026, 11, 30), False), (date(2026, 12, 1), True), (date(2026, 12, 2), True)],
)
def test_a_rule_binds_from_its_first_day_on(day: date, binds: bool) -> None:
    books = law_of()
    assert ("receipt" in books["AA"].on(day).clocks) is binds
    assert ("receipt" in books["AA-BB"].on(day).clocks) is binds


def test_what_is_not_verified_can_be_listed_for_who_has_to_sign_it() -> None:
    books = law_of()
    assert [entry.id for entry in books["AA"].unverified()] == ["cancel_steps"]
    assert [entry.id for entry in books["AA-BB"].unverified()] == ["refund"]
    assert books["trade"].unverified() == ()


@pytest.mark.parametrize("language", list(Language))
def test_a_page_shows_the_value_its_name_and_the_doubt_where_it_is_used(
    language: Language,
) -> None:
    def told(law: str) -> str:
        sheet = show(Pack.from_text(without_example(PACK.replace("AA.refund", law))), language)
        return sheet.grids[0].rows[0][2]

    doubt = {"en": "(not verified)", "es": "(sin verificar)", "ko": "(미확인)"}[language.value]
    sure, unsure = told("AA.refund"), told("AA-BB.refund")
    assert (doubt in sure, doubt in unsure) == (False, True)
    assert [part in sure for part in ("14", "[AA.refund]")] == [True, True]
    assert [part in unsure for part in ("7", "[AA-BB.refund]")] == [True, True]


def test_a_rule_counts_as_the_clock_of_a_rule_book_counts() -> None:
    written = PACK.replace("{law: AA.refund}", "{in: 14d, from: asked}")
    facts = {"asked": ASKED}
    one, other = Pack.from_text(PACK), Pack.from_text(written)
    assert one.decide(facts, NOON).outputs == other.decide(facts, NOON).outputs
    assert one.decide(facts, NOON).fired[0].why == "it is due"


@pytest.mark.parametrize(
    ("law", "days"), [("AA-BB.refund", 7), ("AA.refund", 14), ("AA.receipt", 0)]
)
def test_a_deadline_is_as_long_as_the_rule_book_says(law: str, days: int) -> None:
    pack = Pack.from_text(without_example(PACK.replace("AA.refund", law)))
    due = pack.decide({"asked": ASKED}, NOON).outputs["due"]
    expected = (
        ASKED if days == 0 else datetime(2026, 12, 1, tzinfo=UTC) + timedelta(days=days)
    ).strftime("%Y-%m-%dT%H:%M:%S")
    assert due.startswith(expected)


def test_a_part_takes_the_clocks_of_the_whole() -> None:
    pack = Pack.from_text(without_example(PACK.replace("AA.refund", "AA-BB.receipt")))
    assert pack.decide({"asked": ASKED}, NOON).outputs["due"].startswith("2026-11-30T10:00:00")


def test_a_decision_by_an_unverified_number_says_so_where_it_fired_and_where_it_did_not() -> None:
    text = without_example(PACK).replace("AA.refund", "AA-BB.refund")
    assert Pack.from_text(text).decide({"asked": ASKED}, NOON).why == (
        "it is due (not verified: AA-BB.refund)"
    )
    verified = text.replace('"Decree 1", verified: false', '"Decree 1", verified: true')
    pack = Pack.from_text(verified)
    assert pack.decide({"asked": ASKED}, NOON).why == "it is due"
    assert pack.hash != Pack.from_text(text).hash


def test_doubt_inside_a_list_of_duties_is_told_too() -> None:
    text = (
        without_example(PACK)
        .replace("due: {type: instant}", "duties: {type: list, values: [pay], fields: {due: {type: instant}}}")
        .replace("{due: {law: AA.refund}}", "{duties: [{id: pay, due: {law: AA-BB.refund}}]}")
    )  # fmt: skip
    assert Pack.from_text(text).decide({"asked": ASKED}, NOON).why == (
        "it is due (not verified: AA-BB.refund)"
    )


def test_a_pack_rebuilt_from_its_content_has_the_same_law() -> None:
    pack = Pack.from_text(PACK)
    again = Pack.from_content(pack.content)
    assert again == pack
    assert again.rule_books == pack.rule_books
    assert set(json.loads(pack.content)["jurisdictions"]) == {"AA", "AA-BB"}


TERM = PACK.replace("due: {type: instant}", "mode: {type: enum, values: [free, side_by_side]}").replace(
    "{due: {law: AA.refund}}", "{mode: {law: AA-BB.offers_mode}}"
)  # fmt: skip


def test_a_rule_takes_a_word_or_a_number_from_a_rule_book() -> None:
    pack = Pack.from_text(without_example(TERM))
    assert pack.decide({"asked": ASKED}, NOON).outputs == {"mode": "side_by_side"}
    number = without_example(TERM).replace(
        "mode: {type: enum, values: [free, side_by_side]}", "mode: {type: int}"
    )
    decision = Pack.from_text(number.replace("AA-BB.offers_mode", "AA.cancel_steps")).decide(
        {"asked": ASKED}, NOON
    )
    assert decision.outputs == {"mode": 2}
    assert decision.why == "it is due (not verified: AA.cancel_steps)"


def test_a_term_that_is_no_word_of_the_output_is_refused() -> None:
    text = without_example(TERM).replace("values: [free, side_by_side]", "values: [free]")
    assert finding(text).code == "unknown-value"


@pytest.mark.parametrize(
    ("law", "nearest"),
    [
        ("AA.refunds", "AA.refund"),  # no such entry
        ("CC.refund", "AA.refund"),  # no such book
        ("AA-BB.later", ""),  # planned
        ("AA-BB.notice", ""),  # counts backwards from an event ahead
        ("AA-BB.consent", ""),  # how long records are kept is no deadline
        ("AA.offers_mode", ""),  # a word, not a length
    ],
)
def test_only_clocks_that_run_can_set_a_deadline(law: str, nearest: str) -> None:
    text = without_example(PACK.replace("AA.refund", law))
    found = finding(text)
    place = text.splitlines()[found.line - 1][found.column - 1 :]
    assert (found.code, place.startswith(law)) == ("unknown-value", True)
    assert "AA.refund" in found.allowed
    if nearest:
        assert found.nearest == nearest


def test_a_clock_needs_the_event_that_it_starts_from_as_an_input() -> None:
    text = without_example(PACK).replace("  asked:", "  asked_at:").replace(
        'given: {asked:', 'given: {asked_at:'
    )  # fmt: skip
    found = finding(text)
    assert (found.code, found.nearest) == ("undefined-input", "asked_at")


def test_a_clock_in_business_days_needs_a_calendar() -> None:
    found = finding(without_example(PACK.replace("AA.refund", "trade.answer")))
    assert found.code == "undefined-calendar"


WRONG: list[tuple[str, str, str, str]] = [
    ("  AA-BB:", "  Aa-BB:", "name", "Aa-BB"),
    ("  trade:", "  Trade:", "name", "Trade"),
    ("      answer:", "      Answer:", "name", "Answer"),
    ("    binds: everybody\n", "", "missing-key", "name: Whole"),
    ("    name: Trade rules\n", "", "missing-key", "binds: traders"),
    ("    name: Whole", "    names: Whole\n    name: Whole", "unknown-key", "names"),
    ("    binds: traders", "    part_of: AA\n    binds: traders", "unknown-key", "part_of"),
    ("part_of: AA\n", "part_of: AB\n", "unknown-value", "AB"),
    ("part_of: AA\n", "part_of: AA-BB\n", "unknown-value", "AA-BB"),
    ("part_of: AA\n", "part_of: 3\n", "wrong-type", "3"),
    ("within: 14d", "within: 14", "wrong-type", "14,"),
    ("within: 14d", "within: 2w", "wrong-type", "2w"),
    ("{within: 14d, ", "{", "missing-key", "{from: asked"),
    (", from: asked, source: \"Rule 1\"", ", source: \"Rule 1\"", "missing-key", "{within: 10bd"),
    (", source: \"Act 1\"", "", "missing-key", "{within: 14d"),
    (", verified: true}\n      receipt", "}\n      receipt", "missing-key", "{within: 14d"),
    ("verified: true}\n      receipt", "verified: maybe}\n      receipt", "wrong-type", "maybe"),
    ("verified: true}\n      receipt", "verifed: true, verified: true}\n      receipt", "unknown-key", "verifed"),
    ("since: \"2026-12-01\"", "since: \"soon\"", "wrong-type", "\"soon\""),
    ("since: \"2026-12-01\"", "since: 2026-12-01", "unquoted-date", "2026-12-01}"),
    ("ahead: 30d", "ahead: 4d", "empty-interval", "4d"),
    ("ahead: 30d", "ahead: 30bd", "mixed-units", "30bd"),
    ("is: side_by_side", "is: side_by_syde", "unknown-value", "side_by_syde"),
    ("{is: side_by_side, ", "{", "missing-key", "{source: \"Act 3\""),
    ("is: 2,", "is: 0,", "out-of-range", "0,"),
    ("is: 2,", "is: 101,", "out-of-range", "101,"),
    ("is: 2,", "is: two,", "out-of-range", "two,"),
    ("      cancel_steps:", "      cancel_step:", "unknown-key", "cancel_step:"),
    ("keep: P3Y", "keep: long", "wrong-type", "long"),
    ("{within: 10bd, from: asked, source: \"Rule 1\", verified: true}", "10bd", "wrong-type", "10bd"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "code", "at"), WRONG)
def test_a_mistake_in_a_rule_book_is_told_in_its_place(
    old: str, new: str, code: str, at: str
) -> None:
    text = SMALL + changed(old, new, LAW)
    found = finding(text)
    place = text.splitlines()[found.line - 1][found.column - 1 :]
    assert (found.code, place[: len(at)]) == (code, at)


def released(policies: Path, text: str, signed_by: str) -> Any:
    (policies / "small").mkdir(parents=True, exist_ok=True)
    (policies / "small/v1.yaml").write_text(text, encoding="utf-8")
    library = Library.load(policies)
    [pack] = library.packs
    release(library, policies, pack, "lin", pack.effective_at - timedelta(days=1), signed_by)
    [entry] = json.loads((policies / LOCK).read_text(encoding="utf-8"))["small"].values()
    return entry


def test_a_pack_with_unverified_law_is_released_only_when_somebody_signs_for_it(
    tmp_path: Path,
) -> None:
    for nobody in ("", " "):
        with pytest.raises(Refused, match=r"AA-BB\.refund, AA\.cancel_steps") as caught:
            released(tmp_path, PACK, nobody)
        assert caught.value.code == "unverified"
    with pytest.raises(Refused) as caught:
        released(tmp_path, PACK, "tests")
    assert caught.value.code == "own_policy"
    assert not (tmp_path / LOCK).exists()
    assert released(tmp_path, PACK, "ana")["unverified_signed_by"] == "ana"


def test_nobody_signs_for_law_that_is_verified(tmp_path: Path) -> None:
    entry = released(tmp_path, PACK.replace("verified: false", "verified: true"), "")
    assert sorted(entry) == ["hash", "released_at", "released_by"]


@pytest.mark.parametrize("steps", [1, 2, 100])
def test_a_number_of_steps_is_at_least_one_and_at_most_a_hundred(steps: int) -> None:
    books = law_of(LAW.replace("is: 2,", f"is: {steps},"))
    assert books["AA"].terms["cancel_steps"].value == steps


def test_a_book_stands_once() -> None:
    text = changed("currencies:", "includes: [clocks/reg_e.yaml, clocks/reg_e.yaml]\ncurrencies:")
    with pytest.raises(PolicyErrors, match="'reg_e' stands already in"):
        Pack.from_text(text, root=POLICIES)


def test_unused_law_leaves_a_decision_alone() -> None:
    def decided(text: str) -> Any:
        return Pack.from_text(text).decide(SMALL_FACTS, NOON).outputs

    assert decided(SMALL) == decided(SMALL + LAW)


def test_the_shipped_clocks_are_as_long_as_the_law_sheet_says() -> None:
    told = {
        f"{book.id}.{clock.id}": f"{clock.within}"
        for book in BOOKS.values()
        for clock in book.clocks.values()
        if book.id in ("reg_e", "reg_z", "psd2")
    }
    assert told == {
        "reg_e.notice": "60d", "reg_e.written_confirmation": "10bd", "reg_e.investigate": "10bd",
        "reg_e.investigate_new_account": "20bd", "reg_e.report": "3bd", "reg_e.correct": "1bd",
        "reg_e.credit": "10bd", "reg_e.credit_new_account": "20bd",
        "reg_e.inform_of_credit": "2bd", "reg_e.resolve": "45d", "reg_e.resolve_extended": "90d",
        "reg_e.honour_items": "5bd",
        "reg_z.notice": "60d", "reg_z.acknowledge": "30d", "reg_z.resolve": "90d",
        "psd2.ask_refund": "56d", "psd2.answer": "10bd", "psd2.unauthorised": "P13M",
    }  # fmt: skip
