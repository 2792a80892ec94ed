"""Whether another case really decided what a linked refund claims to carry out.

``authorised_by`` comes from the caller, and a linked refund asks no second approval: so every
word of it is held against the books before the policy hears of it.
"""

from __future__ import annotations

from typing import Any, NoReturn

from domain.approvals import Verdict
from domain.cases import CAME_BACK, CaseKind
from domain.decisions import RefundVerdict
from domain.errors import InvalidRequest
from domain.money import Money, total
from domain.refunds import Authority, RefundRequest
from ledger.linked import begun_by, way_taken, went_before
from ledger.projection import CaseRow
from ledger.reading import Reading
from ledger.records import ReservationScope

FIELD = "authorised_by"

_DID_NOT_MOVE = "a case whose money did not move"


async def check_authority(reading: Reading, request: RefundRequest, amount: Money) -> None:
    """Judge ``request.authorised_by``, if there is one. Call it under the charge's lock.

    Raises :class:`InvalidRequest` unless the named case made exactly this decision, all its
    approvals are on record, it is about this customer's charge, its money does not move
    otherwise and did not go after all, and this amount is within what is left of it.
    """
    authority = request.authorised_by
    if authority is None:
        return
    case = await reading.case(authority.case_id)
    stored = await reading.decision(authority.case_id)
    if case is None or stored is None:
        _refuse("names a case that decided nothing", "a case in the books with a decision")
    if stored.hash != authority.decision_hash:
        _refuse("decision_hash is not of that case's decision", "the hash of that decision")
    made: dict[str, Any] = stored.outcome["made"]
    if made["verdict"] != RefundVerdict.APPROVE or made["digest"] != authority.approval_digest:
        _refuse("approval_digest is not what was approved there", "the digest of that decision")
    await _check_approvals(reading, authority, made)
    _check_thing(case, request, authority)
    if exception := await went_before(reading, authority.case_id):
        _refuse(f"names money that went after all ({exception})", _DID_NOT_MOVE)
    granted = Money.model_validate(made["amount"])
    if granted != authority.amount:
        _refuse("amount is not what was granted there", str(granted))
    left = await left_of(reading, authority)
    if left < amount or not left:
        _refuse("has no such amount left", f"{left} of {granted}")


async def is_given_elsewhere(reading: Reading, case_id: str) -> bool:
    """Whether what a decided case is to give went another way since: by a case beside it, in the
    name of one before it, or off the authority that it draws on."""
    if len(await begun_by(reading, case_id)) == 1:
        return False
    if await way_taken(reading, case_id) or await went_before(reading, case_id):
        return True
    opened = await reading.event(case_id, "open")
    said = opened.body.get("authorised_by") if opened else None
    if not said:
        return False
    granted, drawn = await _granted_and_drawn(reading, Authority.model_validate(said))
    return granted < drawn


async def root_of(reading: Reading, case_id: str) -> str:
    """The case whose own decision a chain of linked refunds carries out.

    What was granted once is drawn there, whichever case of the chain is named: otherwise each
    case whose money came back would grant it anew.
    """
    return (await _carried_out(reading, case_id))[-1]


async def _carried_out(reading: Reading, case_id: str) -> list[str]:
    """A case, and those whose decision it carries out, back to the root."""
    chain = [case_id]
    while True:
        opened = await reading.event(chain[-1], "open")
        before = opened.body.get("authorised_by") if opened else None
        if not before:
            return chain
        chain.append(str(before["case_id"]))


async def left_of(reading: Reading, authority: Authority) -> Money:
    """What ``authority`` may still pay: its own amount at most, and what its root has left; nothing
    where more than that went by hand."""
    granted, drawn = await _granted_and_drawn(reading, authority)
    return min(granted - min(drawn, granted), authority.amount)


async def _granted_and_drawn(reading: Reading, authority: Authority) -> tuple[Money, Money]:
    """What the root of ``authority`` granted, and what of it is held or went, also by hand in the
    name of a case that carries it out."""
    root = await root_of(reading, authority.case_id)
    stored = await reading.decision(root)
    if stored is None:
        raise LookupError(f"{root} was never decided")
    currency = authority.amount.currency
    drawn = await reading.reservations(ReservationScope.AUTHORITY, root, currency)
    granted = Money.model_validate(stored.outcome["made"]["amount"])
    return granted, total((each.amount for each in drawn), currency)


async def _check_approvals(reading: Reading, authority: Authority, made: dict[str, Any]) -> None:
    said_yes = {
        row.slot
        for row in await reading.approvals(authority.case_id)
        if row.verdict is Verdict.APPROVE and row.digest == authority.approval_digest
    }
    if {slot["id"] for slot in made["slots"]} - said_yes:
        _refuse("names a decision that is not approved", "a decision with all its approvals")


def _check_thing(case: CaseRow, request: RefundRequest, authority: Authority) -> None:
    if (case.customer, case.charge) != (request.customer, request.charge):
        _refuse("names a case about another charge", "a case about this customer's charge")
    if authority.charge != request.charge:
        _refuse("charge is another one", request.charge)
    if authority.amount.currency != request.currency:
        _refuse("amount is in another currency", request.currency)
    if case.kind is CaseKind.REFUND and case.outcome not in CAME_BACK:
        _refuse("names a refund that moves its own money", _DID_NOT_MOVE)


def _refuse(message: str, allowed: str) -> NoReturn:
    raise InvalidRequest(FIELD, message, allowed)
