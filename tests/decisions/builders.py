"""Builders for the tests of the policy engine: small policies as text, usual facts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decisions import Finding, Library, Pack, PolicyErrors
from decisions.findings import Collector
from decisions.source import parse
from domain.canonical import canonical_json
from domain.money import Money

ROOT = Path(__file__).resolve().parent.parent.parent
POLICIES = ROOT / "policies"
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)

# ruff: noqa: E501 - a rule of a policy stands on one line
SMALL = """\
format: 1
policy: small
version: 1
effective_from: "2026-01-01"
owner: tests
currencies: [usd, eur]
inputs:
  plan:   {type: enum, values: [basic, pro]}
  tenure: {type: int, min: 0, max: 600}
  price:  {type: money, min: 0}
  since:  {type: days, min: 0, max: 1000, nullable: true}
  flags:  {type: set, values: [vip, staff, risk]}
  stuck:  {type: bool}
outputs:
  answer: {type: enum, values: [yes, no]}
  cap:    {type: money}
rules:
  - {id: LOYAL, why: two years, when: {tenure: {gte: 24}}, then: {answer: yes, cap: {usd: 100, eur: 90}}}
  - {id: REST, why: everybody else, when: {}, then: {answer: no, cap: {usd: 0, eur: 0}}}
examples:
  - given: {plan: basic, tenure: 24, price: {usd: 500}, since: null, flags: [], stuck: false}
    expect: {rule: LOYAL}
"""

SMALL_FACTS: dict[str, Any] = {
    "plan": "basic",
    "tenure": 24,
    "price": Money(amount_minor=500, currency="usd"),
    "since": None,
    "flags": frozenset[str](),
    "stuck": False,
}


def money(amount_minor: int, currency: str = "usd") -> Money:
    return Money(amount_minor=amount_minor, currency=currency)


def changed(old: str, new: str, text: str = SMALL) -> str:
    """``text`` with one place changed; the place must be there."""
    assert text.count(old) >= 1, old
    return text.replace(old, new, 1)


def unchecked(text: str) -> Pack:
    """The pack of a text without running its examples."""
    into = Collector()
    node = parse(text, "small.yaml", into)
    assert node is not None
    assert not into.findings
    return Pack.from_content(canonical_json(node.plain()))


def findings_of(text: str) -> tuple[Finding, ...]:
    """What is wrong with a policy; the test fails when it loads."""
    with pytest.raises(PolicyErrors) as caught:
        Pack.from_text(text, "small.yaml")
    assert caught.value.findings, "refused without a finding"
    return caught.value.findings


def shipped(name: str) -> Pack:
    return Library.load(POLICIES).versions(name)[-1]


REFUND_FACTS: dict[str, Any] = {
    "reason": "service_unavailable",
    "amount": money(2500),
    "remainder": money(4000),
    "captured": money(4000),
    "charge_age_days": 12,
    "charge_status_captured": True,
    "instrument": "card",
    "instrument_refundable": True,
    "twin_charge_hours": None,
    "tenure_days": 400,
    "refunds_12m": 0,
    "concessions_12m": 0,
    "refusals_same_charge": 0,
    "chargeback": "none",
    "charge_refundable": True,
    "jurisdiction": "US",
    "requester_role": "customer",
    "linked": False,
    "consents_to_credit": False,
    "appeal": False,
    "alternative": "none",
    "information": "not_asked",
    "evidence_items": 0,
}
