"""The JSON Schema of a policy file, for editors that complete and underline.

``python -m decisions.schema > docs/policy.schema.json``. It knows the shapes and the product's
own words. Names that a file defines (inputs, texts, items) only the loader can check: what the
schema refuses never loads, and what it lets pass may still be refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from decisions.blocks import (
    CLOCK,
    ESCALATION_KEYS,
    LANGUAGES,
    RESPONSE_KEYS,
    SLOT_KEYS,
    TIMER_KEYS,
)
from decisions.calendars import CALENDAR_KEYS, WEEKDAYS
from decisions.catalogues import KINDS, PARAMETERS
from decisions.conditions import AGES, SET_TESTS
from decisions.counters import COUNTER_KEYS, COUNTER_KINDS, ONCE_A_CASE, PER, WHERE
from decisions.declarations import FIELD_KINDS, NAME
from decisions.durations import LONG, SHORT
from decisions.jurisdictions import BOOK_KEYS, CLOCK_KEYS, CODE, RECORD_KEYS, TERM_KEYS, TERMS
from decisions.merge import LISTS, MAPS, MOST_INCLUDES
from decisions.outputs import FACTORS, SUMS
from decisions.reader import FORMAT, HEAD_KEYS, TABLE_KEYS
from decisions.sides import BOUNDS
from decisions.table import HITS, RULE_KEYS
from decisions.types import INPUT_KINDS, OUTPUT_KINDS, SEVERAL, ValueType
from domain.actors import Role
from domain.cases import CaseKind, EventKind
from domain.deadlines import DayZero
from domain.decisions import RefundMethod
from domain.money import Rounding

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "pattern": r"\S"}
DATE: Schema = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
BOOL: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer"}
NAMED = f"^{NAME.pattern}$"


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def words(allowed: Iterable[str]) -> Schema:
    return {"enum": list(allowed)}


def either(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def listed(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def shape(keys: dict[str, Schema], required: Iterable[str] = ()) -> Schema:
    """A map of these keys and no others."""
    return {
        "type": "object",
        "properties": keys,
        "required": list(required),
        "additionalProperties": False,
    }


def by_name(values: Schema, pattern: str = "") -> Schema:
    """A map whose keys the file chooses."""
    names = {"propertyNames": {"pattern": pattern}} if pattern else {}
    return {"type": "object", "additionalProperties": values, **names}


def _declaration(kinds: tuple[str, ...], more: dict[str, Schema]) -> Schema:
    bound = either(WHOLE, {"type": "string"})
    keys = {
        "type": words(kinds), "values": listed(TEXT, 1), "min": bound, "max": bound,
        "nullable": BOOL, "of": TEXT,
    }  # fmt: skip
    return shape({**keys, **more}, ["type"])


def _counter(kind: str, events: Iterable[EventKind]) -> Schema:
    where = {
        field: either(one := words(known) if known else TEXT, listed(one, 1))
        for field, known in WHERE.items()
    }
    keys = dict(
        zip(
            COUNTER_KEYS,
            (
                words([kind]),
                words(e.value for e in events),
                shape(where),
                ref("length"),
                words(PER),
            ),
            strict=True,
        )
    )
    return shape(keys, (key for key in COUNTER_KEYS if key != "where"))


def _parameter(kind: ValueType) -> Schema:
    if kind.kind == "money":
        return ref("amounts")
    if kind.kind == "name":
        return TEXT
    return {"type": "integer", "minimum": kind.low, "maximum": kind.high}


def _items() -> Schema:
    found = []
    for name, kind in KINDS.items():
        keys: dict[str, Schema] = {
            key: _parameter(PARAMETERS[key]) for key in kind.parameters if key in PARAMETERS
        }
        keys |= {"kind": {"const": name}, "text": TEXT}
        if kind.is_offer:
            keys["cost"] = ref("cell")
        item = shape(keys, ["kind"])
        if kind.needs:
            groups = [either(*({"required": [key]} for key in group)) for group in kind.needs]
            item["allOf"] = groups
        found.append(item)
    return either(*found)


def _tests() -> Schema:
    bounds = {key: ref("literal") for key in BOUNDS}
    ages = {key: ref("length") for key in AGES}
    sets = {key: listed(TEXT) for key in SET_TESTS}
    test = shape({**bounds, **ages, **sets, "is_null": BOOL, "or_null": BOOL})
    return {**test, "minProperties": 1}


def _book(more: dict[str, Schema]) -> Schema:
    basis: dict[str, Schema] = {
        "source": TEXT, "verified": BOOL, "since": either(DATE, {"type": "null"}), "note": TEXT,
    }  # fmt: skip
    own: dict[str, Schema] = {
        "within": ref("length"), "ahead": ref("length"), "keep": ref("length"), "from": TEXT,
    }  # fmt: skip

    def entries(keys: tuple[str, ...]) -> Schema:
        return by_name(shape({key: {**basis, **own}[key] for key in keys}))

    terms = {
        name: shape(
            {key: basis.get(key, words(known) if known else WHOLE) for key in TERM_KEYS}, ["is"]
        )
        for name, known in TERMS.items()
    }
    known: dict[str, Schema] = {
        "name": TEXT, "binds": TEXT, "clocks": entries(CLOCK_KEYS),
        "records": entries(RECORD_KEYS), "terms": shape(terms),
    }  # fmt: skip
    keys = {**{key: known[key] for key in BOOK_KEYS}, **{k: v or known[k] for k, v in more.items()}}
    return shape(keys, ["name", "binds"])


def _definitions() -> dict[str, Schema]:
    entry = {"type": "object", "required": ["id"], "additionalProperties": ref("cell"),
             "properties": {"id": TEXT}}  # fmt: skip
    operand = either(TEXT, ref("literal"))
    computed = dict.fromkeys(("of", *FACTORS, *SUMS), operand)
    roles = listed(words(r.value for r in Role), 1)
    escalation = dict(zip(ESCALATION_KEYS, (ref("length"), roles), strict=True))
    slot = dict(zip(SLOT_KEYS, (
        TEXT, roles, ref("length"), listed(ref("length")), shape(escalation, ESCALATION_KEYS),
    ), strict=True))  # fmt: skip
    limit = {
        "role": words(r.value for r in Role), "kind": words(k.value for k in CaseKind),
        "each": ref("amounts"), "per_day": ref("amounts"),
    }  # fmt: skip
    days = {"date": DATE, "name": TEXT, "estimated": BOOL}
    calendar: dict[str, Schema] = {
        "version": TEXT, "zone": TEXT, "weekend": listed(words(WEEKDAYS)),
        "cutoff": {"type": ["string", "null"]}, "day_zero": words(z.value for z in DayZero),
        "covers": shape({"from": DATE, "to": DATE}, ["from", "to"]),
        "holidays": listed(shape(days, ["date"])), "source": {},
    }  # fmt: skip
    fields = by_name(_declaration(FIELD_KINDS, {}), NAMED)
    plain = _declaration(tuple(k for k in OUTPUT_KINDS if k not in SEVERAL), {})
    several = _declaration(tuple(k for k in OUTPUT_KINDS if k in SEVERAL), {"fields": fields})
    return {
        "amounts": {**by_name(WHOLE, "^[a-z]{3}$"), "minProperties": 1},
        "length": {"type": "string", "pattern": f"^({SHORT}|{LONG})$"},
        "lookup": shape({"lookup": by_name(ref("literal"))}, ["lookup"]),
        "literal": either(
            {"type": ["boolean", "integer", "string", "null"]},
            listed(TEXT), ref("amounts"), ref("lookup"),
        ),
        "cell": either(
            ref("literal"), listed(entry),
            shape({**computed, "round": words(r.value for r in Rounding)}, ["of"]),
            shape({"law": TEXT}, ["law"]),
            shape({"in": either(ref("length"), ref("lookup")), "from": TEXT}, ["in"]),
        ),
        "test": either(
            {"type": ["boolean", "integer", "string", "null"]},
            listed({"type": ["boolean", "integer", "string"]}, 1),
            ref("amounts"), ref("lookup"), _tests(),
        ),
        "when": by_name(ref("test")),
        "input": either(
            _declaration(INPUT_KINDS, {}),
            _counter(COUNTER_KINDS[0], EventKind), _counter(COUNTER_KINDS[1], ONCE_A_CASE),
        ),
        "attribute": _declaration(INPUT_KINDS, {"required": BOOL}),
        "output": either(plain, several),
        "rule": shape(
            dict(zip(RULE_KEYS, (TEXT, TEXT, ref("when"), by_name(ref("cell"))), strict=True)),
            RULE_KEYS,
        ),
        "gap": shape({"when": ref("when"), "why": TEXT}, ["when", "why"]),
        "table": shape(
            {"table": {"type": "string", "pattern": NAMED}, **_table(by_name(ref("alias")))},
            ["table", "outputs", "rules"],
        ),
        "alias": shape({"from": TEXT}, ["from"]),
        "calendar": shape({key: calendar[key] for key in CALENDAR_KEYS},
                          ["version", "zone", "weekend", "covers"]),
        "slot": shape(slot, ["id", "roles", "expires"]),
        "limit": shape(limit, limit),
        "text": shape(dict.fromkeys(LANGUAGES, TEXT)),
        "item": _items(),
        "jurisdiction": _book({"part_of": TEXT, "terms": {}}),
        "clock_book": _book({}),
        "timers": _timers(),
        "example": shape(
            {"given": {"type": "object"}, "at": TEXT,
             "expect": {"type": "object", "minProperties": 1}}, ["expect"],
        ),
    }  # fmt: skip


def _timers() -> Schema:
    count = {"type": "integer", "minimum": 0}
    settlement = {
        "min_business_days": count, "between": listed(count), "max_business_days": count,
        "on_max": words(["trace_task"]),
        "trace": shape({"every_business_days": count, "times": count}),
        "on_failure": listed(words([method.value for method in RefundMethod])),
    }  # fmt: skip
    needed = ["min_business_days", "max_business_days"]
    hour = {"type": "string", "pattern": f"^{CLOCK}$"}
    hours = shape({"open": hour, "close": hour}, ["open", "close"])
    minutes = {"type": "string", "pattern": "^[0-9]{1,7}min$"}
    clock = shape({"within": minutes, "hours": hours}, ["within"])
    known = {
        "calendar": TEXT, "settlement": shape(settlement, needed),
        "information": TEXT, "appeal": TEXT, "alternative": TEXT,
        "first_response": shape({"hours": hours} | dict.fromkeys(RESPONSE_KEYS[1:], clock)),
    }  # fmt: skip
    return shape({key: known[key] for key in TIMER_KEYS})


def _table(inputs: Schema) -> dict[str, Schema]:
    known = {
        "hit": words(HITS), "when": ref("when"), "inputs": inputs,
        "outputs": by_name(ref("output"), NAMED), "rules": listed(ref("rule"), 1),
        "accept_gaps": listed(ref("gap")),
    }  # fmt: skip
    return {key: known[key] for key in TABLE_KEYS}


def _blocks() -> dict[str, Schema]:
    known = {
        "calendars": by_name(ref("calendar")),
        "routes": by_name(listed(ref("slot"))),
        "texts": by_name(ref("text")),
        "catalogues": by_name(by_name(ref("item"))),
        "attributes": by_name(ref("attribute"), NAMED),
        "jurisdictions": by_name(ref("jurisdiction"), f"^{CODE.pattern}$"),
        "clocks": by_name(ref("clock_book"), NAMED),
        "authority": listed(ref("limit")),
    }
    return {key: known[key] for key in (*MAPS, *LISTS)}


def schema() -> Schema:
    """The schema of a policy, and of an included file, which names no ``policy``."""
    format_one = {"const": FORMAT, "description": "The version of the format: 1"}
    inputs = by_name(ref("input"), NAMED)
    head: dict[str, Schema] = {
        "format": format_one, "policy": TEXT, "version": {"type": "integer", "minimum": 1},
        "effective_from": {**DATE, "description": "In force from midnight of this day"},
        "owner": TEXT, "currencies": listed({"type": "string", "pattern": "^[a-z]{3}$"}, 1),
        "languages": listed(words(LANGUAGES), 1),
        "includes": {**listed({"type": "string", "pattern": r"\.yaml$"}),
                     "maxItems": MOST_INCLUDES},
        "repin": listed({"type": "integer", "minimum": 1}, 1),
        "tables": listed(ref("table"), 1), "examples": listed(ref("example"), 1),
        "example_facts": {"type": "object"}, "timers": ref("timers"), **_blocks(),
    }  # fmt: skip
    head = {key: head[key] for key in HEAD_KEYS}
    needed = ["format", "policy", "version", "effective_from", "owner", "examples"]
    single = {key: part for key, part in head.items() if key != "tables"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Redress policy file, format 1",
        "if": {"required": ["policy"]},
        "then": {
            "if": {"required": ["tables"]},
            "then": shape({**head, "inputs": inputs}, [*needed, "tables"]),
            "else": shape({**single, **_table(inputs)}, [*needed, "outputs", "rules"]),
        },
        "else": shape({"format": format_one, **_blocks()}, ["format"]),
        "$defs": _definitions(),
    }


def schema_text() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
