"""Invoice items, as callers create, change and delete them."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import invoice_items
from dagster_project.simulator.engine.discounts import given
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
_WORTH = ("amount", "unit_amount_decimal", "price_data", "pricing", "quantity", "quantity_decimal")


def create(world: World, params: Params) -> Object:
    """An item for the next invoice of the customer or of one subscription, or for a draft that is there."""
    customer, invoice, sub = params["customer"], params.get("invoice"), params.get("subscription")
    if invoice:
        _of_customer(invoice, customer, "invoice")
        editable(invoice)
    if sub:
        _of_customer(sub, customer, "subscription")
    return add(world, customer, params, invoice=invoice, sub=sub)


def add(world: World, customer: Object, params: Params, *, invoice: Object | None, sub: Object | None) -> Object:
    """The item of checked parameters. Raises ApiError 400 when they do not fit together."""
    price = _offered(params) or params.get("price_data") or {}
    owner = invoice or sub
    currency = params.get("currency") or (owner or price).get("currency") or customer["currency"] or "usd"
    if owner and owner["currency"] != currency:
        raise invalid_parameter("currency", f"The currency must be {owner['currency']}, as that of the invoice.")
    try:
        item = invoice_items.add_item(
            world, customer, currency, invoice_items.worth(world, params, currency), sub=sub, period=_period(params),
            **_fields({}, params),
        )  # fmt: skip
        if params.get("discounts"):
            item["discounts"] = given(world, params["discounts"], customer=customer, invoice_item=item)
            world.store.save(item)
    except ValueError as error:
        raise ApiError(400, str(error)) from None
    if invoice:
        invoice_items.put_on_draft(world, item, invoice)
    return item


def update(world: World, params: Params, item: Object) -> Object:
    if item["invoice"]:
        editable(world.the(item["invoice"], "invoice"))
    if item["proration"] and any(name in params for name in _WORTH):
        raise ApiError(400, "The amount of a proration cannot be changed.", param="amount")
    return change(world, params, item)


def change(world: World, params: Params, item: Object) -> Object:
    """Set what the checked parameters say. Raises ApiError 400 when they do not fit together."""
    _offered(params)
    changes = _fields(item, params)
    if period := _period(params):
        changes["period"] = period
    try:
        if any(name in params for name in _WORTH):
            changes |= invoice_items.worth(world, {**_current(world, item, params), **params}, item["currency"])
            changes.pop("name", None)
        if "discounts" in params:
            customer = world.the(item["customer"], "customer")
            changes["discounts"] = given(world, params["discounts"], customer=customer, invoice_item=item)
    except ValueError as error:
        raise ApiError(400, str(error)) from None
    return invoice_items.change_item(world, item, **changes)


def delete(world: World, params: Params, item: Object) -> Object:
    if item["invoice"]:
        editable(world.the(item["invoice"], "invoice"))
    return invoice_items.delete_item(world, item)


def editable(invoice: Object) -> None:
    """Raises ApiError 400 when the invoice is no draft any more."""
    if invoice["status"] != "draft":
        raise ApiError(400, "This invoice is no longer editable", code="invoice_not_editable")


def _offered(params: Params) -> Object | None:
    """The price that is named. Raises ApiError 400 for one that is not offered any more."""
    price: Object | None = (params.get("pricing") or {}).get("price")
    if price and not price["active"]:
        raise invalid_parameter(
            "pricing[price]", "The price specified is inactive. This field only accepts active prices."
        )
    return price


def _current(world: World, item: Object, params: Params) -> Params:
    """What an item is worth now, as parameters, as far as the new ones leave it."""
    current: Params = {}
    if "quantity" not in params and "quantity_decimal" not in params and "amount" not in params:
        current["quantity_decimal"] = item["quantity_decimal"]
    if not any(params.get(name) for name in ("amount", "unit_amount_decimal", "price_data", "pricing")):
        details = item["pricing"].get("price_details")
        if details:
            current["pricing"] = {"price": world.the(details["price"], "price")}
        else:
            current["unit_amount_decimal"] = item["pricing"]["unit_amount_decimal"]
    return current


def _period(params: Params) -> Object | None:
    period: Object | None = params.get("period")
    if period and period["end"] < period["start"]:
        raise invalid_parameter("period[end]", "The end of the period must not lie before its start.")
    return period and {"start": period["start"], "end": period["end"]}


def _fields(item: Object, params: Params) -> Object:
    fields = {name: params[name] for name in ("description", "discountable", "tax_rates") if name in params}
    if "metadata" in params:
        fields["metadata"] = merged(item.get("metadata"), params["metadata"])
    return fields


def _of_customer(owner: Object, customer: Object, param: str) -> None:
    if owner["customer"] != customer["id"]:
        raise invalid_parameter(param, f"The {param} {owner['id']} belongs to another customer.")
