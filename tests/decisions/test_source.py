"""Broken, hostile and odd files are refused at once, with a finding and never a crash."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisions import Finding, Pack, PolicyErrors, check
from decisions.findings import Collector
from decisions.source import node_of, parse
from tests.decisions.builders import SMALL, changed, findings_of

HOSTILE = {
    "alias bomb": ("a: &a [1]\nb: [*a, *a, *a, *a]\n", "unsafe", 1, 4),
    "alias": ("a: *b\n", "unsafe", 1, 4),
    "python object": ("a: !!python/object/apply:os.system ['true']\n", "unsafe", 1, 4),
    "own tag": ("a: !money 5\n", "unsafe", 1, 4),
    "standard tag": ("a: !!str 5\n", "unsafe", 1, 4),
    "deep nesting": ("a: " + "[" * 5000, "depth", 1, 27),
    "deep maps": ("{a: " * 40, "depth", 1, 94),
    "two documents": ("a: 1\n---\nb: 2\n", "syntax", 2, 1),
    "nothing": ("", "syntax", 1, 1),
    "a comment": ("# nothing\n", "syntax", 1, 1),
    "a list": ("- a\n", "wrong-type", 1, 1),
    "a word": ("hello\n", "wrong-type", 1, 1),
    "a tab": ("a:\n\tb: 1\n", "syntax", 2, 1),
    "an open bracket": ("a: [1, 2\n", "syntax", 2, 1),
    "a control character": ("a: \x00\n", "syntax", 1, 1),
    "a key that is a list": ("[a]: 1\n", "wrong-type", 1, 1),
    "a key that is a number": ("1: 1\n", "wrong-type", 1, 1),
    "infinity": ("a: .inf\n", "float", 1, 4),
    "a long number": ("a: " + "9" * 100_000 + "\n", "out-of-range", 1, 4),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_where_it_is_hostile(name: str) -> None:
    text, code, line, column = HOSTILE[name]
    began = time.monotonic()
    found = [(f.code, f.line, f.column) for f in findings_of(text)]
    assert (code, line, column) in found
    assert time.monotonic() - began < 2


def test_a_file_of_more_than_a_megabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big" / "v1.yaml"
    path.parent.mkdir()
    path.write_bytes(b"a: 1\n" * 300_000)
    with pytest.raises(PolicyErrors, match="larger than 1000000 bytes"):
        Pack.load(path)
    with pytest.raises(PolicyErrors, match="larger than 1000000 bytes"):
        Pack.from_text("a: 1\n" * 300_000)


def test_a_binary_file_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bin" / "v1.yaml"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 100)
    with pytest.raises(PolicyErrors, match=r"bin/v1\.yaml:1:1: not UTF-8 text"):
        Pack.load(path)


def test_a_file_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(PolicyErrors, match="cannot be read"):
        Pack.load(tmp_path / "x" / "v1.yaml")
    assert [f.code for f in check(tmp_path / "nowhere")] == ["file"]


def test_fifty_thousand_values_are_enough() -> None:
    [finding] = findings_of("a: [" + "1," * 50_001 + "]\n")
    assert finding.code == "size"


def test_yes_no_and_off_are_words() -> None:
    into = Collector()
    node = parse("[yes, no, on, off, NO, true, false, null, ~]", "f", into)
    assert node is not None
    assert node.plain() == ["yes", "no", "on", "off", "NO", True, False, None, None]
    assert not into.findings


def test_quoted_numbers_and_dates_are_text() -> None:
    node = parse("""["1", '1.5', "2026-01-01"]""", "f", Collector())
    assert node is not None
    assert node.plain() == ["1", "1.5", "2026-01-01"]


def test_nodes_know_their_places_in_texts_beyond_ascii() -> None:
    node = parse("a: {ko: 환불, b: 1.5}", "f", into := Collector())
    assert node is not None
    assert [(f.line, f.column) for f in into.findings] == [(1, 16)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(json_values)
def test_nodes_and_json_types_are_inverse(value: object) -> None:
    assert node_of(value).plain() == value


@settings(max_examples=100)
@given(st.data())
def test_a_policy_with_any_piece_cut_out_or_doubled_never_crashes(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(SMALL) - 1))
    end = data.draw(st.integers(start, min(len(SMALL), start + 40)))
    insert = data.draw(st.sampled_from(["", "{", "]", ": ", "1.5", "null", "&a ", "- ", "\n", "'"]))
    text = SMALL[:start] + insert + SMALL[end:]
    findings: tuple[Finding, ...] | None = None
    try:
        Pack.from_text(text)
    except PolicyErrors as error:
        findings = error.findings
    assert findings is None or findings
    assert all(f.line >= 1 and f.column >= 1 for f in findings or ())


def test_comments_layout_and_key_order_do_not_count() -> None:
    moved = changed("owner: tests\n", "") + "# the end\nowner:   'tests'\n"
    other = changed(
        "{type: int, min: 0, max: 600}",
        "\n    max: 600   # fifty years\n    type: int\n    min: 0",
        moved,
    )
    assert Pack.from_text(other).hash == Pack.from_text(SMALL).hash
    assert Pack.from_text(changed("max: 600", "max: 601")).hash != Pack.from_text(SMALL).hash
