"""A policy as a page for people: every rule in a row and in a sentence, and its data blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from decisions.in_words import DURATION, PLAIN, Wording, is_amounts
from decisions.jurisdictions import entries_by_name, written_out
from decisions.pack import Pack
from decisions.sheets import Grid, Sheet
from decisions.table import Table
from decisions.types import ValueType
from domain.cases import Language
from domain.texts import day_in_words

TREES = ("timers", "catalogues", "counters", "jurisdictions", "clocks")
"""Blocks that are shown as they nest; the others have columns of their own."""

LENGTHS = ("within", "expires")
"""Keys under which a text is a length of time."""


def document_of(pack: Pack) -> dict[str, Any]:
    """The pack's document with its includes, in JSON types, keys in order."""
    found: dict[str, Any] = json.loads(pack.content)
    return found


def tables_of(pack: Pack) -> list[tuple[Table, dict[str, Any]]]:
    """Each table as the engine has it, with its part of the document; what rules take from rule
    books is written out."""
    document = document_of(pack)
    law = entries_by_name(pack.rule_books)
    parts = [written_out(part, law) for part in document.get("tables") or [document]]
    return list(zip(pack.tables, parts, strict=True))


def show(pack: Pack, language: Language) -> Sheet:
    """The whole pack as a page in ``language``; texts are those that customers read in it."""
    words = Wording(language)
    document = document_of(pack)
    grids: list[Grid] = []
    for table, written in tables_of(pack):
        grids += _table(words, table, written)
    inputs = document.get("inputs") or {}
    counters = {name: each for name, each in inputs.items() if "within" in each}
    for name in TREES:
        block = counters if name == "counters" else document.get(name)
        if block:
            rows = tuple(tree_rows(words, block))
            grids.append(_grid(words, f"section.{name}", ("name", "value"), rows))
    grids += _routes(words, document.get("routes") or {})
    grids += _authority(words, document.get("authority") or [])
    grids += _calendars(words, document.get("calendars") or {})
    texts = tuple((key, pack.texts[key].get(language.value, "")) for key in sorted(pack.texts))
    if texts:
        grids.append(_grid(words, "section.texts", ("key", "text"), texts))
    return Sheet(
        words.say("sheet.title", policy=pack.name, version=str(pack.version)),
        words.say(
            "sheet.lead",
            day=day_in_words(pack.effective_from, language),
            owner=pack.owner,
            hash=pack.hash[:12],
        ),
        tuple(grids),
        language.value,
    )


def _grid(
    words: Wording, section: str, columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]
) -> Grid:
    return Grid(words.say(section), tuple(words.say(f"heading.{name}") for name in columns), rows)


def _table(words: Wording, table: Table, written: Mapping[str, Any]) -> Iterator[Grid]:
    note = words.say(f"hit.{table.hit}")
    if written.get("when"):
        conditions = words.clauses(table.inputs, written["when"])
        note = f"{words.say('table.guard', conditions=conditions)} {note}"
    rows = tuple(
        (
            rule["id"],
            cells(words, table.inputs, rule["when"]),
            cells(words, table.outputs, rule["then"], are_outputs=True),
            rule["why"],
            words.sentence(table.inputs, table.outputs, rule, is_first=place == 0),
        )
        for place, rule in enumerate(written["rules"])
    )
    headings = ("rule", "when", "then", "why", "sentence")
    columns = tuple(words.say(f"heading.{name}") for name in headings)
    yield Grid(words.say("section.table", name=table.name), columns, rows, note)
    gaps = tuple(
        (
            cells(words, table.inputs, gap["when"]),
            gap["why"],
            words.say("rule.gap", conditions=words.clauses(table.inputs, gap["when"])),
        )
        for gap in written.get("accept_gaps") or ()
    )
    if gaps:
        columns = tuple(words.say(f"heading.{name}") for name in ("when", "why", "sentence"))
        yield Grid(words.say("section.gaps", name=table.name), columns, gaps)


def cells(
    words: Wording,
    kinds: Mapping[str, ValueType],
    written: Mapping[str, Any],
    *,
    are_outputs: bool = False,
) -> str:
    """A line for each condition, or each output, of a rule."""
    tell = words.output if are_outputs else words.condition
    return "\n".join(
        f"{name}: {tell(kinds.get(name, PLAIN), cell)}" for name, cell in written.items()
    )


def tree_rows(
    words: Wording, block: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, str]]:
    """A row for each entry of a nested block; maps of plain values are told in one row.

    What its author marks ``verified: false`` is marked wherever it is shown.
    """
    for name, item in block.items():
        where = f"{path} › {name}" if path else name
        if isinstance(item, Mapping) and any(isinstance(each, Mapping) for each in item.values()):
            yield from tree_rows(words, item, where)
        else:
            yield where, entry(words, name, item)


def entry(words: Wording, name: str, item: Any) -> str:
    """One entry of a data block in words."""
    if not isinstance(item, Mapping) or is_amounts(item):
        return words.value(DURATION if name in LENGTHS and isinstance(item, str) else PLAIN, item)
    told = ", ".join(
        f"{key} {entry(words, key, each)}" for key, each in item.items() if key != "verified"
    )
    return words.say("mark.unverified", value=told) if item.get("verified") is False else told


def _routes(words: Wording, routes: Mapping[str, Any]) -> Iterator[Grid]:
    rows = []
    for name, slots in routes.items():
        if not slots:
            rows.append((name, words.say("route.nobody"), "", "", "", ""))
        for slot in slots:
            expires, remind = (
                [words.value(DURATION, length) for length in lengths]
                for lengths in ([slot["expires"]], slot.get("remind") or [])
            )
            rows.append(
                (name, slot["id"], words.joined(slot["roles"], "list.or"), *expires,
                 words.joined(remind), _escalation(words, slot.get("escalate")))
            )  # fmt: skip
    if rows:
        columns = ("route", "slot", "roles", "expires", "remind", "escalate")
        yield _grid(words, "section.routes", columns, tuple(rows))


def _escalation(words: Wording, escalate: Mapping[str, Any] | None) -> str:
    if escalate is None:
        return words.joined(())
    return words.say(
        "route.escalation",
        after=words.value(DURATION, escalate["after"]),
        roles=words.joined(escalate["to"], "list.or"),
    )


def _authority(words: Wording, limits: list[dict[str, Any]]) -> Iterator[Grid]:
    money = ValueType("money")
    rows = tuple(
        (
            limit["role"],
            limit["kind"].replace("_", " "),
            words.value(money, limit["each"]),
            words.value(money, limit["per_day"]),
        )
        for limit in limits
    )
    if rows:
        yield _grid(words, "section.authority", ("role", "kind", "each", "per_day"), rows)


def _calendars(words: Wording, calendars: Mapping[str, Any]) -> Iterator[Grid]:
    day = ValueType("date")
    rows = tuple(
        (
            name,
            words.say(
                "calendar.line",
                zone=each["zone"],
                days=words.number(len(each["holidays"])),
                first=words.value(day, each["covers"]["from"]),
                last=words.value(day, each["covers"]["to"]),
            ),
        )
        for name, each in calendars.items()
    )
    if rows:
        yield _grid(words, "section.calendars", ("name", "value"), rows)
