"""What the documents promise of commands, settings and examples is so."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.main import get_command

from settings import ROOT, VAR, Settings, settings_file
from simulation.samples import read_accounts, read_cases
from starter import app

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_every_setting_is_explained() -> None:
    document = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for field in Settings.model_fields:
        assert f"`REDRESS_{field.upper()}`" in document
    assert f"`{VAR}`" in document


def test_every_guarantee_names_a_test_that_is_there() -> None:
    page = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", page)
    assert len(named) > 40
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_every_command_is_shown() -> None:
    document = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for part in getattr(command, "commands", {"": None}):
            assert f"starter.py {name} {part}".strip() in document


def test_settings_come_from_one_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VAR, raising=False)
    assert settings_file() == Path("var/dev.env")
    Path(".env").write_text("REDRESS_BUILD_ID=b1\n", encoding="utf-8")
    assert settings_file() == Path(".env")
    monkeypatch.setenv(VAR, "elsewhere")
    assert settings_file() == Path("elsewhere/dev.env")


def test_every_sample_case_asks_about_a_charge_of_the_sample_accounts() -> None:
    accounts = {account["id"]: account for account in read_accounts(NOW)}
    charges = {
        charge["id"]: account for account in accounts.values() for charge in account["charges"]
    }
    cases = read_cases()
    assert len({case.case_id for case in cases}) == len(cases)
    for case in cases:
        assert charges[case.request["charge"]]["id"] == case.request["customer"]


def test_a_sample_account_is_older_than_its_charges_and_one_has_none() -> None:
    accounts = read_accounts(NOW)
    assert len(accounts) == 40
    assert sum(not account["charges"] for account in accounts) == 1
    for account in accounts:
        for charge in account["charges"]:
            assert account["created"] < charge["created"] < NOW.timestamp()
            assert charge["amount"] > 0


def test_accounts_are_made_the_same_again_and_rows_without_tenure_do_no_harm(
    tmp_path: Path,
) -> None:
    methods = ("Credit card (automatic)", "Electronic check", "Mailed check",
               "Bank transfer (automatic)")  # fmt: skip
    source = tmp_path / "churn.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        names = ("customerID", "tenure", "Contract", "PaymentMethod", "MonthlyCharges",
                 "TotalCharges")  # fmt: skip
        rows = csv.writer(file)
        rows.writerow(names)
        for number in range(60):
            tenure = number % 6
            total = " " if tenure == 0 else "100.5"
            rows.writerow((f"{number:04d}-ABCDE", tenure, "One year", methods[number % 4],
                           f"{20 + number}.05", total))  # fmt: skip
    maker = ROOT / "examples" / "make_accounts.py"
    first, second = (
        subprocess.run([sys.executable, str(maker), str(source)], capture_output=True, check=True)
        for _ in range(2)
    )
    assert first.stdout == second.stdout
    accounts = [json.loads(line) for line in first.stdout.splitlines()]
    assert sum(account["metadata"]["tenure_months"] == "0" for account in accounts) == 1
    for account in accounts:
        assert bool(account["charges"]) == (account["metadata"]["tenure_months"] != "0")


def test_kinds_of_evidence_are_known_words_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDRESS_EVIDENCE_MEDIA_TYPES", "image/png, application/pdf")
    monkeypatch.setenv("REDRESS_EVIDENCE_FILE_BYTES", "5")
    limits = Settings(_env_file=None).evidence_limits()
    assert (limits.media_types, limits.file_bytes) == (("image/png", "application/pdf"), 5)
    for wrong in ("image/gif", "", "image/png;text/plain"):
        monkeypatch.setenv("REDRESS_EVIDENCE_MEDIA_TYPES", wrong)
        with pytest.raises(ValidationError, match="some of application/pdf"):
            Settings(_env_file=None)
