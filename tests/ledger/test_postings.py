"""Double entry: what is held, posted, voided and reversed sums to nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decisions import RefundMethod
from domain.money import Money, total
from ledger.postings import (
    TRANSIENT_PREFIXES,
    Entry,
    LedgerTransaction,
    TransactionKind,
    hold,
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
