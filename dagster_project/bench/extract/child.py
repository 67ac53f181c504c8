"""One synchronisation in a process of its own, which says at its end what it cost.

Run as a module with one argument: JSON with `settings`, `what` (`sync` or `rebuild`), and for a sync `objects`, `mode`.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

from dagster_project.settings import Settings
from dagster_project.stripe_api.landing import Landing
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.rebuild import rebuild


def main(order: dict[str, Any]) -> dict[str, Any]:
    settings = Settings.load(order["settings"], dotenv=Path(order["settings"]["LEDGERLINE_DATA_DIR"]) / "no.env")
    warehouse = Warehouse(settings.data_dir)
    began, problems, received = time.monotonic(), [], 0
    if order["what"] == "rebuild":
        rebuild(warehouse, Landing(settings.data_dir / "landing"))
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


def _peak_mb() -> float:
    """The most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.M)):
        return int(found.group(1)) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
