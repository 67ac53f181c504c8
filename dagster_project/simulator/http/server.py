"""The simulator as a process: its state on disk, the HTTP server around it, and how both start and stop."""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from dagster_project.errors import LedgerlineError, PortInUse, UsageError
from dagster_project.simulator.engine import scenarios
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.tables import FORMAT
from dagster_project.simulator.engine.versions import VERSIONS
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.history import make
from dagster_project.simulator.http import control
from dagster_project.simulator.http.accounts import Accounts
from dagster_project.simulator.http.api import Api
from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.faults import Faults, from_mapping, from_texts
from dagster_project.simulator.http.routes import Account

ALREADY_RUNS = "already runs"


@dataclass
class Options:
    """`about` is what /_ledgerline/status says of the process."""

    faults: Faults = field(default_factory=Faults)
    about: dict[str, Any] = field(default_factory=dict)


def create_app(store: Store, world: World, options: Options | None = None) -> Starlette:
    """The API over a store. The store is flushed when the application stops, and stays open.

    More accounts that were opened lie in a folder beside it.
    """
    options = options or Options()
    accounts = Accounts(Api(Account(store, world), options.faults), _others(store.path))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        accounts.start()
        yield
        await accounts.stop()

    app = Starlette(routes=control.routes(accounts, options.about), lifespan=lifespan)
    app.router.redirect_slashes = False
    app.router.default = accounts  # whatever path and method: every refusal is one of Stripe's
    return app


