"""How the sandbox behaves where Stripe's behaviour depends on banks, issuers and luck."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

# What becomes of a refund. "by_instrument" follows the test card, as in docs.stripe.com/testing.
REFUND_BEHAVIOURS = (
    "by_instrument",
    "arrives",  # succeeded at once, the bank's reference after business days
    "silent",  # succeeded at once, no reference ever: arrival cannot be proven
    "reference_unavailable",  # succeeded at once, then the network says there is no reference
    "pending",  # pending, succeeded after business days
    "low_balance",  # pending for insufficient_funds, succeeded after business days
    "stuck",  # pending for ever
    "fails",  # succeeded at once, failed after business days
    "pending_fails",  # pending, failed after business days
    "requires_action",  # the customer has to answer an e-mail
)


@dataclass(frozen=True)
class Settings:
    """Days are business days for refunds and calendar days for disputes."""

    settle_days_min: int = 3
    settle_days_max: int = 3
    refund_behaviour: str = "by_instrument"
    refund_failure_reason: str = "expired_or_canceled_card"
    dispute_response_days: int = 14
    dispute_review_days: int = 60
    dispute_outcome: str = "lost"
    inquiry_days: int = 120
    webhook_timeout_ms: int = 10_000
    webhook_retry_ms: tuple[int, ...] = (500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000)
    webhook_concurrency: int = 1
    journal_limit: int = 0  # entries kept, the newest; 0 keeps all
    seed: int = 0

    def changed(self, change: dict[str, Any]) -> Settings:
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in change.items():
            if name not in known:
                raise ValueError(f"no such setting: {name}")
            if isinstance(known[name], tuple):
                if not isinstance(value, list) or not all(type(each) is int for each in value):
                    raise ValueError(f"{name} is a list of whole numbers")
                change = {**change, name: tuple(value)}
            elif type(value) is not type(known[name]):
                raise ValueError(f"{name} is of type {type(known[name]).__name__}")
        after = replace(self, **change)
        after.check()
        return after

    def check(self) -> None:
        if not 0 <= self.settle_days_min <= self.settle_days_max:
            raise ValueError("settle_days_min must be from 0 to settle_days_max")
        if self.refund_behaviour not in REFUND_BEHAVIOURS:
            raise ValueError(f"refund_behaviour is one of {', '.join(REFUND_BEHAVIOURS)}")
        if self.webhook_concurrency < 1:
            raise ValueError("webhook_concurrency is at least 1")
        if self.dispute_outcome not in ("won", "lost"):
            raise ValueError("dispute_outcome is won or lost")

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"webhook_retry_ms": list(self.webhook_retry_ms)}
