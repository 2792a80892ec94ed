"""The adapter of the approval log: each kind of trace, on rows made by hand."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from domain.errors import InvalidRequest
from settings import ROOT
from simulation.expense_log import POLICY, TEN_YEARS, Trace, read_log, scenarios_of
from simulation.log_expectations import Plan, engine_end, log_end, plan
from simulation.log_figures import shares, weekdays_between
from simulation.oracle import Cause, terms_of
from simulation.scenario import Does, Scenario

HEADER = "case_id,amount,event,timestamp\n"
YES = "FINAL_APPROVED by SUPERVISOR"
SUBMIT = "SUBMITTED by EMPLOYEE"


def trace(*events: tuple[str, str], amount: str = "26.85") -> Trace:
    """A declaration; instants are days and hours of January 2017, ``"9 09:49"``."""
    lines = []
    for name, at in events:
        day, hour = at.split()
        event = name if "Pay" in name else f"Declaration {name}"
        lines.append(f"d1,{amount},{event},2017-01-{int(day):02}T{hour}:00+01:00\n")
    return _read(HEADER + "".join(lines))[0]


def _read(text: str, folder: Path | None = None) -> list[Trace]:
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        file = (folder or Path(made)) / "log.csv"
        file.write_text(text, encoding="utf-8")
        return read_log(file)


def planned(*traces: Trace) -> Plan:
    return plan(traces, TEN_YEARS, terms_of(ROOT / "policies", POLICY))


def said(scenario: Scenario) -> list[tuple[str, str, str]]:
    return [
        (step.do.value, step.by.id.removeprefix("synthetic-"), step.by.role.value)
        for step in scenario.script
        if step.by is not None
    ]


def test_a_submission_is_a_case_and_its_approvals_are_messages_of_synthetic_people() -> None:
    (case,) = scenarios_of(
        [
            trace(
                ("SAVED by EMPLOYEE", "9 09:00"),
                (SUBMIT, "9 09:49"),
                ("APPROVED by ADMINISTRATION", "9 11:27"),
                ("APPROVED by BUDGET OWNER", "9 12:00"),
                (YES, "10 09:00"),
                ("Request Payment", "12 09:00"),
                ("Payment Handled", "12 17:30"),
            )
        ]
    )
    assert (case.id, case.opened_at.isoformat()) == ("d1", "2017-01-09T09:49:00+01:00")
    assert case.request.amount_minor == case.charge.amount_minor == 2685
    assert case.request.requested_by.id == "synthetic-employee-1"
    assert said(case) == [
        ("approve", "administration", "agent"),
        ("approve", "budget-owner", "finance"),
        ("approve", "supervisor", "lead"),
    ]
    assert all(step.by is not None and step.by.id.startswith("synthetic-") for step in case.script)


def test_amounts_are_rounded_once_half_to_even() -> None:
    for text, minor in (("26.855", 2686), ("26.845", 2684), ("0.004", 0), ("-3.5", -350)):
        (case,) = scenarios_of([trace((SUBMIT, "9 09:00"), amount=text)])
        assert case.request.amount_minor == minor
        assert case.charge.amount_minor == max(0, minor)


@pytest.mark.parametrize("amount", ["0.0", "-12.50"])
def test_nothing_asked_for_must_be_refused_as_input(amount: str) -> None:
    made = planned(
        trace((SUBMIT, "9 09:00"), ("REJECTED by ADMINISTRATION", "9 10:00"), amount=amount)
    )
    (case,) = made.expected
    assert case.cause is Cause.NOTHING_ASKED
    assert case.expect.outcome == "refused_as_input"
    assert case.expect.invalid_field == "amount_minor"
    assert case.expect.unsent == 1


@pytest.mark.parametrize(
    ("role", "actor"),
    [
        ("SUPERVISOR", "supervisor"),
        ("ADMINISTRATION", "administration-as-lead"),
        ("PRE_APPROVER", "pre-approver-as-lead"),
        ("BUDGET OWNER", "budget-owner-as-lead"),
        ("MISSING", "missing-as-lead"),
    ],
)
def test_a_rejection_by_any_role_must_end_as_declined(role: str, actor: str) -> None:
    made = planned(trace((SUBMIT, "9 09:00"), (f"REJECTED by {role}", "9 10:00")))
    (case,) = made.expected
    assert said(case.scenario) == [("decline", actor, "lead")]
    assert (case.expect.outcome, case.cause) == ("declined", Cause.REJECTED_IN_TIME)


def test_a_form_handed_back_after_a_no_says_nothing_and_one_taken_back_withdraws() -> None:
    after_a_no = trace(
        (SUBMIT, "9 09:00"),
        ("REJECTED by SUPERVISOR", "9 10:00"),
        ("REJECTED by EMPLOYEE", "9 11:00"),
    )
    alone = trace((SUBMIT, "9 09:00"), ("REJECTED by EMPLOYEE", "9 11:00"))
    assert [step.do for case in scenarios_of([after_a_no]) for step in case.script] == [
        Does.DECLINE
    ]
    (case,) = planned(alone).expected
    assert said(case.scenario) == [("withdraw", "employee-1", "agent")]
    assert case.expect.outcome == "withdrawn"


def test_a_resubmission_is_a_new_case_on_the_same_charge() -> None:
    made = planned(
        trace(
            (SUBMIT, "9 09:00"),
            ("REJECTED by ADMINISTRATION", "9 10:00"),
            ("REJECTED by EMPLOYEE", "9 11:00"),
            (SUBMIT, "10 09:00"),
            (YES, "11 09:00"),
            ("Payment Handled", "16 17:30"),
        )
    )
    first, second = made.expected
    assert (first.scenario.id, second.scenario.id) == ("d1", "d1#2")
    assert first.scenario.customer == second.scenario.customer
    assert first.scenario.charges == second.scenario.charges
    assert (first.expect.outcome, second.expect.outcome) == ("declined", "refunded")


def test_a_yes_after_ten_business_days_must_find_the_case_expired() -> None:
    late = trace((SUBMIT, "2 09:00"), (YES, "31 09:00"), ("Payment Handled", "31 17:30"))
    made = planned(late)
    (case,) = made.expected
    assert (case.expect.outcome, case.cause) == ("expired", Cause.APPROVED_TOO_LATE)
    assert case.expect.refused == ("closed",)
    assert (log_end(late), engine_end(made.expected)) == ("paid", "expired")


def test_what_was_paid_without_an_approval_must_never_be_sent() -> None:
    unapproved = trace(
        (SUBMIT, "9 09:00"),
        ("APPROVED by ADMINISTRATION", "9 10:00"),
        ("Request Payment", "10 09:00"),
        ("Payment Handled", "12 17:30"),
    )
    made = planned(unapproved)
    (case,) = made.expected
    assert log_end(unapproved) == "paid without a final approval"
    assert case.sent_at is None
    assert (case.expect.outcome, case.expect.refused) == ("expired", ("not_authorised",))


def test_a_no_after_the_yes_is_refused_and_a_resubmission_finds_nothing_left() -> None:
    made = planned(
        trace(
            (SUBMIT, "9 09:00"),
            (YES, "9 10:00"),
            ("REJECTED by MISSING", "10 10:00"),
            (SUBMIT, "11 09:00"),
            (YES, "11 10:00"),
        )
    )
    first, second = made.expected
    assert (first.expect.outcome, first.expect.refused) == ("refunded", ("already_decided",))
    assert (second.expect.outcome, second.expect.invalid_field) == ("refused_as_input", "charge")
    assert second.cause is Cause.ALREADY_PAID


def test_a_declaration_that_was_only_saved_makes_no_case() -> None:
    saved = trace(("SAVED by EMPLOYEE", "9 09:00"))
    assert list(scenarios_of([saved])) == []
    assert (log_end(saved), engine_end([])) == ("only saved", "no case")


def test_events_before_the_first_submission_are_told_to_nobody() -> None:
    (case,) = scenarios_of([trace((YES, "9 08:00"), (SUBMIT, "9 09:00"))])
    assert case.script == ()


def test_a_line_that_the_adapter_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"log\.csv:3: event 'LOST' is not known"):
        _read(
            HEADER
            + "d1,1.00,Declaration SUBMITTED by EMPLOYEE,2017-01-09T09:00:00+01:00\n"
            + "d1,1.00,Declaration LOST,2017-01-09T10:00:00+01:00\n"
        )
    with pytest.raises(InvalidRequest, match=r"lacks columns; allowed: amount, case_id, event"):
        _read("case,amount\n")
    with pytest.raises(InvalidRequest, match=r"there is no .*nothing\.csv\.gz"):
        read_log(tmp_path / "nothing.csv.gz")


def test_a_compressed_log_reads_like_a_plain_one(tmp_path: Path) -> None:
    text = HEADER + "d1,1.00,Declaration SUBMITTED by EMPLOYEE,2017-01-09T09:00:00+01:00\n"
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_log(packed) == _read(text)


def test_weekdays_are_counted_from_the_day_after() -> None:
    friday, monday = (
        trace((SUBMIT, "6 09:00")).events[0][1],
        trace((SUBMIT, "9 09:00")).events[0][1],
    )
    assert weekdays_between(friday.date(), monday.date()) == 1
    assert weekdays_between(friday.date(), friday.date()) == 0
    paid = trace((SUBMIT, "6 09:00"), (YES, "9 09:00"), ("Payment Handled", "16 17:30"))
    assert [(share.cases, share.within_5, share.within_10) for share in shares([paid])] == [
        (1, 0, 1),
        (1, 1, 1),
        (0, 0, 0),
    ]
