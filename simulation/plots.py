"""Plots of a run. matplotlib is a development package: import this where it may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from simulation.results import Result, outcomes

HOURS = 3600
DAYS = 24 * HOURS


def plot_results(results: Sequence[Result], out: Path) -> list[Path]:
    """Outcomes, and how long deciding and confirming took in case time; two SVG files."""
    return [_outcomes(results, out / "outcomes.svg"), _durations(results, out / "durations.svg")]


def _outcomes(results: Sequence[Result], file: Path) -> Path:
    counted = outcomes(results).most_common()
    figure, axes = plt.subplots(figsize=(7, 1 + 0.45 * len(counted)))
    names = [name for name, _ in counted][::-1]
    values = [count for _, count in counted][::-1]
    bars = axes.barh(names, values, color="#3b6ea5")
    axes.bar_label(bars, labels=[f"{value:,}" for value in values], padding=3)
    axes.set_xlabel("cases")
    axes.set_title("How the cases ended")
    axes.margins(x=0.12)
    return _save(figure, axes, file)


def _durations(results: Sequence[Result], file: Path) -> Path:
    series = {
        "opened → approved": [_days(r.opened_at, r.approved_at) for r in results],
        "approved → confirmed": [_days(r.approved_at, r.confirmed_at) for r in results],
        "opened → closed": [_days(r.opened_at, r.closed_at) for r in results],
    }
    figure, axes = plt.subplots(figsize=(7, 4))
    for name, days in series.items():
        known = sorted(day for day in days if day is not None)
        if known:
            shares = [100 * (n + 1) / len(known) for n in range(len(known))]
            axes.step(known, shares, where="post", label=f"{name} ({len(known):,} cases)")
    axes.set_xlabel("days of case time")
    axes.set_ylabel("share of cases, %")
    axes.set_title("How long it took")
    axes.set_ylim(0, 101)
    if axes.lines:
        axes.legend(loc="lower right")
    return _save(figure, axes, file)


def _days(start: Any, end: Any) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds() / DAYS


def _save(figure: Any, axes: Any, file: Path) -> Path:
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
    return file
