"""Cases that go on from others: does the first one name them, and were they let?"""

from __future__ import annotations

from typing import Any

from audit.case_files import CaseFile
from audit.findings import Findings
from domain.approvals import Verdict
from domain.cases import EventKind
from domain.linked import ALTERNATIVE_STEP, APPEAL_STEP
from domain.refunds import Authority
from ledger.reading import Reading


async def check_linked(reading: Reading, file: CaseFile, found: Findings) -> None:
    """I13: the case that an appeal or an alternative names, names it in turn, and has ended. I4:
    money that moved on another case's decision moved on exactly that one, with its approvals. I5:
    nobody who said no decided the appeal.
    """
    if not file.is_legible or not file.events or file.events[0].kind is not EventKind.OPENED:
        return
    body = file.events[0].body
    for field, step in (("appeal_of", APPEAL_STEP), ("alternative_to", ALTERNATIVE_STEP)):
        first = body.get(field)
        if first is None:
            continue
        link = await reading.event(first, step)
        if link is None or link.body["case_id"] != file.case_id:
            _add(found, "I13", file, f"it goes on from {first}, which does not name it")
        elif await reading.event(first, "close") is None:
            _add(found, "I13", file, f"it goes on from {first}, which has not ended")
        if field == "appeal_of":
            await _check_judges(reading, file, first, found)
    if body.get("authorised_by") and file.of_kind(EventKind.ACCEPTED):
        await _check_authority(reading, file, body["authorised_by"], found)


async def _check_judges(reading: Reading, file: CaseFile, first: str, found: Findings) -> None:
    before = {row.actor.id for row in await reading.approvals(first)}
    for row in file.approvals:
        if row.actor.id in before:
            _add(found, "I5", file, f"{row.actor.id} judged {first} and its appeal")


async def _check_authority(
    reading: Reading, file: CaseFile, said: dict[str, Any], found: Findings
) -> None:
    authority = Authority.model_validate(said, strict=False)
    stored = await reading.decision(authority.case_id)
    if stored is None or stored.hash != authority.decision_hash:
        _add(found, "I4", file, f"money moved on a decision that {authority.case_id} did not make")
        return
    made = stored.outcome["made"]
    said_yes = {
        row.slot
        for row in await reading.approvals(authority.case_id)
        if row.verdict is Verdict.APPROVE and row.digest == authority.approval_digest
    }
    if made["digest"] != authority.approval_digest or {s["id"] for s in made["slots"]} - said_yes:
        _add(found, "I4", file, f"money moved on what was not approved in {authority.case_id}")


def _add(found: Findings, invariant: str, file: CaseFile, sentence: str) -> None:
    event = file.events[0]
    where = f"{event.case_id}:{event.step}"
    found.add(invariant, "case_events", where, sentence, seq=event.seq or None)
