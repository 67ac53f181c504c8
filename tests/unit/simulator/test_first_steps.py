"""What somebody meets who writes a first integration against the local Stripe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stripe

DAY = 86_400


@pytest.fixture
def api(account: Any) -> Any:
    return account.client().v1


def customer(api: Any, **more: Any) -> Any:
    return api.customers.create(
        {"payment_method": "pm_card_visa", "invoice_settings": {"default_payment_method": "pm_card_visa"}, **more}
    )


def price(api: Any, **more: Any) -> Any:
    made = {"currency": "usd", "unit_amount": 1900, "recurring": {"interval": "month"}, "product_data": {"name": "Pro"}}
    return api.prices.create({**made, **more})


def test_nobody_is_taxed_without_being_told_to(api: Any) -> None:
    of = customer(api, address={"country": "DE", "line1": "Weg 1", "city": "Ulm", "postal_code": "89073"})
    sub = api.subscriptions.create({"customer": of.id, "items": [{"price": price(api).id}]})
    invoice = api.invoices.retrieve(sub.latest_invoice)
    assert (invoice.total, invoice.total_taxes) == (1900, [])


def test_a_price_that_is_not_offered_any_more_cannot_be_subscribed_to(api: Any) -> None:
    of, old = customer(api), price(api)
    api.prices.update(old.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="only accepts active prices"):
        api.subscriptions.create({"customer": of.id, "items": [{"price": old.id}]})


@pytest.mark.parametrize(("days", "told"), [(2, True), (14, False)])
def test_the_end_of_a_short_trial_is_told_at_its_beginning(api: Any, days: int, told: bool) -> None:
    api.subscriptions.create(
        {"customer": customer(api).id, "items": [{"price": price(api).id}], "trial_period_days": days}
    )
    found = api.events.list({"type": "customer.subscription.trial_will_end"}).data
    assert len(found) == told


def test_an_address_that_is_none_is_refused(api: Any) -> None:
    for call in (api.customers.create, lambda params: api.customers.update(customer(api).id, params)):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            call({"email": "notanemail"})
        assert (refused.value.code, refused.value.param) == ("email_invalid", "email")


@pytest.mark.parametrize("gone", ["payment_intent", "charge", "subscription"])
def test_fields_that_the_version_took_away_cannot_be_expanded(api: Any, gone: str) -> None:
    sub = api.subscriptions.create({"customer": customer(api).id, "items": [{"price": price(api).id}]})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        api.invoices.retrieve(sub.latest_invoice, {"expand": [gone]})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        api.subscriptions.retrieve(sub.id, {"expand": [f"latest_invoice.{gone}"]})


def test_a_running_subscription_says_that_nothing_ended_it(api: Any) -> None:
    sub = api.subscriptions.create({"customer": customer(api).id, "items": [{"price": price(api).id}]})
    assert (sub.cancellation_details.reason, sub.cancellation_details.feedback) == (None, None)


def test_the_example_of_the_page_works(api: Any) -> None:
    page = (Path(__file__).parents[3] / "dagster_project/simulator/README.md").read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    lines = [line for line in example.splitlines() if "import stripe" not in line and "StripeClient(" not in line]
    client = type("Client", (), {"v1": api})
    exec("\n".join(lines), {"client": client})
    (sub,) = api.subscriptions.list({"limit": 1}).data
    assert (sub.status, api.invoices.retrieve(sub.latest_invoice).amount_paid) == ("active", 1900)


@pytest.mark.parametrize(
    ("terms", "quantity", "said"),
    [
        ({}, 1, "1 × Pro (at $19.00 / month)"),
        ({"recurring": {"interval": "month", "interval_count": 3}}, 4, "4 × Pro (at $19.00 / every 3 months)"),
        ({"currency": "jpy", "unit_amount": 2800, "recurring": {"interval": "year"}}, 2, "2 × Pro (at ¥2,800 / year)"),
        ({"currency": "chf"}, 1, "1 × Pro (at CHF 19.00 / month)"),
    ],
)
def test_a_line_says_what_a_unit_costs_and_how_often(api: Any, terms: Any, quantity: int, said: str) -> None:
    made = price(api, **terms)
    sub = api.subscriptions.create({"customer": customer(api).id, "items": [{"price": made.id, "quantity": quantity}]})
    (line,) = api.invoices.retrieve(sub.latest_invoice).lines.data
    assert line.description == said
