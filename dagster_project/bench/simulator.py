"""How quickly the local Stripe makes a business, starts and answers pages."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dagster_project.bench.commands import ledgerline, tree_memory
from dagster_project.bench.extract.local import get
from dagster_project.bench.figures import Figure, tell
from dagster_project.errors import LedgerlineError

_LISTS = ("customers", "charges", "balance_transactions", "invoices", "subscriptions", "payment_intents")
_PAGES_S = 10.0


def simulator(environment: dict[str, str]) -> Iterator[Figure]:
    tell("simulator: a business of 1,500 customers over 24 months, then pages of its lists …")
    with _simulated(environment, "--customers", "1500", "--months", "24") as (made, _, server):
        yield Figure("simulator", "saas, 1,500 customers over 24 months, made", made, 10, "s")
        yield Figure("simulator", "pages of 100 objects, one core", _pages_per_second(server), 300, "pages/s", "more")
    tell("simulator: a million objects …")
    with _simulated(environment, "--scenario", "flat", "--objects", "1000000") as (_, started, server):
        yield Figure("simulator", "flat, 1,000,000 objects, from nothing to its first answer", started, 30, "s")
        pages = _pages_per_second(server)
        yield Figure("simulator", "flat, pages of 100 objects, one core", pages, 300, "pages/s", "more")
        data = Path(environment["LEDGERLINE_DATA_DIR"]) / "simulator"
        disk = sum(path.stat().st_size for path in data.iterdir()) / 2**20
        yield Figure("simulator", "flat, memory and disk", disk + tree_memory(server.pid), 3072, "MB")


@dataclass(frozen=True)
class _Server:
    pid: int
    port: int


@contextlib.contextmanager
def _simulated(environment: dict[str, str], *arguments: str) -> Iterator[tuple[float, float, _Server]]:
    """(seconds that making the business took, seconds until it answered, the server, now on one core)."""
    port = int(environment["LEDGERLINE_SIMULATOR_PORT"])
    began = time.monotonic()
    process = subprocess.Popen(
        ledgerline("simulator", "--reset", *arguments),
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        making, lines = began, []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Making"):
                making = time.monotonic()
            if line.startswith("Simulator of Stripe"):
                break
        else:
            raise LedgerlineError(f"`ledgerline simulator` failed:\n{''.join(lines[-20:])}", "Mend it first.")
        made = time.monotonic() - making
        while True:  # the line comes before it listens
            with contextlib.suppress(ConnectionRefusedError):
                get(http.client.HTTPConnection("127.0.0.1", port, timeout=60), "/v1/customers?limit=1")
                break
            time.sleep(0.01)
        _on_one_core(process.pid)
        yield made, time.monotonic() - began, _Server(process.pid, port)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        process.stdout.close()


def _on_one_core(pid: int) -> None:
    """All threads of a process; where the system knows no such thing it has as many as it uses."""
    if hasattr(os, "sched_setaffinity"):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {min(os.sched_getaffinity(0))})


def _pages_per_second(server: _Server) -> float:
    """Whole lists walked by cursor over connections that stay open, each list from its newest object on."""
    until = time.monotonic() + _PAGES_S

    def walk(name: str) -> int:
        connection, pages, cursor = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60), 0, ""
        while time.monotonic() < until:
            body = get(connection, f"/v1/{name}?limit=100{cursor}")
            pages += 1
            more = b'"has_more":true' in body[-200:]
            cursor = f"&starting_after={json.loads(body)['data'][-1]['id']}" if more else ""
        return pages

    with concurrent.futures.ThreadPoolExecutor(len(_LISTS)) as pool:
        began = time.monotonic()
        return sum(pool.map(walk, _LISTS)) / (time.monotonic() - began)
