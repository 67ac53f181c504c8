"""The pipeline against the simulator: a business that goes on while it is read."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stripe

from dagster_project.settings import Settings
from dagster_project.simulator import process
from dagster_project.stripe_api import client, loading
from dagster_project.stripe_api.audit import audit
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.landing import Landing
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.rebuild import rebuild


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A small business of its own; the address of its API."""
    handle = process.ensure_running(tmp_path_factory.mktemp("simulator"), customers=40, months=4)
    yield handle.base_url
    handle.stop()


def reader(base_url: str, folder: Path) -> tuple[Settings, Warehouse]:
    settings = Settings.load({"LEDGERLINE_DATA_DIR": str(folder)}, dotenv=folder / "no.env")
    return settings.replaced(STRIPE_API_BASE=base_url), Warehouse(folder)


def content(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    """The living rows of every object by id. A discount that ended has left its subscription and still stands on old
    invoices: which of the two was seen last decides whether it counts as deleted, so deleted ones are compared, too."""
    with warehouse.connect(read_only=True) as con:
        return {
            name: dict(
                con.execute(
                    f"select id, _payload::varchar from stripe.{name} "
                    f"where _deleted_at is null or {name == 'discounts'}"
                ).fetchall()
            )
            for name in CATALOGUE
        }


def control(base_url: str, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> None:
    data = json.dumps(body or {}).encode()
    request = urllib.request.Request(f"{base_url}/_ledgerline/{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


@pytest.fixture(scope="module")
def lived(simulator: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Settings, Warehouse]:
    """A warehouse that was filled once and then refreshed after each of a few days with changes."""
    settings, warehouse = reader(simulator, tmp_path_factory.mktemp("lived"))
    first = sync(settings, warehouse)
    assert not first.problems
    api = stripe.StripeClient("sk_simulator", base_addresses={"api": simulator})
    customers = api.v1.customers.list({"limit": 5}).data
    subscriptions = api.v1.subscriptions.list({"limit": 5, "status": "active"}).data
    charge = next(c for c in api.v1.charges.list({"limit": 20}).data if c.paid and not c.refunded)
    api.v1.customers.update(customers[0].id, {"email": "moved@example.com"})
    api.v1.refunds.create({"charge": charge.id})
    api.v1.subscriptions.cancel(subscriptions[1].id)
    assert sync(settings, warehouse).changed
    process.advance(simulator, days=1)
    api.v1.customers.delete(customers[2].id)
    sync(settings, warehouse)
    process.advance(simulator, days=9)
    sync(settings, warehouse)
    return simulator, settings, warehouse


def test_refreshes_end_where_one_whole_reading_does(lived: tuple[str, Settings, Warehouse], tmp_path: Path) -> None:
    base_url, _, warehouse = lived
    settings, fresh = reader(base_url, tmp_path)
    sync(settings, fresh)
    grown, whole = content(warehouse), content(fresh)
    for name in CATALOGUE:
        if name in ("events", "discounts"):  # kept here for longer than at Stripe
            assert grown[name].keys() >= whole[name].keys()
        else:
            assert grown[name] == whole[name], name
    assert sum(len(rows) for rows in whole.values()) > 1000


def test_a_deleted_customer_is_a_tombstone(lived: tuple[str, Settings, Warehouse]) -> None:
    with lived[2].connect(read_only=True) as con:
        gone = con.execute("select count(*) from stripe.customers where _deleted_at is not null").fetchone()
    assert gone == (1,)


def test_a_refresh_without_news_takes_few_requests_and_lands_nothing(lived: tuple[str, Settings, Warehouse]) -> None:
    _, settings, warehouse = lived
    landing = Landing(settings.data_dir / "landing")
    files = len(list(landing.batches()))
    report = sync(settings, warehouse)
    assert not report.changed
    assert report.requests <= 15
    assert len(list(landing.batches())) == files


def test_every_settled_payout_has_its_transactions(lived: tuple[str, Settings, Warehouse]) -> None:
    with lived[2].connect(read_only=True) as con:
        off = con.execute(
            """
            select p.id, p.amount, sum(b.net)::bigint from stripe.payouts as p
            join sync.payout_transactions as t on t.payout = p.id
            join stripe.balance_transactions as b on b.id = t.balance_transaction and b.id <> p.balance_transaction
            where p.reconciliation_status = 'completed' group by all having sum(b.net) <> p.amount
            """
        ).fetchall()
        settled = con.execute(
            "select count(*), count(*) filter (id not in (select payout from sync.payout_transactions)) "
            "from stripe.payouts where automatic and reconciliation_status = 'completed'"
        ).fetchone()
    assert off == []
    assert settled is not None
    assert settled[0] > 0
    assert settled[1] == 0


def test_the_audit_finds_no_difference_and_then_every_one_that_is_planted(
    lived: tuple[str, Settings, Warehouse],
) -> None:
    _, settings, warehouse = lived
    clean = audit(settings, warehouse, full=True)
    assert clean.differences == []
    assert clean.compared > 1000
    with warehouse.connect() as con:
        one, two, three = (
            row[0] for row in con.execute("select id from stripe.charges order by id limit 3").fetchall()
        )
        line = con.execute("select id from stripe.invoice_line_items order by id limit 1").fetchone()
        assert line is not None
        con.execute("create temp table charges_before as select * from stripe.charges")
        con.execute("create temp table lines_before as select * from stripe.invoice_line_items")
        con.execute("delete from stripe.charges where id = ?", [one])
        con.execute(
            "update stripe.charges set _payload = json_merge_patch(_payload, '{\"amount\": 1}') where id = ?", [two]
        )
        con.execute(
            "insert into stripe.charges by name "
            "select * replace ('ch_invented' as id) from stripe.charges where id = ?",
            [three],
        )
        con.execute("delete from stripe.invoice_line_items where id = ?", [line[0]])
        con.execute(f"attach '{warehouse.data_dir / 'kept.duckdb'}' as kept")
        con.execute("create table kept.charges as from temp.charges_before")
        con.execute("create table kept.lines as from temp.lines_before")
    found = {(d.object, d.id): d.what for d in audit(settings, warehouse, full=True).differences}
    with warehouse.connect() as con:
        con.execute(f"attach '{warehouse.data_dir / 'kept.duckdb'}' as kept")
        con.execute("begin")
        con.execute("delete from stripe.charges")
        con.execute("insert into stripe.charges by name from kept.charges")
        con.execute("commit")
        con.execute("begin")
        con.execute("delete from stripe.invoice_line_items")
        con.execute("insert into stripe.invoice_line_items by name from kept.lines")
        con.execute("commit")
    assert found.keys() == {
        ("charges", one), ("charges", two), ("charges", "ch_invented"), ("invoice_line_items", line[0]),
    }  # fmt: skip
    assert found["charges", one] == "is missing in the warehouse"
    assert found["charges", two] == "differs in amount"
    assert "missing" in found["invoice_line_items", line[0]]


def test_the_warehouse_comes_back_from_landing_alone(
    lived: tuple[str, Settings, Warehouse],
) -> None:
    _, settings, warehouse = lived
    before = content(warehouse)
    rebuild(warehouse, Landing(settings.data_dir / "landing"))
    assert content(warehouse) == before


def test_trouble_on_the_way_leaves_no_hole(simulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors, broken connections, bodies that end early and rate limits, all at once."""
    monkeypatch.setattr(client, "_pause", lambda tries: 0.05)
    settings, warehouse = reader(simulator, tmp_path / "troubled")
    control(
        simulator, "faults", {"error_rate": 0.1, "reset_rate": 0.05, "truncate_rate": 0.1, "endpoint_rate_limit": 30}
    )
    try:
        report = sync(settings, warehouse)
    finally:
        control(simulator, "faults", method="DELETE")
    assert not report.problems
    quiet, calm = reader(simulator, tmp_path / "calm")
    sync(quiet, calm)
    assert content(warehouse) == content(calm)


def versions(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """Every version in the history tables: id, content, and whether its time is exact; the time where it is."""
    with warehouse.connect(read_only=True) as con:
        return {
            name: con.execute(
                f"select id, _content_hash, _valid_from_is_exact, case when _valid_from_is_exact then valid_from end, "
                f"valid_to is null from stripe.{name}_history order by all"
            ).fetchall()
            for name, row in CATALOGUE.items()
            if row.history
        }


def test_what_is_loaded_while_the_rest_is_read_is_what_is_loaded_at_the_end(
    lived: tuple[str, Settings, Warehouse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, at_the_end = reader(lived[0], tmp_path / "end")
    sync(settings, at_the_end)
    monkeypatch.setattr(loading, "AHEAD", 1)
    settings, ahead = reader(lived[0], tmp_path / "ahead")
    report = sync(settings, ahead)
    assert not report.problems
    assert content(ahead) == content(at_the_end)
    assert versions(ahead) == versions(at_the_end)
    assert sum(map(len, versions(ahead).values())) > 300
    with ahead.connect(read_only=True) as con:
        loads = con.execute("select count(*) from sync.loads").fetchone()
    assert loads and loads[0] > 20


def test_time_is_the_simulators(lived: tuple[str, Settings, Warehouse]) -> None:
    base_url, settings, warehouse = lived
    report = sync(settings, warehouse)
    assert (
        abs(report.synced_until.timestamp() - process.status(base_url)["now"]) <= timedelta(seconds=1).total_seconds()
    )
