"""A whole synchronisation against a server that answers as the test decides: nothing is lost, nothing is twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from fake_stripe import ACCOUNT, NOW, FakeStripe, refusal, reply

from dagster_project.errors import StripeAuthError, UsageError
from dagster_project.settings import Settings
from dagster_project.stripe_api import loading, reading, sink
from dagster_project.stripe_api.account import AccountReader
from dagster_project.stripe_api.landing import Landing
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.state import read_cursors

DAY = 86_400


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect(read_only=True) as con:
        return con.execute(query).fetchall()


def landed(settings: Settings) -> list[str]:
    return [batch.key for batch in Landing(settings.data_dir / "landing").batches()]


def charge(number: int, *, at: int | None = None, **fields: Any) -> dict[str, Any]:
    made = NOW - number * 60 if at is None else at
    return {
        "id": f"ch_{number:05}",
        "object": "charge",
        "created": made,
        "status": "succeeded",
        "amount": 100,
        **fields,
    }


def invoice(
    number: int, lines: int, *, first: int = 10, amount: int = 1
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An invoice that shows its `first` lines, and all of them."""
    one = f"in_{number}"
    every = [{"id": f"il_{number}_{n}", "object": "line_item", "amount": amount, "invoice": one} for n in range(lines)]
    shown = {"object": "list", "data": every[:first], "has_more": lines > first, "url": f"/v1/invoices/{one}/lines"}
    return {"id": one, "object": "invoice", "created": NOW - 5000 - number, "status": "paid", "lines": shown}, every


# ---- backfill ------------------------------------------------------------------------------------------------
def test_a_first_reading_holds_every_row_once(stripe: FakeStripe, settings: Settings, warehouse: Warehouse) -> None:
    stripe.put("/v1/charges", *(charge(n) for n in range(730)))
    report = sync(settings, warehouse)
    assert rows(warehouse, "select count(*), count(distinct id) from stripe.charges") == [(730, 730)]
    assert (report.objects["charges"].state, report.objects["charges"].total) == ("ok", 730)
    assert report.changed
    assert int(report.synced_until.timestamp()) == NOW, "the time is Stripe's"
    assert rows(warehouse, "select distinct account_id, livemode from stripe.charges") == [(ACCOUNT, False)]


