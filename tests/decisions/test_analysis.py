"""Gaps, overlaps and rules that never fire: told at load, in words, with a case of each."""

# ruff: noqa: E501 - a rule of a policy stands on one line

from __future__ import annotations

import random
from itertools import product

import pytest

from decisions import Finding, Pack, PolicyErrors
from decisions.regions import Budget, Space, TooComplex
from tests.decisions.builders import SMALL, changed

HEAD = SMALL[: SMALL.index("rules:")].replace(
    "inputs:",
    """\
timers: {calendar: office}
calendars:
  office: {version: "1", zone: Europe/Madrid, weekend: [sat, sun], covers: {from: "2025-01-01", to: "2026-12-31"}, holidays: []}
inputs:
  due:    {type: date, nullable: true}
  made:   {type: instant}""",
)  # fmt: skip
EXAMPLE = """\
examples:
  - given: {plan: basic, tenure: 24, price: {usd: 500}, since: null, flags: [], stuck: false, due: null, made: "2025-12-01T00:00:00Z"}
    expect: {cap: {usd: 1}}
"""


def told(*whens: str, hit: str = "first", gaps: tuple[str, ...] = ()) -> list[Finding]:
    """What is wrong with a table of rules R0, R1 … and accepted gaps."""
    lines = [f"hit: {hit}", "rules:"]
    lines += [
        f"  - {{id: R{n}, why: x, when: {when}, then: {{answer: yes, cap: {{usd: 1, eur: 1}}}}}}"
        for n, when in enumerate(whens)
    ]
    if gaps:
        lines += ["accept_gaps:", *(f"  - {{when: {gap}, why: x}}" for gap in gaps)]
    try:
        Pack.from_text(HEAD + "\n".join(lines) + "\n" + EXAMPLE, "small.yaml")
    except PolicyErrors as error:
        return [finding for finding in error.findings if finding.code != "failed-example"]
    return []


def messages(*whens: str, hit: str = "first", gaps: tuple[str, ...] = ()) -> list[str]:
    return [f"{f.code}: {f.message}" for f in told(*whens, hit=hit, gaps=gaps)]


def test_rules_that_cover_everything_need_no_closing_rule() -> None:
    assert messages("{tenure: {gte: 24}}", "{tenure: {lt: 24}}") == []
    assert messages("{since: null}", "{since: {is_null: false}}") == []
    assert messages("{flags: {any_of: [vip]}}", "{flags: {subset: [staff, risk]}}") == []
    assert messages("{due: {older_than: 10bd, or_null: true}}", "{due: {younger_than: 10bd}}") == []
    assert messages("{plan: basic}", "{plan: pro}", hit="unique") == []
    assert messages("{plan: basic}", hit="collect") == []


@pytest.mark.parametrize(
    ("whens", "wanted"),
    [
        (("{tenure: {gte: 24}}", "{plan: basic}"),
         "plan pro, tenure 0 to 23; for example {plan: pro, tenure: 0}"),
        (("{tenure: {gt: 24}}", "{tenure: {lt: 24}}"), "tenure 24; for example {tenure: 24}"),
        (("{since: {lt: 180}}",), "since 180 to 1000 or null; for example {since: 180}"),
        (("{stuck: true}",), "stuck false; for example {stuck: false}"),
        (("{flags: {any_of: [vip, staff]}}",),
         "flags without vip, staff; for example {flags: []}"),
        (("{flags: {subset: [vip]}}",), "flags with staff or risk; for example {flags: [staff]}"),
        (("{due: {lt: \"2026-02-01\", or_null: true}}",),
         'due at least 2026-02-01; for example {due: "2026-02-01"}'),
        (("{due: {older_than: P1M, or_null: true}}",),
         'due younger than P1M; for example {due: "2025-12-02"}, '
         'at: "2026-01-01T11:00:00.000000Z"'),
        (("{made: {younger_than: 90min}}",),
         'made older than 90min; for example {made: "2026-01-01T09:30:00.000000Z"}, '
         'at: "2026-01-01T11:00:00.000000Z"'),
        (("{tenure: {gte: {lookup: {by: plan, basic: 0, pro: 1}}}}",),
         "plan pro, tenure 0; for example {plan: pro, tenure: 0}"),
    ],
)  # fmt: skip
def test_a_gap_is_told_in_words_with_a_case(whens: tuple[str, ...], wanted: str) -> None:
    assert messages(*whens) == [f"gap: no rule of table small holds for {wanted}"]


def test_an_amount_is_told_in_its_currency_and_once_where_all_are_alike() -> None:
    [alike] = messages("{price: {gte: {usd: 100, eur: 90}}}")
    assert alike.endswith(
        "price 0.00 USD to 0.99 USD; for example {price: {usd: 0}} (in usd; alike in eur)"
    )
    [only] = messages("{price: {gte: {usd: 100, eur: 90}}}", "{price: {lt: {usd: 100, eur: 89}}}")
    assert only.endswith("price 0.89 EUR; for example {price: {eur: 89}} (in eur)")


def test_a_rule_that_earlier_ones_take_is_unreachable_at_its_place() -> None:
    [finding] = told("{tenure: {gte: 24}}", "{plan: basic}", "{tenure: {gte: 30}}", "{}")
    assert finding.code == "unreachable"
    assert finding.message == (
        "rule R2 never fires: R0 above holds in all its cases; "
        "for example {plan: basic, tenure: 30}"
    )
    first = HEAD.count("\n") + 3
    assert (finding.line, finding.column) == (first + 2, 5)


def test_two_rules_that_only_together_take_a_third_are_both_named() -> None:
    [message] = messages("{plan: basic}", "{plan: pro}", "{tenure: {gte: 1}}")
    assert "rule R2 never fires: one of R0, R1 above holds in all its cases" in message
    assert messages("{plan: basic, tenure: {lt: 600}}", "{plan: pro}", "{}") == []


