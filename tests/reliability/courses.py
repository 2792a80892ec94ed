"""The course of a whole case, drawn from a seed: money, people, time, the provider, the faults;
and what is done about its end, when it goes on as another.

Pure: the same seed is the same course for ever, whatever else runs beside it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from domain.actors import Actor, Role
from domain.approvals import Action
from domain.cases import Channel, Desk
from domain.decisions import RefundMethod
from domain.refunds import RefundReason
from tests.workflows.builders import AGENT, AUDITOR, CUSTOMER, FINANCE, LEAD, SERVICE

UNITS = {"usd": 1, "jpy": 1, "kwd": 10}
"""What the tests' pack counts its limits in: 5,000 of these ask nobody, 50,000 one person. Stripe
takes three-decimal amounts in tens (docs.stripe.com/currencies#three-decimal)."""

GENEROUS = "generous"
"""The pack that hears appeals and offers other ways; no case of another goes on."""

POLICIES = {
    "usd": ("refund", "patient", *[GENEROUS] * 4, *["asking"] * 3),
    "jpy": ("refund",),
    "kwd": ("refund",),
}
"""Those of the tests' packs that know the currency."""

REASONS = {GENEROUS: (*[RefundReason.COURTESY] * 4, *RefundReason)}
"""What is asked for, where the policy has a no for it that may be appealed."""

BEHAVIOURS = (
    *["arrives"] * 3,
    *["silent"] * 3,
    "reference_unavailable",
    "pending",
    "low_balance",
    "stuck",
    "fails",
    "pending_fails",
    "requires_action",
)
BEHAVIOURS_BY_POLICY = {GENEROUS: (*["fails"] * 6, *BEHAVIOURS)}
"""What becomes of a refund, where the policy pays another way what comes back."""

ORDER_FAULTS = (
    {"kind": "lost_after_commit"},
    {"kind": "reset_before"},
    {"kind": "status_409"},
    {"kind": "status_429"},
    {"kind": "status_503"},
    {"kind": "status_500", "committed": True},
    {"kind": "status_500", "kept": False},
    {"kind": "truncated"},
    {"kind": "html"},
    {"kind": "html", "committed": True},
)
READ_FAULTS = ("status_503", "status_429", "reset_before", "truncated", "html")

PEOPLE: tuple[Actor, ...] = (
    AGENT,
    LEAD,
    FINANCE,
    FINANCE.model_copy(update={"id": "finance-2"}),
    SERVICE,  # who asked for it
    CUSTOMER,
    AUDITOR,
)


class Does(Enum):
    """What may happen to a case at one turn of its course."""

    APPROVE = auto()
    APPROVE_TOGETHER = auto()
    JUDGE = auto()
    STALE = auto()
    CONTACT = auto()
    TRANSFER = auto()
    DELEGATE = auto()
    ASK_AGAIN = auto()
    REUSE = auto()
    WAIT = auto()
    DISPUTE = auto()
    INQUIRY = auto()
    OUTSIDE = auto()
    BANK = auto()
    EVIDENCE = auto()
    APPEAL = auto()
    ACCEPT = auto()


OFTEN = {
    Does.APPROVE: 8, Does.APPROVE_TOGETHER: 3, Does.WAIT: 5, Does.CONTACT: 2, Does.JUDGE: 2,
    Does.ASK_AGAIN: 2, Does.EVIDENCE: 2,
}  # fmt: skip
MEANWHILE = tuple(each for each in Does for _ in range(OFTEN.get(each, 1)))
MEANWHILE_BY_POLICY = {"asking": (*MEANWHILE, *[Does.EVIDENCE] * 10)}
AT_AN_END = (*[Does.APPEAL] * 3, *[Does.ACCEPT] * 4, Does.EVIDENCE)
OF_ANYBODY = frozenset({Does.EVIDENCE, Does.APPEAL, Does.ACCEPT})
"""What may be tried on a case that has ended too; most often it is the customer who does."""

NEWS = "news"
SAID_BEFORE = "said before"
WORDS: dict[Does, tuple[str, ...]] = {
    Does.BANK: ("failed", "reference"),
    Does.DISPUTE: ("", "won", "lost"),
    Does.INQUIRY: ("", "warning_closed"),
    Does.EVIDENCE: ("a statement", "receipt.png", "letter.txt"),
    Does.APPEAL: (*[NEWS] * 6, SAID_BEFORE, ""),
    Does.ACCEPT: (*[RefundMethod.ACCOUNT_CREDIT.value] * 3, RefundMethod.ORIGINAL.value),
}


@dataclass(frozen=True)
class Turn:
    """``by`` and ``to`` are people, ``action`` what they decide; ``hours`` pass, ``amount`` is in
    minor units. ``word`` is what the bank says, how a dispute ends, which item is given, what an
    appeal says, or the way that is accepted."""

    does: Does
    by: Actor = AGENT
    to: Actor = AGENT
    action: Action = Action.APPROVE
    hours: int = 0
    amount: int = 0
    word: str = ""
    channel: Channel = Channel.EMAIL
    desk: Desk = Desk.BILLING


@dataclass(frozen=True)
class Course:
    """``asked`` None is all that is left. ``news`` is how often a webhook comes: 0, 1 or 2.
    ``order_faults`` and ``read_faults`` are the sandbox's, in the order in which they strike.

    ``turns`` are those of the first case. A case that ended meets ``ends``; each case by which it
    then goes on has ``order_faults`` of its own and lives through ``again``."""

    seed: int
    policy: str
    currency: str
    captured: int
    asked: int | None
    credit: bool
    reason: RefundReason
    behaviour: str
    news: int
    order_faults: tuple[dict[str, Any], ...]
    read_faults: tuple[dict[str, Any], ...]
    turns: tuple[Turn, ...]
    ends: tuple[Turn, ...]
    again: tuple[Turn, ...]


def course_of(seed: int) -> Course:
    dice = random.Random(seed)
    currency = dice.choice([*["usd"] * 5, "jpy", "kwd"])
    unit = UNITS[currency]
    asked = unit * dice.choice(
        [dice.randint(1, 5_000), dice.randint(5_001, 10_000), dice.randint(5_001, 90_000)]
    )
    captured = dice.choice([asked, asked + unit * dice.randint(1, 60_000), asked * 3])
    if dice.random() < 0.03:
        captured = max(unit, asked - unit)  # more than there is
    policy = dice.choice(POLICIES[currency])
    meanwhile = MEANWHILE_BY_POLICY.get(policy, MEANWHILE)
    return Course(
        seed=seed,
        policy=policy,
        currency=currency,
        captured=captured,
        asked=None if dice.random() < 0.1 else asked,
        credit=dice.random() < 0.2,
        reason=dice.choice(REASONS.get(policy, tuple(RefundReason))),
        behaviour=dice.choice(BEHAVIOURS_BY_POLICY.get(policy, BEHAVIOURS)),
        news=dice.choice([0, 1, 1, 2]),
        order_faults=tuple(
            {**dice.choice(ORDER_FAULTS), "count": 1} for _ in range(dice.choice([0, 0, 1, 1, 2]))
        ),
        read_faults=tuple(
            {"kind": dice.choice(READ_FAULTS), "skip": dice.randint(0, 5), "count": 1}
            for _ in range(dice.choice([0, 0, 1, 2]))
        ),
        turns=(
            *(_turn(dice, unit, meanwhile) for _ in range(dice.randint(0, 7))),
            *_approvals(dice),
        ),
        ends=tuple(_turn(dice, unit, AT_AN_END) for _ in range(dice.randint(1, 3))),
        again=(
            *(_turn(dice, unit, meanwhile) for _ in range(dice.randint(0, 2))),
            *_approvals(dice),
        ),
    )


def _approvals(dice: random.Random) -> tuple[Turn, ...]:
    return tuple(Turn(Does.APPROVE, by=by) for by in (LEAD, FINANCE) if dice.random() < 0.8)


def _turn(dice: random.Random, unit: int, among: Sequence[Does]) -> Turn:
    does = dice.choice(among)
    likely = {
        **dict.fromkeys((Does.APPROVE, Does.JUDGE), (LEAD, FINANCE)),
        **dict.fromkeys(OF_ANYBODY, (CUSTOMER,) * 6),
    }
    return Turn(
        does=does,
        by=dice.choice((*likely.get(does, ()), *PEOPLE)),
        to=dice.choice([person for person in PEOPLE if person.role is not Role.SERVICE]),
        action=dice.choice([Action.DECLINE, Action.WITHDRAW]),
        hours=dice.choice([1, 20, 30, 24 * 3, 24 * 6, 24 * 12]),
        amount=unit * dice.randint(1, 20_000),
        word=dice.choice(WORDS.get(does, ("",))),
        channel=dice.choice(list(Channel)),
        desk=dice.choice(list(Desk)),
    )
