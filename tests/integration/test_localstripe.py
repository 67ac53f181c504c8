"""A full sync and a refresh against localstripe, an independent stateful fake of Stripe that runs as its own program.

It has no account endpoint and no `created` filter on most lists, and lacks many lists altogether: so the account comes
from LEDGERLINE_ACCOUNTS, plain cursor chains are read, and each list that it cannot serve is named.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import stripe

from dagster_project.settings import Settings
from dagster_project.stripe_api.sync import SyncReport, sync
from dagster_project.warehouse.connection import Warehouse

pytestmark = pytest.mark.integration
KEY = "sk_test_localstripe"


@pytest.fixture(scope="module")
def localstripe() -> Iterator[str]:
    program = Path(os.environ.get("LEDGERLINE_TEST_COUNTERPARTS", "")) / "bin" / "localstripe"
    if not program.is_file():
        pytest.skip("localstripe is not installed: `make test-integration` installs and runs it")
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [str(program), "--port", str(port), "--from-scratch"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                request = urllib.request.Request(f"{url}/v1/customers", headers={"Authorization": f"Bearer {KEY}"})
                urllib.request.urlopen(request, timeout=1).close()
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def settings_for(tmp_path: Path, url: str) -> Settings:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "accounts.yaml").write_text(
        "- {name: local, key: 'file:key', account_id: acct_localstripe, livemode: false}\n"
    )
    return Settings.load(
        {
            "LEDGERLINE_ACCOUNTS": str(tmp_path / "accounts.yaml"),
            "LEDGERLINE_DATA_DIR": str(tmp_path / "data"),
            "STRIPE_API_BASE": url,
        },
        dotenv=tmp_path / "none",
    )


def rows(warehouse: Warehouse, sql: str) -> list[tuple]:
    with warehouse.connect(read_only=True) as con:
        return con.execute(sql).fetchall()


def unreadable(report: SyncReport) -> set[str]:
    return {name for name, row in report.objects.items() if row.state in ("failed", "not_permitted")}


def test_objects_of_its_api_arrive_and_what_it_cannot_serve_is_named(tmp_path: Path, localstripe: str) -> None:
    client = stripe.StripeClient(KEY, base_addresses={"api": localstripe})
    made = [client.v1.customers.create({"email": f"c{n}@example.com", "name": f"Customer {n}"}) for n in range(12)]
    settings = settings_for(tmp_path, localstripe)
    warehouse = Warehouse(settings.data_dir)

    report = sync(settings, warehouse)

    assert rows(warehouse, "select count(*), count(distinct id) from stripe.customers") == [(12, 12)]
    assert rows(warehouse, "select distinct account_id, livemode from stripe.customers") == [
        ("acct_localstripe", False)
    ]
    missing = unreadable(report)
    assert {"disputes", "credit_notes", "subscription_schedules"} <= missing
    assert "customers" not in missing
    assert all(any(name in problem for problem in report.problems) for name in missing)

    client.v1.customers.update(made[0].id, {"name": "Renamed"})
    later = client.v1.customers.create({"email": "late@example.com", "name": "Late"})
    client.v1.customers.delete(made[1].id)

    report = sync(settings, warehouse)

    found = dict(rows(warehouse, "select id, name from stripe.customers where _deleted_at is null"))
    assert found[made[0].id] == "Renamed"
    assert found[later.id] == "Late"
    assert made[1].id not in found
    assert rows(warehouse, f"select count(*) from stripe.customers where id = '{made[1].id}'") == [(1,)]
    assert report.changed


def test_a_second_sync_without_changes_leaves_the_warehouse_as_it_is(tmp_path: Path, localstripe: str) -> None:
    settings = settings_for(tmp_path, localstripe)
    warehouse = Warehouse(settings.data_dir)
    sync(settings, warehouse)
    before = rows(warehouse, "from stripe.customers order by id")
    report = sync(settings, warehouse)
    assert not report.changed
    assert rows(warehouse, "from stripe.customers order by id") == before
    assert before
