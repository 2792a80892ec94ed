"""Cut Stripe's OpenAPI description down to what the product needs.

    python tests/stripe_api/cut.py PATH/TO/openapi-spec3.json[.gz]

writes ``openapi.json.gz`` beside this file: the paths below, every schema reachable from them, and
no prose. The result depends on the input alone, so a second cut gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

PATHS = (
    "/v1/balance_transactions",
    "/v1/balance_transactions/{id}",
    "/v1/charges",
    "/v1/charges/{charge}",
    "/v1/customers",
    "/v1/customers/{customer}",
    "/v1/customers/{customer}/balance_transactions",
    "/v1/customers/{customer}/balance_transactions/{transaction}",
    "/v1/disputes",
    "/v1/disputes/{dispute}",
    "/v1/disputes/{dispute}/close",
    "/v1/events",
    "/v1/events/{id}",
    "/v1/payment_intents",
    "/v1/payment_intents/{intent}",
    "/v1/payment_methods/{payment_method}",
    "/v1/refunds",
    "/v1/refunds/{refund}",
    "/v1/refunds/{refund}/cancel",
    "/v1/webhook_endpoints",
    "/v1/webhook_endpoints/{webhook_endpoint}",
)
METHODS = ("get", "post", "delete")
PROSE = {
    "title",
    "x-expandableFields",
    "x-resourceId",
    "x-stripeMostCommon",
    "x-stripeOperations",
    "x-stripeResource",
}


def without_prose(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: without_prose(below)
            for name, below in node.items()
            # A property may be called "description" or "title": those are objects, prose is text.
            if not (name in PROSE | {"description"} and not isinstance(below, dict))
        }
    return [without_prose(below) for below in node] if isinstance(node, list) else node


def schemas_in(node: Any) -> set[str]:
    found: set[str] = set()
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            found.add(node["$ref"].rpartition("/")[2])
        for below in node.values():
            found |= schemas_in(below)
    elif isinstance(node, list):
        for below in node:
            found |= schemas_in(below)
    return found


def cut(full: dict[str, Any]) -> dict[str, Any]:
    paths = {
        path: {method: full["paths"][path][method] for method in METHODS if method in item}
        for path in PATHS
        for item in [full["paths"][path]]
    }
    schemas, needed, waiting = full["components"]["schemas"], set(), schemas_in(paths)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting |= schemas_in(schemas[name]) - needed
    return {
        "openapi": full["openapi"],
        "info": {
            "title": "Stripe API (cut)",
            "version": full["info"]["version"],
            "license": {"name": "MIT"},
        },
        "paths": without_prose(paths),
        "components": {"schemas": {name: without_prose(schemas[name]) for name in sorted(needed)}},
    }


def main(source: Path) -> None:
    raw = source.read_bytes()
    full = json.loads(gzip.decompress(raw) if source.suffix == ".gz" else raw)
    text = json.dumps(cut(full), separators=(",", ":"), sort_keys=True)
    target = HERE / "openapi.json.gz"
    target.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    print(f"{target.name}: {len(text)} bytes, {target.stat().st_size} compressed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
