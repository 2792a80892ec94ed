"""Which endpoint answers which request, and on whose clock it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import balance, charges, customers, disputes, endpoints, events, payments, refunds
from .calls import Endpoint
from .clock import ACCOUNT
from .params import EXPAND, Spec
from .store import Json
from .world import World


@dataclass(frozen=True)
class Route:
    method: str
    template: str
    endpoint: Endpoint
    spec: Spec
    pattern: re.Pattern[str]


def _route(method: str, template: str, endpoint: Endpoint, spec: Spec = EXPAND) -> Route:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
    return Route(method, template, endpoint, spec, re.compile(pattern))


_CREDITS = "/v1/customers/{customer}/balance_transactions"

ROUTES: tuple[Route, ...] = (
    _route("POST", "/v1/customers", customers.create, customers.WRITE),
    _route("GET", "/v1/customers", customers.list_all, customers.LIST),
    _route("GET", "/v1/customers/{customer}", customers.retrieve),
    _route("POST", "/v1/customers/{customer}", customers.update, customers.WRITE),
    _route("POST", _CREDITS, customers.create_credit, customers.CREDIT),
    _route("GET", _CREDITS, customers.list_credits, customers.CREDIT_LIST),
    _route("GET", _CREDITS + "/{transaction}", customers.retrieve_credit),
    _route("POST", _CREDITS + "/{transaction}", customers.update_credit, customers.CREDIT_UPDATE),
    _route("GET", "/v1/payment_methods/{payment_method}", payments.retrieve_method),
    _route("POST", "/v1/payment_intents", payments.create, payments.CREATE),
    _route("GET", "/v1/payment_intents", payments.list_all, payments.LIST),
    _route("GET", "/v1/payment_intents/{intent}", payments.retrieve),
    _route("POST", "/v1/payment_intents/{intent}", payments.update, payments.WRITE),
    _route("GET", "/v1/charges", charges.list_all, charges.LIST),
    _route("GET", "/v1/charges/{charge}", charges.retrieve),
    _route("POST", "/v1/charges/{charge}", charges.update, charges.WRITE),
    _route("POST", "/v1/refunds", refunds.create, refunds.CREATE),
    _route("GET", "/v1/refunds", refunds.list_all, refunds.LIST),
    _route("GET", "/v1/refunds/{refund}", refunds.retrieve),
    _route("POST", "/v1/refunds/{refund}", refunds.update, refunds.WRITE),
    _route("POST", "/v1/refunds/{refund}/cancel", refunds.cancel),
    _route("GET", "/v1/disputes", disputes.list_all, disputes.LIST),
    _route("GET", "/v1/disputes/{dispute}", disputes.retrieve),
    _route("POST", "/v1/disputes/{dispute}", disputes.update, disputes.WRITE),
    _route("POST", "/v1/disputes/{dispute}/close", disputes.close),
    _route(
        "GET",
        "/v1/balance_transactions",
        balance.list_all,
        balance.LIST,
    ),
    _route("GET", "/v1/balance_transactions/{id}", balance.retrieve),
    _route("GET", "/v1/events", events.list_all, events.LIST),
    _route("GET", "/v1/events/{id}", events.retrieve),
    _route("POST", "/v1/webhook_endpoints", endpoints.create, endpoints.CREATE),
    _route("GET", "/v1/webhook_endpoints", endpoints.list_all, endpoints.LIST),
    _route("GET", "/v1/webhook_endpoints/{webhook_endpoint}", endpoints.retrieve),
    _route("POST", "/v1/webhook_endpoints/{webhook_endpoint}", endpoints.update, endpoints.WRITE),
    _route("DELETE", "/v1/webhook_endpoints/{webhook_endpoint}", endpoints.delete, {}),
)


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    for route in ROUTES:
        if route.method == method:
            match = route.pattern.fullmatch(path)
            if match is not None:
                return route, match.groupdict()
    return None


# parameter or path name -> kind of object that leads to a customer
_LEADS = {
    "customer": "customer",
    "charge": "charge",
    "payment_intent": "payment_intent",
    "intent": "payment_intent",
    "refund": "refund",
    "dispute": "dispute",
}


def customer_concerned(world: World, ids: dict[str, str], params: Json) -> str:
    """On whose clock a request runs; ``""`` when it names nobody that exists."""
    for source in (ids, params):
        for name, kind in _LEADS.items():
            id = source.get(name)
            if isinstance(id, str):
                row = world.store.get(kind, id)
                if row is not None:
                    return world.customer_of(row)
    return ACCOUNT
