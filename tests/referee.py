"""A referee between client and sandbox: both are held against Stripe's own API description.

A client and a double of one author share their mistakes, so neither may judge the other.

    referee = Referee()
    referee.check("POST", "/v1/refunds", {"charge": "ch_1"}, 200, answer)  # -> list of violations
    assert referee.check_journal(entries) == []                            # a whole run

Stricter than the description in three ways: ids in paths and answers must have their kind's
prefix, answers may hold no field that the description does not know, and the object inside an
event is checked as what it says it is.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

Json = dict[str, Any]

DESCRIPTION = Path(__file__).resolve().parent / "stripe_api" / "openapi.json.gz"
BASE = "https://sandbox.invalid/stripe"
SCHEMAS = f"{BASE}#/components/schemas/"

PREFIXES: dict[str, tuple[str, ...]] = {
    "balance_transaction": ("txn_",),
    "charge": ("ch_", "py_"),
    "customer": ("cus_",),
    "customer_balance_transaction": ("cbtxn_",),
    "dispute": ("du_", "dp_"),
    "event": ("evt_",),
    "payment_intent": ("pi_",),
    "payment_method": ("pm_", "card_", "src_"),
    "refund": ("re_", "pyr_"),
    "webhook_endpoint": ("we_",),
}
# Names in path templates that are not names of objects; "id" goes by the folder it stands in.
IN_PATH = {
    "intent": "payment_intent",
    "transaction": "customer_balance_transaction",
    "/v1/balance_transactions/{id}": "balance_transaction",
    "/v1/events/{id}": "event",
}


@dataclass(frozen=True)
class Operation:
    """One method of one path; ``params`` is one object schema over query and form fields."""

    method: str
    template: str
    pattern: re.Pattern[str]
    kinds: Mapping[str, str]  # path parameter -> kind of object
    params: Json
    answers: Mapping[str, Json] = field(default_factory=dict)  # "200", "default" -> schema


class Referee:
    def __init__(self, description: Path = DESCRIPTION) -> None:
        raw = json.loads(gzip.decompress(description.read_bytes()))
        self.api_version: str = raw["info"]["version"]
        self._schemas: Json = {
            name: _strict(schema) for name, schema in raw["components"]["schemas"].items()
        }
        document = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": {"schemas": self._schemas},
        }
        self._registry = jsonschema_rs.Registry([(BASE, document)])
        self._operations = [
            _operation(path, method, operation)
            for path, item in raw["paths"].items()
            for method, operation in item.items()
        ]
        self._validators: dict[str, Any] = {}

    # judging

    def check(
        self,
        method: str,
        path: str,
        params: Json,
        status: int | None = None,
        answer: Any = None,
    ) -> list[str]:
        """Violations of one exchange; without ``status`` the request alone is judged.

        ``params`` are the query or the form as nested dicts and lists whose leaves are texts.
        """
        operation, problems = self._find(method, path)
        if operation is None:
            return problems
        problems += self._request(operation, params)
        if status is not None:
            problems += self._answer(operation, status, answer)
        return [f"{method} {path}: {problem}" for problem in problems]

    def check_journal(self, entries: Iterable[Json]) -> list[str]:
        """Violations of a whole run, from the sandbox's journal."""
        return [
            f"#{entry['seq']} {problem}"
            for entry in entries
            for problem in self.check(
                entry["method"],
                entry["path"],
                entry["params"],
                entry["status"],
                entry["response"],
            )
        ]

    def _find(self, method: str, path: str) -> tuple[Operation | None, list[str]]:
        matches = [
            (operation, match)
            for operation in self._operations
            if operation.method == method and (match := operation.pattern.fullmatch(path))
        ]
        if not matches:
            return None, [f"{method} {path}: no such path in the API"]
        operation, match = min(matches, key=lambda found: found[0].template.count("{"))
        return operation, [
            f"{id!r} is no id of a {operation.kinds[name]}"
            for name, id in match.groupdict().items()
            if not id.startswith(PREFIXES[operation.kinds[name]])
        ]

    def _request(self, operation: Operation, params: Json) -> list[str]:
        schema = operation.params
        validator = self._validator(f"{operation.method} {operation.template}", schema)
        value = self._coerced(schema, params)
        return [f"request: {problem}" for problem in _problems(validator, value)]

    def _answer(self, operation: Operation, status: int, answer: Any) -> list[str]:
        schema = operation.answers["200" if status == 200 else "default"]
        name = f"{operation.method} {operation.template} {'200' if status == 200 else 'default'}"
        problems = _problems(self._validator(name, schema), answer)
        if status == 200:
            for row in _objects(answer):
                problems += self._object(row)
        return [f"answer {status}: {problem}" for problem in problems]

    def _object(self, row: Json) -> list[str]:
        kind, id = str(row.get("object")), str(row.get("id"))
        problems = []
        if not id.startswith(PREFIXES.get(kind, ("",))):
            problems.append(f"{id!r} is no id of a {kind}")
        if kind == "event":
            inner = row["data"]["object"]
            name = str(inner.get("object"))
            if name in self._schemas:
                validator = self._validator(name, {"$ref": SCHEMAS + name})
                found = _problems(validator, inner) + self._object(inner)
                known = self._schemas[name].get("properties", {})
                found += [
                    f"previous_attributes: {name} has no {attribute!r}"
                    for attribute in row["data"].get("previous_attributes", {})
                    if attribute not in known
                ]
                problems += [f"event {row['type']}: {problem}" for problem in found]
        return problems

    # schemas

    def _validator(self, name: str, schema: Json) -> Any:
        """Compiled once per operation: compiling costs far more than judging."""
        if name not in self._validators:
            self._validators[name] = jsonschema_rs.Draft202012Validator(
                schema, registry=self._registry
            )
        return self._validators[name]

    def _coerced(self, schema: Json, value: Any) -> Any:
        """Form values are texts: read them as the schema means them, else leave them wrong."""
        if "$ref" in schema:
            return self._coerced(self._schemas[schema["$ref"].rpartition("/")[2]], value)
        if "anyOf" in schema:
            for option in schema["anyOf"]:
                read = self._coerced(option, value)
                text = json.dumps(option, sort_keys=True)
                if self._validator(text, option).is_valid(read):
                    return read
            return value
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if isinstance(value, dict):
            known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
            return {
                name: self._coerced(
                    known.get(name, others if isinstance(others, dict) else {}), below
                )
                for name, below in value.items()
            }
        if isinstance(value, list):
            return [self._coerced(schema.get("items", {}), below) for below in value]
        if "integer" in kinds and re.fullmatch(r"-?\d+", str(value)):
            return int(value)
        if "number" in kinds and re.fullmatch(r"-?\d+(\.\d+)?", str(value)):
            return float(value)
        if "boolean" in kinds and value in ("true", "false"):
            return value == "true"
        return value


