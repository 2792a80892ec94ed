"""Connecting to Temporal: settings by its own profiles and ``TEMPORAL_*`` variables."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from domain.errors import Unreachable
from workflows.converter import CaseKeys, sealing_converter

TASK_QUEUE = "redress"

CASE_KIND = SearchAttributeKey.for_keyword("RedressKind")
CASE_DESK = SearchAttributeKey.for_keyword("RedressDesk")
SEARCH_ATTRIBUTES = (CASE_KIND, CASE_DESK)


async def connect(keys: CaseKeys) -> Client:
    """A client with the product's converter.

    Raises :class:`Unreachable` naming the address when no server answers.
    """
    config = ClientConfig.load_client_connect_config()
    address = config.setdefault("target_host", "127.0.0.1:7233")
    try:
        return await Client.connect(**config, data_converter=sealing_converter(keys))
    except (RPCError, RuntimeError, OSError) as error:
        raise Unreachable(
            f"no Temporal server answers at {address} (TEMPORAL_ADDRESS): {error}"
        ) from error
