"""A real warehouse file and a real landing folder, filled with small Stripe objects."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from dagster_project.stripe_api.landing import Batch, Landing
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.load import LoadResult, load
from dagster_project.warehouse.schema import ensure

ACCOUNT = "acct_1"
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def unix(seconds: int) -> int:
    return int(at(seconds).timestamp())


def charge(id: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "object": "charge", "amount": 1000, "currency": "eur", "created": unix(0), "paid": True} | fields


def customer(id: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "object": "customer", "created": unix(0), "email": f"{id}@example.com", "balance": 0} | fields


def embedded(*items: dict[str, Any], has_more: bool = False) -> dict[str, Any]:
    return {"object": "list", "data": list(items), "has_more": has_more, "url": "/v1/x"}


def subscription(id: str, *items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": id, "object": "subscription", "created": unix(0), "customer": "cus_1", "status": "active",
        "items": embedded(*items), "discounts": [],
    } | fields  # fmt: skip


def item(id: str, subscription: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": id, "object": "subscription_item", "created": unix(0), "subscription": subscription, "quantity": 1,
        "current_period_start": unix(0), "current_period_end": unix(2_592_000),
        "price": {"id": "price_1", "object": "price"},
    } | fields  # fmt: skip


def event(id: str, seconds: int, type: str, object: dict[str, Any], **previous: Any) -> dict[str, Any]:
    return {
        "id": id, "object": "event", "created": unix(seconds), "type": type, "api_version": "2026-10-28.endive",
        "data": {"object": object} | ({"previous_attributes": previous} if previous else {}),
    }  # fmt: skip


class Bench:
    """Lands and loads in one go; `seconds` after START is when Stripe was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warehouse = Warehouse(folder)
        self.landing = Landing(folder / "landing")

    def land(
        self, object: str, rows: Sequence[dict[str, Any]], seconds: int, source: str = "list", **more: Any
    ) -> Batch:
        return self.landing.write(
            object=object, account_id=more.pop("account_id", ACCOUNT), livemode=True, source=source,
            observed_at=at(seconds), lines=[msgspec.json.encode(row) for row in rows],
            requests=more.pop("requests", []), api_version="2026-10-28.endive", **more,
        )  # fmt: skip

    def load(
        self, object: str, rows: Sequence[dict[str, Any]], seconds: int, source: str = "list", **more: Any
    ) -> LoadResult:
        return self.load_batches(object, [self.land(object, rows, seconds, source, **more)])

    def load_batches(self, object: str, batches: Sequence[Batch], **more: Any) -> LoadResult:
        with self.warehouse.connect() as con:
            return load(con, object, batches, **more)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.warehouse.connect() as con:
            return con.execute(query).fetchall()

    def one(self, query: str) -> Any:
        (row,) = self.rows(query)
        return row[0] if len(row) == 1 else row


@contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes: a disk that is full, for root too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def empty_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making all tables takes most of a second, so it is done once."""
    warehouse = Warehouse(tmp_path_factory.mktemp("empty"))
    with warehouse.connect() as con:
        ensure(con)
        con.execute("checkpoint")
    return warehouse.build


@pytest.fixture
def bench(tmp_path: Path, empty_build: Path) -> Bench:
    made = Bench(tmp_path)
    made.warehouse.build.parent.mkdir(parents=True)
    shutil.copyfile(empty_build, made.warehouse.build)
    return made


def tables(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Names of all tables and views in `stripe` that hold a row."""
    names = con.execute(
        "select table_name from information_schema.tables where table_schema = 'stripe' order by 1"
    ).fetchall()
    return [name for (name,) in names if con.execute(f'select 1 from stripe."{name}" limit 1').fetchone()]
