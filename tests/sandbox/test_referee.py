"""The referee itself: it must catch what is wrong, or its silence means nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sandbox.engine import Incoming, Sandbox
from sandbox.seed import seed
from tests.referee import referee

Json = dict[str, Any]
KEY = {"authorization": "Bearer sk_test_1"}


@pytest.fixture(scope="module")
def journal() -> list[Json]:
    """A right run: a payment, a refund, a credit, a chargeback, an endpoint, events and lists."""
    box = Sandbox()
    with box.store.transaction():
        charges = [{"id": "ch_a", "amount": 5200}, {"id": "ch_b", "amount": 900}]
        seed(box.world, {"customers": [{"id": "cus_a", "charges": charges}]})
    for method, path, form in (
        ("POST", "/v1/customers", "name=A&address[city]=B&metadata[x]=y"),
        ("POST", "/v1/customers/cus_a", "email=a@example.com"),
        ("GET", "/v1/customers", "limit=2"),
        (
            "POST",
            "/v1/payment_intents",
            "amount=1000&currency=usd&customer=cus_a&payment_method=pm_card_mastercard&confirm=true"
            "&payment_method_types[]=card",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "amount=1000&currency=usd&payment_method=pm_sepaDebit&confirm=true",
        ),
        ("GET", "/v1/payment_intents", "customer=cus_a&expand[]=data.latest_charge"),
        ("GET", "/v1/payment_methods/pm_card_visa", ""),
        ("POST", "/v1/charges/ch_a", "metadata[case_id]=c"),
        ("GET", "/v1/charges", "customer=cus_a&created[gte]=0&expand[0]=data.refunds"),
        ("POST", "/v1/refunds", "charge=ch_a&amount=100&expand[]=charge.customer"),
        ("GET", "/v1/refunds", "charge=ch_a&expand[]=data.balance_transaction.source"),
        ("POST", "/v1/customers/cus_a/balance_transactions", "amount=-5&currency=usd"),
        ("GET", "/v1/customers/cus_a/balance_transactions", "limit=100"),
        ("GET", "/v1/balance_transactions", "type=refund&expand[]=data.source"),
        (
            "POST",
            "/v1/webhook_endpoints",
            "url=http://127.0.0.1/x&enabled_events[]=refund.created",
        ),
        ("GET", "/v1/webhook_endpoints", ""),
        ("POST", "/v1/refunds", "charge=ch_a&amount=99999"),
        ("GET", "/v1/events", "types[]=refund.created&types[]=charge.refunded&limit=50"),
        ("GET", "/v1/events", "limit=100"),
        ("GET", "/v1/charges/ch_nobody", ""),
    ):
        is_get = method == "GET"
        box.execute(
            Incoming(method, path, form if is_get else "", b"" if is_get else form.encode(), KEY)
        )
    box.close()
    return box.journal.find()


def test_a_right_run_has_no_violations(journal: list[Json]) -> None:
    assert referee().check_journal(journal) == []
    assert [entry["status"] for entry in journal].count(200) == len(journal) - 2
    assert referee().api_version == "2026-08-26.dahlia"


@pytest.mark.parametrize(
    ("method", "path", "params", "complaint"),
    [
        ("GET", "/v1/refunds/foo", {}, "no id of a refund"),
        ("GET", "/v1/refunds/ch_1", {}, "no id of a refund"),
        ("GET", "/v1/invoices/upcoming", {}, "no such path"),
        ("GET", "/v1/refund/re_1", {}, "no such path"),
        ("PUT", "/v1/refunds/re_1", {}, "no such path"),
        ("DELETE", "/v1/refunds/re_1", {}, "no such path"),
        ("GET", "/v1/events/re_1", {}, "no id of a event"),
        ("GET", "/v1/customers/cus_1/balance_transactions/txn_1", {}, "no id of a customer_"),
        ("POST", "/v1/refunds", {"charge": "ch_1", "colour": "red"}, "colour"),
        ("POST", "/v1/refunds", {"charge": "ch_1", "amount": "ten"}, "amount"),
        ("POST", "/v1/refunds", {"charge": "ch_1", "amount": "1.5"}, "amount"),
        ("POST", "/v1/refunds", {"charge": "ch_1", "reason": "because"}, "reason"),
        ("POST", "/v1/refunds", {"charge": "ch_1", "metadata": "x"}, "metadata"),
        ("POST", "/v1/disputes/du_1", {"submit": "yes"}, "submit"),
        ("POST", "/v1/disputes/du_1", {"evidence": {"colour": "red"}}, "evidence"),
        ("POST", "/v1/customers/cus_1/balance_transactions", {"amount": "5"}, "currency"),
        ("GET", "/v1/charges", {"limit": "many"}, "limit"),
    ],
)
def test_a_wrong_request_is_caught(method: str, path: str, params: Json, complaint: str) -> None:
    violations = referee().check(method, path, params)
    assert any(complaint in violation for violation in violations), violations


def answer_to(journal: list[Json], method: str, path: str) -> Json:
    found = next(row for row in journal if (row["method"], row["path"]) == (method, path))
    return copy.deepcopy(found)


@pytest.mark.parametrize(
    ("method", "path", "spoil", "complaint"),
    [
        ("POST", "/v1/refunds", lambda row: row.pop("amount"), "amount"),
        ("POST", "/v1/refunds", lambda row: row.update(amount="100"), "100"),
        ("POST", "/v1/refunds", lambda row: row.update(amount=1.5), "1.5"),
        ("POST", "/v1/refunds", lambda row: row.update(object="return"), "return"),
        ("POST", "/v1/refunds", lambda row: row.update(reason="because"), "because"),
        ("POST", "/v1/refunds", lambda row: row.update(colour="red"), "colour"),
        ("POST", "/v1/refunds", lambda row: row.update(id="ch_1"), "no id of a refund"),
        ("POST", "/v1/refunds", lambda row: row.update(currency=None), "null"),
        ("POST", "/v1/refunds", lambda row: row["charge"].pop("captured"), "charge"),
        ("GET", "/v1/charges", lambda row: row.pop("has_more"), "has_more"),
        ("GET", "/v1/charges", lambda row: row["data"][0].update(status="won"), "won"),
        ("GET", "/v1/charges", lambda row: row["data"][0].update(id="pi_1"), "no id of a charge"),
        (
            "GET",
            "/v1/events",
            lambda row: row["data"][0]["data"]["object"].pop("currency"),
            "currency",
        ),
        (
            "GET",
            "/v1/events",
            lambda row: row["data"][0]["data"].update(previous_attributes={"colour": 1}),
            "colour",
        ),
    ],
)
def test_a_wrong_answer_is_caught(
    journal: list[Json], method: str, path: str, spoil: Any, complaint: str
) -> None:
    entry = answer_to(journal, method, path)
    assert referee().check_journal([entry]) == []
    spoil(entry["response"])
    violations = referee().check_journal([entry])
    assert any(complaint in violation for violation in violations), violations


def test_an_error_without_stripes_shape_is_caught(journal: list[Json]) -> None:
    entry = answer_to(journal, "GET", "/v1/charges/ch_nobody")
    assert entry["status"] == 404
    assert referee().check_journal([entry]) == []
    entry["response"] = {"detail": "Not Found"}
    assert referee().check_journal([entry]) != []
    entry["response"] = {"error": {"type": "fatal", "message": "x"}}
    assert referee().check_journal([entry]) != []
