"""The warehouse again from landing."""

from __future__ import annotations

import pytest
from warehouse_world import ACCOUNT, Bench, at, charge, customer, event, item, subscription, tables

from dagster_project.errors import LandingError, WarehouseError, WarehouseLocked
from dagster_project.stripe_api.landing import Landing
from dagster_project.warehouse.load import load, read_cursors
from dagster_project.warehouse.rebuild import rebuild


def content(bench: Bench) -> dict[str, list[tuple[object, ...]]]:
    with bench.warehouse.connect() as con:
        names = [f"stripe.{name}" for name in tables(con)] + ["sync.payout_transactions"]
        return {name: sorted(con.execute(f"select * from {name}").fetchall(), key=repr) for name in names}


def busy(bench: Bench) -> None:
    """A few syncs as they happen: events first, then re-reads, a deletion, a replay."""
    two = subscription("sub_1", item("si_1", "sub_1"), item("si_2", "sub_1"))
    one = subscription("sub_1", item("si_2", "sub_1", quantity=3))
    bench.load("customers", [customer("cus_1"), customer("cus_2")], 10)
    bench.load("charges", [charge("ch_1"), charge("ch_2")], 11)
    bench.load("subscriptions", [two], 12)
    bench.load("events", [event("evt_1", 20, "customer.subscription.updated", one)], 30, "event")
    bench.load("subscriptions", [one], 31, "read")
    bench.load("customers", [customer("cus_1")], 32, "sweep")
    bench.load("customers", [{"id": "cus_2", "object": "customer", "deleted": True}], 33, "absent")
    bench.load("charges", [charge("ch_1", amount=5)], 34, "read")
    bench.load("charges", [charge("ch_1")], 40, "read")
    bench.load("events", [event("evt_2", 35, "customer.updated", customer("cus_1", email="new"))], 41, "event")


def test_a_rebuild_gives_the_same_rows_history_and_cursors(bench: Bench) -> None:
    busy(bench)
    with bench.warehouse.connect() as con:
        load(con, "charges", [], {(ACCOUNT, True): {"high": 9}})
    before = content(bench)
    assert len(before["stripe.charges_history"]) == 4
    rebuild(bench.warehouse, bench.landing)
    after = content(bench)
    assert after.keys() == before.keys()
    for name, rows in before.items():
        assert after[name] == rows, name
    with bench.warehouse.connect() as con:
        assert read_cursors(con, "charges") == {(ACCOUNT, True): {"high": 9}}


def test_events_of_one_second_keep_the_order_of_the_runs_that_read_them(bench: Bench) -> None:
    """Also when every run has the same process id, as in a container."""
    for seconds, text in [(10, "early"), (11, "late")]:
        bench.landing = Landing(bench.folder / "landing")
        bench.load("events", [event(f"evt_{text}", 5, "charge.updated", charge("ch_1", description=text))], seconds,
                   "event")  # fmt: skip
    bench.load("charges", [charge("ch_1", description="late")], 12, "read")
    expected = [("late", at(5), None, True)]
    versions = "select description, valid_from, valid_to, _valid_from_is_exact from stripe.charges_history order by 2"
    assert bench.rows(versions) == expected
    rebuild(bench.warehouse, bench.landing)
    assert bench.rows(versions) == expected


def test_what_was_deleted_is_what_it_was_and_since_when_it_is_gone(bench: Bench) -> None:
    """Stripe answers for a deleted customer with no more than its id, which later files may repeat."""
    gone = [{"id": "cus_1", "object": "customer", "deleted": True}]
    for seconds, seen in [(10, [customer("cus_1")]), (20, gone), (30, gone), (40, gone)]:
        bench.load("customers", seen, seconds, "read")
    for seconds, off, source in [
        (10, 5, "list"),
        (20, 0, "absent"),
        (30, 9, "list"),
        (40, 0, "absent"),
        (50, 0, "absent"),
    ]:
        seen = {"id": "AGAIN", "object": "coupon"} | ({"percent_off": off} if off else {"deleted": True})
        bench.load("coupons", [seen], seconds, source)
    before = content(bench)
    assert bench.rows("select email, _deleted_at from stripe.customers") == [("cus_1@example.com", at(20))]
    assert bench.rows("select percent_off::int, _deleted_at from stripe.coupons") == [(9, at(40))]
    rebuild(bench.warehouse, bench.landing)
    after = content(bench)
    assert after["stripe.customers"] == before["stripe.customers"]
    assert after["stripe.coupons"] == before["stripe.coupons"]


