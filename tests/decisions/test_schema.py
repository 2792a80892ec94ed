"""docs/policy.schema.json describes the format: what it refuses, the loader refuses too."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from decisions.findings import Collector
from decisions.schema import schema_text
from decisions.source import parse
from tests.decisions.builders import POLICIES, ROOT, SMALL, changed
from tests.decisions.test_docs import BLOCKS
from tests.decisions.test_load_errors import CASES

KEPT = (ROOT / "docs/policy.schema.json").read_text(encoding="utf-8")
VALIDATOR = jsonschema_rs.validator_for(json.loads(KEPT))
FILES = sorted(POLICIES.rglob("*.yaml"))


def document(text: str) -> Any:
    into = Collector()
    node = parse(text, "policy.yaml", into)
    assert node is not None
    assert not into.findings
    return node.plain()


def test_the_kept_schema_is_what_the_format_says() -> None:
    assert schema_text() == KEPT, "python -m decisions.schema > docs/policy.schema.json"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(POLICIES)))
def test_every_shipped_file_fits(path: Path) -> None:
    VALIDATOR.validate(document(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_of_the_page_fits(number: int) -> None:
    VALIDATOR.validate(document(BLOCKS[number]))


# mistakes that concern shapes and the product's own words, which a schema can see
SEEN = (
    "empty list", "empty test", "unknown key", "unknown key of a rule", "no reason",
    "no outputs at all", "no when", "no format", "no version", "a version that is no number",
    "unknown type", "unknown hit", "unknown rounding",
    "a role that does not exist", "a slot without an end", "authority of an unknown kind",
    "authority without a daily limit", "an attribute of no type", "no examples",
    "an empty list of examples", "an example without an expectation",
)  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_a_mistake_of_shape_is_underlined(name: str) -> None:
    assert not VALIDATOR.is_valid(document(CASES[name][0].replace("»", "")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{type: bool}", "{type: count, of: openned, within: P1Y, per: customer}"),
        ("{type: bool}", "{type: count, of: opened, within: 1 year, per: customer}"),
        ("{type: bool}", "{type: sum, of: looked, within: P1Y, per: customer}"),
        ("owner: tests", "owner: tests\nrepin: [0]"),
        ("owner: tests", "owner: tests\ncatalogues: {o: {x: {kind: discount, months: 3}}}"),
        ("owner: tests", "owner: tests\ncatalogues: {o: {x: {kind: pause, months: 3, plan: a}}}"),
        ("owner: tests", "owner: tests\ncatalogues: {o: {x: {kind: rebate}}}"),
        ("cap: {usd: 100, eur: 90}", "cap: {in: soon}"),
    ],
)
def test_a_mistake_in_the_newer_shapes_is_underlined(old: str, new: str) -> None:
    assert VALIDATOR.is_valid(document(SMALL))
    assert not VALIDATOR.is_valid(document(changed(old, new)))


def test_the_page_names_the_schema() -> None:
    page = (ROOT / "docs/policy-format.md").read_text(encoding="utf-8")
    assert re.search(r"\(policy\.schema\.json\)", page)
