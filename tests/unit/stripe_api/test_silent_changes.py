"""What events do not tell: each rule of the catalogue finds it, and costs nothing where nothing can have changed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fake_stripe import NOW, FakeStripe

from dagster_project.settings import Settings
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse.connection import Warehouse

HOUR, DAY = 3600, 86_400


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect(read_only=True) as con:
        return con.execute(query).fetchall()


def refresh(stripe: FakeStripe, settings: Settings, warehouse: Warehouse, later: int = 0) -> Counter[str]:
    """The requests of a refresh `later` seconds after the last one."""
    stripe.now += later
    before = Counter(stripe.requests)
    assert sync(settings, warehouse).problems == []
    return stripe.requests - before


def transaction(id: str, made: int, status: str, due: int) -> dict[str, Any]:
    return {"id": id, "object": "balance_transaction", "created": made, "status": status, "available_on": due}


def test_a_quiet_refresh_asks_for_the_account_its_balance_and_its_events(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/balance_transactions", transaction("txn_1", NOW - 5, "pending", NOW + 3 * DAY))
    stripe.put("/v1/customers", {"id": "cus_1", "object": "customer", "created": NOW - DAY, "balance": -500})
    refresh(stripe, settings, warehouse)
    asked = refresh(stripe, settings, warehouse, 2 * HOUR)
    assert asked == {"/v1/account": 1, "/v1/balance": 1, "/v1/events": 1, "/v1/checkout/sessions": 1}
    asked = refresh(stripe, settings, warehouse, 300)
    assert asked == {"/v1/account": 1, "/v1/balance": 1, "/v1/events": 1}


def test_a_transaction_becomes_available_at_its_time_and_is_not_asked_for_before(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/balance_transactions", transaction("txn_1", NOW - DAY, "pending", NOW + 2 * DAY))
    refresh(stripe, settings, warehouse)
    asked = refresh(stripe, settings, warehouse, 5 * HOUR)
    assert "/v1/balance_transactions/txn_1" not in asked
    stripe.put("/v1/balance_transactions", transaction("txn_1", NOW - DAY, "available", NOW + 2 * DAY))
    refresh(stripe, settings, warehouse, 2 * DAY)
    assert rows(warehouse, "select status from stripe.balance_transactions") == [("available",)]


def test_a_fee_that_no_event_tells_of_shows_in_the_balance(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    refresh(stripe, settings, warehouse)
    stripe.put("/v1/balance_transactions", transaction("txn_fee", NOW + 3 * HOUR, "available", NOW))
    stripe.balance = {**stripe.balance, "available": [{"amount": -50, "currency": "usd"}]}
    refresh(stripe, settings, warehouse, 4 * HOUR)
    assert rows(warehouse, "select id from stripe.balance_transactions") == [("txn_fee",)]


def test_a_redeemed_coupon_is_read_again_with_the_event_of_its_discount(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    made = {"id": "OFF", "object": "coupon", "created": NOW - 90 * DAY, "times_redeemed": 0}
    code = {"id": "promo_1", "object": "promotion_code", "created": NOW - 90 * DAY, "times_redeemed": 0}
    stripe.put("/v1/coupons", made)
    stripe.put("/v1/promotion_codes", code)
    refresh(stripe, settings, warehouse)
    stripe.put("/v1/coupons", {**made, "times_redeemed": 1})
    stripe.put("/v1/promotion_codes", {**code, "times_redeemed": 1})
    source = {"coupon": "OFF", "type": "coupon"}
    discount = {"id": "di_1", "object": "discount", "source": source, "promotion_code": "promo_1"}
    stripe.announce("customer.discount.created", discount, number=1, created=NOW + 60)
    asked = refresh(stripe, settings, warehouse, 300)
    assert rows(warehouse, "select times_redeemed from stripe.coupons") == [(1,)]
    assert rows(warehouse, "select times_redeemed from stripe.promotion_codes") == [(1,)]
    assert "/v1/coupons" not in asked


def test_an_invoice_brings_along_its_payments_and_the_items_that_it_took(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    item = {"id": "ii_1", "object": "invoiceitem", "date": NOW - 9 * DAY, "created": NOW - 9 * DAY, "invoice": None}
    other = {**item, "id": "ii_2", "customer": "cus_2"}
    payment = {"id": "inpay_1", "object": "invoice_payment", "created": NOW - 8 * DAY, "status": "open"}
    stripe.put("/v1/invoiceitems", {**item, "customer": "cus_1"}, other)
    stripe.put("/v1/invoice_payments", {**payment, "invoice": "in_0"})
    refresh(stripe, settings, warehouse)
    stripe.put("/v1/invoiceitems", {**item, "customer": "cus_1", "invoice": "in_1"})
    stripe.put("/v1/invoice_payments", {**payment, "invoice": "in_0", "status": "canceled"})
    stripe.put("/v1/invoice_payments", {**payment, "id": "inpay_2", "invoice": "in_1", "created": NOW + 60})
    for number, id in enumerate(("in_0", "in_1")):
        stripe.put("/v1/invoices", {"id": id, "object": "invoice", "created": NOW - DAY + number})
        about = {"id": id, "object": "invoice", "customer": "cus_1", "created": NOW - DAY + number}
        stripe.announce("invoice.updated", about, number=number, created=NOW + 60)
    asked = refresh(stripe, settings, warehouse, 300)
    assert rows(warehouse, "select id, invoice from stripe.invoice_items order by 1") == [
        ("ii_1", "in_1"),
        ("ii_2", None),
    ]
    assert rows(warehouse, "select id, status from stripe.invoice_payments order by 1") == [
        ("inpay_1", "canceled"),
        ("inpay_2", "open"),
    ]
    assert "/v1/invoiceitems/ii_2" not in asked


def test_an_open_session_that_expired_unannounced_is_read_again(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    session = {"id": "cs_1", "object": "checkout.session", "created": NOW - 9 * DAY, "expires_at": NOW + HOUR}
    stripe.put("/v1/checkout/sessions", {**session, "status": "open"})
    refresh(stripe, settings, warehouse)
    stripe.put("/v1/checkout/sessions", {**session, "status": "expired"})
    refresh(stripe, settings, warehouse, 2 * HOUR)
    assert rows(warehouse, "select status from stripe.checkout_sessions") == [("expired",)]


def test_parents_are_asked_again_when_they_changed_and_not_every_day(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    def customer(number: int, **more: Any) -> dict[str, Any]:
        return {"id": f"cus_{number}", "object": "customer", "created": NOW - 9 * DAY, "balance": -500, **more}

    stripe.put("/v1/customers", *(customer(number) for number in range(20)))
    asked = refresh(stripe, settings, warehouse)
    assert sum(n for path, n in asked.items() if path.endswith("/balance_transactions")) == 21  # and the account's own
    asked = refresh(stripe, settings, warehouse, 2 * DAY)
    assert [path for path in asked if path.startswith("/v1/customers/")] == []
    stripe.put("/v1/customers", customer(7, balance=-300))
    entry = {"id": "cbtxn_1", "object": "customer_balance_transaction", "created": stripe.now, "customer": "cus_7"}
    stripe.put("/v1/customers/cus_7/balance_transactions", entry)
    stripe.announce("customer.updated", customer(7), number=1)
    asked = refresh(stripe, settings, warehouse, 300)
    assert [path for path in asked if path.endswith("/balance_transactions")][-1:] == [
        "/v1/customers/cus_7/balance_transactions"
    ]
    assert rows(warehouse, "select id from stripe.customer_balance_transactions") == [("cbtxn_1",)]


def test_rows_that_no_list_shows_are_read_when_others_name_them_and_asked_for_once(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    review = {"id": "prv_1", "object": "review", "created": NOW - 50 * DAY, "closed_reason": "approved"}

    def hidden(request: Any) -> Any:
        from fake_stripe import refusal, reply

        found = {"/v1/reviews/prv_1": review}.get(request.path)
        if found:
            return reply(found)
        return refusal(404, "No such review") if request.path == "/v1/reviews/prv_gone" else None

    stripe.hook = hidden
    for number, id in enumerate(("prv_1", "prv_gone")):
        stripe.put("/v1/charges", {"id": f"ch_{number}", "object": "charge", "created": NOW - 60 * DAY, "review": id})
    refresh(stripe, settings, warehouse)
    assert rows(warehouse, "select id, closed_reason from stripe.reviews") == [("prv_1", "approved")]
    asked = refresh(stripe, settings, warehouse, 2 * DAY)
    assert [path for path in asked if path.startswith("/v1/reviews")] == []


def test_a_subscription_whose_period_ended_unannounced_is_read_again(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    def subscription(end: int) -> dict[str, Any]:
        item = {"id": "si_1", "object": "subscription_item", "subscription": "sub_1", "current_period_end": end}
        items = {"object": "list", "data": [item], "has_more": False, "url": "/v1/subscription_items"}
        return {
            "id": "sub_1", "object": "subscription", "created": NOW - 60 * DAY, "status": "active", "items": items,
            "test_clock": None,
        }  # fmt: skip

    stripe.put("/v1/subscriptions", subscription(NOW + HOUR))
    refresh(stripe, settings, warehouse)
    stripe.put("/v1/subscriptions", subscription(NOW + 30 * DAY))
    refresh(stripe, settings, warehouse, 3 * HOUR)
    assert rows(warehouse, "select epoch(current_period_end)::bigint from stripe.subscription_items") == [
        (NOW + 30 * DAY,)
    ]
    asked = refresh(stripe, settings, warehouse, 300)
    assert "/v1/subscriptions/sub_1" not in asked


def test_a_code_that_was_deleted_without_an_event_becomes_a_tombstone(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/promotion_codes", {"id": "promo_1", "object": "promotion_code", "created": NOW - 90 * DAY})
    refresh(stripe, settings, warehouse)
    stripe.lists["/v1/promotion_codes"] = []
    refresh(stripe, settings, warehouse, 25 * HOUR)
    assert rows(warehouse, "select id, _deleted_at is not null from stripe.promotion_codes") == [("promo_1", True)]


def test_a_parent_whose_list_is_empty_now_has_no_children_any_more(
    stripe: FakeStripe, settings: Settings, warehouse: Warehouse
) -> None:
    stripe.put("/v1/customers", {"id": "cus_1", "object": "customer", "created": NOW - 9 * DAY, "balance": -500})
    entry = {"id": "cbtxn_1", "object": "customer_balance_transaction", "created": NOW - DAY, "customer": "cus_1"}
    stripe.put("/v1/customers/cus_1/balance_transactions", entry)
    refresh(stripe, settings, warehouse)
    stripe.lists["/v1/customers/cus_1/balance_transactions"] = []
    changed = {"id": "cus_1", "object": "customer", "created": NOW - 9 * DAY, "balance": -400}
    stripe.put("/v1/customers", changed)
    stripe.announce("customer.updated", changed, number=1, created=NOW + 60)
    refresh(stripe, settings, warehouse, 300)
    gone = rows(warehouse, "select id, _deleted_at is not null from stripe.customer_balance_transactions")
    assert gone == [("cbtxn_1", True)]
