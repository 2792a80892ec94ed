"""A stateful Stripe-compatible server with a clock and faults, for trying and testing.

It speaks the part of Stripe's API version 2026-08-26.dahlia that the product calls, imports
nothing of the product and shares no constant with the client. All money is an ``int`` of minor
units, all instants are ``int`` seconds since the epoch (UTC).
"""

from __future__ import annotations

API_VERSION = "2026-08-26.dahlia"
