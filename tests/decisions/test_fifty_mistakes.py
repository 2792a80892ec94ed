"""One file with fifty mistakes reports all fifty, each in its place and nothing besides.

``»code«`` stands before each place. What can only be told alone (a file that cannot be read,
rules that are judged once they are all right, a directory) follows below, so that every code
of the format's page is told by some test here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from decisions import Pack, PolicyErrors, check
from tests.decisions.builders import SMALL, changed, findings_of
from tests.decisions.test_docs import PAGE

# ruff: noqa: E501 - a rule of a policy stands on one line
FIFTY = """\
format: 1
policy: fifty
version: »wrong-type«one
effective_from: »unquoted-date«2026-12-01
»unknown-key«ownr: tests
owner: finance
»duplicate-key«owner: others
currencies: [usd, eur, »unknown-currency«euro]
languages: [en, »unknown-value«fr]
includes: [»include«calendars/mars.yaml]
repin: [»out-of-range«0]
hit: »unknown-value«frist
inputs:
  »name«Plan:   {type: bool}
  tier:   {type: enum, values: [gold, silver, »duplicate-value«gold]}
  plan:   {type: enum, values: [basic, pro]}
  kind:   {type: »unknown-value«enumm, values: [a]}
  level:  »missing-key«{type: enum}
  tenure: {type: int, min: 0, max: 600}
  least:  »empty-interval«{type: int, min: 9, max: 3}
  price:  {type: money, min: 0}
  since:  {type: days, min: 0, max: 1000, nullable: true}
  due:    {type: date}
  flags:  {type: set, values: [vip, staff, risk]}
  stuck:  {type: bool}
  asked:  {type: count, of: »unknown-value«opend, within: P1Y, per: customer}
  given:  {type: sum, of: accepted, within: »wrong-type«10bd, per: customer}
  seen:   {type: count, of: opened, where: {»unknown-key«reson: courtesy}, within: P1Y, per: customer}
outputs:
  answer: {type: enum, values: [yes, no]}
  cap:    {type: money}
  offers: {type: list, of: »undefined-catalogue«catalogue.ofers}
  pick:   {type: choice, of: catalogue.offers}
  until:  {type: instant}
