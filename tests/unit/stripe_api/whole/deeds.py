"""What people do at Stripe, each through Stripe's own client: `DEEDS` by name, each with a number that picks whom.

A deed that Stripe refuses (nobody left to pick, already refunded …) did not happen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import stripe

from whole.local_stripe import LocalStripe, Refused

Deed = Callable[[LocalStripe, int], object]
DEEDS: dict[str, Deed] = {}


def deed(run: Deed) -> Deed:
    DEEDS[run.__name__] = run
    return run


def do(local: LocalStripe, name: str, number: int) -> bool:
    """Whether it happened."""
    try:
        DEEDS[name](local, number)
    except (stripe.InvalidRequestError, stripe.CardError, Refused, _Nobody):
        return False
    return True


class _Nobody(Exception):
    pass


def _pick(some: Iterable[Any], number: int) -> Any:
    every = list(some)
    if not every:
        raise _Nobody
    return every[number % len(every)]


def _customer(local: LocalStripe, number: int) -> str:
    return str(_pick(local.listed("/v1/customers"), number)["id"])


def _price(local: LocalStripe, number: int, currency: str | None = None) -> dict[str, Any]:
    return dict(
        _pick(
            (
                one
                for one in local.listed("/v1/prices", {"type": "recurring", "active": "true"})
                if one["recurring"]["usage_type"] == "licensed" and currency in (None, one["currency"])
            ),
            number,
        )
    )


def _subscription(local: LocalStripe, number: int) -> dict[str, Any]:
    return dict(_pick(local.listed("/v1/subscriptions", {"status": "active"}), number))


# ---- the catalogue -------------------------------------------------------------------------------------------
@deed
def product_changes(local: LocalStripe, number: int) -> None:
    product = _pick(local.listed("/v1/products"), number)
    local.client.v1.products.update(product["id"], {"name": f"Plan {number}", "metadata": {"n": str(number)}})


@deed
def product_comes_and_goes(local: LocalStripe, number: int) -> None:
    made = local.client.v1.products.create({"name": "Short-lived"})
    if number % 2:
        local.client.v1.products.delete(made.id)


@deed
def price_is_made(local: LocalStripe, number: int) -> None:
    product = _pick(local.listed("/v1/products", {"active": "true"}), number)
    local.client.v1.prices.create(
        {"currency": "usd", "unit_amount": 100 + number, "recurring": {"interval": "month"}, "product": product["id"]}
    )


@deed
def price_is_withdrawn(local: LocalStripe, number: int) -> None:
    local.client.v1.prices.update(_price(local, number)["id"], {"active": False})


@deed
def coupon_comes_goes_and_comes_again(local: LocalStripe, number: int) -> None:
    """An id that callers choose names another coupon later."""
    id = f"REUSED{number % 2}"
    coupons = local.client.v1.coupons
    with contextlib.suppress(stripe.InvalidRequestError):
        coupons.delete(id)
        if number % 3 == 0:
            return
    coupons.create({"id": id, "percent_off": 1 + number % 99, "duration": "once", "name": f"No. {number}"})


@deed
def promotion_code_is_made(local: LocalStripe, number: int) -> None:
    coupon = _pick(local.listed("/v1/coupons"), number)
    local.client.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon["id"]}})


# ---- customers -----------------------------------------------------------------------------------------------
@deed
def customer_comes(local: LocalStripe, number: int) -> None:
    local.client.v1.customers.create(
        {
            "email": f"n{number}@example.com",
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
        }
    )


@deed
def customer_moves_twice(local: LocalStripe, number: int) -> None:
    """Both in one second, as the clock stands still."""
    who = _customer(local, number)
    local.client.v1.customers.update(who, {"email": f"first{number}@example.com"})
    local.client.v1.customers.update(who, {"email": f"second{number}@example.com"})


@deed
def customer_leaves(local: LocalStripe, number: int) -> None:
    local.client.v1.customers.delete(_customer(local, number))


@deed
def customer_comes_and_leaves(local: LocalStripe, number: int) -> None:
    made = local.client.v1.customers.create({"email": f"gone{number}@example.com"})
    local.client.v1.customers.delete(made.id)


@deed
def customer_gets_tax_id(local: LocalStripe, number: int) -> None:
    who = _customer(local, number)
    local.client.v1.customers.tax_ids.create(who, {"type": "eu_vat", "value": f"DE{100000000 + number}"})


@deed
def customer_loses_tax_id(local: LocalStripe, number: int) -> None:
    owner = _pick(
        (c for c in local.listed("/v1/customers", {"expand[]": "data.tax_ids"}) if c["tax_ids"]["data"]), number
    )
    local.client.v1.customers.tax_ids.delete(owner["id"], owner["tax_ids"]["data"][0]["id"])


@deed
def customer_gets_credit(local: LocalStripe, number: int) -> None:
    who = _customer(local, number)
    local.client.v1.customers.balance_transactions.create(who, {"amount": -100 - number, "currency": "usd"})


@deed
def customer_gets_coupon(local: LocalStripe, number: int) -> None:
    coupon = _pick(local.listed("/v1/coupons"), number)
    sub = _subscription(local, number)
    local.client.v1.subscriptions.update(sub["id"], {"discounts": [{"coupon": coupon["id"]}]})


@deed
def customer_loses_coupon(local: LocalStripe, number: int) -> None:
    sub = _pick((s for s in local.listed("/v1/subscriptions") if s["discounts"]), number)
    local.client.v1.subscriptions.delete_discount(sub["id"])


@deed
def card_is_changed(local: LocalStripe, number: int) -> None:
    who = _customer(local, number)
    api = local.client.v1
    made = api.payment_methods.attach("pm_card_mastercard", {"customer": who})
    api.customers.update(who, {"invoice_settings": {"default_payment_method": made.id}})
    if number % 2:
        api.payment_methods.detach(made.id)


@deed
def test_clock_customer_comes(local: LocalStripe, number: int) -> None:
    """Lists do not show this customer, its subscription and its invoices; events do."""
    api = local.client.v1
    clock = api.test_helpers.test_clocks.create({"frozen_time": local.now})
    who = api.customers.create(
        {"email": "clock@example.com", "test_clock": clock.id, "payment_method": "pm_card_visa",
         "invoice_settings": {"default_payment_method": "pm_card_visa"}}
    )  # fmt: skip
    api.subscriptions.create({"customer": who.id, "items": [{"price": _price(local, number)["id"]}]})


# ---- billing -------------------------------------------------------------------------------------------------
@deed
def subscribes(local: LocalStripe, number: int) -> None:
    prices = {_price(local, number + n)["id"] for n in range(1 + number % 3)}
    local.client.v1.subscriptions.create(
        {"customer": _customer(local, number), "items": [{"price": id, "quantity": 1 + number % 5} for id in prices]}
    )


@deed
def takes_more(local: LocalStripe, number: int) -> None:
    sub = _subscription(local, number)
    item = sub["items"]["data"][0]
    local.client.v1.subscription_items.update(item["id"], {"quantity": (item.get("quantity") or 1) + 1 + number % 4})


@deed
def adds_an_item(local: LocalStripe, number: int) -> None:
    sub = _subscription(local, number)
    local.client.v1.subscription_items.create(
        {"subscription": sub["id"], "price": _price(local, number, sub["currency"])["id"], "quantity": 2}
    )


@deed
def adds_many_items(local: LocalStripe, number: int) -> None:
    """More than the embedded list shows."""
    sub = _subscription(local, number)
    product = _pick(local.listed("/v1/products", {"active": "true"}), number)["id"]
    price = _price(local, number, sub["currency"])
    each = {"interval": price["recurring"]["interval"], "interval_count": price["recurring"]["interval_count"]}
    items: Any = [
        {"price_data": {"currency": sub["currency"], "product": product, "unit_amount": 100 + n, "recurring": each}}
        for n in range(12)
    ]
    local.client.v1.subscriptions.update(sub["id"], {"items": items})


@deed
def drops_an_item(local: LocalStripe, number: int) -> None:
    sub = _pick((s for s in local.listed("/v1/subscriptions") if len(s["items"]["data"]) > 1), number)
    local.client.v1.subscription_items.delete(sub["items"]["data"][-1]["id"])


@deed
def cancels(local: LocalStripe, number: int) -> None:
    local.client.v1.subscriptions.cancel(_subscription(local, number)["id"])


@deed
def will_cancel(local: LocalStripe, number: int) -> None:
    local.client.v1.subscriptions.update(_subscription(local, number)["id"], {"cancel_at_period_end": True})


def _bill(local: LocalStripe, number: int, lines: int) -> Any:
    api, who = local.client.v1, _customer(local, number)
    invoice = api.invoices.create({"customer": who, "currency": "usd", "pending_invoice_items_behavior": "exclude"})
    each: Any = [{"amount": 100 + n, "description": f"Line {n}"} for n in range(lines)]
    for first in range(0, lines, 50):
        api.invoices.add_lines(invoice.id, {"lines": each[first : first + 50]})
    return invoice


@deed
def is_billed_many_lines(local: LocalStripe, number: int) -> None:
    invoice = _bill(local, number, (3, 12, 130)[number % 3])
    if number % 2:
        local.client.v1.invoices.finalize_invoice(invoice.id)


@deed
def draft_loses_lines(local: LocalStripe, number: int) -> None:
    drafts = (i for i in local.listed("/v1/invoices", {"status": "draft"}) if len(i["lines"]["data"]) > 1)
    draft = _pick(drafts, number)
    gone: Any = [{"id": line["id"], "behavior": "delete"} for line in draft["lines"]["data"][: 1 + number % 3]]
    local.client.v1.invoices.remove_lines(draft["id"], {"lines": gone})


@deed
def draft_is_deleted(local: LocalStripe, number: int) -> None:
    local.client.v1.invoices.delete(_pick(local.listed("/v1/invoices", {"status": "draft"}), number)["id"])


@deed
def draft_is_finalized(local: LocalStripe, number: int) -> None:
    local.client.v1.invoices.finalize_invoice(_pick(local.listed("/v1/invoices", {"status": "draft"}), number)["id"])


@deed
def invoice_is_paid(local: LocalStripe, number: int) -> None:
    local.client.v1.invoices.pay(_pick(local.listed("/v1/invoices", {"status": "open"}), number)["id"])


@deed
def invoice_is_voided(local: LocalStripe, number: int) -> None:
    local.client.v1.invoices.void_invoice(_pick(local.listed("/v1/invoices", {"status": "open"}), number)["id"])


@deed
def item_waits_or_is_taken_back(local: LocalStripe, number: int) -> None:
    api = local.client.v1
    made = api.invoice_items.create({"customer": _customer(local, number), "amount": 500, "currency": "usd"})
    if number % 2:
        api.invoice_items.delete(made.id)


@deed
def credit_note_is_issued(local: LocalStripe, number: int) -> None:
    living = {customer["id"] for customer in local.listed("/v1/customers")}
    every = local.listed("/v1/invoices", {"status": "paid"})
    paid = (i for i in every if i["total"] > 100 and i["customer"] in living)
    invoice = _pick(paid, number)
    local.client.v1.credit_notes.create(
        {"invoice": invoice["id"], "lines": [{"type": "custom_line_item", "description": "Sorry", "quantity": 1,
         "unit_amount": 50}], "credit_amount": 50}
    )  # fmt: skip


@deed
def quote_is_made(local: LocalStripe, number: int) -> None:
    local.client.v1.quotes.create(
        {"customer": _customer(local, number), "line_items": [{"price": _price(local, number)["id"]}]}
    )


# ---- money ---------------------------------------------------------------------------------------------------
def _paid(local: LocalStripe, number: int) -> str:
    charges = (c for c in local.listed("/v1/charges") if c["paid"] and not c["refunded"] and not c["disputed"])
    return str(_pick(charges, number)["id"])


@deed
def pays_once(local: LocalStripe, number: int) -> None:
    local.client.v1.payment_intents.create(
        {"amount": 1000 + number, "currency": "usd", "confirm": True, "payment_method": "pm_card_visa",
         "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}
    )  # fmt: skip


@deed
def is_refunded(local: LocalStripe, number: int) -> None:
    local.client.v1.refunds.create({"charge": _paid(local, number), **({"amount": 50} if number % 2 else {})})


@deed
def disputes(local: LocalStripe, number: int) -> None:
    local.control("dispute", {"charge": _paid(local, number)})


@deed
def dispute_is_answered(local: LocalStripe, number: int) -> None:
    open_ones = (d for d in local.listed("/v1/disputes") if d["status"].endswith("needs_response"))
    text = "winning_evidence" if number % 2 else "losing_evidence"
    local.client.v1.disputes.update(
        _pick(open_ones, number)["id"], {"evidence": {"uncategorized_text": text}, "submit": True}
    )


@deed
def pays_out(local: LocalStripe, number: int) -> None:
    balance = local.get("/v1/balance")
    available = _pick((b for b in balance["available"] if b["amount"] > 100), number)
    local.client.v1.payouts.create({"amount": available["amount"] // 2, "currency": available["currency"]})


@deed
def charge_is_annotated(local: LocalStripe, number: int) -> None:
    charge = _pick(local.listed("/v1/charges"), number)
    local.client.v1.charges.update(charge["id"], {"metadata": {"note": str(number)}})
