"""The project's benchmarks: each figure beside its limit, in one run on this machine.

Every benchmark works in a data directory of its own, through the command line as a person would use it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from dagster_project.errors import LedgerlineError, UsageError
from dagster_project.settings import Settings
from dagster_project.terminal import say, table


@dataclass(frozen=True)
class Figure:
    """`value` and `limit` in `unit`; `better` says on which side of the limit is good."""

    benchmark: str
    what: str
    value: float
    limit: float
    unit: str
    better: str = "less"

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.better == "less" else self.value >= self.limit


def run(settings: Settings, names: Sequence[str], *, as_json: bool = False) -> int:
    """Run the named benchmarks (default: all) and print their figures; 1 when a limit is missed."""
    unknown = sorted(set(names) - set(_BENCHMARKS))
    if unknown:
        raise UsageError(f"Unknown benchmark {', '.join(unknown)}.", f"There are: {', '.join(_BENCHMARKS)}.")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="ledgerline-bench-") as folder:
        environment = {
            **os.environ,
            "LEDGERLINE_DATA_DIR": str(Path(folder) / "data"),
            **{name: str(_free_port()) for name in _PORTS},
        }
        environment.pop("STRIPE_API_KEY", None)
        environment.pop("LEDGERLINE_ACCOUNTS", None)
        for name, benchmark in _BENCHMARKS.items():
            if not names or name in names or (name == "demo" and set(names) & {"refresh", "dev"}):
                figures += benchmark(environment)
    if as_json:
        click.echo(json.dumps([{**asdict(figure), "met": figure.met} for figure in figures], indent=2))
    else:
        table(
            ("benchmark", "what", "measured", "limit", "share of limit", "met"),
            [
                (f.benchmark, f.what, f"{f.value:,.1f} {f.unit}", f"{f.limit:,.0f} {f.unit}",
                 f"{100 * f.value / f.limit:.0f} %", f.met)
                for f in figures
            ],
        )  # fmt: skip
    return int(not all(figure.met for figure in figures))


_PORTS = ("LEDGERLINE_UI_PORT", "LEDGERLINE_RECEIVER_PORT", "LEDGERLINE_SIMULATOR_PORT")


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ledgerline(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dagster_project", *arguments]


def _timed(environment: dict[str, str], *arguments: str) -> tuple[float, float, float]:
    """(seconds in all, seconds to the first line, peak memory of the process tree in MB).

    Raises LedgerlineError with the end of the output when the command fails.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        _ledgerline(*arguments), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    first, lines, peak = 0.0, [], 0.0
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    while process.poll() is None:
        while line := process.stdout.readline():
            first = first or time.monotonic() - began
            lines.append(line)
        peak = max(peak, _tree_memory(process.pid))
        time.sleep(0.05)
    lines += process.stdout.readlines()
    if process.returncode != 0:
        raise LedgerlineError(f"`ledgerline {' '.join(arguments)}` failed:\n{''.join(lines[-20:])}", "Mend it first.")
    return time.monotonic() - began, first, peak


def _tree_memory(pid: int) -> float:
    """Resident memory of a process and its descendants in MB, shared pages counted once each (PSS); 0 where unknown."""
    total = 0.0
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{current}/smaps_rollup").read_text()
            if match := re.search(r"^Pss:\s+(\d+) kB", text, re.M):
                total += int(match.group(1)) / 1024
        with contextlib.suppress(OSError):
            waiting += [int(child) for child in Path(f"/proc/{current}/task/{current}/children").read_text().split()]
    return total


def _demo(environment: dict[str, str]) -> Iterator[Figure]:
    say("demo: a business of 1,500 customers over 24 months, from nothing …")
    seconds, first, peak = _timed(environment, "demo")
    yield Figure("demo", "in all", seconds, 120, "s")
    yield Figure("demo", "first line", first, 5, "s")
    yield Figure("demo", "peak memory of all processes", peak, 2048, "MB")


def _refresh(environment: dict[str, str]) -> Iterator[Figure]:
    say("refresh: nothing new, then one simulated day …")
    _timed(environment, "refresh")
    seconds, _, _ = _timed(environment, "refresh")
    yield Figure("refresh", "nothing new", seconds, 10, "s")
    _timed(environment, "simulator", "advance", "--days", "1")
    seconds, _, _ = _timed(environment, "refresh")
    yield Figure("refresh", "after one simulated day", seconds, 60, "s")


def _dev(environment: dict[str, str]) -> Iterator[Figure]:
    say("dev: until the UI answers …")
    began = time.monotonic()
    process = subprocess.Popen(
        _ledgerline("dev"),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while time.monotonic() - began < 90:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{environment['LEDGERLINE_UI_PORT']}/server_info", timeout=1)
                break
            time.sleep(0.1)
        yield Figure("dev", "UI answers", time.monotonic() - began, 15, "s")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


_LISTS = ("customers", "charges", "balance_transactions", "invoices", "subscriptions", "payment_intents")
_PAGES_S = 10.0


def _simulator(environment: dict[str, str]) -> Iterator[Figure]:
    say("simulator: a business of 1,500 customers over 24 months, then pages of its lists …")
    with _simulated(environment, "--customers", "1500", "--months", "24") as (made, _, server):
        yield Figure("simulator", "saas, 1,500 customers over 24 months, made", made, 10, "s")
        yield Figure("simulator", "pages of 100 objects, one core", _pages_per_second(server), 300, "pages/s", "more")
    say("simulator: a million objects …")
    with _simulated(environment, "--scenario", "flat", "--objects", "1000000") as (_, started, server):
        yield Figure("simulator", "flat, 1,000,000 objects, from nothing to its first answer", started, 30, "s")
        pages = _pages_per_second(server)
        yield Figure("simulator", "flat, pages of 100 objects, one core", pages, 300, "pages/s", "more")
        data = Path(environment["LEDGERLINE_DATA_DIR"]) / "simulator"
        disk = sum(path.stat().st_size for path in data.iterdir()) / 2**20
        yield Figure("simulator", "flat, memory and disk", disk + _tree_memory(server.pid), 3072, "MB")


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
        _ledgerline("simulator", "--reset", *arguments),
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
                _get(http.client.HTTPConnection("127.0.0.1", port, timeout=60), "/v1/customers?limit=1")
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
            body = _get(connection, f"/v1/{name}?limit=100{cursor}")
            pages += 1
            more = b'"has_more":true' in body[-200:]
            cursor = f"&starting_after={json.loads(body)['data'][-1]['id']}" if more else ""
        return pages

    with concurrent.futures.ThreadPoolExecutor(len(_LISTS)) as pool:
        began = time.monotonic()
        return sum(pool.map(walk, _LISTS)) / (time.monotonic() - began)


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path, headers={"Authorization": "Bearer sk_simulator"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise LedgerlineError(f"The simulator answered {answer.status} to {path}.", "Mend it first.")
    return body


_BENCHMARKS: dict[str, Callable[[dict[str, str]], Iterator[Figure]]] = {
    "demo": _demo,
    "refresh": _refresh,
    "dev": _dev,
    "simulator": _simulator,
}
