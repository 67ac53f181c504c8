"""A preview must be the invoice that comes, and must leave no trace."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import stripe
from billing_cases import DAY, HOUR, NOW, Shop, misfits

_COMPARED = (
    "amount_due", "billing_reason", "currency", "customer", "default_tax_rates", "discounts", "ending_balance",
    "period_end", "period_start", "starting_balance", "subtotal", "total", "total_excluding_tax", "test_clock",
    "customer_email", "collection_method", "created",
)  # fmt: skip
_OF_LINES = ("amount", "currency", "description", "quantity", "subtotal", "discountable")


def essence(invoice: Any) -> dict[str, Any]:
    """What a preview and the invoice that follows must have in common; ids of what is made anew differ."""
    plain = invoice.to_dict(for_json=True)
    lines = [
        {name: line[name] for name in _OF_LINES}
        | {"period": line["period"], "pricing": line["pricing"], "taxes": [tax["amount"] for tax in line["taxes"]]}
        | {"discounts": [part["amount"] for part in line["discount_amounts"]]}
        for line in plain["lines"]["data"]
    ]
    taxes = [(tax["amount"], tax["tax_rate_details"]["tax_rate"]) for tax in plain["total_taxes"]]
    return {name: plain[name] for name in _COMPARED} | {"lines": lines, "taxes": taxes}


@pytest.fixture
def shop(account) -> Shop:
    return Shop(account)


def newest(shop: Shop, sub: str) -> Any:
    return shop.api.invoices.list({"subscription": sub, "limit": 1}).data[0]


def state(shop: Shop) -> tuple[Any, ...]:
    world = shop.account.world
    meta = {name: value for name, value in world.meta.items() if name != "requests"}
    return world.store.counts(), copy.deepcopy(meta)


def test_the_next_invoice_is_as_previewed_and_nothing_was_changed(shop):
    api = shop.api
    rate = api.tax_rates.create({"display_name": "VAT", "percentage": 19, "inclusive": False}).id
    coupon = api.coupons.create({"percent_off": 12.5, "duration": "repeating", "duration_in_months": 2}).id
    sub = api.subscriptions.create(
        {
            "customer": shop.customer(balance=-150), "items": [{"price": shop.price(1999), "quantity": 3}],
            "discounts": [{"coupon": coupon}], "default_tax_rates": [rate],
        }
    )  # fmt: skip
    end = sub["items"].data[0].current_period_end
    shop.advance(NOW + 9 * DAY + 7)
    api.subscriptions.update(sub.id, {"items": [{"id": sub["items"].data[0].id, "quantity": 7}]})
    api.invoice_items.create({"customer": sub.customer, "subscription": sub.id, "amount": 777, "currency": "usd"})
    before = state(shop)
    seen = api.invoices.create_preview({"subscription": sub.id})
    by_customer = api.invoices.create_preview({"customer": sub.customer})
    assert essence(by_customer) == essence(seen)
    assert state(shop) == before
    assert (seen.id.startswith("upcoming_in"), seen.status, seen.number, misfits(seen)) == (True, "draft", None, [])
    shop.advance(end + 2 * HOUR)
    assert essence(newest(shop, sub.id)) == essence(seen)
    assert seen.total > 0


@pytest.mark.parametrize("change", ["quantity", "interval", "anchor", "trial", "cancel", "added"])
def test_a_change_costs_what_its_preview_said(shop, change):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(4900)}]})
    item = sub["items"].data[0].id
    shop.advance(NOW + 12 * DAY + 34)
    details: Any = {
        "quantity": {"items": [{"id": item, "quantity": 4}], "proration_behavior": "always_invoice"},
        "interval": {"items": [{"id": item, "price": shop.price(49000, "year")}]},
        "anchor": {"billing_cycle_anchor": {"type": "now"}},
        "trial": {"trial_end": NOW + 20 * DAY},
        "cancel": {"cancel_now": True},
        "added": {"items": [{"price": shop.price(333), "quantity": 2}]},
    }[change]
    seen = api.invoices.create_preview({"subscription": sub.id, "subscription_details": details})
    assert newest(shop, sub.id).billing_reason == "subscription_create"
    if change == "cancel":
        api.subscriptions.cancel(sub.id, {"prorate": True, "invoice_now": True})
    else:
        api.subscriptions.update(sub.id, details)
        if change in ("trial", "added"):
            shop.advance(NOW + (20 if change == "trial" else 30) * DAY + 2 * HOUR)
    assert essence(newest(shop, sub.id)) == essence(seen)


def test_the_moment_of_a_proration_can_be_kept(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(4900)}]})
    shop.advance(NOW + 12 * DAY + 34)
    change: Any = {
        "items": [{"id": sub["items"].data[0].id, "quantity": 3}], "proration_date": shop.now,
        "proration_behavior": "always_invoice",
    }  # fmt: skip
    seen = api.invoices.create_preview({"subscription": sub.id, "subscription_details": change})
    shop.advance(shop.now + 3 * HOUR)
    api.subscriptions.update(sub.id, change)
    assert [line.amount for line in newest(shop, sub.id).lines.data] == [line.amount for line in seen.lines.data]


def test_a_subscription_can_be_previewed_before_it_exists(shop):
    api, customer = shop.api, shop.customer()
    coupon = api.coupons.create({"amount_off": 500, "currency": "usd", "duration": "once"}).id
    items: Any = [{"price": shop.price(2500), "quantity": 2}]
    seen = api.invoices.create_preview(
        {"customer": customer, "subscription_details": {"items": items}, "discounts": [{"coupon": coupon}]}
    )
    assert (seen.total, misfits(seen)) == (4500, [])
    assert api.subscriptions.list({"customer": customer}).data == []
    assert api.coupons.retrieve(coupon).times_redeemed == 0
    sub = api.subscriptions.create({"customer": customer, "items": items, "discounts": [{"coupon": coupon}]})
    assert newest(shop, sub.id).total == seen.total


def test_items_can_be_added_to_a_preview(shop):
    api, customer = shop.api, shop.customer()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.invoices.create_preview({"customer": customer})
    assert (refused.value.http_status, refused.value.code) == (404, "invoice_upcoming_none")
    once = api.prices.create({"currency": "usd", "product": shop.product, "unit_amount": 5}).id
    seen = api.invoices.create_preview(
        {"customer": customer, "invoice_items": [{"amount": 100, "currency": "usd"}, {"price": once, "quantity": 3}]}
    )
    assert sorted(line.amount for line in seen.lines.data) == [15, 100]
    assert api.invoice_items.list({"customer": customer}).data == []


def test_a_schedule_shows_its_first_invoice_and_the_next_phase(shop):
    api = shop.api
    made = api.subscription_schedules.create(
        {
            "customer": shop.customer(), "start_date": NOW + 5 * DAY,
            "phases": [
                {"items": [{"price": shop.price(100)}], "duration": {"interval": "month"}},
                {"items": [{"price": shop.price(900)}], "duration": {"interval": "month"}},
            ],
        }
    )  # fmt: skip
    assert api.invoices.create_preview({"schedule": made.id}).total == 100
    shop.advance(NOW + 6 * DAY)
    assert api.invoices.create_preview({"schedule": made.id}).total == 900
    shop.advance(NOW + 36 * DAY)
    sub = api.subscription_schedules.retrieve(made.id).subscription
    assert newest(shop, sub).total == 900


def test_the_seeded_business_is_previewed_as_it_then_renews(business):
    api = business.client().v1
    sub = next(
        each for each in api.subscriptions.list({"status": "active", "limit": 100}).auto_paging_iter()
        if not each.cancel_at_period_end
    )  # fmt: skip
    now = business.store.now
    seen = api.invoices.create_preview({"subscription": sub.id})
    assert business.store.now == now
    assert seen.created == min(item.current_period_end for item in sub["items"].data)
    assert misfits(seen) == []
