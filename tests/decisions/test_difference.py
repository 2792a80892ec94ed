"""Two versions of a policy: what differs by rule, by block, by outcome, and on which facts."""

from __future__ import annotations

import pytest

from decisions import Pack, facts_from_json
from decisions.difference import (
    BlockChange,
    Difference,
    OutcomeChange,
    RuleChange,
    answer_of,
    compare,
    difference_sheet,
)
from decisions.sheets import markdown
from domain.cases import Language
from tests.decisions.builders import NOON, POLICIES, changed

# ruff: noqa: E501 - a rule of a policy stands on one line
LADDER = """\
format: 1
policy: ladder
version: 1
effective_from: "2026-01-01"
owner: tests
currencies: [usd, eur]
inputs:
  price: {type: money, min: 0}
  since: {type: days, min: 0, max: 1000, nullable: true}
  plan:  {type: enum, values: [basic, pro]}
  flags: {type: set, values: [vip, risk]}
  born:  {type: date}
  stuck: {type: bool}
outputs:
  answer: {type: enum, values: [yes, no, ask]}
rules:
  - {id: RISK, why: a flag, when: {flags: {any_of: [risk]}}, then: {answer: no}}
  - {id: SMALL, why: a small price, when: {price: {lte: {usd: 5000, eur: 4000}}}, then: {answer: yes}}
  - {id: NEW, why: nothing yet, when: {since: null}, then: {answer: ask}}
  - {id: PRO, why: the plan, when: {plan: pro}, then: {answer: yes}}
  - {id: REST, why: the rest, when: {}, then: {answer: no}}
examples:
  - {given: {price: {usd: 9000}, since: 5, plan: basic, flags: [], born: "2026-02-01", stuck: false}, expect: {rule: REST}}
  - {given: {price: {eur: 9000}, since: 5, plan: basic, flags: [], born: "2026-02-01", stuck: false}, expect: {rule: REST}}
"""
PACK = Pack.from_text(LADDER)


def but(*changes: tuple[str, str], text: str = LADDER) -> Difference:
    """What differs when places of the text are changed."""
    after = text
    for old, new in changes:
        after = changed(old, new, after)
    return compare(Pack.from_text(text), Pack.from_text(after))


def test_a_version_equals_itself_and_its_copy_under_another_number() -> None:
    assert compare(PACK, PACK) == Difference((), (), (), ())
    assert but(("version: 1", "version: 2")).is_equal


def test_a_changed_cell_is_told_before_and_after_in_words() -> None:
    found = but(("usd: 5000", "usd: 6000"))
    assert found.rules == (
        RuleChange("ladder", "SMALL", "changed", "when price",
                   "at most €40.00 / $50.00", "at most €40.00 / $60.00"),
    )  # fmt: skip
    assert not found.is_equal
    assert not found.blocks


def test_every_part_of_a_rule_is_compared() -> None:
    found = but(
        ("{id: PRO, why: the plan, when: {plan: pro}, then: {answer: yes}}",
         "{id: PRO, why: it pays, when: {stuck: true}, then: {answer: ask}}"),
    )  # fmt: skip
    assert [(c.rule, c.change, c.cell, c.before, c.after) for c in found.rules] == [
        ("PRO", "changed", "when plan", "pro", ""),
        ("PRO", "changed", "when stuck", "", "true"),
        ("PRO", "changed", "then answer", "yes", "ask"),
        ("PRO", "changed", "why", "the plan", "it pays"),
    ]


def test_added_and_removed_rules_are_told_as_sentences() -> None:
    line = "  - {id: PRO, why: the plan, when: {plan: pro}, then: {answer: yes}}\n"
    removed, added = but((line, "")), compare(Pack.from_text(LADDER.replace(line, "")), PACK)
    sentence = "If plan is pro, then answer is yes."
    assert removed.rules == (RuleChange("ladder", "PRO", "removed", "", sentence, ""),)
    assert added.rules == (RuleChange("ladder", "PRO", "added", "", "", sentence),)


def test_a_rule_that_changes_its_place_is_moved_and_the_others_are_not() -> None:
    small = LADDER[LADDER.index("  - {id: SMALL") : LADDER.index("  - {id: NEW")]
    text = LADDER.replace(small, "").replace("  - {id: REST", small + "  - {id: REST")
    found = compare(PACK, Pack.from_text(text))
    assert found.rules == (RuleChange("ladder", "SMALL", "moved", "", "place 2", "place 4"),)
    assert [(c.outcome, c.before, c.after) for c in found.outcomes] == []


def test_everything_but_rules_is_told_by_its_path() -> None:
    found = but(
        ('effective_from: "2026-01-01"', 'effective_from: "2026-06-01"'),
        ("max: 1000", "max: 2000"),
        ("owner: tests", "owner: finance"),
    )
    assert found.blocks == (
        BlockChange("effective_from", "2026-01-01", "2026-06-01"),
        BlockChange("inputs › since › max", "1,000", "2,000"),
        BlockChange("owner", "tests", "finance"),
    )
    assert not found.rules
    assert not found.is_equal


