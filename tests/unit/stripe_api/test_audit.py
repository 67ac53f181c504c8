"""The audit against a server that answers as the test decides: each kind of difference is found, named and repaired."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fake_stripe import NOW, FakeStripe, refusal, reply

from dagster_project.settings import Settings
from dagster_project.stripe_api.allocation import standings
from dagster_project.stripe_api.audit import AuditReport, audit
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse import days
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.state import load_version

DAY = 86_400
TODAY = NOW // DAY * DAY


@pytest.fixture
def warehouse(stripe: FakeStripe, settings: Settings, warehouse: Warehouse) -> Warehouse:
    """Charges on three days, an invoice with three lines, a customer; read once."""
    stripe.put("/v1/charges", *(charge(n) for n in range(6)))
    stripe.put("/v1/invoices", invoice())
    stripe.put("/v1/customers", {"id": "cus_1", "object": "customer", "created": NOW - 3 * DAY, "email": "a@b.c"})
    sync(settings, warehouse)
    return warehouse


def charge(number: int, **fields: Any) -> dict[str, Any]:
    """Two a day, back from yesterday."""
    made = TODAY - DAY * (1 + number // 2) + number
    return {"id": f"ch_{number}", "object": "charge", "created": made, "amount": 100, "currency": "usd", **fields}


def invoice(*, amount: int = 5, lines: int = 3) -> dict[str, Any]:
    every = [{"id": f"il_{n}", "object": "line_item", "amount": amount, "invoice": "in_1"} for n in range(lines)]
    shown = {"object": "list", "data": every, "has_more": False, "url": "/v1/invoices/in_1/lines"}
    return {"id": "in_1", "object": "invoice", "created": TODAY - DAY, "lines": shown}


def do(warehouse: Warehouse, statement: str) -> None:
    with warehouse.connect() as con:
        con.execute(statement)


def found(report: AuditReport) -> dict[tuple[str, str], str]:
    return {(one.object, one.id): one.what for one in report.differences}


def version(warehouse: Warehouse) -> int:
    with warehouse.connect(read_only=True) as con:
        return load_version(con)


def proven_days(warehouse: Warehouse, name: str) -> list[tuple[Any, ...]]:
    """(rows here, rows at Stripe, agreed) by day, earliest first; None where nothing was compared."""
    with warehouse.connect(read_only=True) as con:
        return con.execute(
            "select d.rows, p.rows_stripe, p.agreed and p.checksum_stripe = d.checksum from sync.days as d "
            "left join sync.proofs as p on p.account_id = d.account_id and p.object = d.object and p.via = d.via "
            f"and p.day is not distinct from d.day where d.object = '{name}' order by d.day"
        ).fetchall()


def states(warehouse: Warehouse) -> dict[str, list[str]]:
    """The states of each object's days in marts.mon_completeness, from the model's own SQL."""
    model = Path(__file__).parents[3] / "dbt/models/marts/mon_completeness.sql"
    sql = re.sub(r"\{\{ source\('(\w+)', '(\w+)'\) \}\}", r"\1.\2", model.read_text(encoding="utf-8"))
    with warehouse.connect(read_only=True) as con:
        return dict(con.execute(f"select object, list(distinct state) from ({sql}) group by object").fetchall())


def test_the_first_reading_proves_nothing_and_an_audit_proves_every_day(
    settings: Settings, warehouse: Warehouse
) -> None:
    assert proven_days(warehouse, "charges") == [(2, None, None)] * 3
    assert states(warehouse).keys() == CATALOGUE.keys()
    assert states(warehouse)["charges"] == states(warehouse)["quotes"] == ["open"]
    before = version(warehouse)
    report = audit(settings, warehouse, full=True)
    assert version(warehouse) > before, "so that the next refresh builds what shows it"
    assert report.differences == []
    assert report.compared >= 6 + 1 + 3 + 1
    assert proven_days(warehouse, "charges") == [(2, 2, True)] * 3
    assert proven_days(warehouse, "invoice_line_items") == [(3, 3, True)]
    assert report.days == report.proven > 5
    assert report.open == {}
    assert {name: found for name, found in states(warehouse).items() if found != ["proven"]} == {}


def test_whatever_happened_to_rows_is_found_named_repaired_and_proven(settings: Settings, warehouse: Warehouse) -> None:
    with warehouse.connect() as con:
        for damage in (
            "delete from stripe.charges where id = 'ch_0'",
            "update stripe.charges set _payload = json_merge_patch(_payload, '{\"amount\": 1}'), "
            "_observed_at = _observed_at + interval 1 year where id = 'ch_1'",
            "update stripe.charges set amount = 1 where id = 'ch_2'",
            "update stripe.charges set _deleted_at = _observed_at where id = 'ch_3'",
            "insert into stripe.charges by name select * replace ('ch_no' as id) from stripe.charges where id = 'ch_4'",
            "delete from stripe.invoice_line_items where id = 'il_0'",
            "update stripe.invoice_line_items set _payload = json_merge_patch(_payload, '{\"amount\": 1}') "
            "where id = 'il_1'",
            "insert into stripe.invoice_line_items by name select * replace ('il_no' as id) "
            "from stripe.invoice_line_items where id = 'il_2'",
            "update stripe.invoice_line_items set amount = 1 where id = 'il_2'",
        ):
            con.execute(damage)
    expected = {
        ("charges", "ch_0"): "is missing in the warehouse",
        ("charges", "ch_1"): "differs in amount",
        ("charges", "ch_2"): "has columns that do not say what Stripe sent: amount",
        ("charges", "ch_3"): "is deleted in the warehouse and exists at Stripe",
        ("charges", "ch_no"): "is gone at Stripe and not deleted in the warehouse",
        ("invoice_line_items", "il_0"): "is missing in the warehouse",
        ("invoice_line_items", "il_1"): "differs in amount",
        ("invoice_line_items", "il_no"): "is no longer in its parent at Stripe",
        ("invoice_line_items", "il_2"): "has columns that do not say what Stripe sent: amount",
    }
    seen = audit(settings, warehouse, full=True)
    assert found(seen) == expected
    assert seen.remaining == seen.differences
    assert proven_days(warehouse, "charges") == [(3, 2, False), (1, 2, False), (1, 2, False)]
    assert states(warehouse)["charges"] == states(warehouse)["invoice_line_items"] == ["different"]
    mended = audit(settings, warehouse, full=True, mend=True)
    assert found(mended) == expected
    assert mended.remaining == []
    assert proven_days(warehouse, "charges") == [(2, 2, True)] * 3
    assert proven_days(warehouse, "invoice_line_items") == [(3, 3, True)]
    assert mended.proven == mended.days
    with warehouse.connect(read_only=True) as con:
        rows = con.execute("select id, amount from stripe.charges where _deleted_at is null order by id").fetchall()
    assert rows == [(f"ch_{n}", 100) for n in range(6)]


def test_a_change_without_an_event_is_found_and_repaired(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", charge(2, amount=700))
    report = audit(settings, warehouse, full=True, mend=True)
    assert found(report) == {("charges", "ch_2"): "differs in amount"}
    assert report.remaining == []
    with warehouse.connect(read_only=True) as con:
        assert con.execute("select amount from stripe.charges where id = 'ch_2'").fetchone() == (700,)


def test_what_was_deleted_without_an_event_becomes_a_tombstone(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.lists["/v1/customers"] = []
    report = audit(settings, warehouse, full=True, mend=True)
    assert found(report) == {("customers", "cus_1"): "is gone at Stripe and not deleted in the warehouse"}
    assert report.remaining == []
    with warehouse.connect(read_only=True) as con:
        assert con.execute("select _deleted_at is not null, email from stripe.customers").fetchall() == [
            (True, "a@b.c")
        ]


def test_what_an_event_announced_since_the_last_refresh_is_no_difference(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", charge(2, amount=700))
    stripe.announce("charge.updated", charge(2, amount=700), number=1)
    assert audit(settings, warehouse, full=True).differences == []
    sync(settings, warehouse)
    assert audit(settings, warehouse, full=True).differences == []


def test_a_volatile_field_and_another_order_of_keys_are_no_difference(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.announce("charge.succeeded", charge(1), number=1)
    sync(settings, warehouse)
    stripe.lists["/v1/events"][0]["pending_webhooks"] = 3
    stripe.lists["/v1/charges"] = [dict(reversed(one.items())) for one in stripe.lists["/v1/charges"]]
    report = audit(settings, warehouse, full=True)
    assert report.differences == []
    assert proven_days(warehouse, "charges") == [(2, 2, True)] * 3
    assert proven_days(warehouse, "events") == [(1, 1, True)]


def test_rows_that_a_list_hides_are_asked_for_by_their_id(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    hidden = stripe.lists["/v1/customers"][0]

    def hook(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/v1/customers":
            return reply({"object": "list", "data": [], "has_more": False, "url": request.path})
        return reply(hidden) if request.path == "/v1/customers/cus_1" else None

    stripe.hook = hook
    assert audit(settings, warehouse, full=True).differences == []
    assert proven_days(warehouse, "customers") == [(1, 1, True)]


def test_a_later_change_opens_its_day_again(stripe: FakeStripe, settings: Settings, warehouse: Warehouse) -> None:
    audit(settings, warehouse, full=True)
    stripe.put("/v1/charges", charge(2, amount=700))
    stripe.announce("charge.updated", charge(2, amount=700), number=1)
    stripe.now += 60
    sync(settings, warehouse)
    assert [day[2] for day in proven_days(warehouse, "charges")] == [True, False, True]
    assert sorted(states(warehouse)["charges"]) == ["open", "proven"]
    assert audit(settings, warehouse, full=True).differences == []
    assert [day[2] for day in proven_days(warehouse, "charges")] == [True, True, True]


def test_samples_take_turns_until_every_day_is_proven(settings: Settings, warehouse: Warehouse) -> None:
    shares, requests = [], []
    for _ in range(12):
        report = audit(settings, warehouse, full=False, budget=12)
        shares.append(report.proven)
        requests.append(report.requests)
        if report.proven == report.days:
            break
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] == report.days
    assert max(requests) <= 12 + 6, "the budget, and who the account is"


def test_an_object_that_the_key_may_not_read_is_told_once(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.hook = lambda request: refusal(403, "no permission") if request.path == "/v1/payouts" else None
    report = audit(settings, warehouse, full=True)
    assert [one.object for one in report.differences] == ["payouts"]
    assert "may not read" in report.differences[0].what
    sync(settings, warehouse, objects=["payouts"])
    assert audit(settings, warehouse, full=True, objects=["payouts"]).differences == []
    assert states(warehouse)["payouts"] == ["not_permitted"]


def test_a_gap_in_the_feed_is_shown_until_the_object_was_read_again(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.now += 40 * DAY
    stripe.hook = lambda request: refusal(403, "not now") if request.path == "/v1/invoices" else None
    sync(settings, warehouse)
    do(warehouse, "update sync.object_state set state = 'failed' where state = 'not_permitted'")
    assert states(warehouse)["charges"] == ["open"]
    assert states(warehouse)["invoices"] == states(warehouse)["invoice_line_items"] == ["gapped"]
    do(warehouse, f"update sync.gaps set first_day = (to_timestamp({TODAY}) at time zone 'UTC')::date")
    assert states(warehouse)["invoices"] == states(warehouse)["invoice_line_items"] == ["open"], "before the gap"
    stripe.hook = lambda request: None
    sync(settings, warehouse)
    assert states(warehouse)["invoices"] == states(warehouse)["invoice_line_items"] == ["open"]
    assert audit(settings, warehouse, full=True).differences == []
    assert states(warehouse)["invoices"] == ["proven"]


def test_a_balance_that_moved_without_an_event_is_repaired(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.balance["available"] = [{"amount": 700, "currency": "usd"}]
    report = audit(settings, warehouse, full=True, mend=True)
    assert found(report) == {("balance", "balance"): "differs in available"}
    assert report.remaining == []
    assert proven_days(warehouse, "balance") == [(1, 1, True)]


def test_a_day_of_events_that_stripe_begins_to_forget_stays_proven(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    for number, second in enumerate((TODAY - 29 * DAY + 60, TODAY - 28 * DAY - 60, TODAY - 28 * DAY + 60)):
        stripe.announce("charge.succeeded", charge(1), number=number, created=second)
    sync(settings, warehouse, objects=["events"])
    audit(settings, warehouse, full=True)
    assert proven_days(warehouse, "events") == [(2, 2, True), (1, 1, True)]
    stripe.now += DAY
    sync(settings, warehouse)
    stripe.lists["/v1/events"] = stripe.lists["/v1/events"][1:]
    for full in (True, False):
        assert audit(settings, warehouse, full=full).differences == []
        assert proven_days(warehouse, "events") == [(2, 2, True), (1, 1, True)]


def test_what_an_event_announces_while_it_repairs_is_no_difference(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/charges", charge(2, amount=700))

    def hook(request: web.Request) -> None:
        if request.path == "/v1/charges/ch_2":
            stripe.put("/v1/charges", charge(3, amount=800))
            stripe.announce("charge.updated", charge(3, amount=800), number=1)

    stripe.hook = hook
    report = audit(settings, warehouse, full=True, mend=True)
    assert found(report) == {("charges", "ch_2"): "differs in amount"}
    assert report.remaining == []


def test_lists_inside_of_what_was_not_asked_for_are_left_alone(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    """Where a list has no `created` filter, all of it is shown."""
    other = {**invoice(), "id": "in_2", "created": TODAY - 9 * DAY}
    other["lines"] = {"object": "list", "data": [], "has_more": True, "url": "/v1/invoices/in_2/lines"}
    stripe.put("/v1/invoices/in_2/lines", {"id": "il_9", "object": "line_item", "amount": 5, "invoice": "in_2"})
    stripe.put("/v1/invoices", other)
    stripe.hook = lambda request: (
        refusal(400, "unknown: created") if request.path == "/v1/invoices" and "created[lte]" in request.query else None
    )
    sync(settings, warehouse, objects=["invoices"])
    do(warehouse, "update stripe.invoices set currency = 'xxx' where id = 'in_1'")
    report = audit(settings, warehouse, full=True, mend=True)
    assert found(report) == {("invoices", "in_1"): "has columns that do not say what Stripe sent: currency"}
    assert report.remaining == []
    assert proven_days(warehouse, "invoice_line_items") == [(1, 1, True), (3, 3, True)]


def test_days_that_could_not_be_counted_again_are_not_lost(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(warehouse, "delete from stripe.charges where id = 'ch_0'")
    monkeypatch.setattr(days, "_count", lambda con, row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        audit(settings, warehouse, full=True, objects=["charges"])
    assert [day[0] for day in proven_days(warehouse, "charges")] == [2, 2, 2]


def test_a_change_within_the_second_of_the_last_counting_is_counted_whatever_other_accounts_hold(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    audit(settings, warehouse, full=True)
    with warehouse.connect() as con:
        con.execute(
            "insert into stripe.charges by name select * replace "
            "('acct_other' as account_id, _observed_at + interval 1 hour as _observed_at) from stripe.charges"
        )
        days.recount(con, CATALOGUE["charges"], "acct_other", False)
    stripe.put("/v1/charges", charge(2, amount=700))
    stripe.announce("charge.updated", charge(2, amount=700), number=1)
    sync(settings, warehouse)
    with warehouse.connect(read_only=True) as con:
        sums = con.execute(
            "select d.checksum = p.checksum_stripe from sync.days as d join sync.proofs as p "
            "using (account_id, object, day) where object = 'charges' order by day"
        ).fetchall()
    assert sums == [(True,), (False,), (True,)]


def test_requests_of_an_audit_count_against_the_read_allocation_and_are_no_poll(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    with warehouse.connect(read_only=True) as con:
        [before] = standings(con)
    report = audit(settings, warehouse, full=True)
    with warehouse.connect(read_only=True) as con:
        [after] = standings(con)
    assert after.used == sum(stripe.requests.values()) == before.used + report.requests
    assert (after.polls, after.last_poll) == (before.polls, before.last_poll)


def test_rows_that_are_listed_per_parent_are_compared_and_repaired(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    path = "/v1/customers/cus_1/balance_transactions"
    made = {"object": "customer_balance_transaction", "created": NOW - DAY, "customer": "cus_1", "amount": -500}
    stripe.put("/v1/customers", {**stripe.lists["/v1/customers"][0], "balance": -500})
    stripe.put(path, {"id": "cbtxn_1", **made}, {"id": "cbtxn_2", **made})
    sync(settings, warehouse, objects=["customers", "customer_balance_transactions"])
    with warehouse.connect() as con:
        con.execute(
            "insert into stripe.customer_balance_transactions by name select * replace ('cbtxn_no' as id) "
            "from stripe.customer_balance_transactions where id = 'cbtxn_1'"
        )
        con.execute("update stripe.customer_balance_transactions set amount = 1 where id = 'cbtxn_2'")
    report = audit(settings, warehouse, full=True, mend=True)
    assert found(report) == {
        ("customer_balance_transactions", "cbtxn_2"): "has columns that do not say what Stripe sent: amount",
        ("customer_balance_transactions", "cbtxn_no"): "is no longer in its parent's list at Stripe",
    }
    assert report.remaining == []
    assert proven_days(warehouse, "customer_balance_transactions") == [(2, 2, True)]


def test_a_discount_counts_where_it_belongs_and_not_wherever_it_is_shown(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    of = {"object": "discount", "customer": "cus_1", "start": NOW, "invoice": None, "subscription": None}
    customers, own = {"id": "di_1", **of}, {"id": "di_2", **of, "invoice": "in_1"}
    stripe.put("/v1/customers", {**stripe.lists["/v1/customers"][0], "discount": customers})
    stripe.put("/v1/invoices", {**invoice(), "customer": "cus_1", "discounts": [customers, own]})
    sync(settings, warehouse, objects=["customers", "invoices"])
    assert audit(settings, warehouse, full=True).differences == []
    assert proven_days(warehouse, "discounts") == [(1, 1, True), (1, 1, True)]
    do(warehouse, "update stripe.discounts set start = start + interval 1 day where id = 'di_2'")
    do(warehouse, "delete from stripe.discounts where id = 'di_1'")
    report = audit(settings, warehouse, full=True, mend=True)
    assert found(report) == {
        ("discounts", "di_1"): "is missing in the warehouse",
        ("discounts", "di_2"): "has columns that do not say what Stripe sent: start",
    }
    assert report.remaining == []
    assert proven_days(warehouse, "discounts") == [(1, 1, True), (1, 1, True)]


def test_a_row_that_two_lists_show_counts_once(stripe: FakeStripe, settings: Settings, warehouse: Warehouse) -> None:
    stripe.put("/v1/prices", {"id": "price_1", "object": "price", "created": NOW - DAY, "currency": "usd"})
    before = stripe.requests["/v1/prices"]
    sync(settings, warehouse, objects=["prices"])
    assert audit(settings, warehouse, full=True, objects=["prices"]).differences == []
    assert stripe.requests["/v1/prices"] - before == 4, "active ones and others, twice"
    assert proven_days(warehouse, "prices") == [(1, 1, True)]


def test_what_a_repair_replaces_stays_in_the_history(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.now += 60
    stripe.put("/v1/customers", {**stripe.lists["/v1/customers"][0], "email": "new@b.c"})
    report = audit(settings, warehouse, full=True, objects=["customers"], mend=True)
    assert (found(report), report.remaining) == ({("customers", "cus_1"): "differs in email"}, [])
    with warehouse.connect(read_only=True) as con:
        kept = con.execute(
            "select _payload ->> 'email', valid_to is null from stripe.customers_history order by valid_from"
        ).fetchall()
    assert kept == [("a@b.c", False), ("new@b.c", True)]


def test_rows_with_long_payloads_are_looked_at_a_few_at_a_time_where_memory_is_short(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_project.stripe_api.audit._FRUGAL", "set memory_limit = '60MB'; set threads = 1")
    long = {f"key_{number}": "x" * 480 for number in range(40)}
    stripe.put("/v1/charges", *(charge(n, created=NOW - 3 * DAY + n, metadata=long) for n in range(10, 510)))
    sync(settings, warehouse, objects=["charges"])
    do(warehouse, "update stripe.charges set amount = 5 where id = 'ch_309'")
    report = audit(settings, warehouse, full=True, objects=["charges"])
    assert report.compared == 506
    assert found(report) == {("charges", "ch_309"): "has columns that do not say what Stripe sent: amount"}
