"""Invoices that are collected by themselves: cards that fail, need their holder, or banks that take days."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import stripe

from tests.unit.simulator.billing_cases import DAY, HOUR, NOW, Shop, misfits
from tests.unit.simulator.test_invoices import bill


def holder(account, token: str) -> tuple[str, str]:
    """A customer and their default payment method, of the kind that Stripe's test token names."""
    client = account.client()
    of = client.v1.customers.create({"email": "ada@example.com"}).id
    method = client.v1.payment_methods.attach(token, {"customer": of}).id
    client.v1.customers.update(of, {"invoice_settings": {"default_payment_method": method}})
    return of, method


def subscriber(shop: Shop, token: str = "pm_card_visa") -> tuple[str, Any]:
    of = shop.api.customers.create({"email": "ada@example.com", "test_clock": shop.clock}).id
    pays_with(shop, of, token)
    sub = shop.api.subscriptions.create({"customer": of, "items": [{"price": shop.price(1000)}]})
    return of, sub


def pays_with(shop: Shop, of: str, token: str) -> None:
    method = shop.api.payment_methods.attach(token, {"customer": of}).id
    shop.api.customers.update(of, {"invoice_settings": {"default_payment_method": method}})


def newest(shop: Shop, of: str) -> Any:
    return shop.api.invoices.list({"customer": of, "limit": 1}).data[0]


def test_a_declined_card_is_answered_with_all_that_the_bank_said(account):
    client = account.client()
    of, _ = holder(account, "pm_card_chargeCustomerFail")
    invoice = bill(account, 1000, of=of)
    with pytest.raises(stripe.CardError) as refused:
        client.v1.invoices.pay(invoice.id)
    error = refused.value.error
    charge = client.v1.charges.list().data[0]
    assert (refused.value.http_status, error.type, error.code) == (402, "card_error", "card_declined")
    assert (error.charge, error.decline_code) == (charge.id, charge.outcome.reason)
    assert error.payment_intent.id == charge.payment_intent and not misfits(error.payment_intent)
    now = client.v1.invoices.retrieve(invoice.id)
    assert (now.status, now.attempt_count, now.attempted, now.amount_remaining) == ("open", 1, True, 1000)
    good = client.v1.payment_methods.attach("pm_card_visa", {"customer": of}).id
    paid = client.v1.invoices.pay(invoice.id, {"payment_method": good})
    assert (paid.status, paid.attempt_count, paid.amount_paid) == ("paid", 2, 1000)
    rows = client.v1.invoice_payments.list({"invoice": invoice.id}).data
    assert [(row.status, row.payment.payment_intent) for row in rows] == [("paid", charge.payment_intent)]


def test_dunning_tries_again_on_fixed_days_and_then_gives_up(account):
    shop = Shop(account)
    of, sub = subscriber(shop)
    end = sub["items"].data[0].current_period_end
    pays_with(shop, of, "pm_card_chargeCustomerFail")
    shop.advance(end + 2 * HOUR)
    invoice = newest(shop, of)
    begun = invoice.status_transitions.finalized_at
    assert begun == end + HOUR and (invoice.status, invoice.attempt_count) == ("open", 1)
    assert shop.api.subscriptions.retrieve(sub.id).status == "past_due"
    at = begun
    for attempt, days in enumerate((3, 5, 7), 2):
        at += days * DAY
        assert shop.api.invoices.retrieve(invoice.id).next_payment_attempt == at
        shop.advance(at - 1)
        assert shop.api.invoices.retrieve(invoice.id).attempt_count == attempt - 1
        shop.advance(at)
        assert shop.api.invoices.retrieve(invoice.id).attempt_count == attempt
    lost = shop.api.invoices.retrieve(invoice.id)
    assert (lost.status, lost.next_payment_attempt) == ("uncollectible", None) and not misfits(lost)
    assert lost.status_details.uncollectible.reason == "max_payment_attempts"
    ended = shop.api.subscriptions.retrieve(sub.id)
    assert (ended.status, ended.cancellation_details.reason) == ("canceled", "payment_failed")
    told = [each.type for each in shop.events("invoice.payment_failed", "invoice.marked", "customer.subscription.del")]
    assert told[:4] == ["invoice.payment_failed"] * 4 and len(told) == 6
    pays_with(shop, of, "pm_card_visa")
    assert shop.api.invoices.pay(invoice.id).status == "paid"


def test_a_retry_that_works_makes_the_subscription_run_again(account):
    shop = Shop(account)
    of, sub = subscriber(shop)
    pays_with(shop, of, "pm_card_chargeCustomerFail")
    shop.advance(sub["items"].data[0].current_period_end + 2 * HOUR)
    assert shop.api.subscriptions.retrieve(sub.id).status == "past_due"
    assert shop.api.customers.retrieve(of).delinquent is True
    pays_with(shop, of, "pm_card_visa")
    invoice = newest(shop, of)
    shop.advance(invoice.next_payment_attempt)
    paid = shop.api.invoices.retrieve(invoice.id)
    assert (paid.status, paid.attempt_count, paid.next_payment_attempt) == ("paid", 2, None)
    assert shop.api.subscriptions.retrieve(sub.id).status == "active"
    assert paid.status_transitions.paid_at == invoice.next_payment_attempt
    assert shop.api.customers.retrieve(of).delinquent is False


