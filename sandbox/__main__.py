"""``python -m sandbox``: a Stripe-compatible server for trying and testing."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from .serve import serve
from .settings import REFUND_BEHAVIOURS, Settings

DEFAULTS = Settings()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--port", type=int, default=0, help="0: the system's choice")
    made.add_argument("--state", type=Path, help="SQLite file; without it, in memory")
    made.add_argument("--port-file", type=Path, help="gets the JSON line that stdout gets")
    made.add_argument("--settle-days-min", type=int, default=DEFAULTS.settle_days_min)
    made.add_argument("--settle-days-max", type=int, default=DEFAULTS.settle_days_max)
    made.add_argument(
        "--refund-behaviour", choices=REFUND_BEHAVIOURS, default=DEFAULTS.refund_behaviour
    )
    made.add_argument("--dispute-outcome", choices=("won", "lost"), default="lost")
    made.add_argument("--seed", type=int, default=DEFAULTS.seed)
    return made


def main(arguments: list[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        settings = DEFAULTS.changed(
            {
                "settle_days_min": given.settle_days_min,
                "settle_days_max": given.settle_days_max,
                "refund_behaviour": given.refund_behaviour,
                "dispute_outcome": given.dispute_outcome,
                "seed": given.seed,
            }
        )
    except ValueError as error:
        parser().error(str(error))
    return asyncio.run(
        serve(
            host=given.host,
            port=given.port,
            state_path=given.state,
            port_file=given.port_file,
            settings=settings,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
