"""What a policy says of a case.

``decide_refund`` fetches the provider's facts first, outside any transaction, then in one
short transaction reads the books under lock, evaluates the pinned pack, writes the decision
and reserves what it grants.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NoReturn

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.authority import check_authority, left_of, root_of
from activities.contract import DECIDE_REFUND, INVALID_REQUEST, DecisionActivities
from activities.facts import (
    TWINS,
    asked_amount,
    facts_of,
    inquiry_before,
    remainder_of,
    tax_share_of,
)
from activities.linked import ending, judges_before, link_first
from activities.pinned import pinned
from activities.progress import is_decided, progress_of
from activities.provider import NoSuchObject, Provider
from activities.records import (
    DESK_NOTICE,
    FINANCE_NOTICE,
    HOLD,
    case_event,
    close,
    existing_case,
    locked_case,
    notify,
    record_refusal,
)
from decisions.findings import FactError, Undecided
from decisions.library import Library
from decisions.pack import Pack
from domain.approvals import (
    ApprovalSlot,
    RefusalCode,
    approval_digest,
)
from domain.canonical import plain
from domain.cases import CaseEvent, CaseKind, Desk, EventKind, Outcome
from domain.deadlines import BeyondCalendar
from domain.decisions import Decision, RefundMethod, RefundVerdict
from domain.errors import InvalidRequest
from domain.evidence import Information
from domain.linked import ALTERNATIVE_REFUSED, alternative_id, attributes_in, request_of
from domain.money import Money, smallest_step
from domain.provider import ChargeFacts
from domain.refunds import (
    CONCESSION_REASONS,
    DecideInput,
    RefundDecision,
    RefundProgress,
    RefundRequest,
)
from ledger import postings
from ledger.books import Books
from ledger.evidence import Inquiry
from ledger.in_words import status_in_words
from ledger.projection import CaseRow
from ledger.reading import Counted, Reading
from ledger.records import RefusedAttempt, ReservationScope
from ledger.writing import BookTransaction

ALTERNATIVE = "alternative"
NO_ALTERNATIVE = "none"
"""The output by which a refusal offers another way, and its word for none."""


class Decisions(DecisionActivities):
    """Decides cases."""

    def __init__(
        self,
        books: Books,
        provider: Provider,
        library: Library,
    ) -> None:
        self._books = books
        self._provider = provider
        self._library = library

    @activity.defn(name=DECIDE_REFUND)
    async def decide_refund(self, asked: DecideInput) -> RefundProgress:
        async with self._books.reading() as reading:
            if await is_decided(reading, asked):
                return await progress_of(reading, asked.case_id)
        try:
            return await self._decide(asked)
        except (InvalidRequest, BeyondCalendar) as error:
            invalid = error if isinstance(error, InvalidRequest) else _without_dates(error)
            if asked.ordinal > 1:
                return await self._end_undecided(asked, invalid)
            await self._refuse_input(asked, invalid)

    async def _pack_for(self, asked: DecideInput) -> tuple[Pack, DecideInput]:
        """The policy that decides, and what is asked.

        A later decision is made by the pack that the case began with, about the request as the
        books have it: a workflow that was started again from them carries no attributes.
        """
        if asked.ordinal == 1:
            return self._library.active(asked.request.policy, asked.now), asked
        async with self._books.reading() as reading:
            case = await existing_case(reading, asked.case_id)
            opened = await reading.event(asked.case_id, "open")
            first = await reading.decision(asked.case_id, "decide")
            pack = await pinned(self._library, reading, case.policy_hash)
        if opened is None or first is None:
            raise LookupError(f"{asked.case_id} was never decided")
        attributes = attributes_in(first.decision.facts)
        told = request_of(opened).model_copy(update={"attributes": attributes})
        return pack, asked.model_copy(update={"request": told})

    async def _decide(self, asked: DecideInput) -> RefundProgress:
        pack, asked = await self._pack_for(asked)
        request = asked.request
        _must_decide_refunds(pack)
        attributes = pack.attribute_facts(request.attributes)
        # what the case ordered before its decision was lost with the books is found by its order,
        # and must not stand in its own way here
        charge = (await self._charge(request)).as_before(asked.case_id)
        twins = await self._provider.twins_of(charge) if TWINS in pack.inputs else ()
        async with self._books.transaction() as tx:
            await tx.lock_charge(charge.id)
            is_concession = request.reason in CONCESSION_REASONS
            pers = {counter.per for counter in pack.counters.values()}
            if is_concession or pers - {"agent"}:
                await tx.lock_concessions(request.customer, request.currency)
            if "agent" in pers:
                person = request.requested_by.id
                await tx.lock_budget(person, request.currency, asked.now.date())
            if await is_decided(tx.reading, asked):  # by an attempt that was given up for late
                return await progress_of(tx.reading, asked.case_id)
            remainder = await remainder_of(tx.reading, charge)
            amount = asked_amount(request, charge, remainder)
            goes_on = request.alternative_to is not None or request.appeal_of is not None
            if goes_on and request.authorised_by is not None:
                amount = min(amount, await left_of(tx.reading, request.authorised_by))
            await check_authority(tx.reading, request, amount)
            # in time or not was judged when the case began
            asked_at = asked.asked_at or asked.now if asked.ordinal == 1 else None
            judges = await judges_before(tx.reading, request, asked_at)
            facts = await facts_of(tx.reading, asked, charge, twins, amount, remainder)
            counted = await counter_facts(
                tx.reading, pack, request, asked.now, but_for=asked.case_id
            )
            decision = _decision(pack, {**facts, **counted, **attributes}, asked.now)
            made = _refund_decision(asked, pack, decision, judges)
            _must_be_payable(made, remainder)
            if made.verdict is RefundVerdict.ASK:
                made = _if_it_may_ask(made, await inquiry_before(tx.reading, asked))
            tax = await tax_share_of(tx.reading, request, charge, remainder, made.amount)
            made = made.model_copy(update={"tax": tax})
            await self._write(tx, asked, pack, decision, made, is_concession=is_concession)
        ended = Outcome.REFUSED if made.verdict is RefundVerdict.REFUSE else None
        until = pack.information_until(asked.now) if made.verdict is RefundVerdict.ASK else None
        return RefundProgress(**dict(made), outcome=ended, ordinal=asked.ordinal, asked_until=until)

    async def _charge(self, request: RefundRequest) -> ChargeFacts:
        try:
            charge = await self._provider.charge(request.charge)
        except NoSuchObject as error:
            raise InvalidRequest(
                "charge", f"the provider knows no charge {request.charge}", "an existing charge id"
            ) from error
        if charge.customer != request.customer:
            raise InvalidRequest(
                "charge",
                f"{request.charge} is another customer's",
                f"a charge of {request.customer}",
            )
        if charge.captured.currency != request.currency:
            raise InvalidRequest(
                "currency", f"{request.currency} is not the charge's", charge.captured.currency
            )
        return charge

    async def _write(
        self,
        tx: BookTransaction,
        asked: DecideInput,
        pack: Pack,
        decision: Decision,
        made: RefundDecision,
        *,
        is_concession: bool,
    ) -> None:
        request = asked.request
        if asked.ordinal == 1:
            opened = _opened_event(asked, pack, str(decision.outputs.get("priority", "normal")))
            if not await tx.append_event(opened):
                return
            await link_first(tx, request, asked.case_id, asked.now)
        await tx.keep_policy(pack.name, pack.version, pack.hash, pack.content)
        settlement = pack.settlement()
        _must_have_dates(made, pack, asked.now)
        await tx.record_decision(
            case_id=asked.case_id,
            step=asked.step,
            decision=decision,
            outcome=plain({"made": made, "settlement": settlement}),
            at=asked.now,
        )
        case = await existing_case(tx, asked.case_id)
        body = {
            **made.model_dump(mode="json"),
            "reason_key": decision.outputs.get("reason") or "",
        }
        await tx.append_event(case_event(case, asked.step, EventKind.DECIDED, asked.now, body))
        case = await existing_case(tx, asked.case_id)
        if made.verdict is RefundVerdict.ASK:
            await _ask(tx, case, asked, pack)
            return
        if made.verdict is RefundVerdict.REFUSE:
            await close(tx, case, Outcome.REFUSED, asked.now, ending=_ending(asked, pack, decision))
            return
        await tx.post(postings.hold(asked.case_id, HOLD, made.amount, asked.now))
        scopes = [(ReservationScope.CHARGE, request.charge)]
        if is_concession:
            scopes.append((ReservationScope.CONCESSIONS, request.customer))
        if request.authorised_by is not None:
            root = await root_of(tx.reading, request.authorised_by.case_id)
            scopes.append((ReservationScope.AUTHORITY, root))
        for scope, key in scopes:
            await tx.reserve(
                case_id=asked.case_id,
                step=HOLD,
                scope=scope,
                key=key,
                amount=made.amount,
                at=asked.now,
            )
        for slot in made.slots:
            await notify(
                tx,
                case,
                f"case.approval_wanted.{slot.id}",
                asked.now,
                {"slot": slot},
                to=DESK_NOTICE,
            )

    async def _end_undecided(self, asked: DecideInput, invalid: InvalidRequest) -> RefundProgress:
        """A case that waited for its customer and can be decided no more: the charge was refunded
        elsewhere meanwhile, or the policy has no answer. It ends, and its desk hears why."""
        is_charge = invalid.field in _OF_THE_CHARGE
        outcome = Outcome.REJECTED_BY_PROVIDER if is_charge else Outcome.EXPIRED
        reason_key = "already_refunded" if is_charge else "undecided"
        async with self._books.transaction() as tx:
            case = await locked_case(tx, asked.case_id)
            if not await is_decided(tx.reading, asked):
                await close(tx, case, outcome, asked.now, reason_key=reason_key)
                body = {"field": invalid.field, "message": str(invalid)}
                await notify(tx, case, "case.undecided", asked.now, body, to=DESK_NOTICE)
            return await progress_of(tx.reading, asked.case_id)

    async def _refuse_input(self, asked: DecideInput, invalid: InvalidRequest) -> NoReturn:
        """Input that can never succeed leaves nothing but the refused attempt."""
        async with self._books.transaction() as tx:
            await record_refusal(
                tx,
                RefusedAttempt(
                    case_id=asked.case_id,
                    action="open_refund",
                    actor=asked.request.requested_by,
                    code=RefusalCode.INVALID.value,
                    message=str(invalid),
                    request_id=asked.request.request_id,
                    at=asked.now,
                ),
            )
            await tx.forget_request(asked.request.request_id)
            await _tell_of_a_dead_end(tx, asked, invalid)
        raise ApplicationError(
            str(invalid),
            invalid.field,
            invalid.message,
            invalid.allowed,
            type=INVALID_REQUEST,
            non_retryable=True,
            category=ApplicationErrorCategory.BENIGN,
        ) from invalid


def _must_have_dates(made: RefundDecision, pack: Pack, now: datetime) -> None:
    """What is granted is looked for, traced and gone on from by the calendar, also when its last
    approval, or a no, comes at the last instant. Raises :class:`BeyondCalendar`: later on, the
    case would wait for ever."""
    if made.verdict is not RefundVerdict.APPROVE:
        return
    latest = max([now, *(slot.expires_at for slot in made.slots)])
    pack.appeal_until(latest)
    if made.method is RefundMethod.ORIGINAL:
        settlement = pack.settlement()
        last = max(*settlement.instants(latest), *settlement.trace_instants(latest))
        settlement.calendar.instant_after(last, settlement.alternative_days)


def _must_be_payable(made: RefundDecision, remainder: Money) -> None:
    """A policy grants what the provider takes. Raises :class:`InvalidRequest`: what nobody can
    hold or order must not wait for approvals."""
    if made.verdict is not RefundVerdict.APPROVE:
        return
    says = f"{made.policy} v{made.version}, rule {made.rule}, grants {made.amount}"
    if made.amount <= Money.zero(made.amount.currency):
        raise InvalidRequest("policy", says, "an amount above zero, or a refusal")
    if not made.amount.is_in_steps and made.amount != remainder:
        step = smallest_step(made.amount.currency)
        raise InvalidRequest(
            "policy", f"{says}, which the provider does not take", f"a multiple of {step}"
        )


def _without_dates(error: BeyondCalendar) -> InvalidRequest:
    return InvalidRequest("policy", str(error), "a version with a calendar that knows those days")


_OF_THE_CHARGE = frozenset({"charge", "amount_minor", "currency"})
"""Fields whose fault is that the charge is no longer what it was when the case began."""

_REFUND_OUTPUTS: dict[str, tuple[str, set[str]]] = {
    "verdict": ("enum", set(RefundVerdict)),
    "method": ("enum", set(RefundMethod)),
    "amount": ("money", set()),
    "route": ("route", set()),
}
"""What a policy must answer about a refund: the kind of each output and the words it may say."""


def _must_decide_refunds(pack: Pack) -> None:
    outputs = {name: kind for table in pack.tables for name, kind in table.outputs.items()}
    for name, (kind, words) in _REFUND_OUTPUTS.items():
        found = outputs.get(name)
        if found is None or found.kind != kind or (words and not words.issuperset(found.values)):
            says = f"{kind}: {', '.join(sorted(words))}" if words else kind
            raise InvalidRequest(
                "policy",
                f"{pack.name} v{pack.version} decides no refunds: its output {name} is "
                f"{'missing' if found is None else 'of another kind'}",
                f"a policy whose tables answer {name} ({says})",
            )


def _decision(pack: Pack, facts: dict[str, Any], now: datetime) -> Decision:
    """Facts that the pack cannot read come from the request (its currency, its place)."""
    try:
        return pack.decide(facts, now)
    except FactError as error:
        raise InvalidRequest(error.fact, error.message, error.allowed) from error
    except Undecided as error:
        raise InvalidRequest(
            "policy", f"{pack.name} v{pack.version} leaves this open: {error}", "another policy"
        ) from error


async def counter_facts(
    reading: Reading, pack: Pack, request: RefundRequest, now: datetime, *, but_for: str = ""
) -> dict[str, Any]:
    """The pack's counters by name, over windows that end at ``now`` (UTC). Nothing of the case
    ``but_for`` counts: it is the one that is decided.

    A pack that names one as a fact of docs/facts.md is answered by its counter. Raises
    :class:`InvalidRequest` (field ``policy``) when it counts per something that a refund does
    not have.
    """
    found: dict[str, Any] = {}
    for name, counter in pack.counters.items():
        if counter.per not in ("customer", "agent"):
            raise InvalidRequest(
                "policy",
                f"{pack.name} v{pack.version} counts {name} per {counter.per}: a refund has none",
                "a policy that counts per customer or per agent",
            )
        asked = Counted(
            of=counter.of,
            since=counter.since(now, pack.zone),
            until=now,
            where=counter.where,
            per=counter.per,
            customer=request.customer,
            key=request.requested_by.id,
            but_for=but_for,
        )
        found[name] = (
            await reading.sum_of_cases(asked, request.currency)
            if counter.is_sum
            else await reading.count_events(asked)
        )
    return found


async def _tell_of_a_dead_end(
    tx: BookTransaction, asked: DecideInput, invalid: InvalidRequest
) -> None:
    """What was promised at a case's end cannot be kept: finance must hear of it."""
    first_id = asked.request.alternative_to
    first = await tx.case(first_id) if first_id else None
    if first is not None and asked.case_id == alternative_id(first.case_id):
        body = {"case": asked.case_id, "field": invalid.field, "message": str(invalid)}
        await notify(tx, first, ALTERNATIVE_REFUSED, asked.now, body, to=FINANCE_NOTICE)


