"""Results of the policy engine, as every room reads them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict


class TraceLine(NamedTuple):
    """Why a rule before the one that fired did not: the one input that ruled it out.

    ``seen`` is the value met and ``allowed`` the condition, both in words. A tuple, since a
    decision makes dozens of them.
    """

    table: str
    rule: str
    input: str
    seen: str
    allowed: str


class FiredRule(BaseModel):
    """The rule of one table that decided, with its reason in words."""

    model_config = ConfigDict(frozen=True)

    table: str
    rule: str
    why: str
    outputs: dict[str, Any]


class Decision(BaseModel):
    """What a pack said about some facts, and everything needed to say it again.

    ``facts`` are the inputs by name in JSON types; money is ``{"amount_minor", "currency"}``.
    ``outputs`` joins the outputs of all tables that ran, by output name.
    """

    model_config = ConfigDict(frozen=True)

    policy: str
    version: int
    hash: str
    rule: str
    why: str
    fired: tuple[FiredRule, ...]
    trace: tuple[TraceLine, ...]
    facts: dict[str, Any]
    outputs: dict[str, Any]


class RefundVerdict(StrEnum):
    APPROVE = "approve"
    REFUSE = "refuse"
    ASK = "ask"
    """The customer is asked for something first; then it is decided again."""


class RefundMethod(StrEnum):
    ORIGINAL = "original"
    ACCOUNT_CREDIT = "account_credit"
