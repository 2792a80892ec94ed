"""``starter.py policy …``: what the owners of policy files do with them, no Python needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from commands.options import AsJson
from commands.running import DONE, REFUSED, WRONG_USE, opened_books, run
from domain.cases import Language
from domain.errors import InvalidRequest
from files import write_whole
from rendering import bar, counted, err, out, say, show_json

if TYPE_CHECKING:
    from decisions.findings import PolicyErrors
    from decisions.pack import Pack
    from decisions.sheets import Sheet

app = typer.Typer(
    help="Policy files: check, show, compare, try on past cases, release.", no_args_is_help=True
)


class Format(StrEnum):
    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    HTML = "html"


Reference = Annotated[
    str, typer.Argument(help="A file, or a policy: NAME (its newest version) or NAME@N.")
]
Policies = Annotated[
    Path | None, typer.Option("--policies", help="The policies directory; default: the shipped.")
]
Spoken = Annotated[Language, typer.Option(help="Language of the words: en, es or ko.")]
As = Annotated[Format, typer.Option("--format", help="How to show it.")]


def _directory(policies: Path | None) -> Path:
    from settings import load

    where = policies or load().policies
    if not where.is_dir():
        raise InvalidRequest("policies", f"there is no directory {where}", "a policies directory")
    return where


def _pack(reference: str, directory: Callable[[], Path], version: int | None = None) -> Pack:
    """The pack that a file, ``NAME`` or ``NAME@N`` means.

    Raises :class:`InvalidRequest` when there is none, and :class:`PolicyErrors` when it does
    not load.
    """
    from decisions.pack import Pack

    if reference.endswith(".yaml"):
        path = Path(reference)
        if not path.is_file():
            raise InvalidRequest("policy", f"there is no file {path}", "a file, NAME or NAME@N")
        return Pack.load(path)
    name, _, number = reference.partition("@")
    folder = directory() / name
    found = {path.stem[1:]: path for path in folder.glob("v[0-9]*.yaml")} if name else {}
    wanted = number or (str(version) if version else max(found, key=_number, default=""))
    if wanted in found:
        return Pack.load(found[wanted])
    if found:
        allowed = ", ".join(f"{name}@{each}" for each in sorted(found, key=_number))
    else:
        allowed = ", ".join(sorted({path.parent.name for path in directory().glob("*/v*.yaml")}))
    raise InvalidRequest("policy", f"there is no {reference}", allowed or "a file")


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _tell(sheet: Sheet, form: Format) -> None:
    from decisions.sheets import html, markdown

    if form is Format.MARKDOWN:
        print(markdown(sheet), end="")
    elif form is Format.HTML:
        print(html(sheet), end="")
    else:
        _print_sheet(sheet)


def _print_sheet(sheet: Sheet) -> None:
    say(f"[bold]{escape(sheet.title)}[/]\n{escape(sheet.lead)}")
    for grid in sheet.grids:
        say(f"\n[bold cyan]{escape(grid.caption)}[/]")
        if grid.note:
            say(f"[dim]{escape(grid.note)}[/]")
        table = Table(box=None, header_style="dim", pad_edge=False)
        for place, column in enumerate(grid.columns):
            table.add_column(column, no_wrap=place == 0, overflow="fold")
        for row in grid.rows:
            table.add_row(*(escape(cell) for cell in row))
        out.print(table)


@app.command()
def check(
    path: Annotated[
        Path | None,
        typer.Argument(help="A file, or a policies directory; default: the shipped policies."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load policy files; every mistake with its file, line and column.

    Exit code 2: a mistake. A file's includes are looked for two levels above it. A calendar that
    knows less than a year ahead is a warning: what is released loads as long as it is needed.
    """

    async def work() -> int:
        from decisions.findings import PolicyErrors
        from decisions.library import Library
        from decisions.pack import Pack
        from settings import load

        where = path or load().policies
        try:
            if where.is_file():
                packs: tuple[Pack, ...] = (Pack.load(where),)
            elif where.is_dir():
                packs = Library.load(where).packs
            else:
                raise InvalidRequest("path", f"there is no {where}", "a file, or a directory")
        except PolicyErrors as error:
            _tell_findings(error, as_json)
            return WRONG_USE
        if as_json:
            checked = [_facts_of(pack) for pack in packs]
            show_json({"ok": True, "policies": checked, "warnings": _warnings(packs)})
        else:
            for warning in _warnings(packs):
                err.print(f"[yellow]{escape(warning)}[/]", highlight=False, soft_wrap=True)
            for pack in packs:
                say(f"[green]ok[/] {pack.name} v{pack.version} "
                    f"from {pack.effective_from} [dim]{pack.hash[:12]}[/]")  # fmt: skip
        return DONE

    run(work())


def _warnings(packs: Iterable[Pack]) -> list[str]:
    today = datetime.now(UTC).date()
    return [
        f"{pack.name} v{pack.version}: calendar {calendar.id} {calendar.version} knows holidays "
        f"until {calendar.covers_to}, less than a year ahead: past it no deadline can be told, and "
        "cases wait; release a version with a newer calendar"
        for pack in packs
        for calendar in pack.short_calendars(today)
    ]


