"""What commands on one case share: find it, wait until its money is on the way, tell it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from domain.cases import Language, Status
from domain.errors import InvalidRequest
from rendering import facts_of, print_case, show_json

if TYPE_CHECKING:
    from client import CaseHandle, Client
    from ledger.projection import CaseRow
    from ledger.reading import Reading

SENDING_LOOKS, SENDING_PAUSE = 30, 0.1
"""Three seconds; then the case is shown as it is, still on its way to the provider."""


async def the_case(reading: Reading, case_id: str) -> CaseRow:
    """A case by its id, or by the beginning of it where no other begins so."""
    case = await reading.case(case_id)
    if case is not None:
        return case
    found = await reading.cases(after=case_id, limit=2)
    fits = [each for each in found if case_id and each.case_id.startswith(case_id)]
    if len(fits) == 1:
        return fits[0]
    what = f"{case_id} fits more than one case" if fits else f"no case {case_id} in the books"
    raise InvalidRequest("case", what, "an id of `list`, or enough of its beginning")


async def whole_id(client: Client, case_id: str) -> str:
    """The id that a beginning means; one that means nothing goes on record as refused."""
    async with client.books.reading() as reading:
        try:
            return (await the_case(reading, case_id)).case_id
        except InvalidRequest:
            return case_id


async def past_sending(handle: CaseHandle) -> None:
    """The order takes a moment; who has just said yes would rather see where the money is."""
    for _ in range(SENDING_LOOKS):
        row = await handle.row()
        if row is None or row.status is not Status.SENDING:
            return
        await asyncio.sleep(SENDING_PAUSE)


async def tell(
    reading: Reading,
    case: CaseRow,
    as_json: bool,
    language: Language | None = None,
    zone: str = "UTC",
) -> None:
    if as_json:
        show_json(await facts_of(reading, case, language, zone))
    else:
        await print_case(reading, case, language, zone)
