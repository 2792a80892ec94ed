"""Any order of refunds, credits, chargebacks and days leaves the money right."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import seed as seeded
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from sandbox import disputes, refunds
from sandbox.engine import Answer, Incoming, Sandbox
from sandbox.seed import seed
from tests.referee import referee

Json = dict[str, Any]
NOON = 1_772_452_800  # a Monday, 2026-03-02T12:00:00Z
SEED = 20261122
BEHAVIOURS = ("arrives", "pending", "fails", "pending_fails", "requires_action", "stuck")


def ask(box: Sandbox, method: str, path: str, form: Json, key: str | None = None) -> Answer:
    headers = {"authorization": "Bearer sk_test_1"} | ({"idempotency-key": key} if key else {})
    text = urlencode(form)
    if method == "GET":
        return box.execute(Incoming(method, path, text, b"", headers))
    return box.execute(Incoming(method, path, "", text.encode(), headers))


class Money(RuleBasedStateMachine):
    """The model is a handful of integers; the sandbox must never disagree with it."""

    made = Bundle("made")
    steps = 0
    moved = 0

    def __init__(self) -> None:
        super().__init__()
        self.booked = 0
        self.wall = NOON
        self.box = Sandbox(wall=lambda: float(self.wall))
        self.captured = {"ch_a": 62_000, "ch_b": 5_000, "ch_c": 12_300}
        charges = [
            {"id": id, "amount": amount, "currency": currency, "refund_behaviour": behaviour}
            for (id, amount), currency, behaviour in zip(
                self.captured.items(), ("usd", "jpy", "kwd"), BEHAVIOURS, strict=False
            )
        ]
        with self.box.store.transaction():
            seed(self.box.world, {"customers": [{"id": "cus_a", "charges": charges}]})
        self.keys = 0
        self.effects = 0
        self.balance = 0

    def alive(self, charge: str) -> int:
        return sum(
            row["amount"]
            for row in self.box.store.where("refund", "charge", charge)
            if row["status"] in refunds.ALIVE
        )

    @rule(
        target=made,
        charge=st.sampled_from(["ch_a", "ch_b", "ch_c"]),
        amount=st.one_of(st.integers(1, 60).map(lambda n: n * 10), st.none(), st.integers(1, 7000)),
        behaviour=st.sampled_from(BEHAVIOURS),
    )
    def refund(self, charge: str, amount: int | None, behaviour: str) -> tuple[str, Json, str]:
        self.keys += 1
        key = f"k{self.keys}"
        with self.box.store.transaction():
            self.box.store.edit("_refund_behaviour", charge)["behaviour"] = behaviour
        left = self.captured[charge] - self.alive(charge)
        row = self.box.store.get("charge", charge)
        assert row is not None
        blocked = refunds.blocked_by_dispute(self.box.world, row)
        form: Json = {"charge": charge} | ({} if amount is None else {"amount": amount})
        answer = ask(self.box, "POST", "/v1/refunds", form, key)
        wanted = left if amount is None else amount
        odd = charge == "ch_c" and wanted % 10 and wanted != left
        if answer.status == 200:
            assert not blocked
            assert 0 < wanted <= left
            assert not odd
            assert answer.json["amount"] == wanted
            self.effects += 1
        else:
            assert answer.status == 400
            assert blocked or wanted > left or left == 0 or odd
        return key, form, answer.body.decode()

    @rule(call=made)
    def retry(self, call: tuple[str, Json, str]) -> None:
        key, form, before = call
        kept = self.box.store.get("_key", key)
        assert kept is not None
        young = self.box.world.clocks.now("cus_a") - kept["created"] < 86_400
        if young:
            again = ask(self.box, "POST", "/v1/refunds", form, key)
            assert again.body.decode() == before
            assert again.headers["Idempotent-Replayed"] == "true"

    @rule(call=consumes(made))
    def reuse_the_key_for_something_else(self, call: tuple[str, Json, str]) -> None:
        key, form, _ = call
        kept = self.box.store.get("_key", key)
        assert kept is not None
        if self.box.world.clocks.now("cus_a") - kept["created"] < 86_400:
            other = ask(self.box, "POST", "/v1/refunds", form | {"metadata[x]": "y"}, key)
            assert (other.status, other.json["error"]["type"]) == (400, "idempotency_error")

    @rule(amount=st.integers(-5000, 5000))
    def credit(self, amount: int) -> None:
        path = "/v1/customers/cus_a/balance_transactions"
        answer = ask(self.box, "POST", path, {"amount": amount, "currency": "usd"})
        assert answer.status == 200
        self.balance += amount
        self.effects += 1
        assert answer.json["ending_balance"] == self.balance

    @rule(seconds=st.integers(0, 10 * 86_400))
    def time_passes(self, seconds: int) -> None:
        self.wall += seconds
        self.box.tick()

    @rule(charge=st.sampled_from(["ch_a", "ch_b"]), inquiry=st.booleans())
    def chargeback(self, charge: str, inquiry: bool) -> None:
        row = self.box.store.get("charge", charge)
        assert row is not None
        if not row["disputed"]:
            with self.box.store.transaction():
                disputes.open_dispute(
                    self.box.world,
                    row,
                    status="warning_needs_response" if inquiry else "needs_response",
                )

    @rule(outcome=st.sampled_from(["winning_evidence", "losing_evidence"]))
    def defend(self, outcome: str) -> None:
        for row in self.box.store.all("dispute"):
            if row["status"] in disputes.AWAITING and not row["evidence_details"]["past_due"]:
                form = {"evidence[uncategorized_text]": outcome, "submit": "true"}
                assert ask(self.box, "POST", f"/v1/disputes/{row['id']}", form).status == 200

    @invariant()
    def count_steps_that_moved_money(self) -> None:
        store = self.box.store
        booked = store.count("balance_transaction") + store.count("customer_balance_transaction")
        Money.steps += 1
        Money.moved += booked != self.booked
        self.booked = booked

    @invariant()
    def refunds_never_exceed_what_was_captured(self) -> None:
        for id, captured in self.captured.items():
            answer = ask(self.box, "GET", f"/v1/charges/{id}", {}).json
            assert answer["amount_refunded"] == self.alive(id) <= captured

    @invariant()
    def effects_and_balances_are_what_the_model_says(self) -> None:
        assert sum(len(row["effects"]) for row in self.box.journal.find()) == self.effects
        assert ask(self.box, "GET", "/v1/customers/cus_a", {}).json["balance"] == self.balance

    def teardown(self) -> None:
        try:
            entries = self.box.journal.find()
            assert all(entry["status"] != 500 for entry in entries)
            # A metadata key on a refused call is still a right request: all of them must be.
            assert referee().check_journal(entries) == []
        finally:
            self.box.close()


def test_any_order_of_events_keeps_the_money_right() -> None:
    print(f"seed {SEED}")
    Money.steps = Money.moved = 0
    run_state_machine_as_test(
        seeded(SEED)(Money),
        settings=settings(
            max_examples=50,
            stateful_step_count=30,
            database=None,
        ),
    )
    print(f"{Money.moved} of {Money.steps} steps moved money")
    assert Money.moved * 100 >= 30 * Money.steps


def test_a_broken_money_rule_is_a_loud_500_that_changes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    box = Sandbox()
    with box.store.transaction():
        charges = [{"id": "ch_a", "amount": 5200}]
        seed(box.world, {"customers": [{"id": "cus_a", "charges": charges}]})
    with box.store.transaction():
        box.store.edit("charge", "ch_a")["amount_refunded"] = 7
    answer = ask(box, "POST", "/v1/refunds", {"charge": "ch_a", "amount": 100}, "k")
    assert answer.status == 500
    assert answer.json["error"]["code"] == "sandbox_violation"
    assert "money rule" in answer.json["error"]["message"]
    assert "BrokenMoneyRule" in capsys.readouterr().err
    assert box.store.all("refund") == []
    assert box.store.all("event") == []
    assert box.store.get("_key", "k") is None
    box.close()