def test_an_outcome_names_the_rules_that_lead_to_it() -> None:
    found = but(("{plan: pro}, then: {answer: yes}", "{plan: pro}, then: {answer: ask}"))
    assert found.outcomes == (
        OutcomeChange("answer", "yes", ("SMALL", "PRO"), ("SMALL",)),
        OutcomeChange("answer", "ask", ("NEW",), ("NEW", "PRO")),
    )


LIMITS = [
    ("usd: 5000", "usd: 5001", {"price": {"amount_minor": 5001, "currency": "usd"}}),
    ("eur: 4000", "eur: 3999", {"price": {"amount_minor": 4000, "currency": "eur"}}),
    ("{since: null}", "{since: {gte: 500}}", {"since": None}),
    ("{plan: pro}, then", "{plan: pro, stuck: true}, then", {"plan": "pro"}),
    ("any_of: [risk]", "any_of: [vip]", {"flags": ["risk"]}),
    ("{plan: pro}, then", "{stuck: true}, then", {"stuck": True}),
    ("{plan: pro}, then", '{born: {lt: "2026-01-09"}}, then', {"born": "2026-01-08"}),
    ("{plan: pro}, then", "{since: {gt: 7, lt: 9}}, then", {"since": 8}),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "facts"), LIMITS, ids=[limit[1] for limit in LIMITS])
def test_a_changed_limit_has_facts_on_which_the_answer_differs(
    old: str, new: str, facts: dict[str, object]
) -> None:
    before, after = PACK, Pack.from_text(changed(old, new, LADDER))
    found = compare(before, after)
    assert found.witnesses
    assert any(facts.items() <= witness.facts.items() for witness in found.witnesses)
    for witness in found.witnesses:
        one, other = (
            answer_of(pack.decide(facts_from_json(pack, witness.facts), NOON))
            for pack in (before, after)
        )
        assert one != other
        assert witness.before.items() <= one.items()
        assert witness.after.items() <= other.items()


def test_a_limit_on_a_result_is_tried_through_the_amounts_that_it_follows_from() -> None:
    root = POLICIES
    text = (root / "refund" / "v1.yaml").read_text(encoding="utf-8")
    before = Pack.from_text(text, root=root)
    after = Pack.from_text(
        text.replace("lte: {usd: 20000, eur: 20000", "lte: {usd: 25000, eur: 20000"), root=root
    )
    found = compare(before, after)
    assert {c.rule for c in found.rules} == {"DUPLICATE_MIDDLE", "SMALL"}
    [small] = [w for w in found.witnesses if w.after.get("table routing") == "SMALL"]
    assert small.before == {"table routing": "MIDDLE", "route": "lead"}
    assert "$200.01" in small.told


def test_examples_with_an_instant_are_decided_at_it() -> None:
    text = LADDER.replace("{plan: pro}", "{born: {older_than: P1Y}}").replace(
        "examples:\n",
        'examples:\n  - {at: "2027-02-01T12:00:00Z", given: {price: {usd: 9000}, since: 5, plan: basic, flags: [], born: "2026-02-01", stuck: false}, expect: {rule: PRO}}\n',
    )
    after = text.replace("P1Y", "P2Y").replace("expect: {rule: PRO}", "expect: {rule: REST}")
    found = compare(Pack.from_text(text), Pack.from_text(after))
    assert [(w.before, w.after) for w in found.witnesses] == [
        ({"table ladder": "PRO", "answer": "yes"}, {"table ladder": "REST", "answer": "no"})
    ]


def test_tables_that_come_and_go_are_told_with_their_rules() -> None:
    staged = """\
format: 1
policy: ladder
version: 2
effective_from: "2026-01-01"
owner: tests
currencies: [usd, eur]
inputs: {stuck: {type: bool}}
tables:
  - table: other
    outputs: {result: {type: bool}}
    rules:
      - {id: ALL, why: all, when: {}, then: {result: true}}
examples:
  - {given: {stuck: false}, expect: {rule: ALL}}
"""
    found = compare(PACK, Pack.from_text(staged))
    changes = {(c.table, c.rule, c.change) for c in found.rules}
    assert ("other", "ALL", "added") in changes
    assert ("ladder", "REST", "removed") in changes
    assert {"tables", "outputs › answer › type"} <= {c.where for c in found.blocks}
    assert ("result", "true", (), ("ALL",)) in {
        (c.output, c.outcome, c.before, c.after) for c in found.outcomes
    }


@pytest.mark.parametrize("language", Language)
def test_a_difference_is_a_page_in_every_language(language: Language) -> None:
    after = Pack.from_text(changed("usd: 5000", "usd: 6000", LADDER))
    found = compare(PACK, after, language)
    sheet = difference_sheet(PACK, after, found, language)
    assert [len(grid.rows) for grid in sheet.grids] == [1, len(found.witnesses)]
    assert len(sheet.grids[1].note) > 10
    assert sheet.grids[0].rows[0][0] == "SMALL"
    assert "SMALL" in markdown(sheet)
    same = difference_sheet(PACK, PACK, compare(PACK, PACK, language), language)
    assert not same.grids
    assert same.lead != sheet.lead
