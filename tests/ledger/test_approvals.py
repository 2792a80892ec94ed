"""Every stored approval is judged again: its giver's limits, and what was signed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.verify import VerifyReport, verify
from decisions import Pack
from domain.actors import Actor, Role, sign
from domain.approvals import Verdict
from domain.canonical import canonical_json
from domain.cases import EventKind
from domain.money import Money
from ledger.books import Books
from ledger.records import ApprovalRow
from tests.ledger.builders import (
    AT,
    DIGEST,
    EDGE_KEY,
    LEAD,
    Refund,
    approval,
    event,
    numbered,
    policy,
    usd,
    without_guards,
)
from tests.ledger.conftest import Place

CLERK = Actor(id="agent-2", role=Role.AGENT)
REFUND = Refund()
TOMORROW = AT + timedelta(days=1)
NEXT_DAY = datetime(2026, 12, 3, tzinfo=UTC)


def found(report: VerifyReport) -> list[tuple[str, str, str]]:
    return [(f.invariant, f.row, f.sentence) for f in report.findings]


async def said_yes(books: Books, amounts: list[Money], **overrides: Any) -> None:
    """One case for each amount, approved by the clerk in this order."""
    for refund, amount in zip(numbered(len(amounts)), amounts, strict=True):
        given = {"actor": CLERK, "at": TOMORROW, **overrides}
        async with books.transaction() as tx:
            await replace(refund, amount=amount).open_and_decide(tx)
            await tx.record_approval(approval(case_id=refund.case_id, amount=amount, **given))


async def repinned(books: Books, to: Pack, at: datetime = TOMORROW) -> None:
    async with books.transaction() as tx:
        await tx.keep_policy(to.name, to.version, to.hash, to.content)
        body = {"version": to.version, "policy_hash": to.hash}
        step = f"repin:{to.version}"
        await tx.append_event(event(EventKind.REPINNED, body, step=step, at=at))


async def approved_under(books: Books, newer: Pack, amount: Money, at: datetime) -> VerifyReport:
    """The clerk says yes to a case of version 3 that ``newer`` has taken over before."""
    async with books.transaction() as tx:
        await replace(REFUND, amount=amount).open_and_decide(tx)
    await repinned(books, newer)
    async with books.transaction() as tx:
        await tx.record_approval(approval(actor=CLERK, amount=amount, at=at))
    return await verify(books)


@pytest.mark.parametrize(
    ("amount_minor", "is_over"), [(4_999, False), (5_000, False), (5_001, True)]
)
async def test_a_yes_over_its_givers_limit_is_found(
    amount_minor: int, is_over: bool, sqlite_books: Books
) -> None:
    await said_yes(sqlite_books, [usd(amount_minor)])
    sentence = "agent may approve a refund up to 50.00 USD; this is 50.01 USD"
    expected = [("I5", "refund-000:lead", sentence)] if is_over else []
    assert found(await verify(sqlite_books)) == expected


@pytest.mark.parametrize(("last", "is_over"), [(1_999, False), (2_000, False), (2_001, True)])
async def test_a_yes_over_its_givers_day_is_found(last: int, is_over: bool, books: Books) -> None:
    await said_yes(books, [usd(3_000), usd(1_000), usd(last)])
    sentence = (
        "agent may approve refunds of up to 60.00 USD a day; with 40.00 USD approved today, "
        "20.01 USD would be over it"
    )
    expected = [("I5", "refund-002:lead", sentence)] if is_over else []
    assert found(await verify(books)) == expected


async def test_a_day_ends_at_midnight_of_utc_and_a_no_spends_nothing(sqlite_books: Books) -> None:
    amounts = [usd(5_000), usd(5_000), usd(5_000)]
    cases = numbered(3)
    said: list[dict[str, Any]] = [
        {"verdict": Verdict.DECLINE, "at": NEXT_DAY - timedelta(microseconds=2)},
        {"at": NEXT_DAY - timedelta(microseconds=1)},
        {"at": NEXT_DAY},
    ]
    for refund, amount, given in zip(cases, amounts, said, strict=True):
        async with sqlite_books.transaction() as tx:
            await replace(refund, amount=amount).open_and_decide(tx)
            row = approval(case_id=refund.case_id, amount=amount, actor=CLERK, **given)
            await tx.record_approval(row)
    assert found(await verify(sqlite_books)) == []


async def test_a_day_is_spent_in_the_order_in_which_it_was_written(sqlite_books: Books) -> None:
    """Case clocks may cross: what the engine saw of the day is what was sealed before."""
    first, second = numbered(2)
    for refund, minutes in ((first, 1), (second, 0)):
        async with sqlite_books.transaction() as tx:
            await replace(refund, amount=usd(4_000)).open_and_decide(tx)
            at = TOMORROW + timedelta(minutes=minutes)
            row = approval(case_id=refund.case_id, amount=usd(4_000), actor=CLERK, at=at)
            await tx.record_approval(row)
    assert [row for _, row, _ in found(await verify(sqlite_books))] == ["refund-001:lead"]


async def test_each_person_and_each_role_has_limits_of_their_own(sqlite_books: Books) -> None:
    await said_yes(sqlite_books, [usd(4_000)])
    other, lead = numbered(3)[1:]
    for refund, actor in ((other, Actor(id="agent-3", role=Role.AGENT)), (lead, LEAD)):
        async with sqlite_books.transaction() as tx:
            await replace(refund, amount=usd(4_000)).open_and_decide(tx)
            row = approval(case_id=refund.case_id, amount=usd(4_000), actor=actor, at=TOMORROW)
            await tx.record_approval(row)
    assert found(await verify(sqlite_books)) == []


async def test_a_newer_version_that_took_the_case_over_says_who_may(books: Books) -> None:
    newer = policy(4, agent_each=5_500, repin=(3,))
    assert found(await approved_under(books, newer, usd(5_500), TOMORROW)) == []


async def test_a_newer_version_that_lets_people_do_less_holds(sqlite_books: Books) -> None:
    newer = policy(4, agent_each=1_000, repin=(3,))
    assert found(await approved_under(sqlite_books, newer, usd(1_001), TOMORROW)) == [
        (
            "I5",
            "refund-a:lead",
            "agent may approve a refund up to 10.00 USD; this is 10.01 USD",
        )
    ]


async def test_a_case_that_was_handed_back_since_is_held_against_its_own_version(
    sqlite_books: Books,
) -> None:
    """No event tells that the version after a newer one does not take the case over."""
    newer, later = policy(4, agent_each=1_000, repin=(3,)), TOMORROW + timedelta(hours=1)
    assert found(await approved_under(sqlite_books, newer, usd(1_001), later)) == []


async def test_a_limit_that_somebody_raised_for_themselves_is_found(sqlite_books: Books) -> None:
    newer = policy(4, agent_each=5_500)
    assert found(await approved_under(sqlite_books, newer, usd(5_500), TOMORROW)) == [
        (
            "I5",
            "refund-a:lead",
            "refund v4, by which it was judged, takes over no case of refund v3",
        )
    ]


async def test_a_version_that_takes_over_later_helps_no_earlier_yes(sqlite_books: Books) -> None:
    async with sqlite_books.transaction() as tx:
        await replace(REFUND, amount=usd(5_500)).open_and_decide(tx)
        await tx.record_approval(approval(actor=CLERK, amount=usd(5_500), at=TOMORROW))
    await repinned(sqlite_books, policy(4, agent_each=5_500, repin=(3,)))
    assert [row for _, row, _ in found(await verify(sqlite_books))] == ["refund-a:lead"]


async def test_a_yes_under_a_policy_that_is_not_kept_as_it_was_is_found(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await said_yes(sqlite_books, [usd(5_000)])
    sqlite_place.vandal.run(
        "UPDATE policy_contents SET content = replace(content, '\"usd\":5000', '\"usd\":9000')"
    )
    report = without_guards(await verify(sqlite_books))
    (finding,) = [each for each in report if each.table == "approvals"]
    assert finding.invariant == "I5"
    assert finding.sentence.startswith(
        "who might decide it cannot be told: the policy that is kept"
    )


async def test_signatures_are_held_against_the_edges_key_where_it_is_given(
    books: Books,
) -> None:
    await said_yes(books, [usd(1), usd(2)])
    key = EDGE_KEY.public_key()
    assert (await verify(books)).signatures is None, "nobody looked"
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    for keys in ([key], [other, key], [key, other]):
        report = await verify(books, verify_keys=keys)
        assert report.is_clean, "also under a key of before"
        assert report.signatures == 2
    assert found(await verify(books, verify_keys=[other])) == [
        ("I5", f"refund-00{n}:lead", "the signature is not the edge's") for n in (0, 1)
    ]


SIGNED = approval()


def signed_otherwise(**overrides: Any) -> ApprovalRow:
    """An approval with a good signature, of something else."""
    said = {
        "actor": LEAD, "action": "approve", "case_id": "refund-a", "digest": DIGEST,
        "click_id": "click-1", "at": AT,
    }  # fmt: skip
    return approval(signature_json=canonical_json(sign(EDGE_KEY, **{**said, **overrides})))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (signed_otherwise(actor=CLERK), "it differs from what was signed in actor"),
        (
            signed_otherwise(actor=Actor(id=LEAD.id, role=Role.FINANCE)),
            "it differs from what was signed in actor",
        ),
        (signed_otherwise(action="decline"), "it differs from what was signed in verdict"),
        (signed_otherwise(case_id="refund-b"), "it differs from what was signed in case"),
        (
            signed_otherwise(digest="0" * 64, action="withdraw"),
            "it differs from what was signed in verdict, digest",
        ),
        (approval(signature_json="{}"), "its signature cannot be read"),
        (approval(verdict=Verdict.DECLINE), None),
        (signed_otherwise(), None),
    ],
)
async def test_an_approval_that_says_other_than_was_signed_is_found_without_a_key(
    given: ApprovalRow, sentence: str | None, sqlite_books: Books
) -> None:
    async with sqlite_books.transaction() as tx:
        await REFUND.open_and_decide(tx)
        await tx.record_approval(given)
    expected = [] if sentence is None else [("I5", "refund-a:lead", sentence)]
    assert found(await verify(sqlite_books)) == expected


@pytest.mark.parametrize("field", ["click_id", "signed_at", "expires_at"])
async def test_click_and_instants_are_under_the_signature(field: str, sqlite_books: Books) -> None:
    later = "2026-12-31T00:00:00.000000Z"
    was = json.loads(SIGNED.signature_json)[field]
    altered = SIGNED.signature_json.replace(f'"{field}":"{was}"', f'"{field}":"{later}"')
    assert altered != SIGNED.signature_json
    async with sqlite_books.transaction() as tx:
        await REFUND.open_and_decide(tx)
        await tx.record_approval(approval(signature_json=altered))
    assert (await verify(sqlite_books)).is_clean, "no field of the row"
    assert found(await verify(sqlite_books, verify_keys=[EDGE_KEY.public_key()])) == [
        ("I5", "refund-a:lead", "the signature is not the edge's")
    ]