def _ending(asked: DecideInput, pack: Pack, decision: Decision) -> Mapping[str, Any]:
    """How the customer may come back to a refusal: by an appeal, once, or another way."""
    alternative = decision.outputs.get(ALTERNATIVE) or NO_ALTERNATIVE
    return ending(
        appeal_until=None if asked.request.appeal_of else pack.appeal_until(asked.now),
        alternatives=() if alternative == NO_ALTERNATIVE else (str(alternative),),
        alternative_until=pack.alternative_until(asked.now),
    )


def _refund_decision(
    asked: DecideInput, pack: Pack, decision: Decision, judges: Collection[str]
) -> RefundDecision:
    request = asked.request
    outputs = decision.outputs
    verdict = RefundVerdict(outputs["verdict"])
    amount, method = Money.zero(request.currency), RefundMethod.ORIGINAL
    destination, digest = "", ""
    slots: tuple[ApprovalSlot, ...] = ()
    if verdict is RefundVerdict.APPROVE:
        amount = Money.model_validate(outputs["amount"])
        method = RefundMethod(outputs["method"])
        destination = request.charge if method is RefundMethod.ORIGINAL else request.customer
        digest = approval_digest(
            case_id=asked.case_id,
            step="send",
            amount=amount,
            destination=destination,
            policy_hash=pack.hash,
        )
        slots = _slots(asked, pack, str(outputs["route"]), digest, judges)
    return RefundDecision(
        verdict=verdict,
        rule=decision.rule,
        why=decision.why,
        policy=pack.name,
        version=pack.version,
        policy_hash=pack.hash,
        amount=amount,
        method=method,
        destination=destination,
        digest=digest,
        slots=slots,
    )


