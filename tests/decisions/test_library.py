"""Packs in a directory: content, hash, versions, effective dates, includes and the lock."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from decisions import Library, Pack, PolicyErrors, check
from decisions.lock import LOCK, read_lock
from domain.errors import InvalidRequest
from tests.decisions.builders import NOON, POLICIES, REFUND_FACTS, SMALL, changed, money


def put(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A directory with two versions of one policy."""
    directory = tmp_path / "policies"
    put(directory, "small/v1.yaml", SMALL)
    later = changed("version: 1", "version: 2", SMALL)
    put(directory, "small/v2.yaml", changed("2026-01-01", "2026-06-01", later))
    return directory


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the shipped policies."""
    return Path(shutil.copytree(POLICIES, tmp_path / "policies"))


# shipped, and waiting for somebody to release them
DRAFTS = {
    "abcd-billed-twice", "abcd-cancel", "abcd-dispute", "abcd-refund", "abcd-return",
    "cancellation-de", "cancellation-us-ca", "cancellation-us-mn", "reg-e",
}  # fmt: skip


def test_everything_that_is_shipped_loads_and_all_but_the_drafts_is_released() -> None:
    assert check(POLICIES) == []
    library = Library.load(POLICIES)
    lock, _ = read_lock(POLICIES)
    assert {p.name for p in library.packs} > DRAFTS
    assert {(p.name, str(p.version)): p.hash for p in library.packs if p.name not in DRAFTS} == {
        (name, version): value for name, found in lock.items() for version, value in found.items()
    }


def test_the_highest_version_in_force_decides(policies: Path) -> None:
    library = Library.load(policies)
    begins = datetime(2026, 6, 1, tzinfo=UTC)
    assert library.active("small", begins).version == 2
    assert library.active("small", begins.replace(month=5, day=31, hour=23)).version == 1


def test_a_draft_decides_nothing_where_versions_are_released(policies: Path) -> None:
    summer = datetime(2026, 7, 1, tzinfo=UTC)
    released = Library.load(policies).versions("small")[0]
    (policies / LOCK).write_text(json.dumps({"small": {"1": released.hash}}), encoding="utf-8")
    library = Library.load(policies)
    assert library.active("small", summer).version == 1
    assert [pack.version for pack in library.versions("small")] == [1, 2]
    assert Library.load(policies, with_drafts=True).active("small", summer).version == 2
    (policies / LOCK).write_text("{}", encoding="utf-8")
    with pytest.raises(InvalidRequest, match="is a draft"):
        Library.load(policies).active("small", summer)


def test_a_policy_begins_at_midnight_in_the_zone_of_its_calendar() -> None:
    first, second = Library.load(POLICIES).versions("refund")
    assert first.zone == second.zone == "America/New_York"
    assert first.effective_at == datetime(2026, 1, 1, 5, tzinfo=UTC)
    assert second.effective_at == datetime(2026, 11, 22, 5, tzinfo=UTC)


def test_a_policy_that_is_not_in_force_is_an_error_that_names_what_is_there(
    policies: Path,
) -> None:
    library = Library.load(policies)
    with pytest.raises(InvalidRequest) as caught:
        library.active("small", datetime(2025, 12, 31, tzinfo=UTC))
    assert (caught.value.field, caught.value.allowed) == (
        "policy",
        "v1 from 2026-01-01, v2 from 2026-06-01",
    )
    with pytest.raises(InvalidRequest, match="there is no policy 'smal'; allowed: small"):
        library.active("smal", NOON)


def test_a_pack_is_found_by_its_hash(policies: Path) -> None:
    library = Library.load(policies)
    pack = library.active("small", NOON)
    assert library.by_hash(pack.hash) is pack
    with pytest.raises(LookupError):
        library.by_hash("0" * 64)


@pytest.mark.parametrize("name", ["refund", "expense-log"])
def test_a_pack_is_its_content(name: str) -> None:
    pack = Library.load(POLICIES).active(name, NOON)
    again = Pack.from_content(pack.content)
    assert again == pack
    assert (again.hash, again.content, again.name) == (pack.hash, pack.content, name)
    currency = "eur" if name == "expense-log" else "usd"
    facts = {
        **REFUND_FACTS,
        **{key: money(3000, currency) for key in ("amount", "remainder", "captured")},
    }
    assert again.decide(facts, NOON) == pack.decide(facts, NOON)
    assert again.settlement() == pack.settlement()
    assert json.loads(pack.content)["calendars"], "what it includes is part of it"


@pytest.mark.parametrize(
    "content", ["", "nonsense", "[]", "{}", '{"format": 1.5}', '{"format": 2}']
)
def test_a_text_that_is_no_content_is_refused(content: str) -> None:
    with pytest.raises(PolicyErrors):
        Pack.from_content(content)


def test_it_does_not_matter_for_the_hash_where_a_block_stands(copied: Path) -> None:
    before = Library.load(copied).active("refund", NOON).hash
    routes = (copied / "routes/standard.yaml").read_text(encoding="utf-8")
    path = copied / "refund/v1.yaml"
    text = path.read_text(encoding="utf-8").replace("  - routes/standard.yaml\n", "")
    path.write_text(text + "\n" + routes.replace("format: 1\n", ""), encoding="utf-8")
    assert Library.load(copied).active("refund", NOON).hash == before


def test_a_released_file_that_changed_is_an_error(copied: Path) -> None:
    path = copied / "refund/v1.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text("# a comment does not count\n" + text, encoding="utf-8")
    assert check(copied) == []
    path.write_text(text.replace("{gt: 540}", "{gt: 541}"), encoding="utf-8")
    found = check(copied)
    assert "released-changed" in {f.code for f in found} or "failed-example" in {
        f.code for f in found
    }
    path.write_text(text.replace("three concessions", "3 concessions"), encoding="utf-8")
    [finding] = check(copied)
    assert (finding.code, finding.file) == ("released-changed", "policies/refund/v1.yaml")
    assert "write v2.yaml instead" in str(finding)


def test_an_included_file_that_changed_changes_the_pack(copied: Path) -> None:
    path = copied / "authority/standard.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("usd: 20000,", "usd: 20001,"), "utf-8")
    assert [(f.code, f.file) for f in check(copied)] == [
        ("released-changed", f"policies/refund/v{version}.yaml") for version in (1, 2)
    ]


def test_a_released_file_that_is_gone_is_an_error(copied: Path) -> None:
    (copied / "expense-log/v1.yaml").unlink()
    assert [f.code for f in check(copied)] == ["released-missing"]


def test_a_lock_that_cannot_be_read_is_a_finding(policies: Path) -> None:
    (policies / LOCK).write_text("[]", encoding="utf-8")
    assert [f.code for f in check(policies)] == ["lock"]
    (policies / LOCK).write_text("{", encoding="utf-8")
    assert [f.code for f in check(policies)] == ["lock"]


def test_a_file_that_says_another_name_or_version_is_a_finding(policies: Path) -> None:
    put(policies, "small/v9.yaml", SMALL)
    put(policies, "other/v1.yaml", SMALL)
    put(policies, "other/v1x.yaml", SMALL)
    assert [(f.file, f.message) for f in check(policies)] == [
        ("policies/other/v1.yaml", "the file says small version 1"),
        ("policies/other/v1x.yaml", "a policy file is named v1.yaml, v2.yaml …"),
        ("policies/small/v9.yaml", "the file says small version 1"),
    ]


def test_findings_of_all_files_come_together(policies: Path) -> None:
    put(policies, "small/v1.yaml", changed("tenure: {gte", "tenur: {gte"))
    put(policies, "bad/v1.yaml", "a: [")
    assert [f.file for f in check(policies)] == ["policies/bad/v1.yaml", "policies/small/v1.yaml"]


@pytest.mark.parametrize(
    "include", ["../secret.yaml", "/etc/passwd.yaml", "x.txt", "sub/../../x.yaml", "link.yaml"]
)
def test_an_include_stays_below_the_policies(policies: Path, include: str) -> None:
    secret = put(policies.parent, "secret.yaml", "format: 1\n")
    (policies / "link.yaml").symlink_to(secret)
    put(policies, "small/v1.yaml", changed("currencies:", f"includes: [{include}]\ncurrencies:"))
    assert [f.code for f in check(policies)] == ["include"]


def test_an_include_holds_data_blocks_only_and_no_id_twice(policies: Path) -> None:
    block = "format: 1\nroutes: {auto: []}\n"
    put(policies, "routes/a.yaml", block)
    put(policies, "routes/b.yaml", block)
    put(policies, "routes/c.yaml", "format: 1\nrules: []\n")
    put(policies, "routes/d.yaml", "routes: {other: []}\n")
    put(policies, "small/v1.yaml", changed(
        "currencies:",
        "includes: [routes/a.yaml, routes/b.yaml, routes/c.yaml, routes/d.yaml]\ncurrencies:",
    ))  # fmt: skip
    assert [(f.file, f.line, f.column, f.code) for f in check(policies)] == [
        ("policies/routes/b.yaml", 2, 10, "duplicate-id"),
        ("policies/routes/c.yaml", 2, 1, "unknown-key"),
        ("policies/routes/d.yaml", 1, 1, "format"),
    ]
