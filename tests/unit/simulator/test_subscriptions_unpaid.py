"""Subscriptions whose cards fail, through Stripe's client."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from billing_cases import DAY, HOUR, NOW, Shop, misfits


@pytest.fixture
def shop(account) -> Shop:
    return Shop(account)


def pays_with(shop: Shop, customer: str, token: str) -> str:
    method = shop.api.payment_methods.attach(token, {"customer": customer}).id
    shop.api.customers.update(customer, {"invoice_settings": {"default_payment_method": method}})
    return method


def newest(shop: Shop, sub: str) -> Any:
    return shop.api.invoices.list({"subscription": sub, "limit": 1}).data[0]


def test_a_whole_life_from_trial_to_the_card_that_fails_for_good(shop):
    api = shop.api
    customer = shop.customer(card=False)
    pays_with(shop, customer, "pm_card_visa")
    sub = api.subscriptions.create(
        {"customer": customer, "items": [{"price": shop.price(2900)}], "trial_period_days": 14}
    )
    statuses = {NOW: sub.status}
    for day in (15, 46):
        shop.advance(NOW + day * DAY)
        statuses[shop.now] = api.subscriptions.retrieve(sub.id).status
    pays_with(shop, customer, "pm_card_chargeCustomerFail")
    for day in (80, 100):
        shop.advance(NOW + day * DAY)
        statuses[shop.now] = api.subscriptions.retrieve(sub.id).status
    assert list(statuses.values()) == ["trialing", "active", "active", "past_due", "canceled"]
    bills = api.invoices.list({"subscription": sub.id}).data
    assert [(each.status, each.total) for each in bills] == [
        ("uncollectible", 2900),
        ("paid", 2900),
        ("paid", 2900),
        ("paid", 0),
    ]
    ended = api.subscriptions.retrieve(sub.id)
    assert (ended.cancellation_details.reason, misfits(ended)) == ("payment_failed", [])
    told = [each.type for each in shop.events("customer.subscription.", "invoice.payment_failed")]
    assert told[0] == "customer.subscription.created"
    assert told[-1] == "customer.subscription.deleted"
    assert told.count("invoice.payment_failed") == 4
    changes = [each.data.previous_attributes for each in shop.events("customer.subscription.updated")]
    assert [each["status"] for each in changes if "status" in each] == ["trialing", "active"]
    clocks = [each.type.rpartition(".")[2] for each in shop.events("test_helpers")]
    assert clocks == ["created"] + ["advancing", "ready"] * (len(clocks) // 2)


def test_a_late_payment_makes_it_active_again(shop):
    api = shop.api
    customer = shop.customer()
    sub = api.subscriptions.create({"customer": customer, "items": [{"price": shop.price(700)}]})
    pays_with(shop, customer, "pm_card_chargeCustomerFail")
    shop.advance(NOW + 31 * DAY)
    assert api.subscriptions.retrieve(sub.id).status == "past_due"
    good = pays_with(shop, customer, "pm_card_visa")
    api.invoices.pay(newest(shop, sub.id).id, {"payment_method": good})
    assert api.subscriptions.retrieve(sub.id).status == "active"


def test_a_first_payment_that_is_declined_leaves_it_incomplete_or_nothing(shop):
    api, price = shop.api, shop.price(700)
    customer = shop.customer(card=False)
    pays_with(shop, customer, "pm_card_chargeCustomerFail")
    sub = api.subscriptions.create({"customer": customer, "items": [{"price": price}]})
    assert (sub.status, newest(shop, sub.id).status, newest(shop, sub.id).attempt_count) == ("incomplete", "open", 1)
    before = [each.id for each in shop.events("")]
    with pytest.raises(stripe.CardError) as declined:
        api.subscriptions.create(
            {"customer": customer, "items": [{"price": price}], "payment_behavior": "error_if_incomplete"}
        )
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    assert [each.id for each in shop.events("")] == before
    assert len(api.subscriptions.list({"customer": customer, "status": "all"}).data) == 1
    good = pays_with(shop, customer, "pm_card_visa")
    api.invoices.pay(newest(shop, sub.id).id, {"payment_method": good})
    assert api.subscriptions.retrieve(sub.id).status == "active"
    shop.advance(NOW + 2 * DAY)
    assert api.subscriptions.retrieve(sub.id).status == "active"


def test_a_change_that_cannot_be_paid_is_made_or_taken_back(shop):
    api = shop.api
    customer = shop.customer()
    sub = api.subscriptions.create({"customer": customer, "items": [{"price": shop.price(700)}]})
    item = sub["items"].data[0].id
    pays_with(shop, customer, "pm_card_chargeCustomerFail")
    shop.advance(NOW + 5 * DAY)
    change: Any = {"items": [{"id": item, "quantity": 9}], "proration_behavior": "always_invoice"}
    with pytest.raises(stripe.CardError):
        api.subscriptions.update(sub.id, {**change, "payment_behavior": "error_if_incomplete"})
    kept = api.subscriptions.retrieve(sub.id)
    assert (kept.status, kept["items"].data[0].quantity, kept.latest_invoice) == ("active", 1, sub.latest_invoice)
    changed = api.subscriptions.update(sub.id, change)
    assert (changed.status, changed["items"].data[0].quantity) == ("past_due", 9)
    assert newest(shop, sub.id).status == "open"


def test_a_card_that_must_be_authenticated_waits_for_its_owner(shop):
    api, price = shop.api, shop.price(700)
    status = {}
    for token in ("pm_card_authenticationRequired", "pm_card_threeDSecureRequiredChargeDeclined"):
        customer = shop.customer(card=False)
        pays_with(shop, customer, token)
        sub = api.subscriptions.create({"customer": customer, "items": [{"price": price}]})
        assert sub.status == "incomplete"
        status[token] = sub.id
    shop.advance(NOW + 23 * HOUR)
    assert [api.subscriptions.retrieve(id).status for id in status.values()] == ["active", "incomplete_expired"]


def test_what_is_canceled_is_not_collected_any_more(shop):
    api = shop.api
    customer = shop.customer()
    sub = api.subscriptions.create({"customer": customer, "items": [{"price": shop.price(700)}]})
    pays_with(shop, customer, "pm_card_chargeCustomerFail")
    shop.advance(NOW + 31 * DAY)
    api.subscriptions.cancel(sub.id)
    pays_with(shop, customer, "pm_card_visa")
    shop.advance(NOW + 50 * DAY)
    left = newest(shop, sub.id)
    assert (left.status, left.auto_advance, left.next_payment_attempt) == ("open", False, None)


def test_an_account_can_leave_subscriptions_unpaid_instead_of_ending_them(shop, monkeypatch):
    monkeypatch.setattr(shop.account.world.business, "after_last_retry", "unpaid")
    api = shop.api
    customer = shop.customer()
    sub = api.subscriptions.create({"customer": customer, "items": [{"price": shop.price(700)}]})
    pays_with(shop, customer, "pm_card_chargeCustomerFail")
    shop.advance(NOW + 50 * DAY)
    assert api.subscriptions.retrieve(sub.id).status == "unpaid"
    shop.advance(NOW + 65 * DAY)
    assert [each.status for each in api.invoices.list({"subscription": sub.id}).data] == ["draft", "open", "paid"]
    good = pays_with(shop, customer, "pm_card_visa")
    api.invoices.pay(api.invoices.list({"subscription": sub.id}).data[1].id, {"payment_method": good})
    assert api.subscriptions.retrieve(sub.id).status == "active"
