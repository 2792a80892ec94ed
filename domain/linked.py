"""Requests by which a case goes on as another: an appeal of a no, and a way to pay instead.

A case that has ended stays ended. What follows is a case of its own, with an id that comes from
the first one's, so that it is opened once whoever asks and however often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.actors import Actor
from domain.cases import CaseEvent, CaseKind, case_id_for, is_exception
from domain.decisions import RefundMethod
from domain.refunds import Authority, RefundRequest

APPEAL_STEP = "link:appeal"
ALTERNATIVE_STEP = "link:alternative"
"""Steps at which the first case names the one by which it goes on: once each."""

FAILED_LATE = "refund_failed_late"
"""Why a case that ended as paid is linked with the exception that booked its money back."""

OUTSIDE_REFUND = "outside_refund"
OUTSIDE_CREDIT = "outside_credit"
OUTSIDE_REFUND_FAILED = "outside_refund_failed"
"""Why an exception books money that no case accounts for, and that it came back; a case that ended
without what went in its name is linked with the exception by the same word."""

ALTERNATIVE_REFUSED = "case.alternative_refused"
"""Topic by which finance hears that what a case owes at its end cannot be paid by another."""

_KEPT = (
    "request_id", "customer", "charge", "currency", "reason", "language", "channel",
    "jurisdiction", "text", "requested_by", "authorised_by", "consents_to_credit", "appeal_of",
    "alternative_to", "alternative",
)  # fmt: skip
_ATTRIBUTE = "attributes."


def request_of(opened: CaseEvent) -> RefundRequest:
    """The request of a case in the books. Its attributes are not in the event: they are facts of
    the decision."""
    body = opened.body
    amount = body["amount"]
    return RefundRequest.model_validate(
        {
            **{name: body[name] for name in _KEPT if name in body},
            "amount_minor": None if amount is None else amount["amount_minor"],
            "policy": opened.policy,
        },
        strict=False,
    )


def appeal_request(
    opened: CaseEvent, facts: Mapping[str, Any], by: Actor, text: str
) -> RefundRequest:
    """The same again, asked of somebody else, with what is new about it in ``text`` (sealed).

    ``facts`` are those of the first decision. What carried out another case's decision still does.
    """
    return request_of(opened).model_copy(
        update={
            "request_id": f"{opened.case_id}:appeal",
            "requested_by": by,
            "text": text,
            "attributes": attributes_in(facts),
            "alternative_to": None,
            "alternative": None,
            "appeal_of": opened.case_id,
        }
    )


def alternative_request(
    opened: CaseEvent,
    facts: Mapping[str, Any],
    by: Actor,
    way: RefundMethod,
    authority: Authority | None,
) -> RefundRequest:
    """What could not be paid as it was asked, paid by ``way``, to which the customer agreed.

    ``authority`` is the decision whose money came back; None after a refusal, where the policy
    decides anew, on the decision that was to be carried out if there was one.
    """
    asked = request_of(opened)
    return asked.model_copy(
        update={
            "request_id": _alternative_to(opened.case_id),
            "requested_by": by,
            "text": "",
            "attributes": attributes_in(facts),
            # what came back: all that is left of it when the engine decides
            "amount_minor": asked.amount_minor if authority is None else None,
            "consents_to_credit": asked.consents_to_credit or way is RefundMethod.ACCOUNT_CREDIT,
            "authorised_by": authority or asked.authorised_by,
            "appeal_of": None,
            "alternative_to": opened.case_id,
            "alternative": way,
        }
    )


def _alternative_to(case_id: str) -> str:
    return f"{case_id}:alternative"


def alternative_id(case_id: str) -> str:
    """The one case by which another way is taken from a case."""
    return case_id_for(CaseKind.REFUND, _alternative_to(case_id))


def owed_request(
    opened: CaseEvent, closing: CaseEvent, facts: Mapping[str, Any], authority: Authority
) -> RefundRequest:
    """What a case that ended as ``goes_on`` owes, asked for by whom it was asked for before."""
    (way,) = closing.body["alternatives"]
    by = request_of(opened).requested_by
    return alternative_request(opened, facts, by, RefundMethod(way), authority)


def case_id_of(request: RefundRequest) -> str:
    return case_id_for(CaseKind.REFUND, request.request_id)


def attributes_in(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's attributes among the facts of a decision."""
    return {
        name.removeprefix(_ATTRIBUTE): value
        for name, value in facts.items()
        if name.startswith(_ATTRIBUTE)
    }


def why_no_other_way(taken: str) -> tuple[str, str]:
    """Why a case goes on no other way beside ``taken``, the case that gives what was asked or the
    exception by which it went after all; and when it would."""
    if is_exception(taken):
        why = f"had money given for it after all, as {taken} tells"
        return why, "when the bank has sent that back, or a new request"
    return f"goes on as {taken}", "when that has ended and gave nothing"
