"""One request, as an endpoint sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .store import Json
from .world import World


@dataclass(frozen=True)
class Call:
    """``ids`` from the path, typed ``params``, and the ``customer`` whose clock counts."""

    ids: dict[str, str]
    params: Json
    customer: str


Endpoint = Callable[[World, Call], Json]
