"""Signatures bind a person to one act; card numbers stay out; every sentence is translated."""

from __future__ import annotations

import string
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.actors import SIGNATURE_LIFETIME, Actor, Role, SignedActor, sign, why_not_authentic
from domain.approvals import approval_digest
from domain.canonical import canonical_json, instant, parse_instant, plain, sha256_of
from domain.cards import has_card_number
from domain.cases import CaseKind, Language, Outcome, Status, case_id_for
from domain.money import Money
from domain.provider import Chargeback
from domain.texts import CATALOGUE, day_in_words, instant_in_words, money_in_words, say

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
ACT: dict[str, Any] = {"action": "approve", "case_id": "refund-a", "digest": "d"}


def signed(**overrides: Any) -> SignedActor:
    values: dict[str, Any] = {
        "actor": Actor(id="ana", role=Role.LEAD),
        **ACT,
        "click_id": "c1",
        "at": NOW,
    }
    return sign(KEY, **{**values, **overrides})


def why(person: SignedActor, **overrides: Any) -> str | None:
    return why_not_authentic(KEY.public_key(), person, **{**ACT, "at": NOW, **overrides})


def test_a_signature_holds_for_its_act_and_its_time() -> None:
    assert why(signed()) is None
    assert why(signed(), at=NOW + SIGNATURE_LIFETIME) is None


@pytest.mark.parametrize("changed", [{"action": "decline"}, {"case_id": "b"}, {"digest": "e"}])
def test_a_signature_for_another_act_is_refused(changed: dict[str, str]) -> None:
    assert "another act" in str(why(signed(), **changed))


def test_an_old_or_future_signature_is_refused() -> None:
    late = NOW + SIGNATURE_LIFETIME + timedelta(seconds=1)
    assert "expired" in str(why(signed(), at=late))
    assert "expired" in str(why(signed(), at=NOW - timedelta(minutes=2)))


@pytest.mark.parametrize(
    "forged",
    [
        {"actor": Actor(id="eve", role=Role.LEAD)},
        {"actor": Actor(id="ana", role=Role.FINANCE)},
        {"expires_at": NOW + timedelta(days=1)},
        {"click_id": "c2"},
        {"signature": "00"},
        {"signature": "not hex"},
        {"signature": ""},
    ],
)
def test_whatever_is_changed_after_signing_breaks_the_signature(forged: dict[str, Any]) -> None:
    assert "not the edge's" in str(why(signed().model_copy(update=forged)))


def test_a_digest_changes_with_everything_an_approver_sees() -> None:
    shown: dict[str, Any] = {
        "case_id": "refund-a",
        "step": "send",
        "amount": Money(amount_minor=100, currency="usd"),
        "destination": "ch_1",
        "policy_hash": "h",
    }
    changes: list[dict[str, Any]] = [
        {"case_id": "refund-b"},
        {"step": "credit"},
        {"amount": Money(amount_minor=101, currency="usd")},
        {"amount": Money(amount_minor=100, currency="eur")},
        {"destination": "ch_2"},
        {"policy_hash": "i"},
    ]
    digests = {approval_digest(**{**shown, **change}) for change in [{}, *changes]}
    assert len(digests) == len(changes) + 1


@pytest.mark.parametrize(
    ("text", "is_card"),
    [
        ("my card is 4242 4242 4242 4242, thanks", True),
        ("4242-4242-4242-4242", True),
        ("378282246310005", True),
        ("4242424242424241", False),
        ("order 20261201000002", False),
        ("call 555 0100", False),
        ("1234567890123456789012", False),
    ],
)
def test_card_numbers_are_told_by_length_and_check_digit(text: str, is_card: bool) -> None:
    assert has_card_number(text) is is_card


def test_a_request_id_names_one_case_of_a_kind_for_ever() -> None:
    assert case_id_for(CaseKind.REFUND, "r1") == "refund-67muyqgisluc3gf3dv6dt6xbc2"
    assert case_id_for(CaseKind.REFUND, "r1") != case_id_for(CaseKind.OVERCHARGE, "r1")


def test_every_sentence_is_there_in_every_language_with_the_same_parts() -> None:
    for key, texts in CATALOGUE.items():
        assert set(texts) == set(Language), key
        parts = {
            frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name)
            for text in texts.values()
        }
        assert len(parts) == 1, f"{key} speaks of different things in different languages"
        assert len(set(texts.values())) == len(Language), f"{key} is not translated"


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("status", set(Status) - {Status.CLOSED}),
        ("closed", set(Outcome)),
        ("chargeback", set(Chargeback)),
    ],
)
def test_every_place_a_case_can_be_has_its_sentence(prefix: str, words: set[StrEnum]) -> None:
    missing = {f"{prefix}.{word.value}" for word in words} - set(CATALOGUE)
    assert not missing


def test_money_and_dates_are_written_as_the_reader_writes_them() -> None:
    amount = Money(amount_minor=123456, currency="eur")
    assert money_in_words(amount, Language.EN) == "€1,234.56"
    assert money_in_words(amount, Language.ES).startswith("1.234,56")
    assert money_in_words(Money(amount_minor=12000, currency="krw"), Language.KO) == "₩12,000"
    assert day_in_words(date(2026, 11, 3), Language.ES) == "3 de noviembre de 2026"
    assert "10:00" in instant_in_words(NOW, Language.EN, "Europe/Madrid")
    said = say("closed.credited", Language.EN, amount="$5.00")
    assert said.startswith("$5.00 was added")


def test_canonical_json_is_one_text_for_one_value() -> None:
    assert canonical_json({"b": 1, "a": ["ü", None, True]}) == '{"a":["ü",null,true],"b":1}'
    assert sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1})
    assert plain(NOW) == "2026-12-01T09:00:00.000000Z"
    assert parse_instant(instant(NOW)) == NOW


@pytest.mark.parametrize("value", [1.5, {"a": 0.1}, object()])
def test_a_float_has_no_canonical_form(value: object) -> None:
    with pytest.raises(TypeError, match="no canonical form"):
        canonical_json(value)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        instant(datetime(2026, 12, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="no time zone"):
        parse_instant("2026-12-01T09:00:00")
