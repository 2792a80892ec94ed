"""The policy that a case began with."""

from __future__ import annotations

from decisions.library import Library
from decisions.pack import Pack
from ledger.reading import Reading


async def pinned(library: Library, reading: Reading, policy_hash: str) -> Pack:
    """From the books when the file is no longer shipped. Raises :class:`LookupError` when neither
    knows it."""
    try:
        return library.by_hash(policy_hash)
    except LookupError:
        content = await reading.policy_content(policy_hash)
        if content is None:
            raise
        return Pack.from_content(content)