def test_under_unique_each_overlap_is_told_at_the_later_rule() -> None:
    found = told("{plan: basic}", "{tenure: {gte: 24}}", "{plan: pro, tenure: {lt: 24}}",
                 hit="unique")  # fmt: skip
    assert [f.code for f in found] == ["overlap"]
    assert found[0].message == (
        "rules R0 and R1 both hold for plan basic, tenure 24 to 600; "
        "for example {plan: basic, tenure: 24}"
    )


def test_an_accepted_gap_closes_what_it_names_and_no_more() -> None:
    rules = "{plan: basic}", "{tenure: {gte: 24}}"
    assert messages(*rules, gaps=("{plan: pro, tenure: {lt: 24}}",)) == []
    [gap] = messages(*rules, gaps=("{plan: pro, tenure: {lt: 23}}",))
    assert gap.startswith("gap: no rule of table small holds for plan pro, tenure 23;")


@pytest.mark.parametrize("hit", ["first", "collect"])
def test_an_accepted_gap_that_rules_hold_is_none(hit: str) -> None:
    [finding] = told("{plan: basic}", "{plan: pro}", hit=hit, gaps=("{stuck: true}",))
    assert (finding.code, finding.column) == ("no-gap", 5)


def test_many_gaps_are_told_in_part_and_said_to_be() -> None:
    found = messages(*(f"{{tenure: {n}, since: {n}}}" for n in range(0, 40, 2)))
    assert 0 < len(found) <= 8


def test_facts_without_any_amount_have_no_currency_and_are_no_gap() -> None:
    text = changed("{type: money, min: 0}", "{type: money, min: 0, nullable: true}")
    text = changed("{tenure: {gte: 24}}", "{price: {gte: {usd: 100, eur: 100}}}", text)
    text = changed("when: {}", "when: {price: {lt: {usd: 100, eur: 100}}}", text)
    assert Pack.from_text(text).name == "small"


def test_a_later_table_is_asked_only_what_an_earlier_one_answers_and_its_guard_lets_in() -> None:
    two = changed("outputs:", "tables:\n- table: one\n  outputs:")
    two = two.replace(
        "  answer: {type: enum, values: [yes, no]}",
        "    answer: {type: enum, values: [yes, no, later]}",
    )
    two = two.replace("  cap:    {type: money}", "    cap:    {type: money}")
    two = changed("rules:", "  rules:", two)
    second = (
        "- table: two\n  when: {one.answer: [yes, no]}\n  outputs: {out: {type: int}}\n  rules:\n"
        "  - {id: A, why: x, when: {one.answer: yes}, then: {out: 1}}\n"
        "  - {id: B, why: x, when: {one.answer: no}, then: {out: 2}}\n"
    )
    assert Pack.from_text(changed("examples:", second + "examples:", two)).tables[1].rules
    dead = second.replace("when: {one.answer: no}", "when: {one.answer: later}")
    with pytest.raises(PolicyErrors) as caught:
        Pack.from_text(changed("examples:", dead + "examples:", two))
    assert [f.code for f in caught.value.findings] == ["gap", "unreachable"]


def test_a_guard_and_a_rule_measure_an_age_in_one_unit() -> None:
    text = changed("outputs:", "when: {made: {older_than: 30d}}\noutputs:", HEAD)
    text += "rules:\n  - {id: R, why: x, when: {made: {older_than: P1M}}, then: {answer: yes, cap: {usd: 1, eur: 1}}}\n"
    with pytest.raises(PolicyErrors) as caught:
        Pack.from_text(text + EXAMPLE)
    assert "mixed-units" in {f.code for f in caught.value.findings}


def test_a_stored_pack_is_rebuilt_without_judging_its_rules_again() -> None:
    pack = Pack.from_text(SMALL)
    open_content = pack.content.replace('"when":{}', '"when":{"plan":"pro"}')
    assert open_content != pack.content
    assert Pack.from_content(open_content).tables[0].rules[1].when


@pytest.mark.parametrize("seed", range(20))
def test_boxes_left_over_are_all_the_points_that_no_box_holds(seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    sizes = [chance.randint(1, 4) for _ in range(chance.randint(1, 4))]
    space = Space(sizes)

    def box() -> int:
        found = space.whole
        for dimension, size in enumerate(sizes):
            if chance.random() < 0.6:
                points = chance.sample(range(size), chance.randint(1, size))
                found &= space.slab(dimension, points)
        return found

    def points(found: int) -> set[tuple[int, ...]]:
        return set(product(*(space.points(found, d) for d in range(len(sizes)))))

    boxes, region = [box() for _ in range(chance.randint(0, 6))], box()
    left = points(region).difference(*map(points, boxes))
    parts, is_all = space.parts(region, boxes, Budget(10_000), most=300)
    assert is_all
    assert left == set().union(*map(points, parts))
    joined = space.joined(boxes)
    assert len(joined) <= len(boxes)
    assert set().union(*map(points, joined)) == set().union(*map(points, boxes))


def test_a_search_ends_when_its_steps_are_spent() -> None:
    space = Space([2, 2])
    boxes = [space.slab(0, [0]), space.slab(1, [0])]
    assert space.left(space.whole, boxes, Budget(3)) is not None
    with pytest.raises(TooComplex):
        space.left(space.whole, boxes, Budget(2))


def test_a_table_too_complex_to_analyse_is_told_and_does_not_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("decisions.analysis.MOST_STEPS", 1)
    [finding] = told("{plan: basic}", "{tenure: {gte: 24}}", "{}")
    assert finding.code == "too-complex"
    assert "two tables" in finding.allowed
