"""What the terminal is told, to the letter."""

from __future__ import annotations

import pytest

from rendering import counted


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("case",), "0 cases"),
        (1, ("case",), "1 case"),
        (2, ("case",), "2 cases"),
        (1200, ("case",), "1,200 cases"),
        (1, ("policy", "policies"), "1 policy"),
        (2, ("policy", "policies"), "2 policies"),
    ],
)
def test_one_thing_is_not_told_as_many(count: int, words: tuple[str, ...], said: str) -> None:
    assert counted(count, *words) == said
