"""`ledgerline bench extract`: how near extraction comes to Stripe's limits, what it costs, and whether it is whole.

Against the local simulator in a process of its own, every answer after 120 ± 25 ms, 100 requests/s in all and 25 per
endpoint. What is allowed at least, and what must arrive, is worked out from what the simulator holds.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dagster_project.bench.extract import backfill, faults, incremental, peers
from dagster_project.bench.extract.options import PARTS, Options
from dagster_project.bench.figures import Figure, tell
from dagster_project.errors import UsageError


def extract(environment: dict[str, str], options: Options) -> Iterator[Figure]:
    """The figures of the wanted parts. Raises UsageError for a part that does not exist."""
    if unknown := sorted(set(options.only) - set(PARTS)):
        raise UsageError(f"Unknown part {', '.join(unknown)}.", f"There are: {', '.join(PARTS)}.")
    if options.scale != 1:
        tell(f"SCALED to {options.scale:g} of the full size: these are not the figures that the limits are meant for.")
    tell(f"extract: load of this machine before it starts {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="ledgerline-bench-extract-") as folder:
        world = backfill.World(Path(folder), options)
        parts: dict[str, Callable[[backfill.World], Iterator[Figure]]] = {
            "backfill": backfill.backfill,
            "faults": faults.faults,
            "peers": peers.peers,
            "incremental": incremental.incremental,
        }
        for name, part in parts.items():
            if not options.only or name in options.only:
                began = time.monotonic()
                yield from part(world)
                tell(f"extract: {name} took {time.monotonic() - began:.0f} s")


__all__ = ["PARTS", "Options", "extract"]
