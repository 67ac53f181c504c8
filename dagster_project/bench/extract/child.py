"""One synchronisation in a process of its own, which says at its end what it cost.

Run as a module with one argument: JSON with `settings`, `what` (`sync`, `read`: landed and not loaded, or `rebuild`:
loaded from what was landed), and for a sync `objects` and `mode`.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

from dagster_project.settings import Settings
from dagster_project.stripe_api import reading
from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject
from dagster_project.stripe_api.client import connect
from dagster_project.stripe_api.governor import Governor
from dagster_project.stripe_api.identity import identify
from dagster_project.stripe_api.landing import Landing
from dagster_project.stripe_api.owed import FOREVER
from dagster_project.stripe_api.sink import Sink
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.rebuild import rebuild


def main(order: dict[str, Any]) -> dict[str, Any]:
    settings = Settings.load(order["settings"], dotenv=Path(order["settings"]["LEDGERLINE_DATA_DIR"]) / "no.env")
    warehouse = Warehouse(settings.data_dir)
    began, problems, received = time.monotonic(), [], 0
    landing = Landing(settings.data_dir / "landing")
    if order["what"] == "rebuild":
        rebuild(warehouse, landing)
    elif order["what"] == "read":
        received = asyncio.run(_read(settings, landing))
    else:
        report = sync(settings, warehouse, objects=order["objects"], mode=order["mode"])
        problems, received = report.problems, sum(row.received for row in report.objects.values())
    return {
        "sync_s": time.monotonic() - began,
        "cpu_s": time.process_time(),
        "peak_mb": _peak_mb(),
        "received": received,
        "problems": problems,
    }


async def _read(settings: Settings, landing: Landing) -> int:
    """Every list from first to last, with the embedded lists that go on; the rows that were landed."""
    (account,) = settings.accounts()
    sinks: dict[str, Sink] = {}
    async with connect(settings, account, Governor.of(settings, account)) as client:
        who = await identify(client, account, None)

        def sink_of(row: StripeObject) -> Sink:
            if row.name not in sinks:
                sinks[row.name] = Sink(landing, row, who.account_id, who.livemode, nest=nested)
            return sinks[row.name]

        async def nested(child: StripeObject, parent: str, url: str) -> None:
            sink_of(child).complete_list(parent, await reading.nested(client, child, url))

        async def one(row: StripeObject) -> None:
            if row.strategy == "chain":
                await reading.by_chain(client, sink_of(row))
            else:
                await reading.by_window(client, sink_of(row), [(0, FOREVER)])
            await sink_of(row).settle()

        async with asyncio.TaskGroup() as group:
            for row in CATALOGUE.values():
                if row.path and row.strategy in ("window", "chain"):
                    group.create_task(one(row))
    for sink in sinks.values():
        sink.flush()
    return sum(batch.rows for sink in sinks.values() for batch in sink.batches)


def _peak_mb() -> float:
    """The most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.M)):
        return int(found.group(1)) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
