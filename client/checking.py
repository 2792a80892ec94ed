"""What a caller may give: told by field, with what is allowed, and never the value itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from domain.cards import has_card_number
from domain.errors import InvalidRequest
from domain.money import LARGEST_MINOR
from domain.refunds import LONGEST_TEXT, RefundRequest

ALLOWED = {
    "amount_minor": f"a whole number of minor units from 1 to {LARGEST_MINOR}, "
    "or none for all that is left",
    "attributes": "true, false, whole numbers and texts of up to 200 characters",
    "requested_by": "an id of letters, digits and _ . : - and a role",
    "authorised_by": "case_id, decision_hash, approval_digest, charge and amount of a decision",
}
"""What may stand in a field, where the model's own words for it are not enough."""


def invalid_from(error: ValidationError) -> InvalidRequest:
    """The first fault of a model, by field, without the value that was given."""
    first = error.errors(include_input=False, include_url=False)[0]
    path = [str(part) for part in first["loc"]] or ["request"]
    if path[0] == "attributes":
        path = path[:2]  # what follows names a type that was tried
    context = first.get("ctx") or {}
    limits = ", ".join(f"{key} {value}" for key, value in context.items() if key != "error")
    allowed = ALLOWED.get(path[0]) or limits or "see `refund --help`"
    return InvalidRequest(".".join(path), first["msg"], allowed)


DIGESTS = frozenset({"authorised_by.decision_hash", "authorised_by.approval_digest"})
"""Hexadecimal by their pattern: a run of digits in one is chance."""

TEXT_ALLOWED = f"up to {LONGEST_TEXT} characters of text"


def why_not_text(text: str) -> str:
    """What speaks against keeping a text; empty when nothing does."""
    if len(text) > LONGEST_TEXT:
        return f"has {len(text)} characters"
    if any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in text):
        return "holds a character that is no text"
    return ""


def checked_request(fields: Mapping[str, Any]) -> RefundRequest:
    """The request in ``fields``. Raises :class:`InvalidRequest` naming the first fault."""
    for name, value in _texts(fields):
        if why := why_not_text(value):
            raise InvalidRequest(name, why, TEXT_ALLOWED)
        if name not in DIGESTS and has_card_number(value):
            raise InvalidRequest(name, "holds a card number", "a text without one")
    try:
        return RefundRequest.model_validate(dict(fields))
    except ValidationError as error:
        raise invalid_from(error) from None


def _texts(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Every text of a nested input with its dotted name."""
    if isinstance(value, str):
        return [(name, value)]
    if isinstance(value, Mapping):
        return [
            found
            for key, item in value.items()
            for found in _texts(item, f"{name}.{key}" if name else str(key))
        ]
    return []