def test_reading_again_without_news_changes_nothing_and_lands_nothing(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", *(charge(n) for n in range(30)))
    stripe.put("/v1/balance_transactions", {"id": "txn_1", "created": NOW - 5, "status": "pending"})
    stripe.announce("charge.succeeded", charge(1), number=1)
    sync(settings, warehouse)
    files, before = landed(settings), sum(stripe.requests.values())
    report = sync(settings, warehouse)
    assert not report.changed
    assert landed(settings) == files
    assert sum(stripe.requests.values()) - before <= 5


def test_lists_inside_objects_are_read_to_their_end(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    short, few = invoice(1, 3)
    long, many = invoice(2, 250)
    stripe.put("/v1/invoices", short, long)
    stripe.put("/v1/invoices/in_2/lines", *many)
    sync(settings, warehouse)
    found = rows(warehouse, "select invoice, count(*) from stripe.invoice_line_items group by 1 order by 1")
    assert found == [("in_1", len(few)), ("in_2", len(many))]
    assert stripe.requests["/v1/invoices/in_2"] == 0, "the list showed it already"
    assert stripe.requests["/v1/invoices/in_2/lines"] == 3


def test_an_invoice_that_is_read_again_by_its_id_brings_its_long_list_along(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    long, many = invoice(2, 120)
    stripe.put("/v1/invoices", long)
    stripe.put("/v1/invoices/in_2/lines", *many)
    sync(settings, warehouse)
    changed, every = invoice(2, 115, amount=7)
    stripe.lists["/v1/invoices/in_2/lines"] = every
    stripe.put("/v1/invoices", changed)
    stripe.now += 3600
    stripe.announce("invoice.updated", changed, number=1)
    sync(settings, warehouse)
    found = rows(
        warehouse, "select count(*), sum(amount)::bigint from stripe.invoice_line_items where _deleted_at is null"
    )
    assert found == [(115, 115 * 7)]


def test_a_half_read_list_is_never_in_the_warehouse(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    long, many = invoice(2, 250)
    stripe.put("/v1/invoices", long)
    stripe.put("/v1/invoices/in_2/lines", *many)
    stripe.hook = lambda request: (
        refusal(500, "broken") if request.path.endswith("/lines") and "starting_after" in request.query else None
    )
    report = sync(settings, warehouse)
    assert report.objects["invoices"].state == "failed"
    assert rows(warehouse, "select count(*) from stripe.invoice_line_items")[0][0] <= 10
    stripe.hook = lambda request: None
    sync(settings, warehouse)
    assert rows(warehouse, "select count(*) from stripe.invoice_line_items") == [(250,)]


def test_a_row_is_owed_until_the_last_of_its_long_lists_is_landed(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    cards = [{"id": f"card_{n}", "object": "card", "customer": "cus_1"} for n in range(12)]
    numbers = [{"id": f"txi_{n}", "object": "tax_id", "customer": "cus_1"} for n in range(12)]

    def first(rows: list[dict[str, Any]], path: str) -> dict[str, Any]:
        return {"object": "list", "data": rows[:10], "has_more": True, "url": path}

    lists = {"/v1/customers/cus_1/sources": cards, "/v1/customers/cus_1/tax_ids": numbers}
    stripe.lists.update(lists)
    sources, tax_ids = (first(rows, path) for path, rows in lists.items())
    stripe.put(
        "/v1/customers",
        {"id": "cus_1", "object": "customer", "created": NOW - 5, "sources": sources, "tax_ids": tax_ids},
    )
    stripe.hook = lambda request: refusal(500, "broken") if request.path.endswith("/tax_ids") else None
    assert sync(settings, warehouse).objects["customers"].state == "failed"
    stripe.hook = lambda request: None
    stripe.now += 3600
    sync(settings, warehouse)
    assert rows(warehouse, "select count(*) from stripe.customer_sources") == [(12,)]
    assert rows(warehouse, "select count(*) from stripe.customer_tax_ids") == [(12,)]


# ---- changes -------------------------------------------------------------------------------------------------
def test_events_lead_to_what_changed_whatever_their_own_payload_says(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", *(charge(n, at=NOW - 40 * DAY + n) for n in range(300)))
    sync(settings, warehouse)
    stripe.now += 7200
    stripe.put("/v1/charges", charge(7, at=NOW - 40 * DAY + 7, amount=555))
    stripe.announce("charge.updated", charge(7, amount=1), number=1, created=stripe.now - 60)
    asked = sum(stripe.requests.values())
    report = sync(settings, warehouse)
    assert rows(warehouse, "select amount from stripe.charges where id = 'ch_00007'") == [(555,)]
    assert (report.objects["charges"].changed, report.objects["charges"].inserted) == (1, 0)
    assert sum(stripe.requests.values()) - asked <= 12


def test_an_event_that_becomes_visible_late_is_not_lost(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY))
    sync(settings, warehouse)
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY, amount=9))
    stripe.announce("charge.updated", charge(1), number=1, created=NOW - 120)
    stripe.now += 600
    sync(settings, warehouse)
    assert rows(warehouse, "select amount from stripe.charges") == [(9,)]


def test_rows_that_appear_late_with_an_older_time_are_not_lost(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    sync(settings, warehouse)
    stripe.now += 60
    stripe.put("/v1/balance_transactions", {"id": "txn_late", "created": NOW - 1800, "status": "available"})
    sync(settings, warehouse)
    assert rows(warehouse, "select id from stripe.balance_transactions") == [("txn_late",)]


def test_rows_that_change_without_an_event_are_read_again(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    transaction = {"id": "txn_1", "object": "balance_transaction", "created": NOW - 3 * DAY, "status": "pending",
                   "available_on": NOW + DAY // 2}  # fmt: skip
    stripe.put("/v1/balance_transactions", transaction)
    sync(settings, warehouse)
    stripe.now += DAY
    stripe.put("/v1/balance_transactions", {**transaction, "status": "available"})
    sync(settings, warehouse)
    assert rows(warehouse, "select status from stripe.balance_transactions") == [("available",)]


def test_a_deleted_customer_stays_as_a_tombstone(stripe: FakeStripe, settings: Settings, warehouse: Warehouse) -> None:
    customer = {"id": "cus_1", "object": "customer", "created": NOW - 40 * DAY, "email": "a@example.com"}
    stripe.put("/v1/customers", customer)
    sync(settings, warehouse)
    stripe.now += 3600
    stripe.lists["/v1/customers"] = []
    stripe.announce("customer.deleted", customer, number=1)
    sync(settings, warehouse)
    assert rows(warehouse, "select email, _deleted_at is not null from stripe.customers") == [("a@example.com", True)]


def test_a_canceled_subscription_is_not_deleted(stripe: FakeStripe, settings: Settings, warehouse: Warehouse) -> None:
    subscription = {"id": "sub_1", "object": "subscription", "created": NOW - 40 * DAY, "status": "active"}
    stripe.put("/v1/subscriptions", subscription)
    sync(settings, warehouse)
    stripe.now += 3600
    stripe.put("/v1/subscriptions", {**subscription, "status": "canceled"})
    stripe.announce("customer.subscription.deleted", subscription, number=1)
    sync(settings, warehouse)
    assert rows(warehouse, "select status, _deleted_at from stripe.subscriptions") == [("canceled", None)]


def test_a_whole_reading_finds_what_was_deleted_without_an_event(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/coupons", *({"id": f"C{n}", "object": "coupon", "created": NOW - n * DAY} for n in range(3)))
    sync(settings, warehouse)
    stripe.lists["/v1/coupons"].pop(1)
    stripe.now += 60
    sync(settings, warehouse, mode="full")
    gone = rows(warehouse, "select id from stripe.coupons where _deleted_at is not null")
    assert gone == [("C1",)]


def test_after_a_gap_longer_than_stripe_keeps_events_everything_is_read_again_loudly(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY))
    sync(settings, warehouse)
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY, amount=42))
    stripe.now += 40 * DAY
    report = sync(settings, warehouse)
    assert any("Everything is read again" in problem for problem in report.problems)
    assert rows(warehouse, "select amount from stripe.charges") == [(42,)]


# ---- failures ------------------------------------------------------------------------------------------------
def forbidding(path: str) -> Any:
    return lambda request: refusal(403, "permission missing") if request.path == path else None


def test_an_object_without_permission_is_named_and_the_others_go_on(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", charge(1))
    stripe.put("/v1/reviews", {"id": "prv_1", "created": NOW - 5})
    stripe.hook = forbidding("/v1/reviews")
    report = sync(settings, warehouse)
    assert report.objects["reviews"].state == "not_permitted"
    assert "permission missing" in report.objects["reviews"].message
    assert report.objects["charges"].total == 1
    assert rows(warehouse, "select state from sync.object_state where object = 'reviews'") == [("not_permitted",)]


def test_what_changed_while_an_object_could_not_be_read_is_read_later(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY))
    sync(settings, warehouse)
    stripe.now += 3600
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY, amount=77))
    stripe.announce("charge.updated", charge(1), number=1)
    stripe.hook = forbidding("/v1/charges/ch_00001")
    assert sync(settings, warehouse).objects["charges"].state == "not_permitted"
    stripe.hook = lambda request: None
    stripe.now += 3600
    sync(settings, warehouse)
    assert rows(warehouse, "select amount from stripe.charges") == [(77,)]


def test_without_the_change_feed_objects_are_read_whole(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY))
    sync(settings, warehouse)
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY, amount=5))
    stripe.now += 60
    stripe.hook = forbidding("/v1/events")
    report = sync(settings, warehouse)
    assert report.objects["events"].state == "not_permitted"
    assert rows(warehouse, "select amount from stripe.charges") == [(5,)]