def test_an_invoice_paid_by_hand_is_not_tried_again(account):
    shop = Shop(account)
    of, sub = subscriber(shop)
    pays_with(shop, of, "pm_card_chargeCustomerFail")
    shop.advance(sub["items"].data[0].current_period_end + 2 * HOUR)
    pays_with(shop, of, "pm_card_visa")
    invoice = shop.api.invoices.pay(newest(shop, of).id)
    charges = len(shop.api.charges.list({"customer": of}).data)
    shop.advance(shop.now + 10 * DAY)
    assert len(shop.api.charges.list({"customer": of}).data) == charges
    assert shop.api.invoices.retrieve(invoice.id).attempt_count == 2


def test_a_card_that_needs_its_holder_pays_once_they_have_authenticated(account):
    client = account.client()
    of, _ = holder(account, "pm_card_authenticationRequired")
    invoice = bill(account, 1000, of=of)
    with pytest.raises(stripe.CardError) as refused:
        client.v1.invoices.pay(invoice.id)
    assert refused.value.error.code == "invoice_payment_intent_requires_action"
    assert refused.value.error.payment_intent.status == "requires_action"
    assert client.v1.invoices.retrieve(invoice.id).status == "open"
    types = [each.type for each in client.v1.events.list({"type": "invoice.*"}).data]
    assert types[0] == "invoice.payment_action_required"
    account.control("advance", {"seconds": HOUR})
    paid = client.v1.invoices.retrieve(invoice.id)
    assert (paid.status, paid.amount_paid) == ("paid", 1000)
    row = client.v1.invoice_payments.list({"invoice": invoice.id}).data[0]
    assert (row.status, row.amount_paid) == ("paid", 1000)


def test_a_first_invoice_is_paid_by_confirming_its_payment(account):
    shop = Shop(account)
    of = shop.api.customers.create({"email": "ada@example.com", "test_clock": shop.clock}).id
    sub = shop.api.subscriptions.create(
        {"customer": of, "items": [{"price": shop.price(1000)}], "payment_behavior": "default_incomplete",
         "expand": ["latest_invoice.confirmation_secret"]}
    )  # fmt: skip
    secret = sub.latest_invoice.confirmation_secret.client_secret
    assert (sub.status, sub.latest_invoice.status) == ("incomplete", "open") and not misfits(sub.latest_invoice)
    intent = secret.partition("_secret_")[0]
    with pytest.raises(stripe.CardError):
        shop.api.payment_intents.confirm(intent, {"payment_method": "pm_card_chargeDeclined"})
    assert shop.api.subscriptions.retrieve(sub.id).status == "incomplete"
    assert shop.api.invoices.retrieve(sub.latest_invoice.id).attempt_count == 1
    shop.api.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"})
    paid = shop.api.invoices.retrieve(sub.latest_invoice.id)
    assert (paid.status, paid.amount_paid) == ("paid", 1000)
    assert shop.api.subscriptions.retrieve(sub.id).status == "active"


def test_what_was_credited_is_not_asked_for_any_more(account):
    client = account.client()
    of, _ = holder(account, "pm_card_visa")
    invoice = client.v1.invoices.finalize_invoice(bill(account, 1000, of=of).id)
    row = client.v1.invoice_payments.list({"invoice": invoice.id}).data[0]
    note = client.v1.credit_notes.create({"invoice": invoice.id, "amount": 400})
    assert client.v1.payment_intents.retrieve(row.payment.payment_intent).amount == 600
    client.v1.credit_notes.void_credit_note(note.id)
    client.v1.credit_notes.create({"invoice": invoice.id, "amount": 100})
    client.v1.payment_intents.confirm(row.payment.payment_intent)
    paid = client.v1.invoices.retrieve(invoice.id)
    assert (paid.status, paid.amount_paid, paid.amount_due) == ("paid", 900, 900)
    assert client.v1.invoice_payments.retrieve(row.id).amount_requested == 900


