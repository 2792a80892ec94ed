"""Card numbers never enter: a text that holds one is refused at the edge, unlogged."""

from __future__ import annotations

import re

_RUN = re.compile(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)")


def is_luhn_valid(digits: str) -> bool:
    """The check digit of ISO/IEC 7812-1 over a run of digits."""
    checksum = 0
    for place, char in enumerate(reversed(digits)):
        digit = int(char)
        if place % 2 == 1:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        checksum += digit
    return checksum % 10 == 0


def has_card_number(text: str) -> bool:
    """Whether a 13-19 digit run (spaces and dashes allowed) passes the Luhn check."""
    return any(is_luhn_valid(re.sub(r"\D", "", match.group())) for match in _RUN.finditer(text))
