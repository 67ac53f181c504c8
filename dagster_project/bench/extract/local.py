"""The local Stripe of a benchmark: a process of its own, Stripe-like weather, and what it counted."""

from __future__ import annotations

import http.client
import json
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_project.errors import LedgerlineError
from dagster_project.simulator import process

LATENCY_MS, JITTER_MS = 120.0, 25.0  # every answer takes 120 ± 25 ms
IN_ALL, PER_ENDPOINT = 100.0, 25.0  # requests/s: https://docs.stripe.com/rate-limits
PAGE = 100
_PROBES = 12


@dataclass(frozen=True)
class Latency:
    """Of a page of 100 objects, asked for alone, in ms."""

    median: float
    least: float
    most: float


class LocalStripe:
    """A running simulator. `folder` holds its business, which stays when it stops."""

    def __init__(self, folder: Path, handle: process.SimulatorHandle) -> None:
        self.folder, self.base_url = folder, handle.base_url
        self.port = int(handle.base_url.rsplit(":", 1)[1])

    @contextmanager
    def truth(self) -> Iterator[sqlite3.Connection]:
        """Its state, to be read only."""
        path = (self.folder / "simulator" / "state.sqlite").as_uri()
        with closing(sqlite3.connect(f"{path}?mode=ro", uri=True)) as connection:
            yield connection

    @property
    def now(self) -> int:
        return int(process.status(self.base_url)["now"])

    def calm(self) -> None:
        """No latency, no limits, no faults."""
        self.control("DELETE", "faults")

    def weather(self, **faults: float) -> Latency:
        """From now on Stripe-like latency and limits, and `faults`; the latency as a client meets it.

        What the simulator itself takes for a page counts as part of the 120 ms.
        """
        self.calm()
        own = self._probe().median
        self.control(
            "POST", "faults",
            {"latency_ms": max(0.0, LATENCY_MS - JITTER_MS - own), "jitter_ms": 2 * JITTER_MS,
             "rate_limit": IN_ALL, "endpoint_rate_limit": PER_ENDPOINT},
        )  # fmt: skip
        met = self._probe()
        self.control("POST", "faults", faults)
        time.sleep(1.1)  # what the probes used up of the limits is there again
        self.control("DELETE", "traffic")
        return met

    def traffic(self) -> dict[str, Any]:
        """Requests per endpoint, statuses, 429s by reason since the last call of `weather` or `count_anew`."""
        return self.control("GET", "traffic")

    def count_anew(self) -> None:
        self.control("DELETE", "traffic")

    def wait(self, seconds: int) -> None:
        """Move Stripe's clock."""
        self.control("POST", "advance", {"seconds": seconds})

    def control(self, method: str, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request(method, f"/_ledgerline/{name}", json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status != 200:
            raise LedgerlineError(
                f"The simulator answered {answer.status} to {name}: {text[:200]!r}.", "Mend it first."
            )
        return dict(json.loads(text))

    def _probe(self) -> Latency:
        connection, took = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60), []
        with closing(connection):
            for _ in range(_PROBES):
                began = time.monotonic()
                get(connection, f"/v1/customers?limit={PAGE}")
                took.append(1000 * (time.monotonic() - began))
        return Latency(statistics.median(took), min(took), max(took))


@contextmanager
def local_stripe(folder: Path, **business: Any) -> Iterator[LocalStripe]:
    """The simulator of a folder, whose business is made first when there is none."""
    handle = process.ensure_running(folder, **business, timeout=300)
    try:
        yield LocalStripe(folder, handle)
    finally:
        handle.stop()


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    """The body of a GET. Raises LedgerlineError for anything but 200."""
    connection.request("GET", path, headers={"Authorization": "Bearer sk_simulator"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise LedgerlineError(f"The simulator answered {answer.status} to {path}.", "Mend it first.")
    return body
