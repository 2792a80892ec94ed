"""What a caller did wrong, as values that name the field and what is allowed."""

from __future__ import annotations


class RedressError(Exception):
    """Base of the product's own errors; its text is fit for a terminal."""


class InvalidRequest(RedressError):
    """Input that can never succeed as it is.

    ``field`` is the caller's name for it (``amount_minor``), ``message`` what was found,
    ``allowed`` what would be accepted. None of them carries personal data.
    """

    def __init__(self, field: str, message: str, allowed: str) -> None:
        super().__init__(f"{field}: {message}; allowed: {allowed}")
        self.field = field
        self.message = message
        self.allowed = allowed


class Refused(RedressError):
    """A rule said no to a message: who had already decided, or why it may not be.

    ``code`` is a word of :class:`RefusalCode`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Unreachable(RedressError):
    """A server the command needs does not answer; the text names it and its address."""
