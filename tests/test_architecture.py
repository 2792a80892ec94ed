"""The import table of docs/architecture: a line of code in the wrong room fails here.

Imports are read with ``ast`` (type-checking blocks included), so a module need not be
importable to be judged.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SENTENCE = (
    "Policy files decide, activities act and record, workflows put acts in order, "
    "the ledger remembers, the web only asks."
)

PARTS = (
    "domain", "decisions", "ledger", "activities", "workflows", "audit", "simulation",
    "web", "sandbox", "worker", "starter", "settings", "client",
    "files", "rendering", "commands",
)  # fmt: skip


# part -> rooms of ours that it may import from
MAY_IMPORT: dict[str, set[str]] = {
    "domain": set(),
    "decisions": {"domain", "files"},
    "ledger": {"domain", "files"},
    "activities": {"domain", "ledger", "files"},  # decisions: where EXCEPTIONS says
    "workflows": {"domain", "activities"},
    "audit": {"domain", "decisions", "ledger", "workflows"},
    "simulation": {"domain", "workflows", "ledger", "client", "settings", "files", "rendering"},
    "web": {
        "domain",
        "ledger",
        "workflows",
        "client",
        "settings",
    },  # decisions: in web/policies.py only
    "sandbox": set(),
    "files": set(),
    "settings": {"domain"},
    "client": {"domain", "ledger", "workflows", "settings"},
    "rendering": {"domain", "decisions", "ledger"},
    "commands": {
        "domain",
        "decisions",
        "ledger",
        "audit",
        "settings",
        "rendering",
        "client",
        "files",
    },
    "worker": set(PARTS) - {"sandbox", "starter", "web", "commands"},
    "starter": set(PARTS) - {"sandbox"},
}

EXCEPTIONS: dict[str, set[str]] = {
    "activities/decisions.py": {"decisions"},
    "activities/pinned.py": {"decisions"},
    "activities/verdicts.py": {"decisions"},
    "web/policies.py": {"decisions"},
}

MUST_NOT_IMPORT: dict[str, set[str]] = {
    "domain": {"time", "random", "os", "secrets", "temporalio", "sqlalchemy", "stripe"},
    "decisions": {"temporalio", "sqlalchemy", "stripe", "time", "random"},
    "ledger": {"temporalio", "stripe"},
    "workflows": {"stripe", "sqlalchemy", "time", "random"},
    "audit": {"stripe"},
    "web": {"ledger.writing", "ledger.postings", "activities", "stripe.StripeClient"},
    "sandbox": {"temporalio", "stripe"},
}


def modules_of(part: str) -> list[Path]:
    if part in {"worker", "starter", "settings", "files", "rendering"}:
        path = ROOT / f"{part}.py"
        return [path] if path.exists() else []
    return sorted((ROOT / part).rglob("*.py"))


def imported_names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    package = path.relative_to(ROOT).parts[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module or ''}" if node.level else (node.module or "")
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("part", PARTS)
def test_imports_run_one_way(part: str) -> None:
    for path in modules_of(part):
        where = str(path.relative_to(ROOT))
        allowed = MAY_IMPORT[part] | EXCEPTIONS.get(where, set()) | {part}
        names = imported_names(path)
        rooms = {name.split(".")[0] for name in names} & set(PARTS)
        assert rooms <= allowed, f"{where} imports {sorted(rooms - allowed)}. {SENTENCE}"
        for name in names:
            for forbidden in MUST_NOT_IMPORT.get(part, set()):
                assert not f"{name}.".startswith(f"{forbidden}."), (
                    f"{where} imports {name}. {SENTENCE}"
                )


def product_files() -> list[Path]:
    return [path for part in PARTS for path in modules_of(part)]


def test_minor_units_are_calculated_in_domain_money_only() -> None:
    for path in product_files():
        where = str(path.relative_to(ROOT))
        if where == "domain/money.py" or where.startswith("sandbox/"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(
                node.op, ast.Add | ast.Sub | ast.Mult | ast.Div | ast.FloorDiv | ast.Mod
            ):
                sides = (
                    [node.left, node.right]
                    if isinstance(node, ast.BinOp)
                    else [node.target, node.value]
                )
                for side in sides:
                    name = (
                        side.attr
                        if isinstance(side, ast.Attribute)
                        else side.id
                        if isinstance(side, ast.Name)
                        else ""
                    )
                    assert not name.endswith("_minor"), (
                        f"{where}:{node.lineno} calculates with {name}. {SENTENCE}"
                    )


def test_no_floats_touch_money_outside_rendering() -> None:
    for path in product_files():
        where = str(path.relative_to(ROOT))
        if where.startswith("sandbox/") or "render" in path.name or "plot" in path.name:
            continue
        text = path.read_text(encoding="utf-8")
        assert "float(" not in text, f"{where} calls float(): money is integers in minor units"
        assert "/ 100" not in text, f"{where} divides by 100: money is integers in minor units"
