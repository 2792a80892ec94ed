"""Catalogues by kind, and what refers to them: inputs, lists, choices, costs."""

from __future__ import annotations

import pytest

from decisions import FactError, Pack
from domain.errors import InvalidRequest
from tests.decisions.builders import NOON, SMALL, SMALL_FACTS, changed, findings_of, money

OFFERS = """\
languages: [en]
texts: {offer.cut: {en: A third off}}
catalogues:
  reasons: {price: {kind: reason}, other: {kind: reason, text: offer.cut}}
  offers:
    cut:    {kind: discount, limit_bps: 3000, months: 6, text: offer.cut, cost: {of: price, times: 6, bps: 3000, round: half_even}}
    rest:   {kind: pause, months: 1}
    gift:   {kind: external, points: 500, cost: {usd: 250, eur: 220}}
"""  # noqa: E501 - an item of a catalogue stands on one line

WITH_OFFERS = changed("currencies:", f"{OFFERS}currencies:")


def with_item(item: str) -> str:
    return changed("    rest:   {kind: pause, months: 1}", f"    rest:   {item}", WITH_OFFERS)


@pytest.mark.parametrize(
    "item",
    [
        "{kind: discount, amount_minor: {usd: 1, eur: 1}, months: 120}",
        "{kind: discount, limit_bps: 10000, amount_minor: {usd: 1, eur: 1, krw: 9}, months: 1}",
        "{kind: pause, days: 3650}", "{kind: plan_change, plan: basic}",
        "{kind: trial_extension, days: 1}", "{kind: account_credit, limit_bps: 1}",
        "{kind: fee_waiver, amount_minor: {usd: 1, eur: 1}}", "{kind: agent_offer}",
        "{kind: external, voucher: TEN, flag: vip}", "{kind: channel}",
        "{kind: fee_type}", "{kind: claim}", "{kind: tier}", "{kind: blocker}", "{kind: duty}",
        "{kind: action, text: offer.cut}",
    ],
)  # fmt: skip
def test_every_kind_takes_its_parameters(item: str) -> None:
    assert "rest" in Pack.from_text(with_item(item)).catalogues["offers"]


@pytest.mark.parametrize(
    ("item", "code", "nearest"),
    [
        ("»{months: 1}", "missing-key", ""),
        ("{kind: »discont, months: 1}", "unknown-value", "discount"),
        ("»{kind: discount, limit_bps: 1000}", "missing-key", ""),
        ("»{kind: discount, months: 3}", "missing-key", ""),
        ("{kind: discount, limit_bps: 1000, months: 3, »month: 3}", "unknown-key", "months"),
        ("{kind: pause, months: 1, »limit_bps: 10}", "unknown-key", ""),
        ("{kind: pause, months: »0}", "out-of-range", ""),
        ("{kind: pause, months: »121}", "out-of-range", ""),
        ("{kind: pause, months: »one}", "wrong-type", ""),
        ("{kind: account_credit, limit_bps: »0}", "out-of-range", ""),
        ("{kind: account_credit, limit_bps: »10001}", "out-of-range", ""),
        ("{kind: account_credit, amount_minor: »5}", "wrong-type", ""),
        ("{kind: account_credit, amount_minor: »{usd: 5}}", "missing-currency", ""),
        ("{kind: account_credit, amount_minor: {usd: »0, eur: 1}}", "out-of-range", ""),
        ("{kind: plan_change, plan: »5}", "wrong-type", ""),
        ("{kind: channel, »first_response: 1bd}", "unknown-key", ""),
        ("{kind: reason, text: »offer.cu}", "unknown-value", "offer.cut"),
        ("{kind: reason, »cost: {usd: 1, eur: 1}}", "unknown-key", ""),
        ("{kind: pause, months: 1, cost: {of: »prize}}", "undefined-input", "price"),
        ("»pause", "wrong-type", ""),
    ],
)
def test_a_broken_item_is_told_in_its_place(item: str, code: str, nearest: str) -> None:
    before, _, after = with_item(item).partition("»")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = [(f.line, f.column, f.code, f.nearest) for f in findings_of(before + after)]
    assert found == [(line, column, code, nearest)]


