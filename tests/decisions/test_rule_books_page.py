"""docs/rule-books.md says what is there: its block loads, and every rule and term is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from decisions import Pack
from decisions.jurisdictions import TERMS
from tests.decisions.builders import ROOT, changed, shipped

PAGE = (ROOT / "docs/rule-books.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```", "", PAGE, flags=re.DOTALL | re.MULTILINE)
WORDS = set(re.findall(r"`([^`]+)`", PROSE))


def test_the_block_of_the_page_loads(tmp_path: Path) -> None:
    [block] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "block.yaml").write_text(block, encoding="utf-8")
    text = changed("currencies:", "includes: [block.yaml]\ncurrencies:")
    books = Pack.from_text(text, root=tmp_path).rule_books
    assert set(books) == {"EU", "DE", "reg_e"}


@pytest.mark.parametrize("name", ["abcd-cancel", "abcd-dispute", "abcd-refund", "abcd-return"])
def test_the_page_says_where_every_rule_of_the_shop_comes_from(name: str) -> None:
    inner = {"silver_time", "other_time"}  # told as tables
    rules = {r.id for table in shipped(name).tables if table.name not in inner for r in table.rules}
    assert rules <= WORDS
    assert inner <= WORDS


def test_the_page_names_every_rule_of_regulation_e() -> None:
    tables = {table.name: table for table in shipped("reg-e").tables}
    for name in ("limits", "credit", "duties"):
        assert {name, *(rule.id for rule in tables[name].rules)} <= WORDS


def test_the_page_lists_every_term_with_its_words() -> None:
    assert {word for name, words in TERMS.items() for word in (name, *(words or ()))} <= WORDS
