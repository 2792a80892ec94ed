"""Double entry: what is held, posted, voided and reversed sums to nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.decisions import RefundMethod
from domain.money import Money, total
from ledger.postings import (
    TRANSIENT_PREFIXES,
    Entry,
    LedgerTransaction,
    TransactionKind,
    hold,
    outside,
    post,
    reversal,
    void,
)
from tests.ledger.builders import AT, usd

methods = st.sampled_from(RefundMethod)
amounts = st.builds(
    Money,
    amount_minor=st.integers(1, 10**15),
    currency=st.sampled_from(["usd", "jpy", "kwd"]),
)


def by_account(*transactions: LedgerTransaction) -> dict[str, Money]:
    entries = [entry for transaction in transactions for entry in transaction.entries]
    return {
        account: total((e.amount for e in entries if e.account == account), e_currency(entries))
        for account in {entry.account for entry in entries}
    }


def e_currency(entries: list[Entry]) -> str:
    return entries[0].amount.currency


@given(amount=amounts, method=methods)
def test_a_hold_and_its_void_leave_nothing(amount: Money, method: RefundMethod) -> None:
    left = by_account(hold("c", "hold", amount, AT), void("c", "void", amount, AT))
    assert not any(left.values())


@given(amount=amounts, method=methods)
def test_a_hold_and_its_post_leave_the_real_legs_only(amount: Money, method: RefundMethod) -> None:
    posted = post("c", "post", amount, method, "courtesy", "re_1", AT)
    left = by_account(hold("c", "hold", amount, AT), posted)
    real = {account: sum_ for account, sum_ in left.items() if sum_}
    expense, other = (
        ("expense:refunds:courtesy", "provider:stripe")
        if method is RefundMethod.ORIGINAL
        else ("expense:credits:courtesy", "liability:customer_credit")
    )
    assert real == {expense: amount, other: -amount}
    assert not any(account.startswith(TRANSIENT_PREFIXES) for account in real)


@given(amount=amounts, method=methods)
def test_a_reversal_takes_a_post_back_whole(amount: Money, method: RefundMethod) -> None:
    left = by_account(
        hold("c", "hold", amount, AT),
        post("c", "post", amount, method, "other", "re_1", AT),
        reversal("c", "reversal", amount, method, "other", "re_1", AT),
    )
    assert not any(left.values())


def test_a_transaction_that_does_not_balance_in_each_currency_is_none() -> None:
    entries = (
        Entry(account="pending:refunds", amount=usd(100)),
        Entry(account="clearing:refunds", amount=Money(amount_minor=-100, currency="eur")),
    )
    with pytest.raises(ValueError, match="c:hold does not balance"):
        LedgerTransaction(
            case_id="c", step="hold", kind=TransactionKind.HOLD, entries=entries, at=AT
        )


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_only_a_positive_amount_moves(amount_minor: int) -> None:
    amount, method = usd(amount_minor), RefundMethod.ORIGINAL
    with pytest.raises(ValueError, match="only a positive amount moves"):
        hold("c", "hold", amount, AT)
    with pytest.raises(ValueError, match="only a positive amount moves"):
        void("c", "void", amount, AT)
    with pytest.raises(ValueError, match="only a positive amount moves"):
        post("c", "post", amount, method, "other", "re_1", AT)
    with pytest.raises(ValueError, match="only a positive amount moves"):
        reversal("c", "reversal", amount, method, "other", "re_1", AT)
    with pytest.raises(ValueError, match="only a positive amount moves"):
        outside("re_1", "outside", amount, method, "re_1", AT)


def test_the_smallest_amount_moves() -> None:
    assert hold("c", "hold", usd(1), AT).entries[0].amount == usd(1)


def one(kind: TransactionKind) -> LedgerTransaction:
    """A transaction of the kind, of 1.00 USD, with its kind for a step."""
    whole: dict[str, Any] = {"case_id": "c", "step": kind.value, "amount": usd(100), "at": AT}
    why: dict[str, Any] = {"method": RefundMethod.ORIGINAL, "reason": "other"}
    match kind:
        case TransactionKind.HOLD:
            return hold(**whole)
        case TransactionKind.VOID:
            return void(**whole)
        case TransactionKind.POST:
            return post(**whole, **why, provider_id="re_1")
        case TransactionKind.REVERSAL:
            return reversal(**whole, **why, provider_id="re_1")
        case TransactionKind.OUTSIDE:
            return outside(**whole, method=why["method"], provider_id="re_1")


@pytest.mark.parametrize("kind", list(TransactionKind))
def test_a_transaction_says_whose_when_and_what_it_is_and_of_which_refund(
    kind: TransactionKind,
) -> None:
    made = one(kind)
    assert (made.case_id, made.step, made.kind, made.at) == ("c", kind.value, kind, AT)
    moved = kind in (TransactionKind.POST, TransactionKind.REVERSAL, TransactionKind.OUTSIDE)
    assert made.provider_id == ("re_1" if moved else "")


def test_a_refund_made_without_us_is_an_expense_of_no_known_reason() -> None:
    assert by_account(one(TransactionKind.OUTSIDE)) == {
        "expense:refunds:outside": usd(100),
        "provider:stripe": usd(-100),
    }


def test_pending_and_clearing_accounts_are_the_ones_that_are_empty_at_the_end() -> None:
    entries = one(TransactionKind.HOLD).entries
    assert all(entry.account.startswith(TRANSIENT_PREFIXES) for entry in entries)
    assert {entry.account.split(":")[0] for entry in entries} == {
        prefix.removesuffix(":") for prefix in TRANSIENT_PREFIXES
    }


NOTHING = (Entry(account="pending:refunds", amount=usd(0)),)
"""One leg, which would balance."""


@pytest.mark.parametrize(
    "change",
    [{"entries": ()}, {"entries": NOTHING}, {"case_id": ""}, {"step": ""}],
    ids=["no entries", "one entry", "no case", "no step"],
)
def test_a_transaction_has_two_legs_a_case_and_a_step(change: dict[str, Any]) -> None:
    whole = dict(one(TransactionKind.HOLD))
    assert LedgerTransaction(**whole) == one(TransactionKind.HOLD)
    with pytest.raises(ValidationError, match="at least"):
        LedgerTransaction(**{**whole, **change})


def test_a_shortest_name_is_one_letter_long() -> None:
    assert hold("c", "h", usd(1), AT).step == "h"


@pytest.mark.parametrize(
    "account", ["provider", "Provider:stripe", "provider:", ":stripe", "a:b c"]
)
def test_an_account_is_a_path_of_small_words(account: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        Entry(account=account, amount=usd(1))


def test_what_is_booked_does_not_change_under_those_who_hold_it() -> None:
    made = one(TransactionKind.HOLD)
    with pytest.raises(ValidationError, match="frozen"):
        made.step = "void"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        made.entries[0].amount = usd(2)  # type: ignore[misc]
