"""The simulator as somebody else's background process: started when needed, found again, moved in time, stopped."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dagster_project.errors import LedgerlineError, StripeUnreachable
from dagster_project.simulator.engine import scenarios
from dagster_project.simulator.http.server import ALREADY_RUNS, another_business, port_in_use

_POLL_S = 0.05
_STOP_S = 10.0
_ADVANCE_S = 600.0


@dataclass(frozen=True)
class SimulatorHandle:
    """A running simulator; `started_here` says whether this process started it."""

    base_url: str
    started_here: bool
    pid: int

    def stop(self) -> None:
        """End it and wait until it has written its state; nothing happens when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
            until = time.monotonic() + _STOP_S
            while time.monotonic() < until and _alive(self.pid):
                time.sleep(_POLL_S)
            if _alive(self.pid):
                os.kill(self.pid, signal.SIGKILL)


def ensure_running(
    data_dir: Path,
    *,
    scenario: str | None = None,
    seed: int | None = None,
    customers: int | None = None,
    months: int | None = None,
    objects: int | None = None,
    port: int | None = None,
    timeout: float = 60,
    on_line: Callable[[str], None] | None = None,
) -> SimulatorHandle:
    """The simulator of a data directory, started when none answers; without `port` on a free one.

    What is said of the business (see `scenarios`) must be true of one that runs or is on disk. `on_line` gets what a
    new one prints while it makes its business; `timeout` seconds without a sign of life are a failure. Raises
    PortInUse, UsageError when it is another business, or LedgerlineError with the end of the log.
    """
    asked = scenarios.checked(
        {"scenario": scenario, "seed": seed, "customers": customers, "months": months, "objects": objects}
    )
    folder = data_dir / "simulator"
    folder.mkdir(parents=True, exist_ok=True)
    with _starting(folder):
        if (running := find(data_dir)) is not None:
            has = status(running.base_url)["parameters"]
            if scenarios.differs(asked, has):
                raise another_business(has)
            return running
        return _start(data_dir, asked, port, timeout, on_line or (lambda line: None))


def find(data_dir: Path) -> SimulatorHandle | None:
    """The simulator of this data directory that answers, if there is one."""
    try:
        record = json.loads((data_dir / "simulator" / "server.json").read_text(encoding="utf-8"))
        base_url, pid = f"http://127.0.0.1:{int(record['port'])}", int(record["pid"])
        about = status(base_url)
    except (OSError, ValueError, KeyError, TypeError, StripeUnreachable):
        return None
    if about.get("pid") != pid or about.get("data_dir") != str(data_dir.resolve()):
        return None
    return SimulatorHandle(base_url, False, pid)


def has_business(data_dir: Path) -> bool:
    """Whether a simulator of this data directory runs or has run."""
    return (data_dir / "simulator" / "state.sqlite").is_file()


def status(base_url: str) -> dict[str, Any]:
    """Clock, parameters, counts and requests of a running simulator. Raises StripeUnreachable."""
    return _call(f"{base_url}/_ledgerline/status", timeout=5)


def advance(base_url: str, *, days: float | None = None, to: datetime | int | None = None) -> dict[str, Any]:
    """Move the clock; `now` of the answer is where it stands. Raises LedgerlineError when it may not go there."""
    target = int(to.timestamp()) if isinstance(to, datetime) else to
    body = {name: value for name, value in (("days", days), ("to", target)) if value is not None}
    return _call(f"{base_url}/_ledgerline/advance", body, timeout=_ADVANCE_S)


# ---- starting ------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def _starting(folder: Path) -> Iterator[None]:
    """Of several that want to start it, one does; the others then find it."""
    with (folder / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(
    data_dir: Path,
    asked: scenarios.Parameters,
    port: int | None,
    timeout: float,
    on_line: Callable[[str], None],
) -> SimulatorHandle:
    command = [sys.executable, "-m", "dagster_project.simulator.http.server", "--data-dir", str(data_dir)]
    for name, value in {**asked, **({} if port is None else {"port": port})}.items():
        command += [f"--{name}", str(value)]
    log = data_dir / "simulator" / "server.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )
    quiet_since = time.monotonic()
    with log.open(encoding="utf-8", errors="replace") as lines:
        while True:
            for line in lines:
                on_line(line.rstrip("\n"))
                quiet_since = time.monotonic()
            running = find(data_dir)
            if running is not None:
                # The server of another process may have been quicker than ours.
                started_here = running.pid == child.pid
                _REAPED[child.pid] = child
                return SimulatorHandle(running.base_url, started_here, running.pid)
            # One that somebody else has just started is waited for; it answers when its business is made.
            if child.poll() is not None and ALREADY_RUNS not in log.read_text(encoding="utf-8", errors="replace"):
                raise _failed(log, port)
            if time.monotonic() - quiet_since > timeout:
                if child.poll() is None:
                    child.kill()
                    child.wait()
                raise LedgerlineError(f"The simulator did not start within {timeout:g} seconds.", f"See {log}.")
            time.sleep(_POLL_S)


# Children are kept so that they can be waited for: an ended one that nobody waits for still has its PID.
_REAPED: dict[int, subprocess.Popen[bytes]] = {}


def _alive(pid: int) -> bool:
    child = _REAPED.get(pid)
    if child is not None:
        return child.poll() is None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _failed(log: Path, port: int | None) -> LedgerlineError:
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    if port and f"Port {port} of the simulator is taken" in text:
        return port_in_use(port)
    return LedgerlineError(f"The simulator did not start: {text[-500:]}", f"See {log}.")


def _call(url: str, body: dict[str, Any] | None = None, *, timeout: float) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    # Never through a proxy: the simulator is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            raise LedgerlineError(_message(error.read()), "See `ledgerline simulator advance --help`.") from None
    except (OSError, ValueError) as error:
        raise StripeUnreachable(
            f"The simulator at {url} does not answer: {error}.", "Start it with `ledgerline simulator`."
        ) from None


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "The simulator refused."
