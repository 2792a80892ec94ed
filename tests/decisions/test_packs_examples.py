"""Packs of somebody else's rule books: an example in the file for every rule."""

from __future__ import annotations

from typing import Any

import pytest

from decisions.findings import Collector
from decisions.source import parse
from tests.decisions.builders import POLICIES, shipped

PACKS = (
    "abcd-cancel", "abcd-dispute", "abcd-refund", "abcd-return",
    "cancellation-de", "cancellation-us-ca", "cancellation-us-mn", "reg-e",
)  # fmt: skip


def document(name: str) -> Any:
    text = (POLICIES / name / "v1.yaml").read_text(encoding="utf-8")
    node = parse(text, name, Collector())
    assert node is not None
    return node.plain()


@pytest.mark.parametrize("name", PACKS)
def test_every_rule_of_the_pack_has_an_example_in_its_file(name: str) -> None:
    tables = {table.name: [rule.id for rule in table.rules] for table in shipped(name).tables}
    named: set[tuple[str, str]] = set()
    for example in document(name)["examples"]:
        expect = example["expect"]
        for table, rules in expect.get("rules", {}).items():
            named |= {(table, rule) for rule in ([rules] if isinstance(rules, str) else rules)}
        if first := expect.get("rule"):
            # the decision's rule is that of the first table that fired
            named.add(next((table, first) for table, rules in tables.items() if first in rules))
    assert {(t, rule) for t, rules in tables.items() for rule in rules} <= named
