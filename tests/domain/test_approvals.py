"""Who may fill an approval slot, at which instant, and whom it may be handed to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel, ValidationError

from domain.actors import Actor, Role, SignedActor
from domain.approvals import (
    MAY_SPEAK,
    STAFF,
    Answer,
    ApprovalSlot,
    Judgement,
    RefusalCode,
    why_may_not_speak,
)

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
LATER = NOW + timedelta(days=5)
TICK = timedelta(microseconds=1)
ANA, BO = Actor(id="ana", role=Role.AGENT), Actor(id="bo", role=Role.AGENT)
LIN = Actor(id="lin", role=Role.LEAD)
FAY = Actor(id="fay", role=Role.FINANCE)
ASKED = Actor(id="shop", role=Role.LEAD)
SLOT = ApprovalSlot(
    id="first",
    roles=(Role.AGENT, Role.LEAD),
    excluded=(ASKED.id,),
    digest="d",
    expires_at=NOW + timedelta(days=10),
    escalates_at=LATER,
    escalates_to=(Role.FINANCE,),
)


def code(refusal: tuple[RefusalCode, str] | None) -> RefusalCode | None:
    return None if refusal is None else refusal[0]


@pytest.mark.parametrize(
    ("at", "roles"),
    [
        (LATER - TICK, SLOT.roles),
        (LATER, (*SLOT.roles, Role.FINANCE)),
        (LATER + TICK, (*SLOT.roles, Role.FINANCE)),
    ],
    ids=["before", "at", "after"],
)
def test_further_roles_may_fill_a_slot_from_the_instant_on(
    at: datetime, roles: tuple[Role, ...]
) -> None:
    assert SLOT.roles_at(at) == roles
    assert (SLOT.why_may_not_fill(FAY, at) is None) is (Role.FINANCE in roles)
    assert SLOT.why_may_not_fill(ANA, at) is None


def test_a_slot_without_an_escalation_stays_as_it_is() -> None:
    slot = SLOT.model_copy(update={"escalates_at": None, "escalates_to": ()})
    assert slot.roles_at(slot.expires_at) == slot.roles


def test_who_asked_and_who_has_decided_fill_no_slot() -> None:
    assert code(SLOT.why_may_not_fill(ASKED, NOW)) is RefusalCode.SELF_APPROVAL
    assert code(SLOT.why_may_not_fill(ANA, NOW, ["ana"])) is RefusalCode.SELF_APPROVAL
    assert SLOT.why_may_not_fill(ANA, NOW, ["bo"]) is None


@pytest.mark.parametrize(
    ("person", "at", "may"),
    [
        (ANA, NOW, True),
        (ANA.model_copy(update={"role": Role.CUSTOMER}), NOW, False),
        (BO, NOW, False),
        (LIN, NOW, True),
        (FAY, LATER - TICK, False),
        (FAY, LATER, True),
        (BO, LATER, False),
    ],
    ids=["the delegate", "in another role", "another", "a lead", "early", "escalated", "late"],
)
def test_a_delegated_slot_is_narrower_by_everybody_but_delegate_leads_and_escalation(
    person: Actor, at: datetime, may: bool
) -> None:
    handed = SLOT.model_copy(update={"delegate": ANA})
    assert (handed.why_may_not_fill(person, at) is None) is may


def test_a_lead_without_the_right_role_gets_none_by_a_delegation() -> None:
    finance = SLOT.model_copy(update={"roles": (Role.FINANCE,), "delegate": FAY})
    assert code(finance.why_may_not_fill(LIN, NOW)) is RefusalCode.NOT_AUTHORISED


@pytest.mark.parametrize(
    ("by", "to", "decided", "refused"),
    [
        (ANA, BO, [], None),
        (ANA, ANA, [], RefusalCode.INVALID),
        (ANA, ASKED, [], RefusalCode.SELF_APPROVAL),
        (ANA, LIN, ["lin"], RefusalCode.SELF_APPROVAL),
        (ANA, FAY, [], RefusalCode.NOT_AUTHORISED),
        (FAY, ANA, [], RefusalCode.NOT_AUTHORISED),
        (ASKED, ANA, [], RefusalCode.SELF_APPROVAL),
    ],
)
def test_a_slot_is_handed_by_and_to_those_only_who_may_fill_it(
    by: Actor, to: Actor, decided: list[str], refused: RefusalCode | None
) -> None:
    assert code(SLOT.why_may_not_delegate(by, to, NOW, decided)) is refused


def test_who_may_not_take_a_slot_is_named_with_the_reason() -> None:
    refused = SLOT.why_may_not_delegate(ANA, FAY, NOW)
    assert refused == (
        RefusalCode.NOT_AUTHORISED,
        "to: role finance may not; allowed: agent, lead",
    )


SIGNED = SignedActor(
    actor=ANA, action="approve", case_id="c", digest="d", click_id="1", signed_at=NOW,
    expires_at=LATER,
)  # fmt: skip


@pytest.mark.parametrize(
    ("thing", "field"),
    [
        (SLOT, "roles"),
        (Judgement(slot="first", signed=SIGNED), "slot"),
        (Answer(recorded=True), "code"),
    ],
    ids=["slot", "judgement", "answer"],
)
def test_what_people_said_does_not_change_afterwards(thing: BaseModel, field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(thing, field, getattr(thing, field))


def test_a_delegate_may_hand_a_slot_on_and_another_may_not() -> None:
    handed = SLOT.model_copy(update={"delegate": ANA})
    assert handed.why_may_not_delegate(ANA, BO, NOW) is None
    assert code(handed.why_may_not_delegate(BO, LIN, NOW)) is RefusalCode.NOT_AUTHORISED


@pytest.mark.parametrize("role", list(Role))
def test_those_who_only_read_publish_or_run_the_engine_leave_no_word(role: Role) -> None:
    silent = {Role.AUDITOR, Role.PUBLISHER, Role.ADMIN, Role.ENGINE}
    why = why_may_not_speak(Actor(id="x", role=role))
    assert (why is None) is (role not in silent)
    assert why is None or all(word.value in why for word in MAY_SPEAK)


@pytest.mark.parametrize("role", list(Role))
def test_a_customer_is_answered_by_people_of_the_house_in_their_own_name(role: Role) -> None:
    why = why_may_not_speak(Actor(id="x", role=role), STAFF)
    assert (why is None) is (role in {Role.AGENT, Role.LEAD, Role.FINANCE})
    assert why is None or "agent, finance, lead" in why