def test_a_damaged_file_leaves_the_old_build(bench: Bench) -> None:
    busy(bench)
    before = content(bench)
    batch = next(bench.landing.batches())
    batch.path.write_bytes(batch.path.read_bytes()[:-1])
    with pytest.raises(LandingError):
        rebuild(bench.warehouse, bench.landing)
    assert content(bench) == before
    assert [path.name for path in bench.warehouse.build.parent.iterdir()] == ["warehouse.duckdb"]


STATE = {
    "accounts": "account_id, livemode, synced_until",
    "object_state": "account_id, livemode, object, state",
    "requests": "account_id, livemode, day, endpoint, requests",
    "proofs": "account_id, livemode, object, agreed, compared_at",
    "gaps": "account_id, livemode, object, noted_at",
}
VALUES = {
    "accounts": (ACCOUNT, True, at(40)),
    "object_state": (ACCOUNT, True, "charges", "ok"),
    "requests": (ACCOUNT, True, at(0).date(), "/charges", 12),
    "proofs": (ACCOUNT, True, "charges", True, at(40)),
    "gaps": (ACCOUNT, True, "charges", at(40)),
}


def remember(bench: Bench) -> None:
    with bench.warehouse.connect() as con:
        for table, columns in STATE.items():
            con.execute(f"insert into sync.{table} ({columns}) values ({', '.join('?' * len(VALUES[table]))})",
                        [*VALUES[table]])  # fmt: skip


def remembered(bench: Bench) -> dict[str, list[tuple[object, ...]]]:
    return {table: bench.rows(f"select {columns} from sync.{table}") for table, columns in STATE.items()}


def test_what_no_landed_file_tells_is_taken_over(bench: Bench) -> None:
    """Among it the requests of the month, which Stripe goes on counting."""
    bench.load("charges", [charge("ch_1")], 10)
    remember(bench)
    loads = bench.one("select version from sync.version")
    rebuild(bench.warehouse, bench.landing)
    assert remembered(bench) == {table: [row] for table, row in VALUES.items()}
    assert bench.one("select version from sync.version") == loads + 1


def test_a_build_of_an_older_version_gives_what_it_has(bench: Bench) -> None:
    bench.load("charges", [charge("ch_1")], 10)
    remember(bench)
    with bench.warehouse.connect() as con:
        con.execute("drop table sync.proofs; drop table sync.requests; drop table sync.cursor_coupons")
        load(con, "charges", [], {(ACCOUNT, True): {"high": 9}})
    rebuild(bench.warehouse, bench.landing)
    assert remembered(bench) == {
        table: [] if table in ("proofs", "requests") else [row] for table, row in VALUES.items()
    }
    with bench.warehouse.connect() as con:
        assert read_cursors(con, "charges") == {(ACCOUNT, True): {"high": 9}}


def test_a_damaged_build_is_made_again_and_forgets_how_far_was_read(bench: Bench) -> None:
    busy(bench)
    before = content(bench)
    with bench.warehouse.connect() as con:
        load(con, "charges", [], {(ACCOUNT, True): {"high": 9}})
    bench.warehouse.build.write_bytes(b"not a database" * 1000)
    bench.warehouse.build.with_name("warehouse.duckdb.wal").write_bytes(b"nor its log")
    rebuild(bench.warehouse, bench.landing)
    assert content(bench) == before
    assert [path.name for path in bench.warehouse.build.parent.iterdir()] == ["warehouse.duckdb"]
    with bench.warehouse.connect() as con:
        assert read_cursors(con, "charges") == {}


def test_nothing_is_rebuilt_while_somebody_writes(bench: Bench) -> None:
    bench.load("charges", [charge("ch_1")], 10)
    with bench.warehouse.connect() as con:
        with pytest.raises(WarehouseLocked):
            rebuild(bench.warehouse, bench.landing)
        assert con.execute("select count(*) from stripe.charges").fetchone() == (1,)
    assert [path.name for path in bench.warehouse.build.parent.iterdir()] == ["warehouse.duckdb"]


def test_nothing_to_rebuild_from_says_what_to_do(bench: Bench) -> None:
    with pytest.raises(WarehouseError, match="backfill"):
        rebuild(bench.warehouse, bench.landing)
