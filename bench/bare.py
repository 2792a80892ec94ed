"""The workflow that the engine is measured against: as many activities and timers, no more.

Run as a process: ``python -m bench.bare`` is its worker.
"""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.worker import Worker

QUEUE = "bench-bare"


@activity.defn
async def nothing(step: str) -> str:
    """What an activity costs when it does nothing."""
    return step


@workflow.defn
class BareWorkflow:
    """Two activities, a wait of business days, one activity: the shape of a refund."""

    @workflow.run
    async def run(self, name: str) -> str:
        for step in ("decide", "send"):
            await workflow.execute_activity(
                nothing, step, start_to_close_timeout=timedelta(seconds=30)
            )
        await workflow.sleep(timedelta(days=8))
        return await workflow.execute_activity(
            nothing, "look", start_to_close_timeout=timedelta(seconds=30)
        )


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = ClientConfig.load_client_connect_config()
    client = await Client.connect(**config, data_converter=pydantic_data_converter)
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[BareWorkflow],
        activities=[nothing],
        max_cached_workflows=200,
        max_concurrent_activities=50,
    ):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)