def serve(
    data_dir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 12111,
    business: Mapping[str, Any] | None = None,
    rate_limit: float | None = None,
    latency_ms: float = 0,
    faults: Sequence[str] = (),
    api_version: str | None = None,
    reset: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM. Port 0 takes a free one; it is written to <data_dir>/simulator/server.json.

    `business` names the scenario, seed, size and months (see `scenarios`); what it leaves open is as on disk, or the
    default. `faults` are texts as `from_texts` reads them. `api_version` is the account's from now on, in which its
    events are rendered; of a new business those of the last 30 days, too. Raises PortInUse, UsageError for what cannot
    be simulated or when another business is on disk (without `reset`), and LedgerlineError when a simulator of this
    data directory already runs.
    """
    asked = scenarios.checked(business or {})
    if api_version is not None and api_version not in VERSIONS:
        raise UsageError(f"--api-version: {api_version!r} is none of {', '.join(VERSIONS)}.", "Name one of these.")
    try:
        trouble = from_mapping({"rate_limit": rate_limit, "latency_ms": latency_ms, **from_texts(faults)})
    except ApiError as error:
        raise UsageError(f"--faults: {error}", "See `ledgerline simulator --help`.") from None
    folder = data_dir / "simulator"
    folder.mkdir(parents=True, exist_ok=True)
    with _stopping_politely(), _only_one(folder, data_dir), _listening(host, port) as listener:
        port = listener.getsockname()[1]
        store = _prepared(folder, asked, api_version, reset=reset)
        about = {"data_dir": str(data_dir.resolve()), "port": port}
        record = folder / "server.json"
        try:
            app = create_app(store, World(store), Options(trouble, about))
            server = _Server(uvicorn.Config(app, **server_options()), record, port)
            print(f"Simulator of Stripe: http://{host}:{port} (data until {_day(store.now)}; Ctrl-C stops)", flush=True)
            server.run(sockets=[listener])
        finally:
            record.unlink(missing_ok=True)
            store.close()


def server_options() -> dict[str, Any]:
    """For uvicorn: `Date` is the simulator's clock, and one idle connection must not hold up the end."""
    return {
        "http": _protocol(),
        "ws": "none",
        "log_level": "critical",
        "date_header": False,
        "server_header": False,
        "access_log": False,
        "timeout_graceful_shutdown": 3,
        "timeout_keep_alive": 75,
    }


class _Server(uvicorn.Server):
    """Writes down where it listens once it does."""

    def __init__(self, config: uvicorn.Config, record: Path, port: int) -> None:
        super().__init__(config)
        self._record, self._port = record, port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        temporary = self._record.with_suffix(".tmp")
        temporary.write_text(json.dumps({"pid": os.getpid(), "port": self._port}), encoding="utf-8")
        temporary.replace(self._record)


def _protocol() -> Any:
    """uvicorn's HTTP protocol, with the connection in the scope so that a fault can cut it, and refusals as JSON."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return "auto"

    class Cuttable(HttpToolsProtocol):
        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["ledgerline.transport"] = self.transport  # type: ignore[typeddict-unknown-key]

        def send_400_response(self, msg: str) -> None:
            body = ApiError(400, msg).body()
            headers = {
                "request-id": f"req_{secrets.token_hex(7)}",
                "content-type": "application/json",
                "content-length": str(len(body)),
                "connection": "close",
            }
            lines = ["HTTP/1.1 400 Bad Request", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
            self.transport.write("\r\n".join(lines).encode() + body)
            self.transport.close()

    return Cuttable


@contextlib.contextmanager
def _stopping_politely() -> Iterator[None]:
    """SIGTERM ends like Ctrl-C. uvicorn raises the signal once more when it has stopped, which would end the process
    before the state is closed."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _only_one(folder: Path, data_dir: Path) -> Iterator[None]:
    with (folder / "server.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LedgerlineError(
                f"A simulator of {data_dir} {ALREADY_RUNS}.",
                "Use that one, or stop it first.",
            ) from None
        yield


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise port_in_use(port) from None
        yield listener


def port_in_use(port: int) -> PortInUse:
    return PortInUse(
        f"Port {port} of the simulator is taken by another program.",
        "Set LEDGERLINE_SIMULATOR_PORT (or --port) to a free one, or stop that program.",
    )


def _prepared(folder: Path, asked: scenarios.Parameters, api_version: str | None, *, reset: bool) -> Store:
    """The state on disk, made first when there is none or with `reset`."""
    path = folder / "state.sqlite"
    if path.exists() and not reset:
        if _format(path) == FORMAT:
            with contextlib.closing(Store(path)) as store:
                has = scenarios.parameters_of(store.meta)
            if scenarios.differs(asked, has):
                raise another_business(has)
            store = _opened(path)
            if api_version is not None:
                store.meta["api_version"] = api_version
            return store
        print("The simulator's business on disk is of another version of Ledgerline, so it is made anew.")
    parameters = scenarios.completed(asked)
    print(f"Making the simulator's business ({scenarios.in_words(parameters)}) …", flush=True)
    # A half-made history must never be taken for a whole one.
    making = folder / "making.sqlite"
    _forget(making)
    store = Store(making)
    if api_version is not None:
        store.meta["api_version"] = api_version
    make(World(store), parameters, progress=lambda line: print(line, flush=True))
    store.close()
    with making.open("rb") as whole:
        os.fsync(whole.fileno())
    _forget(path)
    shutil.rmtree(_others(path), ignore_errors=True)
    making.replace(path)
    return _opened(path)


def _others(path: Path) -> Path:
    """Where the accounts lie that were opened beside the one of a store."""
    return path.with_name(f"{path.stem}.accounts")


def another_business(has: Mapping[str, Any]) -> UsageError:
    """What is on disk is kept: it may hold what somebody has changed by hand."""
    return UsageError(
        f"Another business is on disk than was asked for: {scenarios.in_words(has)}.",
        "Leave these options out to use it, add --reset to replace it, or set another LEDGERLINE_DATA_DIR.",
    )


def _opened(path: Path) -> Store:
    """With statistics, without which SQLite reads a whole kind to find one customer's rows (14 against 0.05 ms)."""
    with contextlib.closing(_readable(path)) as connection:
        connection.execute("pragma analysis_limit = 1000")  # a million objects are not read at every start
        connection.execute("analyze")
    return Store(path)


def _format(path: Path) -> int:
    with contextlib.closing(_readable(path)) as connection:
        return int(connection.execute("pragma user_version").fetchone()[0])


def _readable(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    try:
        connection.execute("select count(*) from sqlite_master")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise LedgerlineError(
            f"The simulator's state {path} cannot be read: {error}.",
            "Make it anew with `ledgerline simulator --reset`.",
        ) from None
    return connection


def _forget(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _day(moment: int) -> str:
    return f"{control.instant(moment):%Y-%m-%d %H:%M} UTC"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A local Stripe.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    for name, default in scenarios.DEFAULTS.items():
        parser.add_argument(f"--{name}", type=type(default))
    parser.add_argument("--faults", action="append", default=[], help="JSON or name=value")
    parser.add_argument("--api-version")
    given = vars(parser.parse_args(arguments))
    process = {name: given.pop(name) for name in ("data_dir", "port", "faults", "api_version")}
    try:
        serve(**process, business=given)
    except LedgerlineError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
