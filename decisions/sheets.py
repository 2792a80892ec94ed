"""Pages of tables for people: as Markdown, as HTML, and for a terminal to draw."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
.wide { overflow-x: auto; margin: 2rem 0; }
table { border-collapse: collapse; width: 100%; }
caption { font-weight: 600; text-align: start; padding: .5rem 0; }
th, td { border: 1px solid #767676; padding: .4rem .6rem; text-align: start; vertical-align: top; }
thead th { background: color-mix(in srgb, CanvasText 8%, Canvas); }
""".strip()


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: ``rows`` of as many cells as ``columns``; the first cell names its row. A cell
    may have several lines. ``note`` stands below the caption."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page in one language (a tag such as ``es``)."""

    title: str
    lead: str
    grids: tuple[Grid, ...]
    language: str


def markdown(sheet: Sheet) -> str:
    """GitHub's Markdown. Text that would be markup is escaped."""
    parts = [f"# {_inline(sheet.title)}", _inline(sheet.lead)]
    for grid in sheet.grids:
        parts.append(f"## {_inline(grid.caption)}")
        if grid.note:
            parts.append(_inline(grid.note))
        lines = [grid.columns, ("---",) * len(grid.columns)]
        table = ["| " + " | ".join(lines[0]) + " |", "|" + "|".join(lines[1]) + "|"]
        table += ["| " + " | ".join(_inline(cell) for cell in row) + " |" for row in grid.rows]
        parts.append("\n".join(table))
    return "\n\n".join(part for part in parts if part) + "\n"


def _inline(text: str) -> str:
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, "\\" + mark)
    return text.replace("\n", "<br>")


def html(sheet: Sheet) -> str:
    """One HTML document that needs nothing else: no script, no resource from outside."""
    grids = "\n".join(_html_grid(grid) for grid in sheet.grids)
    return (
        f'<!doctype html>\n<html lang="{escape(sheet.language)}">\n<head>\n'
        '<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(sheet.title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(sheet.title)}</h1>\n<p>{escape(sheet.lead)}</p>\n"
        f"{grids}\n</main>\n</body>\n</html>\n"
    )


def _html_grid(grid: Grid) -> str:
    note = f"<br>{_lines(grid.note)}" if grid.note else ""
    heads = "".join(f'<th scope="col">{_lines(name)}</th>' for name in grid.columns)
    rows = "\n".join(
        f'<tr><th scope="row">{_lines(first)}</th>'
        + "".join(f"<td>{_lines(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in grid.rows
    )
    # a region that scrolls must be reachable by keyboard, and then needs a name
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(grid.caption)}">\n'
        f"<table>\n<caption>{_lines(grid.caption)}{note}</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")
