"""Refund: from request to money proven to have moved.

The procedure. The engine gathers the facts and decides by the pinned policy; a grant is held
at once. If the policy asks the customer for something, wait until they give it or their time is
up, and decide again. If it asks for a person's yes, wait for it until it expires. Order the money
at the provider. Then settle: news from the provider, or the engine's own look at the minimum, a
middle and the maximum business day, until the money is confirmed or has failed. Past the maximum
day with no answer finance traces it. Money that the bank sends back is paid another way by a case
of its own, if the policy knows one that needs nobody's word any more; otherwise the customer is
asked. Account credit needs no settling.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.approvals import Action
    from domain.cases import Outcome
    from domain.decisions import RefundVerdict
    from domain.refunds import (
        LookInput,
        RefundCaseInput,
        RefundProgress,
        RefundResult,
        SendResult,
        SendStatus,
    )
    from workflows import steps
    from workflows.desk import CaseDesk

_ENDED_BY = {Action.DECLINE: Outcome.DECLINED, Action.WITHDRAW: Outcome.WITHDRAWN}


@workflow.defn(name="RefundCase")
class RefundCase(CaseDesk):
    """One refund; :class:`CaseDesk` says which messages it answers."""

    @workflow.init
    def __init__(self, case: RefundCaseInput) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: RefundCaseInput) -> RefundResult:
        decision = await self._decide()
        ended = self.ended_by
        outcome = _ENDED_BY[ended] if ended else await self._carry_out(decision)
        self.show("closed", "", None, outcome.value)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return RefundResult(
            case_id=case.case_id, outcome=outcome, rule=decision.rule, amount=decision.amount
        )

    async def _decide(self) -> RefundProgress:
        """The decision after which nothing is asked of the customer any more."""
        decision = await steps.decide(self.case)
        while decision.outcome is None and decision.asked_until is not None:
            self.digest = decision.digest
            if decision.is_answered:
                self.answered = max(self.answered, decision.ordinal)
            if not await self.await_information(decision.ordinal, decision.asked_until):
                break
            decision = await steps.decide(self.case, decision.ordinal + 1)
        return decision

    async def _carry_out(self, decision: RefundProgress) -> Outcome:
        if decision.goes_on:
            await steps.open_linked(self.case)
        if decision.outcome is not None:
            return decision.outcome
        if decision.verdict is RefundVerdict.REFUSE:
            return Outcome.REFUSED
        self.digest = decision.digest
        if decision.slots and not await self.await_approvals(decision.slots, decision.filled):
            if self.ended_by is None:
                await steps.expire(self.case)
                return Outcome.EXPIRED
            return _ENDED_BY[self.ended_by]
        self.acting = True
        self.show("sending", "provider", None, "settles")
        sent = await steps.send(self.case, decision.digest)
        if sent.status is SendStatus.REFUSED or sent.outcome is not None:
            return sent.outcome or Outcome.REJECTED_BY_PROVIDER
        return await self._settle(sent)

    async def _settle(self, sent: SendResult) -> Outcome:
        """Look at each instant, and whenever the provider has news, until it is known."""
        seen, ordinal = 0, sent.looked
        maximum, instants = sent.looks[-1], sent.looks + sent.trace_looks
        for instant in instants:
            while True:
                self.show("settling", "bank", instant, "looks at the provider")
                try:
                    await workflow.wait_condition(
                        lambda before=seen: self.news > before,  # type: ignore[misc]
                        timeout=instant - workflow.now(),
                        timeout_summary="look at the provider",
                    )
                    is_due = False
                except TimeoutError:
                    is_due = True
                seen, ordinal = self.news, ordinal + 1
                looked = await steps.look(
                    self.case,
                    LookInput(
                        case_id=self.case.case_id,
                        ordinal=ordinal,
                        now=workflow.now(),
                        at_maximum=is_due and instant == maximum,
                        last=is_due and instant == instants[-1],
                    ),
                )
                if looked.goes_on:
                    await steps.open_linked(self.case)
                if looked.outcome is not None:
                    return looked.outcome
                if is_due:
                    break
        return Outcome.UNCONFIRMED
