from __future__ import annotations

from typing import Any

import pytest
import stripe
from billing_cases import DAY, NOW, Shop, misfits


@pytest.fixture
def shop(account) -> Shop:
    return Shop(account)


def once(shop: Shop, amount: int) -> str:
    return shop.api.prices.create({"currency": "usd", "product": shop.product, "unit_amount": amount}).id


def test_a_quote_is_offered_and_becomes_a_subscription(shop):
    api = shop.api
    rate = api.tax_rates.create({"display_name": "VAT", "percentage": 10, "inclusive": False}).id
    rows: Any = [{"price": once(shop, 500)}, {"price": shop.price(2000), "quantity": 3}]
    quote = api.quotes.create({"customer": shop.customer(), "line_items": rows, "default_tax_rates": [rate]})
    assert (quote.status, quote.amount_subtotal, quote.amount_total, quote.test_clock) == (
        "draft", 6500, 7150, shop.clock,
    )  # fmt: skip
    recurring = quote.computed.recurring
    assert (recurring.amount_subtotal, recurring.amount_total, recurring.interval) == (6000, 6600, "month")
    assert misfits(quote) == []
    items = api.quotes.line_items.list(quote.id).data
    assert [(each.amount_subtotal, each.amount_tax, each.quantity) for each in items] == [(500, 50, 1), (6000, 600, 3)]
    assert api.subscriptions.list({"customer": quote.customer}).data == []
    with pytest.raises(stripe.InvalidRequestError):
        api.quotes.accept(quote.id)
    changed = api.quotes.update(quote.id, {"line_items": [rows[1]], "metadata": {"a": "b"}})
    assert (changed.amount_total, len(api.quotes.line_items.list(quote.id).data)) == (6600, 1)
    offered = api.quotes.finalize_quote(quote.id)
    assert (offered.status, offered.number.startswith("QT-"), misfits(offered)) == ("open", True, [])
    agreed = api.quotes.accept(quote.id)
    assert (agreed.status, misfits(agreed)) == ("accepted", [])
    assert api.subscriptions.retrieve(agreed.subscription).status == "active"
    assert api.invoices.retrieve(agreed.invoice).total == 6600
    types = [each.type for each in shop.events("quote")]
    assert types == ["quote.created", "quote.finalized", "quote.accepted"]


def test_a_quote_of_one_time_things_becomes_an_invoice(shop):
    api = shop.api
    quote = api.quotes.create({"customer": shop.customer(), "line_items": [{"price": once(shop, 700), "quantity": 2}]})
    api.quotes.finalize_quote(quote.id)
    agreed = api.quotes.accept(quote.id)
    invoice = api.invoices.retrieve(agreed.invoice)
    assert (agreed.subscription, invoice.total, invoice.status) == (None, 1400, "draft")
    assert (invoice.parent.quote_details.quote, misfits(invoice)) == (quote.id, [])


def test_a_trial_costs_nothing_up_front(shop):
    api = shop.api
    quote = api.quotes.create(
        {
            "customer": shop.customer(), "line_items": [{"price": shop.price(900)}],
            "subscription_data": {"trial_period_days": 7},
        }
    )  # fmt: skip
    assert (quote.computed.upfront.amount_total, quote.computed.recurring.amount_total) == (0, 900)
    api.quotes.finalize_quote(quote.id)
    assert api.subscriptions.retrieve(api.quotes.accept(quote.id).subscription).status == "trialing"


def test_an_offer_is_withdrawn_or_expires(shop):
    api, customer, price = shop.api, shop.customer(), shop.price(900)
    one, two = (api.quotes.create({"customer": customer, "line_items": [{"price": price}]}) for _ in range(2))
    assert api.quotes.cancel(one.id).status == "canceled"
    api.quotes.finalize_quote(two.id, {"expires_at": NOW + 5 * DAY})
    shop.advance(NOW + 6 * DAY)
    assert api.quotes.retrieve(two.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError):
        api.quotes.finalize_quote(two.id)
