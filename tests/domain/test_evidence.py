"""What may be given as evidence: judged by content and by name, refused in words."""

from __future__ import annotations

import pytest

from domain.evidence import (
    LONGEST_NAME,
    MEDIA_TYPES,
    EvidenceLimits,
    media_type_of,
    size_in_words,
)

PDF = b"%PDF-1.7\n..."
PNG = b"\x89PNG\r\n\x1a\n..."
JPEG = b"\xff\xd8\xff\xe0..."
MAIL = b"From: ann@example.com\r\nSubject: my bill\r\n\r\n\xff\xfe any bytes"
TEXT = "I was charged twice; así fue, 두 번".encode()
LIMITS = EvidenceLimits(items=3, file_bytes=100, statement_characters=20)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PDF, "application/pdf"),
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (MAIL, "message/rfc822"),
        (TEXT, "text/plain"),
        (b"note: no sender\n\nhello", "text/plain"),
        (b"\x00\x01", ""),
        (b"\xff\xfe", ""),
        (b"a\x00b", ""),
        (b"PK\x03\x04", ""),
        (b"GIF89a\x01\x00", ""),
    ],
)
def test_a_file_is_what_its_bytes_say(content: bytes, media_type: str) -> None:
    assert media_type_of(content) == media_type


@pytest.mark.parametrize("said", [*MEDIA_TYPES])
@pytest.mark.parametrize("content", [PDF, PNG, JPEG, MAIL])
def test_a_file_that_is_not_what_it_is_said_to_be_is_refused(said: str, content: bytes) -> None:
    why = LIMITS.why_not_file("it", said, content)
    found = media_type_of(content)
    if said == found:
        assert why == ""
    else:
        assert f"is said to be {said} and is {found}" in why


def test_an_email_may_be_called_a_text_and_a_text_no_email() -> None:
    assert LIMITS.why_not_file("a", "text/plain", b"From: ann@example.com\n\nhello") == ""
    assert "is text/plain" in LIMITS.why_not_file("a", "message/rfc822", b"hello")


def test_a_type_that_nobody_allows_is_refused_with_those_that_are_allowed() -> None:
    only_pdf = LIMITS.model_copy(update={"media_types": ("application/pdf",)})
    assert only_pdf.why_not_file("a", "image/png", PNG) == (
        "media_type: image/png; allowed: application/pdf"
    )
    assert only_pdf.why_not_file("a", "", PNG) == "file: is image/png; allowed: application/pdf"
    assert only_pdf.why_not_file("a", "", PDF) == ""
    unknown = LIMITS.why_not_file("a.zip", "application/zip", b"PK\x03\x04")
    assert unknown.startswith("media_type: application/zip; allowed: application/pdf, image/png")
    assert "of no type that we know" in LIMITS.why_not_file("a", "", b"PK\x03\x04")


@pytest.mark.parametrize(
    ("size", "why"),
    [
        (0, "file: is empty; allowed: a file with something in it"),
        (1, ""),
        (99, ""),
        (100, ""),
        (101, "file: 101 bytes; allowed: up to 100 bytes a file"),
    ],
)
def test_a_file_may_be_as_large_as_the_limit(size: int, why: str) -> None:
    assert LIMITS.why_not_file("a.txt", "text/plain", b"a" * size) == why


def test_a_size_over_the_limit_never_reads_like_the_limit() -> None:
    usual = EvidenceLimits()
    over = usual.why_not_file("a", "", b"a" * 10_000_001)
    assert over == "file: 10.1 MB; allowed: up to 10 MB a file"
    assert usual.why_not_file("a", "", b"a" * 12_300_000).startswith("file: 12.3 MB;")


@pytest.mark.parametrize(
    ("size", "words"),
    [(999, "999 bytes"), (1_000, "1 kB"), (1_999, "1.9 kB"), (12_300_000, "12.3 MB")],
)
def test_a_size_is_told_in_decimal_units(size: int, words: str) -> None:
    assert size_in_words(size) == words


@pytest.mark.parametrize("name", ["", ".", "..", " ", "a/b", "a\\b", "a\nb", "x" * 201, "영" * 67])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    assert "name: is no file name" in LIMITS.why_not_file(name, "", TEXT)


def test_a_name_may_be_as_long_as_the_limit_and_in_any_script() -> None:
    for name in ("x" * LONGEST_NAME, "영" * 66 + "xx"):
        assert LIMITS.why_not_file(name, "", TEXT) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "text: is empty; allowed: up to 20 characters"),
        ("  \n", "text: is empty; allowed: up to 20 characters"),
        ("a" * 19, ""),
        ("a" * 20, ""),
        ("a" * 21, "text: has 21 characters; allowed: up to 20"),
    ],
)
def test_a_statement_may_be_as_long_as_the_limit(text: str, why: str) -> None:
    assert LIMITS.why_not_statement(text) == why


@pytest.mark.parametrize(("items", "is_full"), [(0, False), (2, False), (3, True), (4, True)])
def test_a_case_takes_as_many_items_as_the_limit(items: int, is_full: bool) -> None:
    assert bool(LIMITS.why_no_more(items)) is is_full


def test_a_full_case_says_how_many_it_takes() -> None:
    assert LIMITS.why_no_more(3) == "evidence: the case has 3 items; allowed: up to 3 a case"


@pytest.mark.parametrize("code", range(0x21))
def test_a_text_has_no_control_characters_but_those_of_lines(code: int) -> None:
    is_text = code >= 0x20 or chr(code) in "\t\n\r\f"
    assert media_type_of(b"a" + bytes([code]) + "ñ".encode()) == ("text/plain" if is_text else "")
