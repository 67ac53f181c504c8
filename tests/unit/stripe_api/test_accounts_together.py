"""Several accounts in one run, against the local Stripe: kept apart, read fairly, and none in the other's way."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagster_project.errors import StripeAnswerError, StripeAuthError, WarehouseError
from dagster_project.settings import Account, Settings
from dagster_project.simulator.engine.accounts import open_account
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.server import Options, create_app
from dagster_project.stripe_api import scheduling
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.report import ObjectReport, SyncReport
from dagster_project.stripe_api.scheduling import Reading, everyone, read_all
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse.connection import Warehouse
from tests.unit.simulator.conftest import Simulator, _Thread

NOON = 1_794_744_000


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """A platform with its own account and nothing else."""
    store = Store(tmp_path / "state.sqlite")
    store.now = NOON
    world = World(store)
    open_account(world, name="Market", currencies=("usd",))
    with _Thread(create_app(store, world, Options())) as url:
        yield Simulator(url, store, world)
    store.close()


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data")


def control(simulator: Simulator, path: str, body: dict[str, Any], key: str = "sk_live_1") -> dict[str, Any]:
    request = urllib.request.Request(
        f"{simulator.base_url}/_ledgerline/{path}", data=json.dumps(body).encode(), method="POST",
        headers={"Authorization": f"Bearer {key}"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def settings(simulator: Simulator, tmp_path: Path, rows: list[dict[str, Any]], **keys: str) -> Settings:
    """Settings of a list of accounts; the keys stand in `.env`."""
    (tmp_path / "accounts.yaml").write_text(yaml.safe_dump(rows))
    (tmp_path / ".env").write_text("".join(f"{name}={key}\n" for name, key in keys.items()))
    given = {
        "LEDGERLINE_DATA_DIR": str(tmp_path / "data"), "LEDGERLINE_ACCOUNTS": str(tmp_path / "accounts.yaml"),
        "STRIPE_API_BASE": simulator.base_url,
    }  # fmt: skip
    return Settings.load(given, dotenv=tmp_path / ".env")


def sellers(simulator: Simulator, number: int) -> list[str]:
    """Connected accounts, each with one customer of its own."""
    client, ids = simulator.client("sk_live_1"), []
    for _ in range(number):
        one = client.v1.accounts.create({"type": "custom", "country": "US"}).id
        client.v1.customers.create({"name": one}, {"stripe_account": one})
        ids.append(one)
    return ids


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect(read_only=True) as con:
        return con.execute(query).fetchall()


PLATFORM = {"name": "market", "key": "env:MARKET", "connected": "all"}


def test_all_connected_accounts_are_read_and_new_ones_found_at_the_next_run(
    simulator: Simulator, warehouse: Warehouse, tmp_path: Path
) -> None:
    here = settings(simulator, tmp_path, [PLATFORM], MARKET="sk_live_1")
    first = sellers(simulator, 3)
    report = sync(here, warehouse)
    assert (report.problems, len(report.accounts)) == ([], 4)
    assert rows(warehouse, "select account_id from stripe.customers where name = account_id order by 1") == [
        (one,) for one in sorted(first)
    ]
    (new,) = sellers(simulator, 1)
    sync(here, warehouse)
    assert set(asyncio.run(everyone(here, here.accounts()[0]))) == {None, new, *first}  # whom the audit compares
    assert rows(warehouse, f"select count(*) from stripe.customers where account_id = '{new}'") == [(1,)]


def test_one_accounts_outage_is_named_and_stops_no_other(
    simulator: Simulator, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_project.stripe_api.client._pause", lambda tries: 0.0)
    here = settings(simulator, tmp_path, [PLATFORM], MARKET="sk_live_1")
    sick, *well = sellers(simulator, 3)
    control(simulator, "faults", {"error_rate": 1, "account": sick})
    report = sync(here, warehouse)
    assert list(report.failed_accounts) == [f"market/{sick}"]
    assert any(problem.startswith(f"account market/{sick}: ") for problem in report.problems)
    assert rows(warehouse, "select count(*) from stripe.customers") == [(len(well),)]
    control(simulator, "faults", {"error_rate": 0, "truncate_rate": 1})
    report = sync(here, warehouse)
    assert list(report.failed_accounts) == [f"market/{sick}"]
    control(simulator, "faults", {"truncate_rate": 0})
    assert sync(here, warehouse).failed_accounts == {}
    assert rows(warehouse, "select count(*) from stripe.customers") == [(3,)]


def test_an_account_that_is_not_connected_any_more_is_named(
    simulator: Simulator, warehouse: Warehouse, tmp_path: Path
) -> None:
    gone, well = sellers(simulator, 2)
    listed = {**PLATFORM, "connected": [gone, well]}
    here = settings(simulator, tmp_path, [listed], MARKET="sk_live_1")
    simulator.client("sk_live_1").v1.accounts.delete(gone)
    report = sync(here, warehouse)
    assert list(report.failed_accounts) == [f"market/{gone}"]
    assert "Connect it again" in report.failed_accounts[f"market/{gone}"]
    assert rows(warehouse, "select count(*) from stripe.customers") == [(1,)]


def test_live_and_test_data_with_the_same_ids_stay_apart(
    simulator: Simulator, warehouse: Warehouse, tmp_path: Path
) -> None:
    control(simulator, "accounts", {"livemode": False})
    control(simulator, "accounts", {"name": "acme"})
    keys = {"LIVE": "sk_live_1", "TEST": "sk_test_1", "ACME": "sk_live_acme"}
    for percent, key in enumerate(keys.values(), 10):
        simulator.client(key).v1.coupons.create({"id": "WELCOME", "percent_off": percent, "duration": "once"})
    listed = [
        {"name": "market", "key": "env:LIVE"},
        {"name": "market", "key": "env:TEST"},
        {"name": "acme", "key": "env:ACME"},
    ]
    report = sync(settings(simulator, tmp_path, listed, **keys), warehouse)
    assert report.problems == []
    found = rows(warehouse, "select account_id, livemode, percent_off::int from stripe.coupons order by 3")
    own = simulator.world.id_of_account
    assert found[:2] == [(own, True, 10), (own, False, 11)]
    assert found[2][0] != own
    assert found[2][1:] == (True, 12)


def test_an_account_that_two_keys_reach_is_read_once(
    simulator: Simulator, warehouse: Warehouse, tmp_path: Path
) -> None:
    listed = [{"name": "one", "key": "env:ONE"}, {"name": "two", "key": "env:TWO"}]
    here = settings(simulator, tmp_path, listed, ONE="sk_live_1", TWO="rk_live_2")
    report = sync(here, warehouse)
    assert len(report.accounts) == len(report.failed_accounts) == 1
    assert "is read through another key already" in next(iter(report.failed_accounts.values()))


def test_a_missing_permission_of_one_account_is_not_hidden_by_the_others(
    simulator: Simulator, warehouse: Warehouse, tmp_path: Path
) -> None:
    control(simulator, "accounts", {"name": "acme"})
    for key in ("sk_live_1", "sk_live_acme"):
        simulator.client(key).v1.charges.create({"amount": 500, "currency": "usd", "source": "tok_visa"})
    control(simulator, "keys", {"key": "rk_live_acme", "permissions": {"charges": "none"}})
    listed = [{"name": "market", "key": "env:MARKET"}, {"name": "acme", "key": "env:ACME"}]
    here = settings(simulator, tmp_path, listed, MARKET="sk_live_1", ACME="rk_live_acme")
    report = sync(here, warehouse)
    assert report.objects["charges"].state == "not_permitted"
    assert report.objects["charges"].message.startswith("acme: ")
    assert rows(warehouse, "select count(*) from stripe.charges") == [(1,)]
    assert rows(warehouse, "select count(*) from stripe.balance_transactions") == [(2,)]


# ---- the order, with readings that do nothing ----------------------------------------------------------------
def schedule(run: Any, connected: list[str], last_read: dict[str, float] | None = None) -> SyncReport:
    here = Settings.load({"STRIPE_API_KEY": "sk_live_1"}, dotenv=Path("no.env"))
    report = SyncReport({name: ObjectReport(name) for name in CATALOGUE})
    account = Account("market", "sk_live_1", connected=tuple(connected))
    asyncio.run(read_all(here, [account], report, run, last_read or {}))
    return report


def test_a_giant_account_keeps_no_small_one_waiting() -> None:
    ended: list[str] = []
    small = [f"acct_{number}" for number in range(40)]
    others_done = asyncio.Event()

    async def run(reading: Reading) -> None:
        if reading.connected == "acct_giant":
            await asyncio.wait_for(others_done.wait(), 10)
        ended.append(reading.label)
        if len(ended) == len(small) + 1:
            others_done.set()

    schedule(run, ["acct_giant", *small])
    assert ended[-1] == "market/acct_giant"
    assert len(ended) == 42


def test_only_so_many_accounts_are_read_at_once() -> None:
    now = most = 0

    async def run(reading: Reading) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1

    schedule(run, [f"acct_{number}" for number in range(300)])
    assert most == scheduling.PER_KEY + 1  # and the platform itself


def test_whoever_was_read_longest_ago_comes_first() -> None:
    begun: list[str | None] = []

    async def run(reading: Reading) -> None:
        begun.append(reading.connected)

    schedule(run, ["acct_a", "acct_b", "acct_new", "acct_c"], {"acct_a": 30.0, "acct_b": 10.0, "acct_c": 20.0})
    assert begun[0] is None
    assert begun[1:] == ["acct_new", "acct_b", "acct_c", "acct_a"]


@pytest.mark.parametrize("trouble", [StripeAnswerError("no"), KeyError("id"), TypeError("what")])
def test_what_one_account_answers_never_stops_the_others(trouble: Exception) -> None:
    async def run(reading: Reading) -> None:
        if reading.connected == "acct_2":
            raise trouble

    report = schedule(run, ["acct_1", "acct_2", "acct_3"])
    assert list(report.failed_accounts) == ["market/acct_2"]
    assert report.problems[0].startswith("account market/acct_2: ")


def test_a_warehouse_that_cannot_be_written_ends_the_run() -> None:
    begun: list[str] = []

    async def run(reading: Reading) -> None:
        begun.append(reading.label)
        if reading.connected == "acct_5":
            raise WarehouseError("full")
        await asyncio.sleep(0.001)

    with pytest.raises(WarehouseError, match="full"):
        schedule(run, [f"acct_{number}" for number in range(300)])
    assert len(begun) < 30


def test_when_no_account_can_be_read_the_first_failure_is_raised() -> None:
    async def run(reading: Reading) -> None:
        raise StripeAuthError("wrong key")

    with pytest.raises(StripeAuthError, match="wrong key"):
        schedule(run, ["acct_1"])