def test_a_wrong_key_raises(stripe: FakeStripe, settings: Settings, warehouse: Warehouse) -> None:
    stripe.hook = lambda request: refusal(401, "Invalid API Key provided")
    with pytest.raises(StripeAuthError):
        sync(settings, warehouse)


def test_an_unknown_object_is_a_usage_error(settings: Settings, warehouse: Warehouse) -> None:
    with pytest.raises(UsageError, match="charges"):
        sync(settings, warehouse, objects=["chargse"])


def test_a_crash_between_landing_and_loading_loses_nothing(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY))
    sync(settings, warehouse)
    stripe.now += 3600
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY, amount=31))
    stripe.announce("charge.updated", charge(1), number=1)

    class Killed(BaseException):
        pass

    def die(*arguments: Any, **named: Any) -> Any:
        raise Killed

    # The events are landed; the object that they announce has not been read yet.
    monkeypatch.setattr(reading, "by_id", die)
    with pytest.raises(Killed):
        sync(settings, warehouse)
    monkeypatch.undo()
    sync(settings, warehouse)
    assert rows(warehouse, "select amount from stripe.charges") == [(31,)]
    assert rows(warehouse, "select count(*) from stripe.events") == [(1,)]


def test_rows_landed_by_a_run_that_died_are_loaded_by_the_next(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    stripe.put("/v1/charges", *(charge(n) for n in range(12)))

    class Killed(BaseException):
        pass

    whole = loading.load

    def die(con: Any, name: str, *arguments: Any, **named: Any) -> Any:
        if name == "charges":
            raise Killed
        return whole(con, name, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(loading, "load", die)
        with pytest.raises(Killed):
            sync(settings, warehouse)
    assert rows(warehouse, "select count(*) from stripe.charges") == [(0,)]
    files = len(landed(settings))
    assert files > 0
    report = sync(settings, warehouse)
    assert report.objects["charges"].inserted == 12
    assert rows(warehouse, "select count(*), count(distinct id) from stripe.charges") == [(12, 12)]
    with warehouse.connect(read_only=True) as con:
        assert read_cursors(con, "charges") != {}


# ---- accounts, ranges, other servers -------------------------------------------------------------------------
def test_one_accounts_wrong_key_does_not_stop_the_other(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNIT_GOOD", "sk_test_good")
    monkeypatch.setenv("UNIT_BAD", "sk_test_bad")
    accounts = tmp_path / "accounts.yaml"
    accounts.write_text(
        yaml.safe_dump([{"name": "bad", "key": "env:UNIT_BAD"}, {"name": "good", "key": "env:UNIT_GOOD"}])
    )
    stripe.put("/v1/charges", charge(1))
    stripe.hook = lambda request: refusal(401, "no") if "sk_test_bad" in request.headers["Authorization"] else None
    report = sync(settings.replaced(LEDGERLINE_ACCOUNTS=str(accounts)), warehouse)
    assert any("account bad" in problem for problem in report.problems)
    assert rows(warehouse, "select count(*) from stripe.charges") == [(1,)]


def test_connected_accounts_are_read_with_their_header_and_kept_apart(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNIT_KEY", "sk_test_unit")
    accounts = tmp_path / "accounts.yaml"
    accounts.write_text(yaml.safe_dump([{"name": "platform", "key": "env:UNIT_KEY", "connected": ["acct_connected1"]}]))
    stripe.put("/v1/coupons", {"id": "SAME", "object": "coupon", "created": NOW - 5})

    def hook(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/v1/account" and "Stripe-Account" in request.headers:
            return web.json_response(
                {"id": request.headers["Stripe-Account"], "object": "account", "created": NOW - DAY}
            )
        return None

    stripe.hook = hook
    sync(settings.replaced(LEDGERLINE_ACCOUNTS=str(accounts)), warehouse)
    found = rows(warehouse, "select account_id from stripe.coupons where id = 'SAME' order by 1")
    assert found == [("acct_connected1",), (ACCOUNT,)]


def test_a_range_is_read_without_moving_what_a_refresh_goes_by(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", *(charge(n, at=NOW - n * DAY) for n in range(20)))
    sync(settings, warehouse, created=(NOW - 5 * DAY, NOW - 2 * DAY))
    assert rows(warehouse, "select id from stripe.charges order by 1") == [("ch_00003",), ("ch_00004",), ("ch_00005",)]
    sync(settings, warehouse)
    assert rows(warehouse, "select count(*) from stripe.charges") == [(20,)]


def test_reading_some_objects_does_not_hide_changes_of_others(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY))
    sync(settings, warehouse)
    stripe.now += 3600
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY, amount=8))
    stripe.announce("charge.updated", charge(1), number=1, created=stripe.now - 10)
    sync(settings, warehouse, objects=["events", "customers"])
    assert rows(warehouse, "select amount from stripe.charges") == [(100,)]
    stripe.now += 60
    sync(settings, warehouse)
    assert rows(warehouse, "select amount from stripe.charges") == [(8,)]


def test_children_are_read_with_their_parents(stripe: FakeStripe, settings: Settings, warehouse: Warehouse) -> None:
    stripe.put("/v1/invoices", invoice(1, 3)[0])
    report = sync(settings, warehouse, objects=["invoice_line_items"])
    assert rows(warehouse, "select count(*) from stripe.invoice_line_items") == [(3,)]
    assert set(report.objects) >= {"invoices", "invoice_line_items"}


def test_a_server_that_knows_neither_the_account_nor_created_is_read_all_the_same(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNIT_KEY", "sk_test_unit")
    accounts = tmp_path / "accounts.yaml"
    accounts.write_text(
        yaml.safe_dump([{"name": "local", "key": "env:UNIT_KEY", "account_id": "acct_local", "livemode": False}])
    )
    stripe.account = None
    stripe.put("/v1/charges", *(charge(n) for n in range(130)))
    missing = ("/v1/balance", "/v1/topups", "/v1/quotes")

    def hook(request: web.Request) -> web.StreamResponse | None:
        if request.path in missing:
            return refusal(404, "Unrecognized request URL")
        if any(name.startswith("created") for name in request.query):
            return refusal(400, "Received unknown parameter: created")
        return None

    stripe.hook = hook
    local = settings.replaced(LEDGERLINE_ACCOUNTS=str(accounts))
    report = sync(local, warehouse)
    assert rows(warehouse, "select count(*), min(account_id) from stripe.charges") == [(130, "acct_local")]
    assert "created" in report.objects["charges"].message
    assert report.objects["topups"].state == report.objects["quotes"].state == "failed"
    stripe.put("/v1/charges", charge(5, amount=3))
    stripe.announce("charge.updated", charge(5), number=1)
    stripe.now += 60
    sync(local, warehouse)
    assert rows(warehouse, "select amount from stripe.charges where id = 'ch_00005'") == [(3,)]


def test_the_balance_fits_the_balance_transactions(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    """Money moves while everything else is being read: what the balance counts must be in the list."""

    def hook(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/v1/files":
            stripe.put("/v1/balance_transactions", {"id": "txn_new", "created": stripe.now + 2, "net": 50})
            stripe.balance = {**stripe.balance, "available": [{"amount": 50, "currency": "usd"}]}
            stripe.now += 5
        return None

    stripe.hook = hook
    sync(settings, warehouse)
    assert rows(warehouse, "select id from stripe.balance_transactions") == [("txn_new",)]
    assert rows(warehouse, "select available ->> '$[0].amount' from stripe.balance") == [("50",)]


# ---- webhooks ------------------------------------------------------------------------------------------------
def test_an_event_that_only_a_webhook_brought_is_followed_like_a_polled_one(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY), charge(2, at=NOW - 30 * DAY))
    sync(settings, warehouse)
    stripe.put("/v1/charges", charge(1, at=NOW - 30 * DAY, amount=5), charge(2, at=NOW - 30 * DAY, amount=5))
    told = {
        "id": "evt_hook",
        "object": "event",
        "type": "charge.updated",
        "created": NOW,
        "data": {"object": charge(1)},
    }
    other = {**told, "id": "evt_live", "livemode": True, "data": {"object": charge(2)}}
    foreign = {**told, "id": "evt_foreign", "data": {"object": charge(2)}}
    sync(
        settings,
        warehouse,
        announced=[
            (None, json.dumps(told, indent=2).encode()),
            (None, json.dumps(other).encode()),
            ("acct_somebody", json.dumps(foreign).encode()),
        ],
    )
    assert rows(warehouse, "select id, amount from stripe.charges order by 1") == [("ch_00001", 5), ("ch_00002", 100)]
    assert rows(warehouse, "select id, _source from stripe.events") == [("evt_hook", "webhook")]


# ---- what is owed --------------------------------------------------------------------------------------------
def test_an_object_that_fails_half_way_goes_on_where_it_was(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_FLUSH", 100)
    stripe.put("/v1/charges", *(charge(n) for n in range(3000)))
    answered = 0

    def hook(request: web.Request) -> web.StreamResponse | None:
        nonlocal answered
        if request.path == "/v1/charges":
            answered += 1
            if answered > 20:
                return refusal(500, "broken")
        return None

    stripe.hook = hook
    assert sync(settings, warehouse).objects["charges"].state == "failed"
    held = rows(warehouse, "select count(*) from stripe.charges")[0][0]
    assert 1000 <= held < 3000
    stripe.hook = lambda request: None
    before = stripe.requests["/v1/charges"]
    sync(settings, warehouse)
    assert rows(warehouse, "select count(*), count(distinct id) from stripe.charges") == [(3000, 3000)]
    assert stripe.requests["/v1/charges"] - before <= (3000 - held) / 100 + 8


def test_what_was_announced_and_cannot_be_read_yet_stays_owed(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.lists["/v1/customers"] = []
    sync(settings, warehouse)
    stripe.now += 60
    stripe.announce("customer.created", {"id": "cus_late", "object": "customer", "created": NOW + 50}, number=1)
    sync(settings, warehouse)
    assert rows(warehouse, "select count(*) from stripe.customers") == [(0,)]
    stripe.now += 60
    stripe.put("/v1/customers", {"id": "cus_late", "object": "customer", "created": NOW + 50})
    sync(settings, warehouse)
    assert rows(warehouse, "select id, _deleted_at from stripe.customers") == [("cus_late", None)]


def test_a_row_that_was_announced_before_the_first_reading_and_listed_after_it_is_found(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.lists["/v1/customers"] = []
    stripe.announce("customer.created", {"id": "cus_late", "object": "customer", "created": NOW - 5}, number=1)
    sync(settings, warehouse)
    stripe.put("/v1/customers", {"id": "cus_late", "object": "customer", "created": NOW - 5})
    stripe.now += 600
    sync(settings, warehouse)
    assert rows(warehouse, "select id from stripe.customers") == [("cus_late",)]


def test_changes_of_neighbours_are_read_with_one_request(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", *(charge(n, at=NOW - 30 * DAY - n * 60) for n in range(2000)))
    sync(settings, warehouse)
    stripe.now += 3600
    for n in [*range(500, 560), 1500]:
        changed = charge(n, at=NOW - 30 * DAY - n * 60, amount=7)
        stripe.put("/v1/charges", changed)
        stripe.announce("charge.updated", changed, number=n)
    before = sum(number for path, number in stripe.requests.items() if path.startswith("/v1/charges"))
    sync(settings, warehouse)
    asked = sum(number for path, number in stripe.requests.items() if path.startswith("/v1/charges")) - before
    assert asked == 2
    assert rows(warehouse, "select count(*) from stripe.charges where amount = 7") == [(61,)]


def test_rows_dated_into_the_future_are_read(stripe: FakeStripe, settings: Settings, warehouse: Warehouse) -> None:
    stripe.put("/v1/charges", charge(1), charge(2, at=NOW + 9 * DAY))
    stripe.put("/v1/balance_transactions", {"id": "txn_1", "created": NOW + DAY, "status": "available"})
    sync(settings, warehouse)
    assert rows(warehouse, "select count(*) from stripe.charges") == [(2,)]
    assert rows(warehouse, "select count(*) from stripe.balance_transactions") == [(1,)]


def test_a_list_that_goes_round_in_circles_ends_with_an_error(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    some = [charge(n) for n in range(300)]
    stripe.put("/v1/charges", *some)

    def hook(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/v1/charges" and request.query.get("starting_after") == "ch_00199":
            return reply({"object": "list", "data": some[:100], "has_more": True, "url": "/v1/charges"})
        return None

    stripe.hook = hook
    report = sync(settings, warehouse)
    assert report.objects["charges"].state == "failed"
    assert "circles" in report.objects["charges"].message
    stripe.hook = lambda request: None
    sync(settings, warehouse)
    assert rows(warehouse, "select count(*) from stripe.charges") == [(300,)]


def test_what_lists_hide_is_read_when_the_events_of_a_first_reading_name_it(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    hidden = {"id": "cus_clock", "object": "customer", "created": NOW - 9 * DAY}
    stripe.lists["/v1/customers"] = []
    stripe.announce("customer.created", hidden, number=1, created=NOW - 9 * DAY)
    stripe.hook = lambda request: reply(hidden) if request.path == "/v1/customers/cus_clock" else None
    sync(settings, warehouse)
    assert rows(warehouse, "select id from stripe.customers") == [("cus_clock",)]


def test_what_the_events_of_a_first_reading_name_is_owed_when_it_is_cut_short(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = {"id": "cus_clock", "object": "customer", "created": NOW - 9 * DAY}
    stripe.lists["/v1/customers"] = []
    stripe.announce("customer.created", hidden, number=1, created=NOW - 9 * DAY)
    stripe.hook = lambda request: reply(hidden) if request.path == "/v1/customers/cus_clock" else None

    class Killed(BaseException):
        pass

    async def die(reader: AccountReader) -> None:
        raise Killed

    monkeypatch.setattr(AccountReader, "_announced", die)
    with pytest.raises(Killed):
        sync(settings, warehouse)
    monkeypatch.undo()
    followed = "select cursor ->> '$.until' is not null, cursor ->> '$.marks.customers' from sync.cursor_events"
    assert rows(warehouse, followed) == [(True, f'{{"cus_clock":{NOW - 9 * DAY}}}')]
    assert rows(warehouse, "select count(*) from stripe.customers") == [(0,)]
    sync(settings, warehouse)
    assert rows(warehouse, "select id from stripe.customers") == [("cus_clock",)]
    assert rows(warehouse, followed) == [(True, None)]
