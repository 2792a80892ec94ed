"""Form bodies and query strings in Stripe's bracket notation, parsed and then typed.

docs.stripe.com/api (form-encoded requests), docs.stripe.com/api/metadata,
docs.stripe.com/error-codes (parameter_*).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from .errors import Json, invalid

MAX_DEPTH = 8
INT_DIGITS = 18


@dataclass(frozen=True)
class Param:
    """One parameter: its kind, and what it may hold."""

    kind: str  # text, integer, boolean, metadata, texts, object, instants, any
    required: bool = False
    values: tuple[str, ...] = ()
    fields: Mapping[str, Param] = field(default_factory=dict)
    may_unset: bool = False


Spec = Mapping[str, Param]

TEXT = Param("text")
NEEDED_TEXT = Param("text", required=True)
UNSETTABLE = Param("text", may_unset=True)
INTEGER = Param("integer")
NEEDED_INTEGER = Param("integer", required=True)
BOOLEAN = Param("boolean")
METADATA = Param("metadata")
TEXTS = Param("texts")
INSTANTS = Param("instants")
EXPAND: Spec = {"expand": TEXTS}
PAGE: Spec = {
    "limit": INTEGER,
    "starting_after": TEXT,
    "ending_before": TEXT,
    "created": INSTANTS,
    **EXPAND,
}


def one_of(*values: str, required: bool = False) -> Param:
    return Param("text", required=required, values=values)


def object_of(fields: Spec) -> Param:
    return Param("object", fields=fields)


# parsing


def parse(raw: str) -> Json:
    """``a[b]=1&c[]=2`` -> ``{"a": {"b": "1"}, "c": ["2"]}``; all leaves are texts."""
    tree: Json = {}
    for name, value in parse_qsl(raw, keep_blank_values=True, errors="strict"):
        head, bracket, tail = name.partition("[")
        keys = tail[:-1].split("][") if bracket and tail.endswith("]") else []
        if (bracket and not keys) or len(keys) > MAX_DEPTH:
            raise invalid(f"Invalid parameter name: {name[:80]}", param=name[:80])
        node = tree
        for key, below in zip([head, *keys], [*keys, None], strict=True):
            at = key if key != "" else str(len(node))
            if below is None:
                node[at] = value
            else:
                child = node.setdefault(at, {})
                if not isinstance(child, dict):
                    raise invalid(f"Invalid parameter: {name[:80]}", param=head)
                node = child
    return {name: value if name == "metadata" else _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(below) for key, below in value.items()}


# typing


def typed(params: Json, spec: Spec, *, prefix: str = "") -> Json:
    """Check and convert; raises Stripe's validation errors, before anything is executed."""
    for name in params:
        if name not in spec:
            raise invalid(
                f"Received unknown parameter: {_named(prefix, name)}",
                code="parameter_unknown",
                param=_named(prefix, name),
            )
    answer: Json = {}
    for name, param in spec.items():
        where = _named(prefix, name)
        if name not in params:
            if param.required:
                raise invalid(
                    f"Missing required param: {where}.", code="parameter_missing", param=where
                )
            continue
        answer[name] = _typed_value(params[name], param, where)
    return answer


def _named(prefix: str, name: str) -> str:
    return f"{prefix}[{name}]" if prefix else name


def _typed_value(value: Any, param: Param, where: str) -> Any:
    if value == "" and not param.may_unset and param.kind != "metadata":
        raise invalid(
            f"You passed an empty string for '{where}'. We assume empty values are an attempt to "
            f"unset a parameter; however '{where}' cannot be unset. You should remove '{where}' "
            "from your request or supply a non-empty value.",
            code="parameter_invalid_empty",
            param=where,
        )
    match param.kind:
        case "any":
            return value
        case "text":
            return _text(value, param, where)
        case "integer":
            return integer(value, where)
        case "boolean":
            if value not in ("true", "false"):
                raise invalid(f"Invalid boolean: {value}", param=where)
            return value == "true"
        case "metadata":
            return _metadata(value, where)
        case "texts":
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                raise invalid("Invalid array", param=where)
            return value
        case "object":
            if not isinstance(value, dict):
                raise invalid("Invalid object", param=where)
            return typed(value, param.fields, prefix=where)
        case _:
            return _instants(value, where)


def _text(value: Any, param: Param, where: str) -> str | None:
    if not isinstance(value, str):
        raise invalid("Invalid string", param=where)
    if value == "":
        return None
    if param.values and value not in param.values:
        allowed = ", ".join(param.values)
        raise invalid(f"Invalid {where}: must be one of {allowed}", param=where)
    return value


def integer(value: Any, where: str) -> int:
    """docs.stripe.com/error-codes#parameter-invalid-integer"""
    digits = value[1:] if isinstance(value, str) and value.startswith("-") else value
    if not isinstance(digits, str) or not (digits.isascii() and digits.isdigit()):
        raise invalid(
            f"Invalid integer: {str(value)[:80]}", code="parameter_invalid_integer", param=where
        )
    if len(digits) > INT_DIGITS:
        raise invalid("Invalid integer: too large", code="parameter_invalid_integer", param=where)
    return int(value)


def _metadata(value: Any, where: str) -> dict[str, str]:
    """docs.stripe.com/api/metadata: 50 keys, names to 40 and values to 500 characters.

    ``""`` for the whole unsets every key, and is told apart by ``METADATA_UNSET``.
    """
    if value == "":
        return {METADATA_UNSET: ""}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise invalid("Invalid object", param=where)
    for name, text in value.items():
        if len(name) > 40:
            raise invalid(f"Metadata keys can have up to 40 characters: {name[:40]}", param=where)
        if len(text) > 500:
            raise invalid(
                f"Metadata values must be up to 500 characters, but you passed in a value that "
                f"is {len(text)} characters.",
                param=f"{where}[{name}]",
            )
    return value


METADATA_UNSET = "\0unset"


def merged_metadata(before: dict[str, str], change: dict[str, str] | None) -> dict[str, str]:
    """An empty value unsets its key, an empty ``metadata`` unsets all."""
    if change is None:
        return dict(before)
    after = {} if METADATA_UNSET in change else {**before, **change}
    after = {name: text for name, text in after.items() if text != ""}
    if len(after) > 50:
        raise invalid("You can only have up to 50 metadata keys.", param="metadata")
    return after


def _instants(value: Any, where: str) -> dict[str, int]:
    if isinstance(value, str):
        return {"eq": integer(value, where)}
    if not isinstance(value, dict) or not set(value) <= {"gt", "gte", "lt", "lte"}:
        raise invalid("Invalid range", param=where)
    return {name: integer(text, f"{where}[{name}]") for name, text in value.items()}
