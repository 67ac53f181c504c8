"""`make dev`: simulator (without a key), receiver, Dagster's UI and daemon in the foreground; one Ctrl-C stops all.

Each is a child process in a process group of its own, so that stopping it stops what it started.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from dagster_project.errors import LedgerlineError, PortInUse
from dagster_project.settings import PROJECT_ROOT, Settings

HOST = "127.0.0.1"
READY_WITHIN = 60.0  # seconds; the UI answers after about 10 on two cores
STOP_WITHIN = 8.0  # seconds between asking a child to stop and killing it
# Sensors tick every 5 s, and each tick is a line.
_QUIET_DAEMON = ["--log-level", "warning"]
_QUIET_UI = ["--dagster-log-level", "warning", "--code-server-log-level", "warning"]
_BIN = Path(sys.executable).parent


@dataclass
class Child:
    """A process of `make dev`; `name` prefixes its lines, `port` is the one it listens on."""

    name: str
    command: Sequence[str]
    port: int | None = None
    process: subprocess.Popen[str] | None = field(default=None, repr=False)
    relay: threading.Thread | None = field(default=None, repr=False)

    def start(self, environ: dict[str, str], width: int) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.relay = threading.Thread(target=_relay, args=(self.process.stdout, self.name, width), daemon=True)
        self.relay.start()

    def signal(self, number: int) -> None:
        """To the child's whole group, if anything of it is left."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return

    @property
    def ended(self) -> int | None:
        return None if self.process is None else self.process.poll()


def dev(settings: Settings) -> int:
    """Runs everything until Ctrl-C (returns 0) or until a child ends by itself (returns 1, naming it).

    Raises PortInUse before anything is started, LedgerlineError when the UI does not answer.
    """
    from dagster_project.orchestration.dbt_project import ensure_manifest
    from dagster_project.orchestration.instance import prepare_home

    children = _children(settings)
    for child in children:
        if child.port is not None:
            _require_free(child.name, child.port)
    home = prepare_home(settings)
    ensure_manifest(settings)  # here, so that the UI and the daemon do not both wait for it
    environ = {
        **os.environ,
        **settings.environment(),
        "LEDGERLINE_DATA_DIR": str(settings.data_dir),
        "DAGSTER_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "PYTHONUNBUFFERED": "1",
    }
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _watch(children, environ, stopping)
    finally:
        _stop(children)
        for number, handler in before.items():
            signal.signal(number, handler)


def _children(settings: Settings) -> list[Child]:
    ledgerline = [str(_BIN / "ledgerline")]
    ui, receiver = settings.port("LEDGERLINE_UI_PORT"), settings.port("LEDGERLINE_RECEIVER_PORT")
    workspace = ["-w", str(PROJECT_ROOT / "workspace.yaml")]
    children = [
        Child("receiver", [*ledgerline, "receive", "--port", str(receiver)], receiver),
        Child("ui", [str(_BIN / "dagster-webserver"), "-h", HOST, "-p", str(ui), *_QUIET_UI, *workspace], ui),
        Child("daemon", [str(_BIN / "dagster-daemon"), "run", *_QUIET_DAEMON, *workspace]),
    ]
    if settings.uses_simulator:
        port = settings.port("LEDGERLINE_SIMULATOR_PORT")
        children.insert(0, Child("simulator", [*ledgerline, "simulator", "--port", str(port)], port))
    return children


def _watch(children: Sequence[Child], environ: dict[str, str], stopping: threading.Event) -> int:
    width = max(len(child.name) for child in children)
    began = time.monotonic()
    by_name = {child.name: child for child in children}
    ui, simulator = by_name["ui"], by_name.get("simulator")
    waiting = [child for child in children if child.name == "receiver" and simulator is not None]
    for child in children:
        if child not in waiting:
            child.start(environ, width)
    announced = False
    while not stopping.wait(0.2):
        for child in children:
            if (status := child.ended) is not None:
                print(f"ledgerline: {child.name} ended with status {status}; stopping the others.", flush=True)
                return 1
        # The receiver asks the simulator for its endpoint's secret, so the simulator has to answer first.
        if waiting and simulator is not None and _listens(simulator.port or 0):
            waiting.pop().start(environ, width)
        if not announced and _answers(ui.port or 0):
            announced = True
            _announce(children, time.monotonic() - began)
        if not announced and time.monotonic() - began > READY_WITHIN:
            raise LedgerlineError(
                f"The Dagster UI does not answer on port {ui.port} after {READY_WITHIN:.0f} s.",
                "Read its lines above; `dagster definitions validate -w workspace.yaml` checks what it loads.",
            )
    print("ledgerline: stopping.", flush=True)
    return 0


def _announce(children: Sequence[Child], seconds: float) -> None:
    print(f"ledgerline: ready after {seconds:.1f} s. Ctrl-C stops all.", flush=True)
    for child in children:
        if child.port is not None:
            print(f"  {child.name:<10} http://{HOST}:{child.port}", flush=True)


def _relay(stream: IO[str], name: str, width: int) -> None:
    with stream:
        for line in stream:
            print(f"{name:<{width}} | {line.rstrip()}", flush=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _answers(port: int) -> bool:
    try:
        # Never through a proxy: it is this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{HOST}:{port}/server_info", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _require_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            setting = f"LEDGERLINE_{name.upper()}_PORT"
            raise PortInUse(
                f"Port {port}, which the {name} needs, is in use.", f"Stop what uses it, or set {setting}."
            ) from error


def _stop(children: Sequence[Child]) -> None:
    """Asks every group to stop, the newest first, and kills what is left."""
    running = [child for child in reversed(children) if child.process is not None]
    for child in running:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_WITHIN
    for child in running:
        assert child.process is not None
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.1, deadline - time.monotonic()))
    for child in running:
        # Also after a child has ended: Dagster's code servers outlive a parent that was asked to stop.
        child.signal(signal.SIGKILL)
    for child in running:
        assert child.process is not None
        child.process.wait()
        if child.relay is not None:
            child.relay.join(1.0)
