"""What our cases hold and give of a charge stays within what was captured, by the books alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.verify import VerifyReport, verify
from domain.cases import CaseKind
from domain.decisions import RefundMethod
from ledger import postings
from ledger.books import Books
from tests.ledger.builders import AT, Refund, opened, usd
from tests.ledger.conftest import Place

CAPTURED = usd(6_000)
FIRST = Refund(captured=CAPTURED)
SECOND = replace(FIRST, case_id="refund-b", provider_id="re_2")


def found(report: VerifyReport) -> list[tuple[str, str, str, str]]:
    return [(f.invariant, f.table, f.row, f.sentence) for f in report.findings]


def over(amount: int, beside: int) -> list[tuple[str, str, str, str]]:
    sentence = (
        f"it holds {amount} minor units beside {beside} of other cases, and 6000 were captured"
    )
    return [("I1", "ledger_transactions", "refund-b:hold", sentence)]


async def decided(books: Books, refund: Refund) -> None:
    async with books.transaction() as tx:
        await refund.open_and_decide(tx)


@pytest.mark.parametrize(("amount", "is_over"), [(3_499, False), (3_500, False), (3_501, True)])
async def test_holds_of_a_charge_beyond_what_was_captured_are_found(
    amount: int, is_over: bool, books: Books
) -> None:
    await decided(books, FIRST)
    await decided(books, replace(SECOND, amount=usd(amount)))
    assert found(await verify(books)) == (over(amount, 2_500) if is_over else [])


async def test_a_hold_that_is_ordered_before_its_turn_is_judged_all_the_same(
    sqlite_books: Books,
) -> None:
    """The second is automatic, and is over beside a first that nobody has ordered yet."""
    await decided(sqlite_books, FIRST)
    await replace(SECOND, amount=usd(3_501), slots=()).refunded(sqlite_books)
    assert found(await verify(sqlite_books)) == over(3_501, 2_500)


async def test_credit_counts_for_ever(sqlite_books: Books) -> None:
    credit = replace(FIRST, method=RefundMethod.ACCOUNT_CREDIT)
    await credit.refunded(sqlite_books)
    await decided(sqlite_books, replace(SECOND, amount=usd(3_501)))
    assert found(await verify(sqlite_books)) == over(3_501, 2_500)


@pytest.mark.parametrize(("amount", "is_over"), [(3_500, False), (3_501, True)])
async def test_credit_that_no_case_accounts_for_counts_for_ever(
    amount: int, is_over: bool, sqlite_books: Books
) -> None:
    credit = "exception-credit"
    async with sqlite_books.transaction() as tx:
        kind = {"kind": CaseKind.EXCEPTION, "request_id": "cbtxn_1", "charge": FIRST.charge}
        await tx.append_event(opened(credit, **kind, reason="outside_credit"))
        method = RefundMethod.ACCOUNT_CREDIT
        await tx.post(postings.outside(credit, "outside", usd(2_500), method, "cbtxn_1", AT))
    await decided(sqlite_books, replace(SECOND, amount=usd(amount)))
    told = [row for row in found(await verify(sqlite_books)) if row[0] == "I1"]
    assert told == (over(amount, 2_500) if is_over else [])


async def test_a_hold_that_was_voided_counts_no_more(sqlite_books: Books) -> None:
    for refund in (FIRST, replace(FIRST, case_id="refund-aa", method=RefundMethod.ACCOUNT_CREDIT)):
        async with sqlite_books.transaction() as tx:
            await refund.open_and_decide(tx)
        async with sqlite_books.transaction() as tx:
            await refund.void(tx)
    await decided(sqlite_books, replace(SECOND, amount=CAPTURED))
    assert found(await verify(sqlite_books)) == []


async def test_a_refund_that_may_have_failed_unheard_frees_its_charge(sqlite_books: Books) -> None:
    """The provider had told that all of it was left; the failure is booked afterwards."""
    first = replace(FIRST, remainder=CAPTURED)
    await first.settling(sqlite_books)
    await decided(sqlite_books, replace(SECOND, amount=CAPTURED, remainder=CAPTURED))
    assert found(await verify(sqlite_books)) == []
    async with sqlite_books.transaction() as tx:
        await first.fail(tx)
    assert found(await verify(sqlite_books)) == []


@pytest.mark.parametrize(("left", "is_over"), [(2_501, False), (2_500, False), (2_499, True)])
async def test_a_hold_of_more_than_its_decision_was_told_was_left_is_found(
    left: int, is_over: bool, sqlite_books: Books
) -> None:
    await decided(sqlite_books, replace(SECOND, remainder=usd(left)))
    sentence = "it holds 2500 minor units where 2499 were left to refund"
    expected = [("I1", "ledger_transactions", "refund-b:hold", sentence)] if is_over else []
    assert found(await verify(sqlite_books)) == expected


async def test_another_charge_is_another_sum(sqlite_books: Books) -> None:
    await decided(sqlite_books, replace(FIRST, amount=CAPTURED))
    await decided(sqlite_books, replace(SECOND, charge="ch_2", amount=CAPTURED))
    assert found(await verify(sqlite_books)) == []


async def test_an_amount_that_was_raised_in_the_books_is_found_at_its_hold(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await decided(sqlite_books, SECOND)
    sqlite_place.vandal.run(
        "UPDATE ledger_entries SET amount_minor = 6001 WHERE amount_minor = 2500",
        "UPDATE ledger_entries SET amount_minor = -6001 WHERE amount_minor = -2500",
    )
    assert set(over(6_001, 0)) <= set(found(await verify(sqlite_books)))
