"""What a process is told by its settings, and what it refuses to believe."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.errors import InvalidRequest
from settings import Settings


def public(number: int) -> str:
    key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32).public_key()
    return base64.b64encode(key.public_bytes_raw()).decode()


@pytest.mark.parametrize(
    ("now", "before", "numbers"),
    [("", "", []), (public(1), "", [1]), (public(3), f"{public(2)}, {public(1)}", [3, 2, 1])],
    ids=["none", "one", "changed twice"],
)
def test_the_keys_that_were_ever_signed_by_are_this_one_and_those_before(
    now: str, before: str, numbers: list[int]
) -> None:
    given = Settings(actor_verify_key=now, actor_verify_keys_before=before)
    keys = [base64.b64encode(key.public_bytes_raw()).decode() for key in given.verify_keys()]
    assert keys == [public(number) for number in numbers]


@pytest.mark.parametrize("wrong", ["x", "AAAA", f"{public(1)},AAAA"])
def test_a_key_of_before_that_is_none_is_named_and_not_shown(wrong: str) -> None:
    given = Settings(actor_verify_key=public(2), actor_verify_keys_before=wrong)
    with pytest.raises(InvalidRequest, match="32 bytes in base64") as refused:
        given.verify_keys()
    assert refused.value.field == "REDRESS_ACTOR_VERIFY_KEYS_BEFORE"
    assert "AAAA" not in str(refused.value)
