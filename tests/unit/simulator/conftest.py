"""A small business served by the simulator on a free port, and Stripe's own client for it."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import stripe
import uvicorn

from dagster_project.simulator.engine.seed import seed
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.server import Options, create_app, server_options
from tests.unit.simulator.told import CHECKED, untold


@dataclass
class Simulator:
    base_url: str
    store: Store
    world: World

    def client(self, key: str = "sk_simulator", **options: Any) -> stripe.StripeClient:
        return stripe.StripeClient(key, base_addresses={"api": self.base_url}, **options)

    def raw(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, Any]]:
        """(status, headers, body) without Stripe's client in between; names of headers with _ for -."""
        sent = {"Authorization": "Bearer sk_simulator"} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        request = urllib.request.Request(f"{self.base_url}{path}", data=body, method=method, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, json.load(error)

    def control(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base_url}/_ledgerline/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


class _Thread(threading.Thread):
    """uvicorn in a thread, on a socket that is already bound."""

    def __init__(self, app: Any) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.server = uvicorn.Server(uvicorn.Config(app, **server_options()))

    def run(self) -> None:
        self.server.run(sockets=[self.socket])

    def __enter__(self) -> str:
        self.start()
        while not self.server.started:
            assert self.is_alive()
            time.sleep(0.005)
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.join(timeout=20)
        self.socket.close()


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state file of 40 customers over 6 months, made once."""
    path = tmp_path_factory.mktemp("history") / "state.sqlite"
    store = Store(path)
    seed(World(store), seed=7, customers=40, months=6, progress=lambda line: None)
    store.close()
    return path


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Simulator]]:
    """Serve a state file; without one an empty account. In the end, events must have told all changes (see `told`)."""
    running: list[tuple[_Thread, World, int]] = []

    def serve(path: Path | None = None) -> Simulator:
        target = path or tmp_path / "empty.sqlite"
        store = Store(target)
        if path is None:
            store.now = 1_794_744_000
        world = World(store)
        thread = _Thread(create_app(store, world, Options()))
        running.append((thread, world, store.last))
        return Simulator(thread.__enter__(), store, world)

    yield serve
    wrong: set[str] = set()
    for thread, world, before in running:
        thread.__exit__()
        wrong |= untold(world, before, made=False).union(*(untold(each, made=False) for each in world.opened()[1:]))
        world.store.close()
    if request.path.stem.removeprefix("test_") in CHECKED:
        assert wrong == set()


@pytest.fixture
def business(history: Path, tmp_path: Path, start: Callable[..., Simulator]) -> Simulator:
    """The small business, for this test alone."""
    return start(Path(shutil.copy(history, tmp_path / "state.sqlite")))


@pytest.fixture(scope="module")
def business_to_read(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The small business, for all tests of a module that change nothing which the others read."""
    store = Store(Path(shutil.copy(history, tmp_path_factory.mktemp("read") / "state.sqlite")))
    world = World(store)
    with _Thread(create_app(store, world, Options())) as base_url:
        yield Simulator(base_url, store, world)
    store.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """An empty account for all tests that leave nothing in it."""
    store = Store(tmp_path_factory.mktemp("shared") / "state.sqlite")
    world = World(store)
    with _Thread(create_app(store, world, Options())) as base_url:
        yield Simulator(base_url, store, world)
    store.close()


@pytest.fixture
def account(start: Callable[..., Simulator]) -> Simulator:
    """An empty account."""
    return start()
