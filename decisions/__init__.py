"""The policy engine: load and type-check files, decide, explain. Pure.

``Library.load(directory).active("refund", at).decide(facts, now)`` is most of it; the format
of the files is in ``docs/policy-format.md``.
"""

from decisions.blocks import SlotRule
from decisions.findings import FactError, Finding, PolicyErrors, Undecided
from decisions.library import Library, check
from decisions.pack import Pack, facts_from_json

__all__ = [
    "FactError",
    "Finding",
    "Library",
    "Pack",
    "PolicyErrors",
    "SlotRule",
    "Undecided",
    "check",
    "facts_from_json",
]
