"""Quotes, as callers make, change, offer, accept and cancel them."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.calls import subscription_terms as terms
from dagster_project.simulator.engine import quotes, shapes
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
_PLAIN = ("collection_method", "default_tax_rates", "description", "expires_at", "footer", "header")
_LONGEST_TRIAL, _LONGEST_WAIT = 730, 3650  # days


def create(world: World, params: Params) -> Object:
    fields = _fields(world, params, shapes.new("quote", ""))
    rows, currency = _rows(world, params["line_items"], None)
    customer = params["customer"]
    if customer["currency"] not in (None, currency):
        raise ApiError(
            400, f"You cannot combine currencies on a single customer. This customer is billed in "
            f"{customer['currency']}.",
        )  # fmt: skip
    return quotes.create(world, customer, rows, currency, **fields)


def update(world: World, params: Params, quote: Object) -> Object:
    """Only while it is a draft, except for its description and metadata; Stripe tells nobody."""
    if set(params) - {"description", "metadata"}:
        _in(quote, "draft", "updated")
    fields = _fields(world, params, quote)
    rows = _rows(world, params["line_items"], quote["currency"])[0] if params.get("line_items") else None
    if quote["status"] == "draft" and set(params) - {"description", "metadata"}:
        return quotes.change(world, quote, rows, **fields)
    return world.change(quote, None, **fields)


def finalize(world: World, params: Params, quote: Object) -> Object:
    _in(quote, "draft", "finalized")
    return quotes.finalize(world, quote, _expiry(world, params))


def accept(world: World, params: Params, quote: Object) -> Object:
    _in(quote, "open", "accepted")
    if quote["id"] not in world.meta.get("quotes", {}):
        raise ApiError(400, "A quote of the made-up history has no line items, so it cannot be accepted.")
    return quotes.accept(world, quote)


def cancel(world: World, params: Params, quote: Object) -> Object:
    if quote["status"] not in ("draft", "open"):
        raise ApiError(400, f"A quote that is {quote['status']} cannot be canceled.")
    return quotes.cancel(world, quote)


def _in(quote: Object, status: str, done: str) -> None:
    if quote["status"] != status:
        raise ApiError(400, f"A quote must be {status} to be {done}; this one is {quote['status']}.")


def _fields(world: World, params: Params, quote: Object) -> Object:
    fields: Object = {name: params[name] for name in _PLAIN if name in params}
    if "expires_at" in params:
        fields["expires_at"] = _expiry(world, params)
    if "collection_method" in fields:
        fields["collection_method"] = fields["collection_method"] or "charge_automatically"
    if "metadata" in params:
        fields["metadata"] = merged(quote["metadata"], params["metadata"])
    if params.get("invoice_settings"):
        if (params["invoice_settings"].get("days_until_due") or 0) > _LONGEST_WAIT:
            raise invalid_parameter("invoice_settings[days_until_due]", f"At most {_LONGEST_WAIT} days.")
        fields["invoice_settings"] = {**quote["invoice_settings"], **params["invoice_settings"]}
    if params.get("subscription_data"):
        data = {**params["subscription_data"]}
        if (data.get("trial_period_days") or 0) > _LONGEST_TRIAL:
            raise invalid_parameter(
                "subscription_data[trial_period_days]", f"The maximum number of trial days is {_LONGEST_TRIAL}."
            )
        if "metadata" in data:
            data["metadata"] = merged(quote["subscription_data"]["metadata"], data["metadata"])
        fields["subscription_data"] = {**quote["subscription_data"], **data}
    return fields


def _expiry(world: World, params: Params) -> int | None:
    at: int | None = params.get("expires_at")
    if at is not None and not world.now < at <= terms.LATEST:
        raise invalid_parameter("expires_at", "expires_at must be in the future, before 2100.")
    return at


def _rows(world: World, given: list[Params], currency: str | None) -> tuple[list[quotes.Row], str]:
    if not given:
        raise required_parameter("line_items")
    if len(given) > terms.MOST_ITEMS:
        raise invalid_parameter("line_items", f"A quote has at most {terms.MOST_ITEMS} line items.")
    rows = []
    for place, row in enumerate(given):
        name = f"line_items[{place}]"
        price = terms.price_of(world, row, name)
        if price is None:
            raise required_parameter(f"{name}[price]")
        currency = currency or price["currency"]
        terms.fits(world, price, str(currency), f"{name}[price]")
        metered = bool(price["recurring"]) and price["recurring"]["usage_type"] == "metered"
        if metered:
            raise invalid_parameter(f"{name}[price]", "The simulator quotes no metered prices.")
        quantity = row.get("quantity", 1)
        if quantity * float(price["unit_amount_decimal"] or 1) > terms.MOST_MONEY:
            raise invalid_parameter(
                f"{name}[quantity]", f"The amount must be no more than {terms.MOST_MONEY}.", "amount_too_large"
            )
        rows.append(
            {
                "price": price["id"], "quantity": quantity, "tax_rates": row.get("tax_rates", []),
                "recurring": bool(price["recurring"]),
            }
        )  # fmt: skip
    return rows, str(currency)
