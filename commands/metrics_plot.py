"""How long things took, drawn: the middle and the slow end of each length, by group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from math import log10

from commands.metrics import FEW, span
from ledger.figures import Durations, Figures, Metrics
from rendering import instant

PANELS: tuple[tuple[str, Callable[[Figures], Durations]], ...] = (
    ("opened → first answer", lambda f: f.first_response),
    ("opened → decision", lambda f: f.time_to_decision),
    ("opened → money sent", lambda f: f.time_to_acceptance),
    ("opened → money confirmed", lambda f: f.time_to_confirmation),
)

TICKS = (1, 60, 3_600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
TICK_NAMES = ("1 s", "1 min", "1 h", "1 day", "7 days", "30 days", "1 year")

NAMES, SCALE, TOLD, HEAD, ROW, GAP, FOOT = 190, 460, 250, 96, 22, 34, 62
"""Pixels: the room for names, the axis, the figures beside it; above, a row, a panel's heading,
below."""

COLOUR, QUIET = "#2f5d8c", "#767676"


def durations_svg(found: Metrics) -> str:
    """An SVG of the median and the ninetieth percentile of each length on one logarithmic axis.

    What a picture cannot be seen by is told in its title and description.
    """
    groups = found.groups or (found.total,)
    longest = max((d.p90_seconds or 0 for _, get in PANELS for d in map(get, groups)), default=0)
    ticks = [tick for tick in TICKS if tick < longest] or [1]
    most = next((tick for tick in TICKS if tick >= longest), longest)
    ticks = [*ticks, most] if most not in ticks else ticks
    height = HEAD + len(PANELS) * (GAP + ROW * len(groups)) + FOOT
    width = NAMES + SCALE + TOLD
    by = f", by {found.by}" if found.by else ""
    title = f"How long cases took{by}"
    window = f"cases opened from {instant(found.since)} up to {instant(found.until)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title told" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="told">{escape(_told(groups, window))}</desc>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="30" font-size="17" font-weight="bold">{escape(title)}</text>',
        f'<text x="16" y="50" fill="{QUIET}">{escape(window)}</text>',
        *_legend(NAMES, 74),
        *_axis(ticks, most, height),
    ]
    top = HEAD
    for heading, get in PANELS:
        parts.append(f'<text x="16" y="{top + 20}" font-weight="bold">{escape(heading)}</text>')
        for place, figures in enumerate(groups):
            parts += _row(figures.name, get(figures), most, top + GAP + ROW * place)
        top += GAP + ROW * len(groups)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _told(groups: tuple[Figures, ...], window: str) -> str:
    """The picture in words."""
    lines = [
        f"{heading}, {figures.name}: {_figures(get(figures))}"
        for heading, get in PANELS
        for figures in groups
    ]
    return "; ".join([window, *lines])


def _figures(found: Durations) -> str:
    if not found.n:
        return "no case yet"
    few = " (few)" if found.n < FEW else ""
    return f"{span(found.p50_seconds)}, {span(found.p90_seconds)}, n {found.n:,}{few}"


def _x(seconds: int, most: int) -> int:
    share = log10(max(seconds, 1)) / log10(most) if most > 1 else 0
    return NAMES + round(SCALE * min(share, 1))


def _half(x: int, y: int) -> str:
    return f'<circle cx="{x}" cy="{y}" r="4" fill="{COLOUR}"/>'


def _slow(x: int, y: int) -> str:
    """Wide enough to be seen around the other where the two are one."""
    return f'<circle cx="{x}" cy="{y}" r="7" fill="#ffffff" stroke="{COLOUR}" stroke-width="2"/>'


def _legend(x: int, y: int) -> Iterator[str]:
    yield _half(x + 6, y - 4)
    yield f'<text x="{x + 18}" y="{y}">half took no longer (p50)</text>'
    yield _slow(x + 200, y - 4)
    yield f'<text x="{x + 214}" y="{y}">nine of ten took no longer (p90)</text>'
    yield f'<text x="{NAMES + SCALE + 16}" y="{y}" fill="{QUIET}">p50, p90, cases</text>'


def _axis(ticks: list[int], most: int, height: int) -> Iterator[str]:
    bottom = height - FOOT + 8
    for tick in ticks:
        x = _x(tick, most)
        name = TICK_NAMES[TICKS.index(tick)] if tick in TICKS else span(tick)
        yield (
            f'<line x1="{x}" y1="{HEAD}" x2="{x}" y2="{bottom}" stroke="#dddddd" stroke-width="1"/>'
        )
        yield f'<text x="{x}" y="{bottom + 16}" text-anchor="middle" fill="{QUIET}">{name}</text>'
    yield (
        f'<text x="{NAMES + SCALE // 2}" y="{bottom + 38}" text-anchor="middle">'
        "time since the case was opened, logarithmic; under 1 s is drawn at 1 s</text>"
    )


def _row(name: str, found: Durations, most: int, y: int) -> Iterator[str]:
    middle = y + ROW // 2
    short = escape(name if len(name) <= 22 else name[:21] + "…")
    yield f'<text x="{NAMES - 12}" y="{middle + 4}" text-anchor="end">{short}</text>'
    yield (
        f'<text x="{NAMES + SCALE + 16}" y="{middle + 4}" fill="{QUIET}">'
        f"{escape(_figures(found))}</text>"
    )
    if found.p50_seconds is None or found.p90_seconds is None:
        return
    half, slow = _x(found.p50_seconds, most), _x(found.p90_seconds, most)
    yield (
        f'<line x1="{half}" y1="{middle}" x2="{slow}" y2="{middle}" stroke="{COLOUR}" '
        'stroke-width="3" stroke-opacity="0.45"/>'
    )
    yield _slow(slow, middle)
    yield _half(half, middle)
