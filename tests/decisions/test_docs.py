"""Every YAML block of the format's page loads: it cannot promise what the loader refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from decisions import Pack
from tests.decisions.builders import NOON, POLICIES, ROOT, changed, money

PAGE = (ROOT / "docs/policy-format.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_of_the_page_loads(number: int, tmp_path: Path) -> None:
    block = BLOCKS[number]
    if "\npolicy:" in block:
        assert Pack.from_text(block, root=POLICIES).tables
        return
    (tmp_path / "block.yaml").write_text(block, encoding="utf-8")
    including = changed("currencies: [usd, eur]", "currencies: [usd]\nincludes: [block.yaml]")
    including = re.sub(r", eur: \d+", "", including)
    assert Pack.from_text(including, root=tmp_path).route("manager")


def test_the_page_has_policies_of_one_table_and_one_of_several() -> None:
    packs = [Pack.from_text(b, root=POLICIES) for b in BLOCKS if "\npolicy:" in b]
    assert [len(pack.tables) for pack in packs] == [1, 2, 1, 1]
    assert packs[0].settlement().looks == (5, 10)


def test_the_example_of_one_table_decides_as_it_reads() -> None:
    pack = Pack.from_text(BLOCKS[0], root=POLICIES)
    facts = {
        "plan": "basic", "reason": "competitor", "tenure_months": 30, "price": money(300000, "mxn"),
        "days_since_last_offer": None, "margin_after_20pct": 4000, "open_chargeback": False,
    }  # fmt: skip
    decision = pack.decide(facts, NOON)
    assert decision.rule == "LOYAL"
    assert decision.outputs == {
        "offers": ["pct30_6m", "pause_1m"],
        "approval": "lead",
        "cap": {"amount_minor": 540000, "currency": "mxn"},
    }
    assert [line.rule for line in decision.trace] == ["FROZEN", "COOL", "FLOOR"]


def test_every_code_that_is_told_is_listed() -> None:
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "decisions").glob("*.py"))
    source = source.replace('Node(None, "content")', "node")
    told = set(re.findall(r"into\.add\(\s*[^,]+?,\s*\"([a-z-]+)\"", source))
    told |= set(
        re.findall(r"(?:Finding\(|_finding\(|stop\()[^\"]*?\"([a-z]+(?:-[a-z]+)*)\"", source)
    )
    listed = PAGE[PAGE.index("Codes:") : PAGE.index("## In Python")]
    missing = {code for code in told if f"`{code}`" not in listed}
    assert not missing
