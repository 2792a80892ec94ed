"""A policy that may ask its customer says what is wanted, for how long, and what silence means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from decisions.findings import PolicyErrors
from decisions.pack import Pack
from tests.workflows.world import POLICIES

ASKING = (POLICIES / "asking" / "v1.yaml").read_text(encoding="utf-8")
SILENT = (POLICIES / "patient" / "v1.yaml").read_text(encoding="utf-8")
MONDAY = datetime(2027, 3, 1, 15, tzinfo=UTC)


def findings(old: str, new: str) -> list[str]:
    assert old in ASKING
    with pytest.raises(PolicyErrors) as wrong:
        Pack.from_text(ASKING.replace(old, new))
    return [str(finding) for finding in wrong.value.findings]


def test_the_time_for_an_answer_is_business_days_of_the_calendar() -> None:
    until = Pack.from_text(ASKING).information_until(MONDAY)
    assert until == datetime(2027, 3, 15, 21, tzinfo=UTC)  # ten days on, 17:00 in New York


def test_a_policy_that_asks_nothing_has_no_time_for_it() -> None:
    assert Pack.from_text(SILENT).information_until(MONDAY) is None


def test_a_policy_that_asks_without_a_time_for_the_answer_does_not_load() -> None:
    (found,) = findings("  information: 10bd\n", "")
    assert "timers has no information" in found
    assert "information: 10bd" in found


@pytest.mark.parametrize(
    "read",
    [
        "",
        "  information:        {type: enum, values: [not_asked, given]}\n",
        "  information:        {type: text}\n",
    ],
)
def test_a_policy_that_asks_reads_all_that_may_become_of_it(read: str) -> None:
    declared = "  information:        {type: enum, values: [not_asked, given, silent]}\n"
    assert any("reads the fact information" in found for found in findings(declared, read))


def test_a_question_says_what_is_wanted() -> None:
    found = findings("{verdict: ask, reason: refund.proof_wanted}", "{verdict: ask, reason: null}")
    assert any("says in reason what is wanted" in each for each in found)


@pytest.mark.parametrize("wrong", ["10d", "soon", "10"])
def test_a_time_that_is_no_number_of_business_days_is_told(wrong: str) -> None:
    (found,) = findings("10bd\nroutes", f"{wrong}\nroutes")
    assert "no length here (allowed: 3bd, 10bd)" in found


def test_a_text_is_told_in_its_language_or_in_english_or_not_at_all() -> None:
    pack = Pack.from_text(ASKING)
    assert pack.text_or_nothing("refund.silent", "es") == "No tuvimos noticias suyas."
    assert pack.text_or_nothing("refund.silent", "fr") == "We did not hear from you."
    assert pack.text_or_nothing("refund.nowhere", "en") == ""