MOST_QUESTIONS = 3
"""Questions to one customer in one case, whatever a policy says: one that is wrong in its
conditions must not ask for ever."""


def _if_it_may_ask(made: RefundDecision, before: Inquiry) -> RefundDecision:
    """The question as it was decided, or the refusal that it is after silence or too often: the
    customer reads what was wanted, and may appeal to a person."""
    if before.information is not Information.SILENT and before.times < MOST_QUESTIONS:
        return made
    why = "silence" if before.information is Information.SILENT else f"{before.times} questions"
    return made.model_copy(
        update={"verdict": RefundVerdict.REFUSE, "why": f"{made.why} (asked again after {why})"}
    )


async def _ask(tx: BookTransaction, case: CaseRow, asked: DecideInput, pack: Pack) -> None:
    """Put the question on the case's account and before the customer; nothing is held."""
    until = pack.information_until(asked.now)
    body = {"ordinal": asked.ordinal, "reason_key": case.reason_key, "until": until}
    step = asked.step.replace("decide", "ask")
    await tx.append_event(case_event(case, step, EventKind.INFORMATION_REQUESTED, asked.now, body))
    case = await existing_case(tx, case.case_id)
    told = {**body, "in_words": status_in_words(case, reason=pack.text_or_nothing)}
    await notify(tx, case, "case.information_requested", asked.now, told, ordinal=asked.ordinal)


