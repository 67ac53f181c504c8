"""Subscriptions with usage, with several intervals, and with nothing in them, through Stripe's client."""

from __future__ import annotations

from typing import Any

import pytest
from billing_cases import DAY, HOUR, NOW, Shop, misfits


@pytest.fixture
def shop(account) -> Shop:
    return Shop(account)


def newest(shop: Shop, sub: str) -> Any:
    return shop.api.invoices.list({"subscription": sub, "limit": 1}).data[0]


def metered(shop: Shop) -> str:
    meter = shop.api.billing.meters.create(
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    )
    return shop.api.prices.create(
        {
            "currency": "usd", "product": shop.product, "unit_amount": 3,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
        }
    ).id  # fmt: skip


def uses(shop: Shop, customer: str, calls: int) -> None:
    shop.api.billing.meter_events.create(
        {
            "event_name": "calls", "payload": {"stripe_customer_id": customer, "value": str(calls)},
            "timestamp": shop.now,
        }
    )  # fmt: skip


def test_usage_is_billed_after_its_period_and_at_the_end(shop):
    api, customer = shop.api, shop.customer()
    sub = api.subscriptions.create(
        {"customer": customer, "items": [{"price": shop.price(1000)}, {"price": metered(shop)}]}
    )
    assert newest(shop, sub.id).total == 1000
    assert "quantity" not in sub["items"].data[1]
    shop.advance(NOW + 5 * DAY)
    uses(shop, customer, 100)
    shop.advance(NOW + 30 * DAY + 2 * HOUR)
    assert sorted(line.amount for line in newest(shop, sub.id).lines.data) == [300, 1000]
    shop.advance(NOW + 35 * DAY)
    uses(shop, customer, 7)
    shop.advance(NOW + 36 * DAY)
    gone = api.subscriptions.cancel(sub.id, {"invoice_now": True})
    assert (gone.status, newest(shop, sub.id).total, newest(shop, sub.id).status) == ("canceled", 21, "paid")


def test_a_metered_item_that_goes_is_billed_for_what_was_used(shop):
    api, customer = shop.api, shop.customer()
    sub = api.subscriptions.create(
        {"customer": customer, "items": [{"price": shop.price(1000)}, {"price": metered(shop)}]}
    )
    shop.advance(NOW + 5 * DAY)
    uses(shop, customer, 50)
    shop.advance(NOW + 6 * DAY)
    api.subscriptions.update(sub.id, {"items": [{"id": sub["items"].data[1].id, "deleted": True}]})
    [pending] = api.invoice_items.list({"customer": customer, "pending": True}).data
    assert (pending.amount, misfits(pending)) == (150, [])


def test_items_of_several_intervals_have_periods_of_their_own(shop):
    api = shop.api
    weekly, monthly = shop.price(700, "week"), shop.price(3000)
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": weekly}, {"price": monthly}]})
    ends = [item.current_period_end - NOW for item in sub["items"].data]
    assert ends == [7 * DAY, 30 * DAY]
    shop.advance(NOW + 29 * DAY, step=14 * DAY)
    bills = api.invoices.list({"subscription": sub.id, "limit": 100}).data
    assert [each.total for each in bills] == [700, 700, 700, 700, 3700]
    shop.advance(NOW + 30 * DAY + 2 * HOUR, step=14 * DAY)
    assert newest(shop, sub.id).total == 3000
    assert api.subscriptions.retrieve(sub.id)["items"].data[0].current_period_end == NOW + 35 * DAY


def test_nothing_of_something_costs_nothing_until_there_is_some(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(3000), "quantity": 0}]})
    assert (sub.status, newest(shop, sub.id).total, newest(shop, sub.id).status) == ("active", 0, "paid")
    shop.advance(NOW + 15 * DAY)
    api.subscriptions.update(sub.id, {"items": [{"id": sub["items"].data[0].id, "quantity": 2}]})
    amounts = [each.amount for each in api.invoice_items.list({"customer": sub.customer}).data]
    assert sorted(amounts) == [0, 3000]


def test_coupons_of_items_and_subscriptions_are_told_when_they_go(shop):
    api = shop.api
    coupon = api.coupons.create({"percent_off": 50, "duration": "forever"}).id
    code = api.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon}, "code": "HALF"}).id
    sub = api.subscriptions.create(
        {
            "customer": shop.customer(), "discounts": [{"promotion_code": code}],
            "items": [{"price": shop.price(1000), "discounts": [{"coupon": coupon}]}],
        }
    )  # fmt: skip
    assert newest(shop, sub.id).total == 250
    gone = api.subscriptions.delete_discount(sub.id)
    assert (gone.deleted, misfits(gone)) == (True, [])
    other = api.subscriptions.update(sub.id, {"items": [{"id": sub["items"].data[0].id, "discounts": ""}]})
    assert (other.discounts, other["items"].data[0].discounts) == ([], [])
    types = [each.type.rpartition(".")[2] for each in shop.events("customer.discount")]
    assert types == ["created", "created", "deleted", "deleted"]
    shop.advance(NOW + 30 * DAY + 2 * HOUR)
    assert newest(shop, sub.id).total == 1000
