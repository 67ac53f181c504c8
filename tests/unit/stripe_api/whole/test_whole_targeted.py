"""Single things that go wrong elsewhere, one test each; the random lives try them all together."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from whole.deeds import do
from whole.following import Following
from whole.same import unequal

HOUR, DAY = 3600, 86_400


def living(following: Following, name: str, id: str) -> list[tuple[bool]]:
    return following.rows(f"select _deleted_at is null from stripe.{name} where id = ?", [id])


def test_rows_and_events_that_appear_after_their_second_was_read_are_not_lost(begun: Following) -> None:
    stripe = begun.stripe
    stripe.control("faults", {"late_rate": 1, "late_seconds": 6, "event_lag_s": 6})
    customer = stripe.client.v1.customers.create({"email": "late@example.com"}).id
    assert do(stripe, "pays_once", 1)
    begun.refresh()
    assert living(begun, "customers", customer) == []
    stripe.control("faults", method="DELETE")
    while customer not in {one["id"] for one in stripe.listed("/v1/customers")}:
        time.sleep(0.1)
    time.sleep(0.5)  # what came of it a moment later
    stripe.advance(60)
    assert begun.refresh().problems == []
    assert living(begun, "customers", customer) == [(True,)]
    assert begun.differences(swept=False) == []


def test_of_two_updates_in_one_second_the_second_one_counts(begun: Following) -> None:
    stripe = begun.stripe
    customer = next(iter(stripe.listed("/v1/customers")))["id"]
    stripe.client.v1.customers.update(customer, {"email": "first@example.com"})
    begun.refresh()
    stripe.client.v1.customers.update(customer, {"email": "second@example.com"})
    begun.refresh()
    assert begun.rows("select email from stripe.customers where id = ?", [customer]) == [("second@example.com",)]
    assert begun.differences() == []
    versions = begun.rows("select count(*) from stripe.customers_history where id = ? and valid_to is null", [customer])
    assert versions == [(1,)]


def test_events_that_repeat_in_any_order_change_nothing_in_the_end(begun: Following) -> None:
    stripe = begun.stripe
    stripe.control("faults", {"event_twice_rate": 1, "event_shuffle_rate": 1})
    for number in range(6):
        assert do(stripe, "customer_moves_twice", number)
        assert do(stripe, "product_changes", number)
    stripe.advance(5)
    begun.refresh()
    assert begun.differences() == []


def test_a_coupon_whose_id_is_used_again_is_the_new_coupon(begun: Following) -> None:
    stripe, coupons = begun.stripe, begun.stripe.client.v1.coupons
    coupons.create({"id": "AGAIN", "percent_off": 10, "duration": "once"})
    begun.refresh()
    stripe.advance(1)
    coupons.delete("AGAIN")
    begun.refresh()
    assert living(begun, "coupons", "AGAIN") == [(False,)]
    stripe.advance(1)
    coupons.create({"id": "AGAIN", "percent_off": 25, "duration": "once"})
    begun.refresh()
    assert begun.rows("select percent_off::int, _deleted_at from stripe.coupons where id = 'AGAIN'") == [(25, None)]
    stripe.advance(1)
    coupons.delete("AGAIN")
    coupons.create({"id": "AGAIN", "percent_off": 50, "duration": "once"})
    begun.refresh()
    assert begun.rows("select percent_off::int, _deleted_at from stripe.coupons where id = 'AGAIN'") == [(50, None)]
    assert begun.differences(swept=False) == []


def test_what_belonged_to_a_deleted_customer_goes_with_it(begun: Following, tmp_path: Path) -> None:
    stripe = begun.stripe
    customer = stripe.client.v1.customers.create({"email": "gone@example.com"}).id
    tax_id = stripe.client.v1.customers.tax_ids.create(customer, {"type": "eu_vat", "value": "DE123456789"}).id
    begun.refresh()
    assert living(begun, "customer_tax_ids", tax_id) == [(True,)]
    stripe.advance(1)
    stripe.client.v1.customers.delete(customer)
    begun.refresh()
    assert living(begun, "customers", customer) == [(False,)]
    assert living(begun, "customer_tax_ids", tax_id) == [(False,)]
    kept = begun.copied(tmp_path / "kept")
    begun.rebuild()
    assert begun.rows("select email from stripe.customers where id = ?", [customer]) == [("gone@example.com",)]
    assert living(begun, "customer_tax_ids", tax_id) == [(False,)]
    assert unequal(kept, begun.warehouse) == []


def test_the_long_list_of_a_deleted_draft_goes_with_it_also_when_rebuilt(begun: Following, tmp_path: Path) -> None:
    api, stripe = begun.stripe.client.v1, begun.stripe
    customer = next(iter(stripe.listed("/v1/customers")))["id"]
    draft = api.invoices.create({"customer": customer, "currency": "usd", "pending_invoice_items_behavior": "exclude"})
    api.invoices.add_lines(draft.id, {"lines": [{"amount": 100 + n, "description": f"{n}"} for n in range(14)]})
    begun.refresh()
    lines = "select count(*) from stripe.invoice_line_items where invoice = ? and _deleted_at is null"
    assert begun.rows(lines, [draft.id]) == [(14,)]
    stripe.advance(1)
    api.invoices.delete(draft.id)
    begun.refresh()
    assert begun.rows(lines, [draft.id]) == [(0,)]
    begun.rebuild()
    assert begun.rows(lines, [draft.id]) == [(0,)]
    assert begun.differences() == []


@pytest.mark.parametrize("size", [12, 130])
def test_a_line_that_is_removed_disappears_whatever_the_length_of_the_list(begun: Following, size: int) -> None:
    api, stripe = begun.stripe.client.v1, begun.stripe
    customer = next(iter(stripe.listed("/v1/customers")))["id"]
    draft = api.invoices.create({"customer": customer, "currency": "usd", "pending_invoice_items_behavior": "exclude"})
    for first in range(0, size, 50):
        each = [{"amount": 100 + n, "description": f"{n}"} for n in range(first, min(size, first + 50))]
        api.invoices.add_lines(draft.id, {"lines": each})
    begun.refresh()
    assert begun.differences() == []
    stripe.advance(1)
    gone = [line["id"] for line in stripe.listed(f"/v1/invoices/{draft.id}/lines")][-3:]
    api.invoices.remove_lines(draft.id, {"lines": [{"id": id, "behavior": "delete"} for id in gone]})
    begun.refresh()
    assert [living(begun, "invoice_line_items", id) for id in gone] == [[(False,)]] * 3
    assert begun.differences() == []


def test_a_gap_longer_than_stripe_keeps_events_is_told_and_whole_afterwards(begun: Following) -> None:
    stripe = begun.stripe
    customer = next(iter(stripe.listed("/v1/customers")))["id"]
    stripe.client.v1.customers.update(customer, {"email": "unheard@example.com"})
    deleted = stripe.client.v1.products.create({"name": "Short-lived"}).id
    begun.refresh()
    stripe.advance(1)
    stripe.client.v1.products.delete(deleted)
    stripe.client.v1.customers.update(customer, {"email": "unheard-of@example.com"})
    stripe.advance(32 * DAY)
    problems = begun.refresh().problems
    assert any("read again" in problem for problem in problems)
    assert living(begun, "products", deleted) == [(False,)]
    assert begun.differences() == []
    stripe.advance(1)
    assert begun.refresh().problems == [], "told once"


@pytest.mark.parametrize("lost", ["events", "invoices", "payment_methods"])
def test_a_lost_cursor_costs_a_reading_and_loses_nothing(begun: Following, lost: str) -> None:
    stripe = begun.stripe
    assert do(stripe, "customer_moves_twice", 2)
    assert do(stripe, "pays_once", 2)
    assert do(stripe, "item_waits_or_is_taken_back", 2)
    with begun.warehouse.connect() as con:
        con.execute(f"delete from sync.cursor_{lost}")
    stripe.advance(HOUR)
    begun.refresh()
    assert begun.differences(swept=False) == []
    stripe.advance(1)
    assert not begun.refresh().changed


@pytest.mark.parametrize("days", [-40, 400])
def test_a_clock_of_ours_that_is_wrong_by_days_does_no_harm(
    following: Following, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """All times are Stripe's; the machine's own clock only names files."""
    real = datetime

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return real.fromtimestamp(time.time() + days * DAY, UTC)

    for module in ("landing", "client"):
        monkeypatch.setattr(f"dagster_project.stripe_api.{module}.datetime", Wrong)
    stripe = following.stripe
    assert following.refresh().problems == []
    stripe.advance(HOUR)
    for name in ("customer_moves_twice", "pays_once", "customer_leaves", "takes_more"):
        assert do(stripe, name, 1)
    monkeypatch.undo()  # the clock was put right, or steps back
    stripe.advance(1)
    assert following.refresh().problems == []
    assert following.differences(swept=False) == []
    following.rebuild()
    assert following.differences(swept=False) == []


def test_what_is_deleted_and_ended_is_told_apart(begun: Following) -> None:
    stripe, api = begun.stripe, begun.stripe.client.v1
    subscription = api.subscriptions.list({"status": "active", "limit": 1}).data[0].id
    api.subscriptions.cancel(subscription)
    begun.refresh()
    found = begun.rows("select status, _deleted_at from stripe.subscriptions where id = ?", [subscription])
    assert found == [("canceled", None)]
    assert stripe.get(f"/v1/subscriptions/{subscription}")["status"] == "canceled"


def test_an_ended_discount_that_an_invoice_still_names_is_ended_whatever_was_read_first(
    begun: Following, tmp_path: Path
) -> None:
    stripe, api = begun.stripe, begun.stripe.client.v1
    subscription = api.subscriptions.list({"status": "active", "limit": 1}).data[0]
    coupon = api.coupons.create({"percent_off": 10, "duration": "forever"}).id
    api.subscriptions.update(subscription.id, {"discounts": [{"coupon": coupon}]})
    stripe.advance(70 * DAY)
    begun.refresh()
    discount = str(stripe.get(f"/v1/subscriptions/{subscription.id}")["discounts"][0])
    assert living(begun, "discounts", discount) == [(True,)]
    api.subscriptions.delete_discount(subscription.id)
    stripe.advance(1)
    begun.refresh()
    assert living(begun, "discounts", discount) == [(False,)]
    fresh = begun.beside("fresh")
    assert living(fresh, "discounts", discount) == [(False,)]
    begun.rebuild()
    assert living(begun, "discounts", discount) == [(False,)]


def test_an_object_that_no_list_shows_is_read_because_an_event_told_of_it(begun: Following) -> None:
    """Also while the list of its kind is read whole, as it is once a day."""
    stripe = begun.stripe
    assert do(stripe, "test_clock_customer_comes", 0)
    stripe.advance(2 * DAY)
    begun.refresh()
    assert begun.differences() == []
    assert begun.rows("select count(*) from stripe.customers where test_clock is not null") == [(1,)]


def test_a_batch_of_a_payout_stays_whole_when_its_transactions_are_listed_again(
    begun: Following, tmp_path: Path
) -> None:
    stripe = begun.stripe
    stripe.advance(3 * DAY)
    begun.refresh()
    before = begun.rows("select payout, balance_transaction from sync.payout_transactions order by all")
    begun.refresh(objects=["balance_transactions"])
    begun.rebuild()
    assert begun.rows("select payout, balance_transaction from sync.payout_transactions order by all") == before
    assert len(before) > 5


def test_the_open_payment_of_an_invoice_that_is_voided_is_canceled_here_too(begun: Following) -> None:
    """No event tells it."""
    api, stripe = begun.stripe.client.v1, begun.stripe
    customer = next(iter(stripe.listed("/v1/customers")))["id"]
    invoice = api.invoices.create({"customer": customer, "currency": "usd", "collection_method": "send_invoice",
                                   "days_until_due": 30, "pending_invoice_items_behavior": "exclude"})  # fmt: skip
    api.invoices.add_lines(invoice.id, {"lines": [{"amount": 500, "description": "Hour"}]})
    api.invoices.finalize_invoice(invoice.id)
    begun.refresh()
    stripe.advance(2 * HOUR)
    api.invoices.void_invoice(invoice.id)
    stripe.advance(1)
    begun.refresh()
    assert begun.rows("select status from stripe.invoice_payments where invoice = ?", [invoice.id]) == [("canceled",)]
    assert begun.differences() == []
