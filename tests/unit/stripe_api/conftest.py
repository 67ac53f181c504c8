"""A server that answers as the test decides, and settings that lead to it."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from fake_stripe import FakeStripe

from dagster_project.settings import Settings
from dagster_project.stripe_api import client as client_module
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.schema import ensure


@pytest.fixture
def stripe() -> Iterator[FakeStripe]:
    fake, loop, ready = FakeStripe(), asyncio.new_event_loop(), threading.Event()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield fake
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture
def settings(stripe: FakeStripe, tmp_path: Path) -> Settings:
    """Reads the fake server with a key, as an ordinary account."""
    return Settings.load(
        {
            "LEDGERLINE_DATA_DIR": str(tmp_path / "data"),
            "STRIPE_API_KEY": "sk_test_unit",
            "STRIPE_API_BASE": stripe.url,
        },
        dotenv=tmp_path / "no.env",
    )


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Its many tables are made once; each test gets a copy of the file."""
    made = Warehouse(tmp_path_factory.mktemp("empty"))
    with made.connect() as con:
        ensure(con)
    return made


@pytest.fixture
def warehouse(settings: Settings, empty: Warehouse) -> Warehouse:
    """The empty one of `settings`."""
    own = Warehouse(settings.data_dir)
    own.build.parent.mkdir(parents=True)
    shutil.copyfile(empty.build, own.build)
    return own


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once; how long they wait otherwise is no concern of these tests."""
    monkeypatch.setattr(client_module, "_pause", lambda tries: 0.0)
    monkeypatch.setattr("dagster_project.stripe_api.governor.LIVE", 10_000.0)
    monkeypatch.setattr("dagster_project.stripe_api.governor.SANDBOX", 10_000.0)
    monkeypatch.setattr("dagster_project.stripe_api.governor.ENDPOINT", 10_000.0)
