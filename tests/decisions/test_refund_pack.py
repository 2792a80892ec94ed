"""The shipped refund policy: below, at and above each of its limits, and what it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisions import Pack, facts_from_json
from domain.actors import Role
from domain.decisions import Decision, RefundMethod, RefundVerdict
from domain.money import Money
from domain.refunds import RefundReason
from tests.decisions.builders import NOON, REFUND_FACTS, money, shipped

PACK = shipped("refund")
EXPENSES = shipped("expense-log")

# about the worth of one US dollar, in minor units, as the file's limits are written
UNITS = {"usd": 100, "eur": 100, "gbp": 80, "mxn": 1800, "krw": 1400, "jpy": 150, "kwd": 300}


def decide(**facts: Any) -> Decision:
    return PACK.decide({**REFUND_FACTS, **facts}, NOON)


def of(amount_minor: int, currency: str = "usd") -> dict[str, Money]:
    """The facts of a charge of which all is asked back."""
    return {name: money(amount_minor, currency) for name in ("amount", "remainder", "captured")}


def route(amount_minor: int, currency: str = "usd", **facts: Any) -> Any:
    return decide(**of(amount_minor, currency), **facts).outputs["route"]


@pytest.mark.parametrize("currency", UNITS)
@pytest.mark.parametrize(
    ("limit", "facts", "within", "beyond"),
    [
        (50, {"reason": "duplicate_charge", "twin_charge_hours": 72}, "auto", "agent"),
        (200, {"reason": "duplicate_charge", "twin_charge_hours": 72}, "agent", "lead"),
        (20, {"reason": "courtesy"}, "agent", "lead"),
        (200, {}, "agent", "lead"),
        (1000, {}, "lead", "finance"),
        (5000, {}, "finance", "finance_two"),
    ],
)
def test_routing_changes_one_minor_unit_above_each_limit(
    currency: str, limit: int, facts: dict[str, Any], within: str, beyond: str
) -> None:
    at = limit * UNITS[currency]
    assert route(at - 1, currency, **facts) == within
    assert route(at, currency, **facts) == within
    assert route(at + 1, currency, **facts) == beyond


@pytest.mark.parametrize(
    ("name", "at", "facts", "below", "above", "inclusive"),
    [
        ("charge_age_days", 540, {}, "REASONED", "TOO_OLD", True),
        ("concessions_12m", 3, {"reason": "courtesy"}, "REASONED", "COURTESY_SPENT", False),
        ("tenure_days", 30, {"reason": "courtesy"}, "COURTESY_NEW", "REASONED", False),
        ("charge_age_days", 56, {"instrument": "bank_debit"}, "DEBIT_WINDOW", "REASONED", False),
        (
            "twin_charge_hours",
            72,
            {"reason": "duplicate_charge"},
            "DUPLICATE_FOUND",
            "DUPLICATE_UNSEEN",
            True,
        ),
    ],
)
def test_eligibility_changes_exactly_at_its_limits(
    name: str, at: int, facts: dict[str, Any], below: str, above: str, inclusive: bool
) -> None:
    assert decide(**{**facts, name: at - 1}).rule == below
    assert decide(**{**facts, name: at}).rule == (below if inclusive else above)
    assert decide(**{**facts, name: at + 1}).rule == above


@pytest.mark.parametrize(
    ("name", "at", "below", "above"),
    [
        ("refunds_12m", 4, "SMALL", "MANY_REFUNDS"),
        ("refusals_same_charge", 1, "SMALL", "ASKED_BEFORE"),
    ],
)
def test_history_sends_a_case_to_a_lead(name: str, at: int, below: str, above: str) -> None:
    def rule(value: int) -> str:
        [fired] = [f for f in decide(**{name: value}).fired if f.table == "routing"]
        return fired.rule

    assert [rule(at - 1), rule(at), rule(at + 1)] == [below, above, above]


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"chargeback": "open"}, "CHARGEBACK_OPEN"),
        ({"chargeback": "unknown"}, "CHARGEBACK_OPEN"),
        ({"chargeback": "lost"}, "CHARGEBACK_LOST"),
        ({"charge_status_captured": False}, "NOT_CAPTURED"),
        ({"remainder": money(0)}, "NOTHING_LEFT"),
        ({"amount": money(0)}, "NOTHING_ASKED"),
        ({"charge_refundable": False}, "NOT_REFUNDABLE"),
        ({"charge_age_days": 55, "instrument": "bank_debit"}, "DEBIT_WINDOW"),
        ({"instrument_refundable": False}, "INSTRUMENT_GONE"),
        ({"chargeback": "inquiry", "instrument_refundable": False}, "INQUIRY_GONE"),
    ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_what_freezes_a_charge_freezes_it_for_linked_refunds_too(
    facts: dict[str, Any], rule: str, linked: bool
) -> None:
    decision = decide(**{**facts, "linked": linked})
    assert (decision.rule, decision.outputs["verdict"]) == (rule, "refuse")
    assert "route" not in decision.outputs
    assert "amount" not in decision.outputs


def test_a_linked_refund_needs_no_second_approval() -> None:
    decision = decide(linked=True, **of(10**8))
    assert (decision.rule, decision.outputs["route"]) == ("LINKED", "auto")


def test_an_inquiry_is_urgent_and_a_won_chargeback_frees_the_charge() -> None:
    inquiry = decide(chargeback="inquiry")
    assert (inquiry.outputs["verdict"], inquiry.outputs["priority"]) == ("approve", "urgent")
    assert decide(chargeback="won").outputs == decide().outputs


def test_a_duplicate_that_was_not_found_goes_to_a_person_and_is_not_refused() -> None:
    decision = decide(reason="duplicate_charge")
    assert decision.outputs["verdict"] == "approve"
    assert decision.outputs["route"] == "lead"


def test_more_than_the_remainder_is_never_granted() -> None:
    assert decide(amount=money(9000)).outputs["amount"]["amount_minor"] == 4000


def test_credit_is_given_only_with_consent() -> None:
    for gone in ({"instrument_refundable": False}, {"charge_age_days": 541}):
        assert decide(**gone).outputs["verdict"] == "refuse"
        agreed = decide(**gone, consents_to_credit=True)
        assert agreed.outputs["method"] == "account_credit"
    assert decide(consents_to_credit=True).outputs["method"] == "original"


@pytest.mark.parametrize("currency", UNITS)
def test_proof_of_what_was_not_as_agreed_is_wanted_above_the_limit_and_only_once(
    currency: str,
) -> None:
    limit = 100 * UNITS[currency]
    within, beyond = (of(amount, currency) for amount in (limit, limit + 1))
    unlike = {"reason": "not_as_agreed"}
    assert decide(**within, **unlike).outputs["verdict"] == "approve"
    assert decide(**beyond, **unlike).outputs["verdict"] == "ask"
    assert decide(**beyond, **unlike, evidence_items=1).outputs["verdict"] == "approve"
    given = decide(**beyond, **unlike, information="given", evidence_items=1)
    assert given.outputs["verdict"] == "approve"
    assert decide(**beyond, **unlike, information="silent").rule == "PROOF_MISSING"


def test_the_pack_speaks_the_words_of_the_domain() -> None:
    assert PACK.inputs["reason"].values == tuple(reason.value for reason in RefundReason)
    assert PACK.inputs["requester_role"].values == tuple(role.value for role in Role)
    outputs = {name: kind for table in PACK.tables for name, kind in table.outputs.items()}
    assert outputs["verdict"].values == tuple(verdict.value for verdict in RefundVerdict)
    assert outputs["method"].values == tuple(method.value for method in RefundMethod)


def said_to_customers(pack: Pack) -> list[str]:
    """The texts of refusals and of questions."""
    return [
        rule.then["reason"].value  # type: ignore[union-attr]
        for rule in pack.tables[0].rules
        if rule.then["verdict"].value != "approve"  # type: ignore[union-attr]
    ]


@pytest.mark.parametrize("pack", [PACK, EXPENSES], ids=["refund", "expense-log"])
def test_every_refusal_and_question_has_a_text_in_every_language(pack: Pack) -> None:
    keys = said_to_customers(pack)
    assert keys
    for key in keys:
        texts = [pack.text(key, language) for language in ("en", "es", "ko")]
        assert len(set(texts)) == 3
        assert all(len(text) > 15 and "\n" not in text for text in texts)
    assert set(pack.texts) == set(keys), "a text that nothing refers to"


def test_an_agent_can_fill_what_is_routed_to_agents_and_so_on_up() -> None:
    for route_id, limit, role in (
        ("agent", 200, Role.AGENT), ("lead", 1000, Role.LEAD), ("finance", 5000, Role.FINANCE),
    ):  # fmt: skip
        assert role in PACK.route(route_id)[0].roles
        for currency, unit in UNITS.items():
            amount = money(limit * unit, currency)
            assert PACK.why_may_not(role, "refund", amount, money(0, currency)) is None


def amounts(currency: str) -> st.SearchStrategy[Money]:
    return st.builds(lambda n: money(n, currency), st.integers(0, 10**9))


@st.composite
def any_facts(draw: st.DrawFn) -> dict[str, Any]:
    """Any facts that the policy allows, in one currency."""
    currency = draw(st.sampled_from(sorted(UNITS)))
    found: dict[str, Any] = {}
    for name, kind in PACK.inputs.items():
        match kind.kind:
            case "enum":
                found[name] = draw(st.sampled_from(kind.values))
            case "bool":
                found[name] = draw(st.booleans())
            case "money":
                found[name] = draw(amounts(currency))
            case _:
                found[name] = draw(st.integers(kind.low, min(kind.high, 1000)))
    return found


@settings(max_examples=100)
@given(any_facts())
def test_any_facts_are_decided_safely_and_can_be_decided_again(facts: dict[str, Any]) -> None:
    decision = PACK.decide(facts, NOON)
    outputs = decision.outputs
    if facts["chargeback"] in ("open", "lost") or not facts["charge_refundable"]:
        assert outputs["verdict"] == "refuse"
    if outputs["verdict"] == "approve":
        granted = Money.model_validate(outputs["amount"])
        assert money(0, granted.currency) < granted
        assert granted <= facts["remainder"]
        assert granted <= facts["amount"]
        assert outputs["method"] == "original" or facts["consents_to_credit"]
        for slot in PACK.route(outputs["route"]):
            assert slot.roles
    else:
        assert PACK.text(outputs["reason"], "en")
    stored = Decision.model_validate_json(decision.model_dump_json())
    restored = facts_from_json(PACK, stored.facts)
    assert PACK.decide(restored, NOON) == decision == stored


def test_an_expense_needs_exactly_one_yes_from_a_lead() -> None:
    decision = EXPENSES.decide({**REFUND_FACTS, **of(2685, "eur")}, NOON)
    assert decision.outputs == {
        "verdict": "approve", "reason": None, "method": "original", "route": "supervisor",
        "amount": {"amount_minor": 2685, "currency": "eur"}, "priority": "normal",
    }  # fmt: skip
    [slot] = EXPENSES.route("supervisor")
    assert slot.roles == (Role.LEAD,)
    may = EXPENSES.why_may_not
    assert may(Role.LEAD, "refund", money(1_000_000, "eur"), money(0, "eur")) is None
    assert may(Role.LEAD, "refund", money(1_000_001, "eur"), money(0, "eur")) is not None
    assert may(Role.FINANCE, "refund", money(1, "eur"), money(0, "eur")) is not None


def test_nothing_of_an_expense_is_refused_with_a_text() -> None:
    decision = EXPENSES.decide({**REFUND_FACTS, **of(0, "eur")}, NOON)
    assert decision.outputs["reason"] == "refund.nothing_asked"


def test_the_log_s_policy_reads_no_fact_that_a_refund_does_not_have() -> None:
    assert set(EXPENSES.inputs) < set(PACK.inputs)
    assert set(PACK.inputs) - set(EXPENSES.inputs) == {
        "twin_charge_hours", "appeal", "alternative", "information", "evidence_items",
    }  # fmt: skip
