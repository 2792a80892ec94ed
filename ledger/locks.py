"""The house's one lock order: charge, concessions, budget, cases, the chain's head.

Two transactions that lock the same rows in different orders wait for each other; PostgreSQL
then kills one. So the order is asserted where the locks are taken.
"""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.tables import lock_rows

_LOCK = select(lock_rows.c.id).where(lock_rows.c.id == bindparam("name")).with_for_update()
_MAKE = postgresql.insert(lock_rows).on_conflict_do_nothing()


class Rank(IntEnum):
    """The order in which a transaction takes its locks."""

    CHARGE = 1
    CONCESSIONS = 2
    BUDGET = 3


class Locks:
    """The locks of one transaction; they end with it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._held: list[tuple[Rank, str]] = []
        self._is_complete = False

    def complete(self) -> None:
        """A case is locked from here on: no further lock may be waited for."""
        self._is_complete = True

    async def take(self, rank: Rank, name: str) -> None:
        """Hold back every other transaction on ``name``; at once when it is held already.

        Raises ``RuntimeError`` when a later lock is held: that is a bug in the caller.
        """
        place = (rank, name)
        if place in self._held:
            return
        if self._is_complete:
            raise RuntimeError(f"{name} is locked after an event; take locks before writing")
        if self._held and place < self._held[-1]:
            raise RuntimeError(
                f"{name} is locked after {self._held[-1][1]}; "
                "the order is charge, concessions, budget, and by name within each"
            )
        self._held.append(place)
        if self._connection.dialect.name == "sqlite":
            return  # BEGIN IMMEDIATE: this transaction is the only writer already
        if (await self._connection.execute(_LOCK, {"name": name})).first() is None:
            await self._connection.execute(_MAKE, {"id": name})
            await self._connection.execute(_LOCK, {"name": name})
