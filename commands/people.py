"""Commands of people who decide on a case, and of those who tell it something."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from commands.one_case import past_sending, tell, the_case, whole_id
from commands.options import As, AsJson, By, CaseId, ClickId, Digest, Note, Zone, known_form
from commands.running import DONE, REFUSED, opened_books, run, with_client
from domain.actors import Actor, Role
from domain.cases import Channel, Desk, Direction, Outcome
from domain.decisions import RefundMethod
from domain.errors import InvalidRequest
from files import PRIVATE, write_whole
from rendering import err, print_evidence, show_json, spinner

if TYPE_CHECKING:
    from client import CaseHandle, Client
    from domain.approvals import Answer
    from domain.evidence import EvidenceLimits
    from ledger.evidence import EvidenceItem, EvidenceStore

app = typer.Typer()


async def _judge(
    case_id: str, as_json: bool, act: Callable[[CaseHandle], Awaitable[Answer]]
) -> int:
    async def work(client: Client) -> int:
        handle = client.case(await whole_id(client, case_id))
        answer = await act(handle)
        with spinner("on its way"):
            await past_sending(handle)
        if answer.message:
            err.print(f"[yellow]{escape(answer.message)}[/]", highlight=False)
        async with client.books.reading() as reading:
            await tell(reading, await the_case(reading, handle.case_id), as_json)
        return DONE

    return await with_client(work)


async def _go_on(
    case_id: str, as_json: bool, act: Callable[[CaseHandle], Awaitable[CaseHandle]]
) -> int:
    async def work(client: Client) -> int:
        first = client.case(await whole_id(client, case_id))
        with spinner("deciding"):
            handle = await act(first)
            await handle.decided()
            await past_sending(handle)
        async with client.books.reading() as reading:
            case = await the_case(reading, handle.case_id)
            await tell(reading, case, as_json)
        return REFUSED if case.outcome is Outcome.REFUSED else DONE

    return await with_client(work)


# -- deciding --------------------------------------------------------------------------


@app.command()
def approve(
    case_id: CaseId, by: By, role: As, slot: Annotated[str, typer.Option()] = "",
    digest: Digest = None, note: Note = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say yes to exactly what `show` shows."""
    run(_judge(case_id, as_json, lambda case: case.approve(
        Actor(id=by, role=role), slot=slot, digest=digest, note=note)))  # fmt: skip


