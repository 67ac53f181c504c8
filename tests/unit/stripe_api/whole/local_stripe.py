"""The simulator in this process, its state in a file: started again like a server that was restarted."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import stripe
import uvicorn

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.server import Options, create_app, server_options

Json = dict[str, Any]
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(Exception):
    """Stripe's answer was no success."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


class LocalStripe:
    """`client` is Stripe's own; `get`, `listed` and `stored` are what the truth is read with, without any product code.

    `port` stays the same over `restart`, as clients expect of a server.
    """

    def __init__(self, state: Path) -> None:
        self.state, self.port = state, 0
        self.served = 0  # requests to the API
        self._events: dict[str, Json] = {}
        self.start()

    # ---- the process -----------------------------------------------------------------------------------------
    def start(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.store = Store(self.state)
        self.world = World(self.store)
        app = create_app(self.store, self.world, Options())

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"].startswith("/v1/"):
                self.served += 1
            await app(scope, receive, send)

        self._server = uvicorn.Server(uvicorn.Config(counted, **server_options()))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started:
            assert self._thread.is_alive()
            assert time.monotonic() < until
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)
        self._socket.close()
        self.store.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    # ---- what changes it -------------------------------------------------------------------------------------
    @property
    def client(self) -> stripe.StripeClient:
        return stripe.StripeClient("sk_simulator", base_addresses={"api": self.url})

    def control(self, path: str, body: Json | None = None, method: str | None = None) -> Json:
        data = None if body is None else json.dumps(body).encode()
        return _answer(urllib.request.Request(f"{self.url}/_ledgerline/{path}", data=data, method=method))

    def advance(self, seconds: float) -> int:
        self.events()  # those that Stripe is about to forget
        return int(self.control("advance", {"seconds": seconds})["now"])

    @property
    def now(self) -> int:
        return int(self.control("status")["now"])

    # ---- what it holds ---------------------------------------------------------------------------------------
    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Json:
        """Raises Refused."""
        query = urllib.parse.urlencode(params or {}, doseq=True)
        return _answer(
            urllib.request.Request(f"{self.url}{path}?{query}", headers={"Authorization": "Bearer sk_simulator"})
        )

    def listed(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Json]:
        """All objects of a list, by the plainest paging there is."""
        after: Json = {}
        while True:
            page = self.get(path, {"limit": 100, **(params or {}), **after})
            yield from page["data"]
            if not page["has_more"]:
                return
            after = {"starting_after": page["data"][-1]["id"]}

    def stored(self, kind: str) -> dict[str, bool]:
        """Every id of a kind that ever was, and whether it is deleted."""
        self.control("status")
        with closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True)) as file:
            return {id: bool(gone) for id, gone in file.execute("select id, gone from object where kind = ?", [kind])}

    def events(self) -> list[Json]:
        """Every event that ever was, in the order in which the changes happened."""
        self.control("status")
        with closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True)) as file:
            rows = file.execute("select id, body from object where kind = 'event' order by created, seq").fetchall()
        now = {id: json.loads(body) for id, body in rows}
        self._events = {id: event for id, event in self._events.items() if id not in now} | now
        return list(self._events.values())


def _answer(request: urllib.request.Request) -> Json:
    try:
        with _direct.open(request, timeout=120) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            raise Refused(error.code, error.read().decode()) from None
