"""``starter.py audit …``: proofs over the books."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from commands.options import AsJson
from commands.running import DONE, REFUSED, opened_books, run
from domain.errors import InvalidRequest
from rendering import bar, counted, err, say, show_json, spinner

if TYPE_CHECKING:
    from ledger.chain import Head

app = typer.Typer(help="Proofs over the books.", no_args_is_help=True)


@app.command()
def verify(
    head: Annotated[
        str, typer.Option(help="A head that you kept, as printed here: SEQ:HASH.")
    ] = "",
    evidence: Annotated[
        Path | None,
        typer.Option(help="Where the evidence lies; default: [b]REDRESS_EVIDENCE_DIR[/b]."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the chain, the sums, the approvals and the projection of the whole books.

    Evidence whose file is gone is a finding too. Signatures are held against
    [b]REDRESS_ACTOR_VERIFY_KEY[/b].
    """

    async def work() -> int:
        from audit import verify as proof
        from settings import load

        kept, settings = _head(head), load()
        folder = evidence or settings.evidence_dir
        keys = settings.verify_keys()
        async with opened_books() as books:
            with spinner("verifying the books"):
                report = await proof.verify(
                    books, expected_head=kept, evidence=folder, verify_keys=keys
                )
        if as_json:
            show_json(report)
        else:
            for finding in report.findings:
                err.print(f"[bold red]{escape(str(finding))}[/]", highlight=False)
            counts = ", ".join(
                f"{name.replace('_', ' ')} {n:,}" for name, n in report.counts.items() if n
            )
            say(f"{counts}\nhead {report.head.seq}:{report.head.hash}")
            if report.signatures is None:
                say("signatures were not checked: REDRESS_ACTOR_VERIFY_KEY is not set")
            if report.unnamed_files:
                say(f"{counted(report.unnamed_files, 'file')} of evidence that no event names")
            if report.findings:
                say(f"[bold red]{counted(len(report.findings), 'finding')}[/]")
            else:
                say("[bold green]the books verify[/]")
        return REFUSED if report.findings else DONE

    run(work())


def _head(text: str) -> Head | None:
    from ledger.chain import Head

    if not text:
        return None
    seq, _, digest = text.partition(":")
    if not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]{64}", text):
        raise InvalidRequest("head", f"{text!r} is no head", "SEQ:HASH as `audit verify` prints")
    return Head(seq=int(seq), hash=digest)


@app.command()
def replay(as_json: AsJson = False) -> None:
    """Decide every case of the books again, from its stored facts under its own policy.

    Exit code 1: a decision comes out otherwise than it is written down.
    """

    async def work() -> int:
        from audit import replay as proof

        async with opened_books() as books:
            async with books.reading() as reading:
                count = (await reading.counts())["decisions"]
            with bar("deciding again", count) as on_done:
                report = await proof.replay(books, progress=on_done)
        if as_json:
            show_json(report)
        else:
            for difference in report.differences:
                err.print(f"[bold red]{escape(str(difference))}[/]", highlight=False)
            say(
                f"{counted(report.decisions, 'decision')} under "
                f"{counted(report.policies, 'policy', 'policies')}"
            )
            count = len(report.differences) + report.dropped
            if count:
                say(f"[bold red]{counted(count, 'difference')}[/]")
            else:
                say("[bold green]every decision comes out again[/]")
        return DONE if report.is_clean else REFUSED

    run(work())


@app.command()
def rebuild(
    write: Annotated[
        bool, typer.Option("--write", help="Write the list anew where it differs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compute the list of cases from their events alone, and compare it with the one at hand.

    Without [b]--write[/b] nothing is changed, and a difference is exit code 1. Damaged events
    rebuild nothing; what damaged them, [b]audit verify[/b] tells.
    """

    async def work() -> int:
        from audit import rebuild as projection

        async with opened_books() as books:
            with spinner("folding the events"):
                differences = await projection.compare_projection(books)
                written = await projection.rebuild(books) if differences and write else 0
        if as_json:
            show_json({"differences": differences, "written": written})
        else:
            for difference in differences:
                err.print(f"[bold red]{escape(str(difference))}[/]", highlight=False)
            if written:
                say(f"[green]{counted(written, 'case')} written anew[/] from the events")
            elif differences:
                found = counted(len(differences), "difference")
                say(f"[bold red]{found}[/]; --write mends the list")
            else:
                say("[bold green]the list of cases is what the events say[/]")
        return REFUSED if differences and not written else DONE

    run(work())


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="A new or empty directory.")],
    as_json: AsJson = False,
) -> None:
    """Write the books as CSV files with a manifest of totals and hashes."""

    async def work() -> int:
        from audit import export as files

        async with opened_books() as books:
            with spinner("exporting the books"):
                manifest = await files.export(books, directory)
        if as_json:
            show_json(manifest)
        else:
            say(f"[green]exported[/] to {directory}")
        return DONE

    run(work())