@app.command()
def decline(
    case_id: CaseId, by: By, role: As, slot: Annotated[str, typer.Option()] = "",
    digest: Digest = None, note: Note = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say no; the case ends and nothing moves."""
    run(_judge(case_id, as_json, lambda case: case.decline(
        Actor(id=by, role=role), slot=slot, digest=digest, note=note)))  # fmt: skip


@app.command()
def withdraw(
    case_id: CaseId, by: By, role: As, digest: Digest = None, note: Note = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take a request back while its money has not been ordered."""
    run(_judge(case_id, as_json, lambda case: case.withdraw(
        Actor(id=by, role=role), digest=digest, note=note)))  # fmt: skip


# -- telling ---------------------------------------------------------------------------


@app.command()
def contact(
    case_id: CaseId, by: By, role: As,
    channel: Annotated[Channel, typer.Option(help="By which way.")],
    text: Annotated[str, typer.Option(help="What was said; kept encrypted.")] = "",
    outgoing: Annotated[
        bool, typer.Option("--outgoing", help="Staff answered the customer.")
    ] = False,
    click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record that the customer got in touch again, or that staff answered."""
    direction = Direction.OUTGOING if outgoing else Direction.INCOMING
    run(_judge(case_id, as_json, lambda case: case.contact(
        Actor(id=by, role=role), channel, text, direction=direction,
        click_id=click_id)))  # fmt: skip


@app.command()
def evidence(
    case_id: CaseId,
    text: Annotated[str, typer.Option(help="A statement; kept encrypted.")] = "",
    file: Annotated[
        Path | None, typer.Option(help="A PDF, PNG, JPEG, text or e-mail; kept encrypted.")
    ] = None,
    media_type: Annotated[
        str, typer.Option("--type", help="What the file is; empty: what its name says, if it does.")
    ] = "",
    save: Annotated[
        Path | None, typer.Option(help="A folder: write the files of the case there.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who gives it.")] = "",
    role: Annotated[Role | None, typer.Option("--as", help="In which role.")] = None,
    click_id: ClickId = "", zone: Zone = "UTC", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give a case a statement or a file; without either, show what it was given."""
    if not text and file is None:
        run(_show_evidence(case_id, save, zone, as_json))
    if save is not None or not by or role is None:
        raise typer.BadParameter("an item needs --by and --as, and nothing is saved beside it")
    actor = Actor(id=by, role=role)
    run(_judge(case_id, as_json, lambda case: _give(case, actor, text, file, media_type, click_id)))


async def _give(
    case: CaseHandle, by: Actor, text: str, file: Path | None, media_type: str, click_id: str
) -> Answer:
    if file is None:
        return await case.evidence(by, text=text, click_id=click_id)
    content = await asyncio.to_thread(content_of, file, case.client.evidence_store.limits)
    said = media_type or mimetypes.guess_type(file.name)[0] or ""
    return await case.evidence(
        by, text=text, file=content, name=file.name, media_type=said, click_id=click_id
    )


def content_of(file: Path, limits: EvidenceLimits) -> bytes:
    """What is in a file that somebody names; never more in memory than a case takes.

    Raises :class:`InvalidRequest` for what is no file (a device has no end), cannot be read or is
    over the limit.
    """
    try:
        if not file.is_file():
            raise InvalidRequest("file", f"{file} is no file", "a file")
        size = file.stat().st_size
        with file.open("rb") as opened:
            content = opened.read(limits.file_bytes + 1) if not limits.why_not_size(size) else b""
    except OSError as error:
        raise InvalidRequest("file", f"{file} cannot be read: {error}", "a file") from error
    if why := limits.why_not_size(max(size, len(content))):
        message, _, allowed = why.removeprefix("file: ").partition("; allowed: ")
        raise InvalidRequest("file", message, allowed)
    return content


async def _show_evidence(case_id: str, save: Path | None, zone: str, as_json: bool) -> int:
    from ledger.evidence import EvidenceStore, evidence_of
    from ledger.keys import Keyring
    from settings import load

    settings = load()
    async with opened_books() as books:
        keyring = Keyring(books, settings.master_key_bytes())
        async with books.reading() as reading:
            case = await the_case(reading, case_id)
            events = await reading.events(case.case_id)
        items = await evidence_of(events, keyring)
        if save is not None:
            await _save(items, EvidenceStore(keyring, settings.evidence_dir), save)
    if as_json:
        show_json(items)
    else:
        print_evidence(items, zone)
    return DONE


async def _save(items: Sequence[EvidenceItem], store: EvidenceStore, folder: Path) -> None:
    """Write each file under its number and name; what is erased is passed over."""
    from ledger.keys import SealBroken

    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        for number, item in enumerate(items, start=1):
            content = await store.get(item.file.stored) if item.file is not None else None
            if content is not None and item.file is not None:
                path = folder / f"{number}-{item.file.name}"
                await asyncio.to_thread(write_whole, path, content, PRIVATE)
    except SealBroken as error:
        raise InvalidRequest("evidence", str(error), "see REDRESS_EVIDENCE_DIR") from error
    except OSError as error:
        raise InvalidRequest("save", str(error), "a folder that can be written") from error


@app.command()
def transfer(
    case_id: CaseId, by: By, role: As,
    desk: Annotated[Desk, typer.Option(help="The desk that takes the case over.")],
    reason: Annotated[str, typer.Option(help="Why; kept encrypted.")] = "",
    click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Hand a case to another desk."""
    run(_judge(case_id, as_json, lambda case: case.transfer(
        Actor(id=by, role=role), desk, reason, click_id=click_id)))  # fmt: skip


@app.command()
def claim(
    case_id: CaseId, by: By, role: As, click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take a case on, out of its desk's queue."""
    run(_judge(case_id, as_json, lambda case: case.claim(
        Actor(id=by, role=role), click_id=click_id)))  # fmt: skip


@app.command()
def release(
    case_id: CaseId, by: By, role: As, click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give a case back to its desk's queue."""
    run(_judge(case_id, as_json, lambda case: case.release(
        Actor(id=by, role=role), click_id=click_id)))  # fmt: skip


@app.command()
def delegate(
    case_id: CaseId, by: By, role: As,
    to: Annotated[
        str,
        typer.Option(callback=known_form, help="Who is to decide: an id such as [b]mia[/b]."),
    ],
    to_role: Annotated[Role, typer.Option("--to-as", help="In which role.")],
    slot: Annotated[str, typer.Option()] = "", digest: Digest = None,
    click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Hand an approval that is yours to give to somebody who may give it."""
    run(_judge(case_id, as_json, lambda case: case.delegate(
        Actor(id=by, role=role), Actor(id=to, role=to_role), slot=slot, digest=digest,
        click_id=click_id)))  # fmt: skip


@app.command()
def appeal(
    case_id: CaseId, by: By, role: As,
    text: Annotated[str, typer.Option(help="What is new since the no; kept encrypted.")],
    click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Have a no judged again, once, by somebody else; tells the case that does."""
    run(_go_on(case_id, as_json, lambda case: case.appeal(
        Actor(id=by, role=role), text, click_id=click_id)))  # fmt: skip


@app.command()
def accept(
    case_id: CaseId, by: By, role: As,
    alternative: Annotated[
        RefundMethod, typer.Option(help="What the customer takes instead.")
    ] = RefundMethod.ACCOUNT_CREDIT,
    click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take what a case offered at its end; tells the case that pays it."""
    run(_go_on(case_id, as_json, lambda case: case.accept(
        Actor(id=by, role=role), alternative, click_id=click_id)))  # fmt: skip


@app.command()
def survey(
    case_id: CaseId, by: By, role: As,
    effort: Annotated[int, typer.Option(help="1 to 5; 5 is the most effort.")],
    satisfaction: Annotated[int, typer.Option(help="1 to 5; 5 is the most content.")],
    text: Annotated[str, typer.Option(help="In their own words; kept encrypted.")] = "",
    click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record what the customer says of a case that has ended, once."""
    run(_judge(case_id, as_json, lambda case: case.survey(
        Actor(id=by, role=role), effort=effort, satisfaction=satisfaction, text=text,
        click_id=click_id)))  # fmt: skip