@cache
def referee() -> Referee:
    """One referee per test run."""
    return Referee()


def _problems(validator: Any, value: Any) -> list[str]:
    if validator.is_valid(value):
        return []
    return [
        f"{'.'.join(str(step) for step in error.instance_path) or 'whole'}: {error.message[:300]}"
        for error in validator.iter_errors(value)
    ]


def _objects(answer: Any) -> Iterator[Json]:
    if isinstance(answer, dict):
        if answer.get("object") == "list":
            yield from answer.get("data", ())
        else:
            yield answer


def _operation(path: str, method: str, operation: Json) -> Operation:
    names = re.findall(r"\{(\w+)\}", path)
    properties: Json = {}
    required: list[str] = []
    for param in operation.get("parameters", ()):
        if param["in"] == "query":
            properties[param["name"]] = _strict(param["schema"])
            required += [param["name"]] if param.get("required") else []
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = _strict(content["schema"])
        properties |= body.get("properties", {})
        required += body.get("required", [])
    return Operation(
        method=method.upper(),
        template=path,
        pattern=re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)),
        kinds={name: IN_PATH.get(path, IN_PATH.get(name, name)) for name in names},
        params={
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
        answers={
            status: _strict(next(iter(answer["content"].values()))["schema"])
            for status, answer in operation["responses"].items()
        },
    )


def _strict(schema: Any) -> Any:
    """OpenAPI 3.0 to JSON Schema: ``nullable`` spelt out, absolute references, closed objects."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": SCHEMAS + schema["$ref"].rpartition("/")[2]}
    made: Json = {}
    for name, below in schema.items():
        if name.startswith("x-") or name == "nullable":
            continue
        if name == "properties":
            made[name] = {key: _strict(value) for key, value in below.items()}
        elif name in ("anyOf", "oneOf", "allOf"):
            made[name] = [_strict(option) for option in below]
        elif name in ("items", "additionalProperties"):
            made[name] = _strict(below)
        else:
            made[name] = below
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
    if schema.get("nullable"):
        if "anyOf" in made:
            made["anyOf"] = [*made["anyOf"], {"type": "null"}]
        if isinstance(made.get("type"), str):
            made["type"] = [made["type"], "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return made