def _slots(
    asked: DecideInput, pack: Pack, route: str, digest: str, judges: Collection[str]
) -> tuple[ApprovalSlot, ...]:
    calendar = pack.calendar()
    return tuple(
        ApprovalSlot(
            id=rule.id,
            roles=rule.roles,
            excluded=tuple(sorted({asked.request.requested_by.id, *judges})),
            digest=digest,
            expires_at=calendar.instant_after(asked.now, rule.expires_business_days),
            remind_at=tuple(
                calendar.instant_after(asked.now, days) for days in rule.remind_business_days
            ),
            escalates_at=calendar.instant_after(asked.now, rule.escalate.after_business_days)
            if rule.escalate
            else None,
            escalates_to=rule.escalate.to if rule.escalate else (),
        )
        for rule in pack.route(route)
    )


def _opened_event(asked: DecideInput, pack: Pack, priority: str) -> CaseEvent:
    request, info = asked.request, activity.info()
    amount = request.amount_minor
    return CaseEvent(
        case_id=asked.case_id,
        step="open",
        kind=EventKind.OPENED,
        occurred_at=asked.now,
        actor=request.requested_by,
        body=plain(
            {
                "kind": CaseKind.REFUND,
                "request_id": request.request_id,
                "customer": request.customer,
                "charge": request.charge,
                "amount": None
                if amount is None
                else Money(amount_minor=amount, currency=request.currency),
                "currency": request.currency,
                "reason": request.reason,
                "language": request.language,
                "channel": request.channel,
                "first_response_due": pack.first_response_due(request.channel, asked.now),
                "jurisdiction": request.jurisdiction,
                "text": request.text,
                "requested_by": request.requested_by,
                "authorised_by": request.authorised_by,
                "consents_to_credit": request.consents_to_credit,
                "appeal_of": request.appeal_of,
                "alternative_to": request.alternative_to,
                "alternative": request.alternative,
                "desk": Desk.BILLING,
                "priority": priority,
                "business_key": None,
            }
        ),
        policy=pack.name,
        policy_version=pack.version,
        policy_hash=pack.hash,
        workflow_id=info.workflow_id or "",
        run_id=info.workflow_run_id or "",
    )