def test_what_an_offer_costs_is_computed_from_the_facts() -> None:
    pack = Pack.from_text(WITH_OFFERS)
    facts = {**SMALL_FACTS, "price": money(1999)}
    assert pack.cost("offers", "cut", facts) == money(3598)  # 3,598.2
    assert pack.cost("offers", "gift", {**facts, "price": money(5, "eur")}) == money(220, "eur")
    assert pack.cost("offers", "rest", facts) is None
    with pytest.raises(LookupError, match=r"no offers\.nothing"):
        pack.cost("offers", "nothing", facts)
    with pytest.raises(FactError, match="price: is missing"):
        pack.cost("offers", "cut", {k: v for k, v in facts.items() if k != "price"})


def test_an_inputs_words_may_be_those_of_a_catalogue() -> None:
    text = changed(
        "  stuck:", "  reason: {type: enum, of: catalogue.reasons}\n  stuck:", WITH_OFFERS
    )
    text = text.replace("given: {", "given: {reason: price, ")
    pack = Pack.from_text(text)
    assert pack.inputs["reason"].values == ("price", "other")
    with pytest.raises(FactError, match="reason: prize is not allowed; allowed: price, other"):
        pack.decide({**SMALL_FACTS, "reason": "prize"}, NOON)
    [finding] = findings_of(text.replace("of: catalogue.reasons", "of: catalogue.reason"))
    assert (finding.code, finding.nearest) == ("undefined-catalogue", "catalogue.reasons")
    both = text.replace("of: catalogue.reasons", "of: catalogue.reasons, values: [a]")
    assert [f.code for f in findings_of(both)] == ["unknown-key"]
    number = text.replace(
        "{type: enum, of: catalogue.reasons}", "{type: int, of: catalogue.reasons}"
    )
    assert "unknown-key" in [f.code for f in findings_of(number)]


FIELDS = "fields: {amount: {type: money}, until: {type: date}}"
ENTRIES = '[{id: cut, amount: {of: price, bps: 5000, round: down}, until: {in: 30d}}, {id: gift, amount: {usd: 5, eur: 4}, until: "2027-01-01"}]'  # noqa: E501


def choosing(entries: str = ENTRIES, kind: str = "choice", fields: str = FIELDS) -> str:
    declared = f"  pick: {{type: {kind}, of: catalogue.offers, {fields}}}\n"
    text = changed("outputs:\n", f"outputs:\n{declared}", WITH_OFFERS)
    text = text.replace("then: {", f"then: {{pick: {ENTRIES}, ")
    return text.replace(ENTRIES, entries, 1)


@pytest.mark.parametrize("kind", ["list", "choice"])
def test_entries_keep_their_order_and_carry_their_fields(kind: str) -> None:
    found = Pack.from_text(choosing(kind=kind)).decide(SMALL_FACTS, NOON).outputs["pick"]
    assert found == [
        {"id": "cut", "amount": {"amount_minor": 250, "currency": "usd"}, "until": "2026-12-31"},
        {"id": "gift", "amount": {"amount_minor": 5, "currency": "usd"}, "until": "2027-01-01"},
    ]


def test_a_customer_takes_one_of_what_was_offered() -> None:
    pack = Pack.from_text(choosing())
    decision = pack.decide(SMALL_FACTS, NOON)
    assert pack.chosen(decision, "pick", "gift")["until"] == "2027-01-01"
    with pytest.raises(InvalidRequest) as caught:
        pack.chosen(decision, "pick", "rest")
    assert (caught.value.field, caught.value.allowed) == ("pick", "cut, gift")
    with pytest.raises(LookupError, match="no choice 'answer'"):
        pack.chosen(decision, "answer", "yes")