def test_a_bank_debit_pays_days_later_or_fails_then(account):
    client = account.client()
    good, bad = holder(account, "pm_usBankAccount_success")[0], holder(account, "pm_usBankAccount_insufficientFunds")[0]
    ids = [client.v1.invoices.pay(bill(account, 1000, of=of).id).id for of in (good, bad)]
    for id in ids:
        under_way = client.v1.invoices.retrieve(id)
        assert (under_way.status, under_way.amount_remaining, under_way.attempted) == ("open", 1000, True)
        row = client.v1.invoice_payments.list({"invoice": id}).data[0]
        assert row.status == "open"
        assert client.v1.payment_intents.retrieve(row.payment.payment_intent).status == "processing"
    account.control("advance", {"days": 8})
    paid, failed = (client.v1.invoices.retrieve(id) for id in ids)
    assert (paid.status, paid.amount_paid) == ("paid", 1000)
    assert (failed.status, failed.amount_paid, failed.attempt_count) == ("open", 0, 1)
    told = [each.data.object.id for each in client.v1.events.list({"type": "invoice.payment_failed"}).data]
    assert told == [failed.id]


@pytest.mark.parametrize("outcome", ["unpaid", "past_due"])
def test_what_follows_the_last_attempt_is_the_business_s_choice(account, monkeypatch, outcome):
    monkeypatch.setattr(account.world.business, "after_last_retry", outcome)
    shop = Shop(account)
    of, sub = subscriber(shop)
    pays_with(shop, of, "pm_card_chargeCustomerFail")
    shop.advance(sub["items"].data[0].current_period_end + 18 * DAY)
    assert shop.api.subscriptions.retrieve(sub.id).status == outcome
    assert newest(shop, of).status == "open"


def test_what_waits_for_a_subscription_is_billed_with_its_discounts_and_taxes(account):
    shop = Shop(account)
    rate = shop.api.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 10}).id
    coupon = shop.api.coupons.create({"percent_off": 20, "duration": "forever"}).id
    of = shop.customer()
    sub = shop.api.subscriptions.create(
        {"customer": of, "items": [{"price": shop.price(1000)}], "default_tax_rates": [rate],
         "discounts": [{"coupon": coupon}]}
    )  # fmt: skip
    assert shop.api.invoices.retrieve(sub.latest_invoice).total == 880
    with pytest.raises(stripe.InvalidRequestError, match="Nothing to invoice"):
        shop.api.invoices.create({"customer": of, "subscription": sub.id})
    shop.api.invoice_items.create({"customer": of, "subscription": sub.id, "amount": 500, "currency": "usd"})
    for given, total in ({}, 440), ({"discounts": ""}, 550):
        invoice = shop.api.invoices.create({"customer": of, "subscription": sub.id, **given})
        assert (invoice.total, invoice.parent.subscription_details.subscription) == (total, sub.id)
        assert not misfits(invoice)
        shop.api.invoice_items.create({"customer": of, "subscription": sub.id, "amount": 500, "currency": "usd"})
    done = shop.api.invoices.finalize_invoice(invoice.id, {"auto_advance": True})
    assert done.status == "paid"
    told = shop.events("invoice.finalized")[-1]
    assert told.data.previous_attributes.auto_advance is False and told.data.object.auto_advance is True


def test_a_code_for_large_orders_counts_what_is_subscribed_to(account):
    shop = Shop(account)
    coupon = shop.api.coupons.create({"percent_off": 10, "duration": "forever"}).id
    code = shop.api.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon},
         "restrictions": {"minimum_amount": 2000, "minimum_amount_currency": "usd"}}
    ).id  # fmt: skip
    price = shop.price(1000)
    asked: Any = {"customer": shop.customer(), "discounts": [{"promotion_code": code}]}
    with pytest.raises(stripe.InvalidRequestError, match="minimum amount"):
        shop.api.subscriptions.create({**asked, "items": [{"price": price}]})
    sub = shop.api.subscriptions.create({**asked, "items": [{"price": price, "quantity": 2}]})
    assert shop.api.invoices.retrieve(sub.latest_invoice).total == 1800


def test_a_coupon_for_three_months_ends_with_them(account):
    shop = Shop(account, at=NOW)
    coupon = shop.api.coupons.create({"amount_off": 300, "currency": "usd", "duration": "repeating",
                                      "duration_in_months": 3}).id  # fmt: skip
    once = shop.api.coupons.create({"percent_off": 50, "duration": "once"}).id
    of = shop.customer()
    sub = shop.api.subscriptions.create(
        {"customer": of, "items": [{"price": shop.price(1000), "discounts": [{"coupon": once}]}],
         "discounts": [{"coupon": coupon}]}
    )  # fmt: skip
    shop.advance(NOW + 125 * DAY)
    bills = [*shop.api.invoices.list({"customer": of, "limit": 100}).auto_paging_iter()][::-1]
    assert [each.total for each in bills] == [200, 700, 700, 1000, 1000]
    assert [(each.period_start, each.period_end) for each in bills[1:]] == [
        (before.lines.data[0].period.start, each.created) for before, each in pairwise(bills)
    ]
    now = shop.api.subscriptions.retrieve(sub.id)
    assert (now.discounts, now["items"].data[0].discounts) == ([], [])
    gone = [each.data.object.source.coupon for each in shop.events("customer.discount.deleted")]
    assert gone == [once, coupon]
