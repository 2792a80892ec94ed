"""Arguments and options that several commands take."""

from __future__ import annotations

import re
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from domain.actors import PERSON, Role


def known_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise typer.BadParameter(f"{zone!r} is no time zone, such as Europe/Madrid") from None
    return zone


def known_form(person: str) -> str:
    """What is not of the form may be a name or an address, and is not repeated."""
    if not re.fullmatch(PERSON, person):
        raise typer.BadParameter("is no id of a person: 1 to 64 letters, digits and . _ : -")
    return person


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
CaseId = Annotated[str, typer.Argument(help="The case id, or enough of its beginning to name one.")]
By = Annotated[
    str, typer.Option("--by", callback=known_form, help="Who you are: an id such as [b]ana[/b].")
]
As = Annotated[Role, typer.Option("--as", help="In which role.")]
Note = Annotated[str, typer.Option(help="A note; kept encrypted under the customer's key.")]
Zone = Annotated[str, typer.Option(callback=known_zone, help="Time zone of the instants shown.")]
ClickId = Annotated[
    str, typer.Option(help="Yours; the same id again is the same message, not another.")
]
Digest = Annotated[
    str | None,
    typer.Option(help="What was shown (see [b]show[/b]); refused when it has changed since."),
]
