"""Whole runs: real servers, skipped time, real worker, and the sandbox in Stripe's place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import jsonschema_rs
import pytest

from settings import ROOT
from simulation.clock import utc_now
from simulation.expense_log import POLICY, read_log, scenarios_of
from simulation.log_expectations import Plan, asked, plan
from simulation.oracle import Cause, terms_of
from simulation.results import Result
from simulation.run import Report, commit_of, read_run, run_cases
from simulation.scenario import least_weeks, load, schema_text
from tests.simulation.made_log import made_rows, write_log

SEED = int(os.environ.get("REDRESS_TEST_SEED", "20270104"))
PAGE = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^```jsonl\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Driven:
    """A run that is over: what had to come out, and what did."""

    made: Plan
    report: Report
    results: list[Result]
    log: Path
    out: Path


@pytest.fixture(scope="module")
async def driven(tmp_path_factory: pytest.TempPathFactory) -> Driven:
    """Three hundred cases of a made-up log."""
    print(f"seed {SEED} (REDRESS_TEST_SEED sets another)")
    folder = tmp_path_factory.mktemp("driven")
    log, out = folder / "made.csv", folder / "out"
    write_log(log, made_rows(SEED, 300))
    traces = read_log(log)
    weeks = least_weeks(scenarios_of(traces), utc_now())
    made = plan(traces, weeks, terms_of(ROOT / "policies", POLICY))
    report, results = await run_cases(made.scenarios, out, seed=SEED, shift_weeks=weeks)
    return Driven(made, report, results, log, out)


def test_three_hundred_traces_end_as_expected(driven: Driven) -> None:
    made, report, results = driven.made, driven.report, driven.results
    assert len(results) == 300
    assert {each.cause for each in made.expected} == set(Cause) - {Cause.STILL_HELD}
    assert min(each.edge for each in made.expected) > timedelta(hours=1), (
        "a made-up log's own fault"
    )
    assert [result for result in results if not result.is_as_expected] == []
    assert [check for check in report.checks if not check.holds] == []
    assert [check.id for check in report.checks] == [
        "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I10", "I11", "I12", "I13",
    ]  # fmt: skip
    assert report.outcomes == Counter(each.expect.outcome for each in made.expected)
    sent = asked(each for each in made.expected if each.sent_at is not None)
    agreed = report.agreement
    assert agreed.ledger == agreed.provider == agreed.results == {sent.currency: sent.amount_minor}
    assert agreed.started == agreed.started_by_server
    assert agreed.provider_effects == report.outcomes["refunded"]
    assert report.is_good


def test_what_a_run_left_is_enough_to_write_its_report_again(driven: Driven) -> None:
    assert read_run(driven.out) == (driven.report, driven.results)
    cases = (driven.out / "scenarios.jsonl").exists()
    page = driven.out / "report.md"
    done = subprocess.run(
        [sys.executable, "-m", "simulation.expense_log", str(driven.log),
         "--out", str(driven.out), "--report", str(page)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (driven.out / "scenarios.jsonl").exists() == cases, "it changed the run's folder"
    text = page.read_text(encoding="utf-8")
    assert "**every one as expected, every invariant holds**" in text
    assert f"- commit {driven.report.commit or 'unknown'}, seed {SEED}, moved" in text
    assert f"{driven.report.duration_seconds:,.0f} s of driving" in text
    assert f"{driven.report.cases_per_second} cases a second" in text


def test_the_commit_of_a_run_is_named_where_there_is_one(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""
    assert re.fullmatch(r"([0-9a-f]{7,}( with changes)?)?", commit_of(ROOT))


def simulate(file: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "starter.py"), "simulate", str(file),
         "--as", "refund", "--out", str(out), *options],
        capture_output=True, text=True, check=False,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


def test_the_example_of_the_page_is_as_the_page_says(tmp_path: Path) -> None:
    file = tmp_path / "outage.jsonl"
    file.write_text(EXAMPLE, encoding="utf-8")
    done = simulate(file, tmp_path / "out", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["outcomes"] == {"declined": 1, "refunded": 1, "refused_as_input": 1}
    assert told["agreement"]["ledger"] == {"usd": 2500}
    _, results = read_run(tmp_path / "out")
    assert [result.id for result in results] == [case.id for case in load(file)]
    assert all(r.run_id and r.history_length for r in results if r.case_id)
    plots = {plot.name for plot in (tmp_path / "out").glob("*.svg")}
    assert plots == {"outcomes.svg", "durations.svg"}


def test_somebody_elses_rules_decide_real_refunds(tmp_path: Path) -> None:
    """A shop's bill disputes by member level, from a pack that nobody has released."""
    done = simulate(ROOT / "examples/billed-twice.jsonl", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["outcomes"] == {"refunded": 4, "refused": 5}
    assert told["agreement"]["provider"] == {"usd": 4000 + 999 + 2500 + 1}


def test_a_policy_that_answers_no_refund_is_refused_as_input(tmp_path: Path) -> None:
    first = json.loads((ROOT / "examples/billed-twice.jsonl").read_text().splitlines()[0])
    first["request"] |= {"policy": "reg-e", "attributes": {}}
    first["expect"] = {"outcome": "refused_as_input"}
    file = tmp_path / "case.jsonl"
    file.write_text(json.dumps(first), encoding="utf-8")
    done = simulate(file, tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_difference_is_told_with_what_was_decided_and_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "outage.jsonl"
    first = json.loads(EXAMPLE.splitlines()[0])
    first["expect"] = {"outcome": "declined", "amount_minor": 2501, "rule": "REASONED"}
    file.write_text(json.dumps(first), encoding="utf-8")
    done = simulate(file, tmp_path / "out")
    assert done.returncode == 1, done.stdout + done.stderr
    assert (
        "outage amount_minor: expected 2501, came out 2500; "
        "outcome: expected 'declined', came out 'refunded'"
    ) in done.stdout
    assert "decided REASONED (a reason that we refund for), refund-" in done.stdout
    assert "NOT as expected" in done.stdout
    report, (result,) = read_run(tmp_path / "out")
    assert (report.different, report.is_good) == (1, False)
    assert [each.field for each in result.differences] == ["amount_minor", "outcome"]


def test_mistakes_of_a_file_end_with_2_before_anything_is_started(tmp_path: Path) -> None:
    file = tmp_path / "outage.jsonl"
    file.write_text(EXAMPLE.replace('"+2h"', '"in two hours"'), encoding="utf-8")
    done = simulate(file, tmp_path / "out")
    assert done.returncode == 2
    assert "outage.jsonl:1: script.0.at: 'in two hours' is neither an instant" in done.stderr
    assert not (tmp_path / "out").exists()
    file.write_text(EXAMPLE, encoding="utf-8")
    done = simulate(file, tmp_path / "out", "--limit", "2")
    assert done.returncode == 2, done.stdout
    assert "limit: no whole chain fits in 2; allowed: 3 or more" in done.stderr


def test_the_schema_is_that_of_the_code_and_takes_the_example() -> None:
    kept = (ROOT / "docs/scenario.schema.json").read_text(encoding="utf-8")
    assert kept == schema_text(), "python -m simulation.scenario > docs/scenario.schema.json"
    validator = jsonschema_rs.validator_for(json.loads(kept))
    for line in EXAMPLE.splitlines():
        validator.validate(json.loads(line))
        assert not validator.is_valid({**json.loads(line), "kind": "wish"})
