"""Every command as a user types it, against a living machine: what it says, and its exit code."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from settings import ROOT
from tests.entrances.machine import Answer, Dev, asked, command

Samples = dict[str, dict[str, Any]]

NOBODY = "http://127.0.0.1:9"


def ask(dev: Dev, request_id: str, **options: str) -> Answer:
    """Ask for a refund of one month of an account that no sample uses."""
    given = {
        "customer": "cus_6584_VQMYT",
        "charge": "ch_6584_VQMYT_01",
        "amount": "1000",
        "reason": "service_unavailable",
        **options,
    }
    arguments = [part for name, value in given.items() for part in (f"--{name}", value)]
    return dev.command("refund", "--request-id", request_id, "--json", *arguments)


# -- asking ----------------------------------------------------------------------------


def test_a_request_is_decided_and_the_same_request_is_the_same_case(dev: Dev) -> None:
    first, again = ask(dev, "cli-1"), ask(dev, "cli-1")
    assert (first.code, again.code) == (0, 0)
    assert first.json["case_id"] == again.json["case_id"]
    assert first.json["status"] == "awaiting_approval"
    other = ask(dev, "cli-1", amount="1001")
    assert other.code == 1
    assert other.json["why"] == "request_reused"


def test_a_request_file_says_the_same_as_options(dev: Dev) -> None:
    file = dev.folder / "case.json"
    fields = {
        "request_id": "cli-file",
        "customer": "cus_6584_VQMYT",
        "charge": "ch_6584_VQMYT_02",
        "reason": "unused_period",
        "amount_minor": 500,
        "requested_by": {"id": "shop", "role": "service"},
    }
    file.write_text(json.dumps(fields), encoding="utf-8")
    asked = dev.command("refund", "--file", str(file), "--json")
    assert asked.code == 0
    assert (asked.json["amount_minor"], asked.json["reason"]) == (500, "unused_period")


def test_a_refusal_by_a_rule_is_exit_code_1_and_says_why(dev: Dev) -> None:
    refused = dev.command(
        "refund", "--request-id", "cli-old", "--customer", "cus_9739_JLPQJ",
        "--charge", "ch_9739_JLPQJ_20",
    )  # fmt: skip
    assert refused.code == 1
    assert "more than 540 days old" in refused.out


@pytest.mark.parametrize(
    ("request_id", "options", "field", "allowed"),
    [
        ("bad-charge", {"charge": "ch_nowhere"}, "charge", "existing"),
        ("bad-amount", {"amount": "5621"}, "amount_minor", "1 to 5620"),
        ("bad-number", {"amount": "ten"}, "amount_minor", ""),
        ("bad-text", {"text": "my card is 4242 4242 4242 4242"}, "text", "without"),
    ],
)
def test_bad_input_names_the_field_and_what_is_allowed(
    dev: Dev, request_id: str, options: dict[str, str], field: str, allowed: str
) -> None:
    # the third month is nobody's but this test's: its remainder is the whole charge
    answer = ask(dev, request_id, **{"charge": "ch_6584_VQMYT_03", **options})
    assert answer.code == 2, answer
    assert answer.json["field"] == field
    assert allowed in answer.json["allowed"]
    assert "4242" not in answer.out + answer.err


# -- reading ---------------------------------------------------------------------------


def test_lists_can_be_narrowed_and_carry_whole_ids(dev: Dev) -> None:
    waiting = dev.command("list", "--status", "awaiting_approval", "--json").json
    assert {each["status"] for each in waiting} == {"awaiting_approval"}
    assert dev.command("list", "--due", "2020-01-01T00:00:00+00:00", "--json").json == []
    shown = dev.command("list")
    assert all(each["case_id"] in shown.out for each in waiting)
    assert dev.command("list", "--due", "tomorrow").code == 2


def due_of(case: dict[str, Any]) -> str:
    """What a case waits for, or the first answer that its customer waits for."""
    unanswered = "" if case["first_responded_at"] else case["first_response_due"]
    is_open = case["status"] != "closed"
    return min(filter(None, (case["due_at"], unanswered if is_open else "")), default="")


def test_what_is_due_first_is_listed_first_and_pages_go_on(dev: Dev) -> None:
    listed = dev.command("list", "--json").json
    due = [instant for each in listed if (instant := due_of(each))]
    assert [due_of(each) for each in listed] == sorted(due) + [""] * (len(listed) - len(due))
    ids = [each["case_id"] for each in listed]
    assert 1 < len(due) < len(ids)
    said = dev.command("list", "--limit", "3").out
    assert [line.split()[0] for line in said.splitlines()[1:4]] == ids[:3]
    assert f"--after {ids[2]}" in said
    rest = dev.command("list", "--after", ids[2], "--json").json
    assert [each["case_id"] for each in rest] == ids[3:]
    assert dev.command("list", "--after", "refund-nowhere").code == 2


def test_a_case_speaks_the_language_that_is_asked_for(dev: Dev, samples: Samples) -> None:
    case_id = samples["sample-01-duplicate"]["case_id"]
    spoken = {
        language: dev.command("show", case_id, "--language", language).out.replace("\xa0", " ")
        for language in ("es", "ko")
    }
    assert "Enviamos 25,35 US$ a su banco" in spoken["es"]
    assert "은행으로 보냈습니다" in spoken["ko"]


def test_a_case_speaks_its_own_language_unless_asked_and_any_zone(
    dev: Dev, samples: Samples
) -> None:
    refused = dev.command("show", samples["sample-11-spanish-refused"]["case_id"])
    assert "No podemos efectuar este reembolso" in refused.out
    assert "domiciliación bancaria" in refused.out
    waiting = samples["sample-04-waits"]["case_id"]
    assert " EST" in dev.command("show", waiting, "--zone", "America/New_York").out
    assert dev.command("show", waiting, "--zone", "Mars/Olympus").code == 2


def test_the_beginning_of_an_id_is_enough_when_it_is_one(dev: Dev, samples: Samples) -> None:
    case_id = samples["sample-04-waits"]["case_id"]
    assert dev.command("show", case_id[:14], "--json").json["case_id"] == case_id
    several = dev.command("show", "refund-", "--json")
    assert several.code == 2
    assert "more than one" in several.json["message"]
    assert dev.command("show", "refund-nowhere").code == 2


def test_a_decision_names_its_rule_and_what_ruled_the_others_out(
    dev: Dev, samples: Samples
) -> None:
    case_id = samples["sample-01-duplicate"]["case_id"]
    said = dev.command("why", case_id).out
    assert "DUPLICATE_FOUND: a second charge of the same amount was found" in said
    assert "not TOO_OLD: charge_age_days is" in said


def test_a_timeline_tells_every_event_with_who_did_it(dev: Dev, samples: Samples) -> None:
    case_id = samples["sample-08-declined"]["case_id"]
    said = dev.command("timeline", case_id).out
    assert "decline recorded" in said
    assert "ana (lead)" in said
    told = dev.command("timeline", case_id, "--json").json
    assert [each["kind"] for each in told["events"]] == [
        "opened", "decided", "decline_recorded", "closed",
    ]  # fmt: skip


# -- deciding --------------------------------------------------------------------------


def test_a_yes_is_refused_to_who_may_not_and_kept_for_who_may(dev: Dev) -> None:
    case_id = ask(dev, "cli-yes", charge="ch_6584_VQMYT_04", amount="2000").json["case_id"]
    own = dev.command("approve", case_id, "--by", "cli", "--as", "agent", "--json")
    assert (own.code, own.json["why"]) == (1, "self_approval")
    stale = dev.command(
        "approve", case_id, "--by", "bo", "--as", "agent", "--digest", "0" * 64, "--json"
    )
    assert (stale.code, stale.json["why"]) == (1, "stale")
    assert dev.command("approve", case_id, "--by", "bo", "--as", "agent").code == 0
    late = dev.command("approve", case_id, "--by", "ana", "--as", "lead")
    assert late.code == 1
    assert "approved by bo" in late.err
    refused = dev.command("timeline", case_id, "--json").json["refused_attempts"]
    assert [each["code"] for each in refused] == [
        "self_approval", "stale", "already_decided",
    ]  # fmt: skip


def test_a_no_is_appealed_once_and_said_again_it_is_the_same_appeal(dev: Dev) -> None:
    case_id = ask(dev, "cli-appeal", charge="ch_6584_VQMYT_04", amount="2000").json["case_id"]
    assert dev.command("decline", case_id, "--by", "bo", "--as", "agent").code == 0
    appeal = ("appeal", case_id, "--as", "customer", "--text", "the receipt shows it", "--json")
    first = dev.command(*appeal, "--by", "customer-1")
    assert (first.code, first.json["status"]) == (0, "awaiting_approval")
    assert first.json["case_id"] != case_id
    again = dev.command(*appeal, "--by", "customer-1")
    assert (again.code, again.json["case_id"]) == (0, first.json["case_id"])
    other = dev.command(*appeal, "--by", "customer-2")
    assert (other.code, other.json["why"]) == (1, "already_decided")
    assert f"it goes on as {first.json['case_id']} since" in other.json["message"]


def test_a_request_can_be_withdrawn_while_nothing_is_ordered(dev: Dev) -> None:
    case_id = ask(dev, "cli-back", charge="ch_6584_VQMYT_05").json["case_id"]
    assert dev.command("withdraw", case_id, "--by", "cli", "--as", "service").code == 0
    shown = dev.command("show", case_id)
    assert "withdrawn" in shown.out


def test_what_people_tell_a_case_is_in_its_timeline(dev: Dev) -> None:
    case_id = ask(dev, "cli-told", charge="ch_6584_VQMYT_05").json["case_id"]
    lin = ("--by", "lin", "--as", "lead")
    told = [
        ("contact", *lin, "--channel", "phone", "--text", "any news?", "--click-id", "one"),
        ("contact", *lin, "--channel", "phone", "--text", "any news?", "--click-id", "one"),
        ("contact", *lin, "--channel", "email", "--text", "soon", "--outgoing"),
        ("claim", *lin),
        ("release", *lin),
        ("claim", *lin),
        ("transfer", *lin, "--desk", "finance", "--reason", "they asked for it"),
        ("delegate", *lin, "--to", "mia", "--to-as", "agent"),
    ]
    for command_, *options in told:
        assert dev.command(command_, case_id, *options).code == 0
    assert dev.command("transfer", case_id, *lin, "--desk", "finance").code == 1
    assert dev.command("release", case_id, *lin).code == 1, "the other desk's queue has it"
    assert dev.command("contact", case_id, *lin, "--channel", "pigeon").code == 2
    customer = ("--by", "ann", "--as", "customer", "--channel", "web")
    assert dev.command("contact", case_id, *customer, "--outgoing").code == 1
    scores = ("--effort", "2", "--satisfaction", "5")
    surveyed = ("survey", case_id, "--by", "ann", "--as", "customer", *scores)
    assert dev.command(*surveyed).code == 1, "before the end"
    assert dev.command("withdraw", case_id, "--by", "cli", "--as", "service").code == 0
    assert [dev.command(*surveyed).code for _ in range(2)] == [0, 1]
    shown = dev.command("timeline", case_id).out
    for line in ("phone, with a text", "billing to finance, with a reason", "to mia (agent)",
                 "effort 2, satisfaction 5"):  # fmt: skip
        assert shown.count(line) == 1
    assert "any news" not in shown


def test_evidence_is_given_shown_and_saved(dev: Dev, tmp_path: Path) -> None:
    case_id = ask(dev, "cli-evidence", charge="ch_6584_VQMYT_05").json["case_id"]
    lin = ("--by", "lin", "--as", "lead")
    bill = tmp_path / "bill.pdf"
    bill.write_bytes(b"%PDF-1.7 for half of it")
    assert dev.command("evidence", case_id, *lin, "--text", "it was half").code == 0
    assert dev.command("evidence", case_id, *lin, "--file", str(bill)).code == 0
    shown = dev.command("evidence", case_id, "--save", str(tmp_path / "saved"))
    assert "it was half" in shown.out
    assert "bill.pdf" in shown.out
    assert (tmp_path / "saved" / "2-bill.pdf").read_bytes() == bill.read_bytes()
    bill.write_bytes(b"no longer a PDF")
    wrong = dev.command("evidence", case_id, *lin, "--file", str(bill))
    assert wrong.code == 1
    assert "said to be application/pdf and is text/plain" in wrong.err
    assert dev.command("evidence", case_id, "--file", str(bill)).code == 2
    assert dev.command("evidence", case_id, *lin, "--file", str(tmp_path / "gone")).code == 2
    told = dev.command("timeline", case_id).out
    assert "a file, application/pdf, 23 bytes" in told
    assert "evidence" in dev.command("show", case_id).out
    assert dev.command("withdraw", case_id, "--by", "cli", "--as", "service").code == 0


def test_cases_that_run_are_not_taken_up_again(dev: Dev) -> None:
    found = dev.command("reopen", "--all", "--json").json
    assert found["open"] >= 1
    assert found["reopened"] == []


def test_a_case_that_runs_begins_again_when_the_books_were_restored(
    dev: Dev, samples: Samples
) -> None:
    case_id = samples["sample-04-waits"]["case_id"]
    before = [dev.command(each, case_id, "--json").json for each in ("show", "timeline")]
    found = dev.command("reopen", case_id, "--restored", "--json").json
    assert found == {"open": 1, "reopened": [case_id], "unknown": []}
    assert [dev.command(each, case_id, "--json").json for each in ("show", "timeline")] == before


def test_all_begin_again_only_when_somebody_has_read_what_ends_and_says_yes(
    dev: Dev, samples: Samples
) -> None:
    before = dev.command("list", "--json").json
    unheard = dev.command("reopen", "--all", "--restored")
    assert unheard.code == 2
    assert "will end for good" in unheard.err
    assert "--yes" in unheard.err
    assert dev.command("reopen", "--all", "--restored", "--json").json["field"] == "yes"
    no = asked(dev.folder, "n", "reopen", "--all", "--restored")
    assert no.code == 1
    assert "0 runs of cases that they do not know will end" in no.out
    assert "taken up" not in no.out
    waiting = samples["sample-04-waits"]["case_id"]
    yes = asked(dev.folder, "y", "reopen", "--all", "--restored")
    assert (yes.code, yes.err) == (0, "")
    again = dev.command("reopen", "--all", "--restored", "--yes", "--json").json
    assert waiting in again["reopened"]
    assert dev.command("list", "--json").json == before


ASKED = ("refund", "--request-id", "r-bad", "--customer", "cus_a", "--charge", "ch_a")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("approve", "refund-x", "--by", "ana@example.com", "--as", "lead"), "--by"),
        (
            ("delegate", "refund-x", "--by", "ana", "--as", "lead", "--to", "mia@example.com"),
            "--to",
        ),
        ((*ASKED, "--amount", "²"), "amount_minor"),
        ((*ASKED, "--amount=--5"), "amount_minor"),
        ((*ASKED, "--amount", "9" * 5_000), "amount_minor"),
        (("list", "--due", "0001-01-01T00:00:00+14:00"), "due"),
        (("audit", "verify", "--head", f"²:{'0' * 64}"), "head"),
        (("metrics", "--plot", "/nonexistent/x.svg"), "/nonexistent/x.svg"),
        (("audit", "export", "/proc/nope"), "/proc/"),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else value.strip("-/"),
)
def test_what_cannot_be_meant_is_named_and_neither_traced_nor_repeated(
    dev: Dev, arguments: tuple[str, ...], named: str
) -> None:
    answer = dev.command(*arguments)
    assert answer.code == 2
    assert named in answer.err
    assert "Traceback" not in answer.err
    assert "@example.com" not in answer.err


def test_histories_are_kept_on_demand_and_once(dev: Dev) -> None:
    first = dev.command("archive", "--json").json
    assert first["archived"] >= 1
    assert (first["late"], first["lost"]) == (0, 0)
    assert dev.command("archive", "--json").json["archived"] == 0


def test_reopening_asks_for_one_case_or_all(dev: Dev) -> None:
    assert dev.command("reopen").code == 2
    assert dev.command("reopen", "refund-x", "--all").code == 2


def test_an_unknown_case_is_refused(dev: Dev) -> None:
    answer = dev.command("approve", "refund-nowhere", "--by", "ana", "--as", "lead", "--json")
    assert (answer.code, answer.json["why"]) == (1, "unknown_case")


# -- time ------------------------------------------------------------------------------


def test_letting_days_pass_settles_a_refund_on_the_day_the_bank_has_it(
    dev: Dev, samples: Samples
) -> None:
    case = samples["sample-12-korean"]
    moved = dev.command("advance", case["case_id"], "4bd")
    assert moved.code == 0
    assert "settling" in moved.out
    assert "refunded" in moved.out
    events = dev.command("timeline", case["case_id"], "--json").json["events"]
    days = {each["kind"]: each["occurred_at"][:10] for each in events}
    assert days["accepted"] < days["confirmed"] < case["expected_from"]
    again = dev.command("advance", case["case_id"], "1d")
    assert again.code == 1
    assert "has ended" in again.err


def test_without_a_span_a_case_is_taken_to_what_it_waits_for(dev: Dev, samples: Samples) -> None:
    case = samples["sample-05-courtesy"]
    moved = dev.command("advance", case["case_id"], "--json").json
    assert moved[0]["after"] == "expired"
    assert moved[0]["to"][:16] == case["due_at"][:16]


def test_all_running_cases_can_be_moved_at_once(dev: Dev) -> None:
    running = {
        each["case_id"] for each in dev.command("list", "--json").json if each["status"] != "closed"
    }
    moved = dev.command("advance", "--all", "5h", "--json").json
    assert {each["case_id"] for each in moved} == running


def test_a_span_that_is_none_is_wrong_use(dev: Dev) -> None:
    assert "--all" in dev.command("advance").err
    answer = dev.command("advance", "--all", "soon")
    assert answer.code == 2
    assert "3bd" in answer.err


def test_the_time_of_a_real_provider_is_nobodys_to_move(dev: Dev) -> None:
    answer = dev.command("advance", "--all", "1d", REDRESS_STRIPE_BASE_URL="https://api.stripe.com")
    assert answer.code == 2
    assert "REDRESS_STRIPE_BASE_URL" in answer.err


def test_a_sandbox_that_is_away_is_not_reachable(dev: Dev) -> None:
    assert dev.command("advance", "--all", "1d", REDRESS_STRIPE_BASE_URL=NOBODY).code == 3


# -- policies and proofs ---------------------------------------------------------------


def test_the_shipped_policies_are_sound(dev: Dev) -> None:
    checked = dev.command("policy", "check", "--json")
    assert checked.code == 0
    assert "refund" in {each["policy"] for each in checked.json["policies"]}


def test_a_broken_policy_is_said_with_file_line_and_column(dev: Dev, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    broken = tmp_path / "policies" / "refund" / "v1.yaml"
    text = broken.read_text(encoding="utf-8")
    broken.write_text(text.replace("{linked: true}", "{linkt: true}", 1), encoding="utf-8")
    line = text.splitlines().index(next(x for x in text.splitlines() if "{linked: true}" in x)) + 1
    checked = dev.command("policy", "check", str(tmp_path / "policies"))
    assert checked.code == 2
    assert f"refund/v1.yaml:{line}:" in checked.err
    assert "linkt" in checked.err
    found = dev.command("policy", "check", str(tmp_path / "policies"), "--json")
    assert found.json["ok"] is False
    assert dev.command("policy", "check", str(tmp_path / "nowhere")).code == 2


def test_the_books_verify_from_a_head_that_was_kept(dev: Dev) -> None:
    verified = dev.command("audit", "verify")
    assert verified.code == 0, verified
    assert "the books verify" in verified.out
    head = next(x for x in verified.out.splitlines() if x.startswith("head ")).split()[1]
    assert dev.command("audit", "verify", "--head", head, "--json").code == 0
    seq, _, digest = head.partition(":")
    forged = dev.command("audit", "verify", "--head", f"{seq}:{digest[::-1]}")
    assert forged.code == 1
    assert dev.command("audit", "verify", "--head", "yesterday").code == 2


def test_every_stored_decision_comes_out_again(dev: Dev) -> None:
    replayed = dev.command("audit", "replay", "--json")
    assert replayed.code == 0, replayed
    assert replayed.json["decisions"] >= 12
    assert replayed.json["differences"] == []


def test_the_list_of_cases_is_compared_with_the_events_and_written_anew(
    dev: Dev, tmp_path: Path
) -> None:
    assert dev.command("audit", "rebuild").code == 0
    copied = tmp_path / "books.db"
    with (
        closing(sqlite3.connect(dev.folder / "var" / "books.db")) as living,
        closing(sqlite3.connect(copied)) as copy,
    ):
        living.backup(copy)
        copy.execute("DELETE FROM cases WHERE case_id = (SELECT min(case_id) FROM cases)")
        copy.execute(
            "UPDATE cases SET desk = 'nobody' WHERE case_id = (SELECT max(case_id) FROM cases)"
        )
        copy.commit()
    on_copy = {"REDRESS_DATABASE_URL": f"sqlite+aiosqlite:///{copied}"}
    told = dev.command("audit", "rebuild", **on_copy)
    assert told.code == 1, told
    assert "is not in the list" in told.err
    assert "desk is 'nobody', by the events" in told.err
    assert "2 differences" in told.out
    assert dev.command("audit", "rebuild", "--json", **on_copy).json["written"] == 0
    written = dev.command("audit", "rebuild", "--write", **on_copy)
    assert written.code == 0, written
    assert "written anew" in written.out
    again = dev.command("audit", "rebuild", "--json", **on_copy)
    assert (again.code, again.json) == (0, {"differences": [], "written": 0})


def test_a_version_is_tried_on_the_cases_of_the_books(dev: Dev, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    first = tmp_path / "policies" / "refund" / "v1.yaml"
    text = first.read_text(encoding="utf-8")
    text = text.replace("version: 1", "version: 2", 1).replace("2026-01-01", "2036-01-01", 1)
    text = text.replace("why: found, and up to 50.00", "why: found; up to 50.00")
    second = first.with_name("v2.yaml")
    second.write_text(text, encoding="utf-8")
    found = dev.command("policy", "simulate", "--from", str(first), "--to", str(second), "--json")
    assert found.code == 0, found
    assert found.json["total"]["cases"] >= 12
    assert found.json["changed"]["cases"] == 0


def test_the_books_are_exported_with_totals_once(dev: Dev, tmp_path: Path) -> None:
    exported = dev.command("audit", "export", str(tmp_path / "out"), "--json")
    assert exported.code == 0, exported
    manifest: Any = exported.json
    assert manifest
    assert (tmp_path / "out" / "cases.csv").exists()
    assert dev.command("audit", "export", str(tmp_path / "out")).code == 2


# -- nothing there ---------------------------------------------------------------------


def test_a_server_that_is_away_is_not_reachable(dev: Dev) -> None:
    answer = dev.command(
        "approve", "refund-x", "--by", "a", "--as", "lead", TEMPORAL_ADDRESS="127.0.0.1:9"
    )
    assert answer.code == 3
    assert "TEMPORAL_ADDRESS" in answer.err


def test_missing_keys_are_wrong_use_and_missing_books_are_not_reachable(
    dev: Dev, tmp_path: Path
) -> None:
    books = f"sqlite+aiosqlite:///{tmp_path}/books.db"
    assert command(tmp_path, "list", REDRESS_DATABASE_URL=books).code == 3
    assert command(tmp_path, "migrate", REDRESS_DATABASE_URL=books).code == 0
    answer = ask_with_nothing(tmp_path, books)
    assert answer.code == 2
    assert "REDRESS_MASTER_KEY" in answer.err


def ask_with_nothing(folder: Path, books: str) -> Answer:
    return command(
        folder, "refund", "--request-id", "r", "--customer", "cus_a", "--charge", "ch_a",
        REDRESS_DATABASE_URL=books,
    )  # fmt: skip


def test_a_live_key_is_refused_by_name(tmp_path: Path) -> None:
    answer = command(tmp_path, "list", REDRESS_STRIPE_API_KEY="sk_live_1")
    assert answer.code == 2
    assert "REDRESS_ALLOW_LIVE_KEY" in answer.err
    assert "sk_live_1" not in answer.err