def test_a_choice_of_plain_ids_is_a_choice_too() -> None:
    text = choosing().replace(f", {FIELDS}", "").replace(ENTRIES, "[cut, rest]")
    pack = Pack.from_text(text)
    decision = pack.decide(SMALL_FACTS, NOON)
    assert decision.outputs["pick"] == ["cut", "rest"]
    assert pack.chosen(decision, "pick", "rest") == {"id": "rest"}


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ("»[]", "empty-choice"),
        ("[»{amount: {usd: 1, eur: 1}, until: {in: 1d}}]", "missing-key"),
        ("[»{id: cut, until: {in: 1d}}]", "missing-key"),
        ("[{id: »cutt, amount: {usd: 1, eur: 1}, until: {in: 1d}}]", "unknown-value"),
        ("[{id: cut, amount: »{usd: 1}, until: {in: 1d}}]", "missing-currency"),
        ("[{id: cut, amount: {usd: 1, eur: 1}, until: {in: »1}}]", "wrong-type"),
        ("[{id: cut, »amout: {usd: 1, eur: 1}, amount: {usd: 1, eur: 1}, until: {in: 1d}}]",
         "unknown-key"),
        ("[»cut]", "wrong-type"),
        ("»cut", "wrong-type"),
        ("»{id: cut}", "wrong-type"),
    ],
)  # fmt: skip
def test_a_broken_entry_is_told_in_its_place(entries: str, code: str) -> None:
    before, _, after = choosing(entries).partition("»")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = [(f.line, f.column, f.code) for f in findings_of(before + after)]
    assert found == [(line, column, code)]


def test_an_id_stands_once_in_a_list() -> None:
    entry = "{id: gift, amount: {usd: 1, eur: 1}, until: {in: 1d}}"
    assert [f.code for f in findings_of(choosing(f"[{entry}, {entry}]"))] == ["duplicate-value"]


def test_fields_belong_to_lists_and_have_names() -> None:
    for declared, code in (
        ("{type: item, of: catalogue.offers, fields: {until: {type: date}}}", "unknown-key"),
        ("{type: list, of: catalogue.offers, fields: {id: {type: date}}}", "name"),
        ("{type: list, of: catalogue.offers, fields: {until: {type: list}}}", "unknown-value"),
    ):
        text = changed("outputs:\n", f"outputs:\n  pick: {declared}\n", WITH_OFFERS)
        assert code in [f.code for f in findings_of(text)]


STAGED = """\
format: 1
policy: staged
version: 1
effective_from: "2026-01-01"
owner: tests
inputs:
  debt:    {type: bool}
  dispute: {type: bool}
catalogues:
  blockers: {debt: {kind: blocker}, dispute: {kind: blocker}}
tables:
  - table: blockers
    hit: collect
    outputs: {blocker: {type: item, of: catalogue.blockers}}
    rules:
      - {id: DEBT, why: money is owed, when: {debt: true}, then: {blocker: debt}}
      - {id: DISPUTE, why: it is disputed, when: {dispute: true}, then: {blocker: dispute}}
  - table: answer
    outputs: {answer: {type: enum, values: [go, wait, stop]}}
    rules:
      - {id: FREE, why: nothing blocks, when: {blockers.blocker: {subset: []}}, then: {answer: go}}
      - id: STOP
        why: a dispute
        when: {blockers.blocker: {any_of: [dispute]}}
        then: {answer: stop}
      - {id: WAIT, why: the rest, when: {}, then: {answer: wait}}
examples:
  - {given: {debt: true, dispute: false}, expect: {blocker: [debt], answer: wait}}
"""


@pytest.mark.parametrize(
    ("debt", "dispute", "blockers", "answer"),
    [
        (False, False, [], "go"), (True, False, ["debt"], "wait"),
        (False, True, ["dispute"], "stop"), (True, True, ["debt", "dispute"], "stop"),
    ],
)  # fmt: skip
def test_a_later_table_asks_about_all_that_a_collecting_one_gathered(
    debt: bool, dispute: bool, blockers: list[str], answer: str
) -> None:
    decision = Pack.from_text(STAGED).decide({"debt": debt, "dispute": dispute}, NOON)
    assert decision.outputs == {"blocker": blockers, "answer": answer}


def test_the_small_policy_needs_no_catalogue() -> None:
    assert Pack.from_text(SMALL).catalogues == {}
    assert Pack.from_text(SMALL).counters == {}