rules:
  - {id: A, why: undefined,  when: {»undefined-input«tenur: {gte: 24}},  then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: »duplicate-id«A, why: twice, when: {plan: »unknown-value«basik},  then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: C, why: a float,    when: {tenure: {gte: »float«24.5}},         then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: D, why: a number,   when: {tenure: {gte: »number«024}},         then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: E, why: bounds,     when: {tenure: {gte: »out-of-range«601}},   then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: F, why: empty,      when: {tenure: »empty-interval«{gt: 5, lt: 6}}, then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: G, why: a type,     when: {stuck: »wrong-type«yes},             then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: H, why: years,      when: {due: {older_than: P1Y}},             then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: I, why: and days,   when: {due: {older_than: »mixed-units«30d}}, then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: J, why: a calendar, when: {plan: pro},                          then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: »undefined-calendar«10bd}}}
  - {id: K, why: a length,   when: {plan: pro},                          then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: »wrong-type«soon}}}
  - {id: L, why: a choice,   when: {plan: pro},                          then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: »empty-choice«[], until: {in: 30d}}}
  - {id: M, why: one less,   when: {plan: pro},                          then: »missing-output«{answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut]}}
  - {id: N, why: one more,   when: {plan: pro},                          then: {»undefined-output«anser: yes, answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: O, why: one amount, when: {plan: pro},                          then: {answer: yes, cap: »missing-currency«{usd: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: P, why: a lookup,   when: {plan: pro},                          then: {answer: yes, cap: {lookup: »incomplete-lookup«{by: plan, pro: {usd: 1, eur: 1}}}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: Q, why: an alias,   when: {plan: »unsafe«*other},               then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: R, why: a tag,      when: {plan: »unsafe«!!python/name:os.system pro}, then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - »missing-key«{id: S,     when: {plan: pro},                          then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: T, why: rounding,   when: {plan: pro},                          then: {answer: yes, cap: »missing-key«{of: price, bps: 500}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: U, why: no test,    when: {flags: »wrong-type«[vip]},           then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
  - {id: V, why: no amount,  when: {price: {gte: »wrong-type«5}},        then: {answer: yes, cap: {usd: 1, eur: 1}, offers: [], pick: [cut], until: {in: 30d}}}
routes: {ask: [»missing-key«{id: a, roles: [lead]}]}
authority:
  - {role: »unknown-value«boss, kind: refund, each: {usd: 1, eur: 1}, per_day: {usd: 1, eur: 1}}
catalogues:
  offers:
    cut:   {kind: discount, limit_bps: 1000, months: 3}
    much:  {kind: discount, limit_bps: »out-of-range«10001, months: 3}
    rest:  »missing-key«{kind: pause}
    other: {kind: »unknown-value«rebate}
    plan:  {kind: plan_change, plan: pro, »unknown-key«target: pro}
texts:
  hello: »missing-language«{}
examples:
  - given: {»undefined-input«pln: basic, stuck: »wrong-type«1}
    expect: {»undefined-output«answr: yes, answer: »unknown-value«maybe}
"""

MARK = re.compile("»([a-z-]+)«")


def marked(text: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The text without marks, and (line, column, code) of each."""
    lines, places = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        while (match := MARK.search(line)) is not None:
            places.append((number, match.start() + 1, match[1]))
            line = line[: match.start()] + line[match.end() :]
        lines.append(line)
    return "\n".join(lines), sorted(places)


def test_all_fifty_are_told_in_their_places_and_nothing_else() -> None:
    text, places = marked(FIFTY)
    assert len(places) >= 50
    assert [(f.line, f.column, f.code) for f in findings_of(text)] == places


OVERLAPPING = changed(
    "rules:", "hit: unique\nrules:", changed("{tenure: {gte: 24}}", "{stuck: false}")
)
OVERLAPPING = changed("when: {}", "when: {plan: pro}", OVERLAPPING)
OVERLAPPING = changed(
    "examples:",
    "  - {id: LAST, why: x, when: {plan: basic, stuck: true}, then: {answer: no, cap: {usd: 0, eur: 0}}}\nexamples:",
    OVERLAPPING,
)

# what can only be told of a file by itself; the code, and what its first finding must be
ALONE = {
    "syntax": changed("owner: tests", "owner: [tests"),
    "size": "a: [" + "1," * 50_001 + "]\n",
    "depth": "a: " + "[" * 30,
    "format": changed("format: 1", "format: 2"),
    "no-examples": SMALL[: SMALL.index("examples:")] + "examples: []\n",
    "failed-example": changed("{rule: LOYAL}", "{rule: REST}"),
    "unreachable": changed("{tenure: {gte: 24}}", "{}"),
    "gap": changed("when: {}", "when: {plan: basic}"),
    "overlap": OVERLAPPING,
    "no-gap": changed("rules:", "accept_gaps: [{when: {plan: pro}, why: none}]\nrules:"),
}


@pytest.mark.parametrize("code", ALONE)
def test_what_can_only_be_told_alone_is_told(code: str) -> None:
    assert {f.code for f in findings_of(ALONE[code])} == {code}


def in_a_directory(directory: Path) -> set[str]:
    """The codes of a directory in which everything is wrong that no file tells by itself."""
    policies = directory / "policies"
    second = changed("version: 1", "version: 2")
    files = {
        "small/v1.yaml": SMALL,
        "small/v2.yaml": changed("owner:", "repin: [1]\nowner:", second),
        "small/v3.yaml": changed("version: 1", "version: 3"),
        "gone/v2.yaml": changed(
            "owner:", "repin: [1]\nowner:", changed("policy: small", "policy: gone", second)
        ),
        "other/v1.yaml": SMALL,
    }
    for name, text in files.items():
        (policies / name).parent.mkdir(parents=True, exist_ok=True)
        (policies / name).write_text(text, encoding="utf-8")
    (policies / "binary").mkdir()
    (policies / "binary/v1.yaml").write_bytes(b"\xff\xfe")
    (policies / "LOCK.json").write_text(json.dumps({"small": {"1": "0" * 64, "9": "0" * 64}}))
    found = {f.code for f in check(policies)}
    (policies / "LOCK.json").write_text("[]")
    return found | {f.code for f in check(policies)}


ONLY_IN_A_DIRECTORY = {
    "file", "encoding", "effective-overlap", "repin", "lock", "released-changed",
    "released-missing",
}  # fmt: skip


def test_what_only_a_directory_shows_is_told(tmp_path: Path) -> None:
    assert in_a_directory(tmp_path) >= ONLY_IN_A_DIRECTORY


def test_every_code_of_the_page_is_told_here() -> None:
    listed = PAGE[PAGE.index("Codes:") : PAGE.index("## In Python")]
    codes = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", listed))
    told = {code for _, _, code in marked(FIFTY)[1]} | set(ALONE) | ONLY_IN_A_DIRECTORY
    assert codes - told <= {"too-complex"}  # its table is in test_analysis.py
    assert told <= codes


BOMB = "a: &a [" + "x, " * 9 + "x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [" + f"*{chr(97 + n)}, " * 9 + f"*{chr(97 + n)}]\n"
    for n in range(12)
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("# " + "x" * 10_000_000, "size"),
        (BOMB, "unsafe"),
        ("a: !!python/object/apply:os.system ['true']\n", "unsafe"),
        (changed("version: 1", "version: 1\nversion: 1"), "duplicate-key"),
        (changed("max: 600", "max: 600.0"), "float"),
        (changed('"2026-01-01"', "2026-01-01"), "unquoted-date"),
        (changed('"2026-01-01"', '"01.12.2026"'), "wrong-type"),
        (changed('"2026-01-01"', '"2026-1-1"'), "wrong-type"),
    ],
    ids=["10 MB", "a bomb", "a tag", "a key twice", "a float", "no quotes", "dots", "digits"],
)
def test_a_hostile_or_sloppy_text_is_refused(text: str, code: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        Pack.from_text(text)
    assert code in {f.code for f in caught.value.findings}