def _facts_of(pack: Pack) -> dict[str, object]:
    return {
        "policy": pack.name,
        "version": pack.version,
        "effective_from": pack.effective_from,
        "hash": pack.hash,
    }


def _tell_findings(error: PolicyErrors, as_json: bool) -> None:
    if as_json:
        show_json({"ok": False, "findings": [asdict(each) for each in error.findings]})
        return
    for finding in error.findings:
        err.print(escape(str(finding)), highlight=False, soft_wrap=True)
    err.print(f"[bold red]{counted(len(error.findings), 'mistake')}[/]")


@app.command()
def show(
    policy: Reference,
    version: Annotated[
        int | None, typer.Option(min=1, help="Which version; default: the newest.")
    ] = None,
    form: As = Format.TERMINAL,
    language: Spoken = Language.EN,
    policies: Policies = None,
    as_json: AsJson = False,
) -> None:
    """A policy for people: each rule in a row and as a sentence, and what belongs to it."""

    async def work() -> int:
        from decisions.show import show as shown

        pack = _pack(policy, lambda: _directory(policies), version)
        sheet = shown(pack, language)
        if as_json:
            show_json({**_facts_of(pack), **asdict(sheet)})
        else:
            _tell(sheet, form)
        return DONE

    run(work())


@app.command()
def diff(
    before: Reference,
    after: Reference,
    form: As = Format.TERMINAL,
    language: Spoken = Language.EN,
    policies: Policies = None,
    as_json: AsJson = False,
) -> None:
    """What the second says otherwise than the first: by rule, by outcome, and on which facts.

    Exit code 0: the same but for the version number; 1: they differ.
    """

    async def work() -> int:
        from decisions.difference import compare, difference_sheet

        one, other = (_pack(each, lambda: _directory(policies)) for each in (before, after))
        found = compare(one, other, language)
        if as_json:
            show_json({"equal": found.is_equal, "before": _facts_of(one),
                       "after": _facts_of(other), **asdict(found)})  # fmt: skip
        else:
            _tell(difference_sheet(one, other, found, language), form)
        return DONE if found.is_equal else REFUSED

    run(work())


@app.command()
def simulate(
    before: Annotated[str, typer.Option("--from", help="A file, NAME or NAME@N.")],
    after: Annotated[str, typer.Option("--to", help="A file, NAME or NAME@N.")],
    form: As = Format.TERMINAL,
    language: Spoken = Language.EN,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the transition matrices into this SVG file.")
    ] = None,
    policies: Policies = None,
    as_json: AsJson = False,
) -> None:
    """Decide every case of the books under both versions, and count what comes out otherwise.

    Moves no money and writes nothing into the books.
    """

    async def work() -> int:
        from audit.backtest import backtest, stored_decisions
        from decisions.transitions import transitions_json, transitions_sheet, transitions_svg

        one, other = (_pack(each, lambda: _directory(policies)) for each in (before, after))
        async with opened_books() as books, books.reading() as reading:
            count = await stored_decisions(reading, one.name)
            with bar("deciding under both", count) as on_done:
                found = await backtest(reading, one, other, progress=on_done)
        if plot is not None and found.total.cases:
            write_whole(plot, transitions_svg(found, language))
        if as_json:
            show_json(transitions_json(found))
        else:
            _tell(transitions_sheet(found, language), form)
        if not found.total.cases:
            err.print(f"[yellow]the books hold no decision of {one.name}: nothing to count[/]")
        return DONE

    run(work())


@app.command("release")
def release_version(
    policy: Annotated[str, typer.Argument(help="The version: NAME@N.")],
    by: Annotated[str, typer.Option("--by", help="Who releases it: an id, not its owner's.")],
    signed_by: Annotated[
        str, typer.Option("--signed-by", help="Who answers for numbers that are not verified.")
    ] = "",
    policies: Policies = None,
    as_json: AsJson = False,
) -> None:
    """List a version as released, after a clean check of the whole directory.

    A released file never changes. Exit code 1: it may not be released, and why; 2: a mistake in
    a file.
    """

    async def work() -> int:
        from decisions.findings import PolicyErrors
        from decisions.library import Library
        from decisions.lock import read_lock, release

        name, _, number = policy.partition("@")
        directory = _directory(policies)
        try:
            library = Library.load(directory)
        except PolicyErrors as error:
            _tell_findings(error, as_json)
            return WRONG_USE
        found = [p for p in library.versions(name) if str(p.version) == number]
        if not found:
            allowed = ", ".join(f"{p.name}@{p.version}" for p in library.packs)
            raise InvalidRequest("policy", f"there is no {policy}", allowed or "NAME@N")
        [pack] = found
        release(library, directory, pack, by, datetime.now(UTC), signed_by)
        if as_json:
            lock, _ = read_lock(directory)
            show_json({**_facts_of(pack), "released_by": by, "lock": lock})
        else:
            say(f"[green]released[/] {pack.name} v{pack.version}, in force from "
                f"{pack.effective_from}, by {escape(by)}")  # fmt: skip
        return DONE

    run(work())
