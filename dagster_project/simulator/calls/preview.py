"""Previews of invoices: of the next one of a subscription, of a change, of a new subscription."""

from __future__ import annotations

from typing import Any

import msgspec

from dagster_project.simulator.calls import invoice_items, subscriptions
from dagster_project.simulator.calls import subscription_terms as terms
from dagster_project.simulator.engine import changing, ending, previews, starting
from dagster_project.simulator.engine.invoices import one_off, take_waiting
from dagster_project.simulator.engine.subscriptions import ENDED, period_end
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, required_parameter

Params = dict[str, Any]


def create_preview(world: World, params: Params) -> Object:
    """Runs the real thing and takes it back, so the preview is what will happen if nothing else does."""
    sub, schedule = params.get("subscription"), params.get("schedule")
    details = params.get("subscription_details") or {}
    if schedule is not None and (sub is not None or details):
        raise invalid_parameter("schedule", "`schedule` cannot be used with subscription fields.")
    owner = sub or schedule or params.get("customer")
    if owner is None:
        raise required_parameter("customer")
    customer = world.the(owner["customer"] if owner is not params.get("customer") else owner["id"], "customer")
    if params.get("customer") is not None and params["customer"]["id"] != customer["id"]:
        raise invalid_parameter("customer", f"The customer does not have the {owner['object']} {owner['id']}.")
    ids = (customer["id"], sub and sub["id"], schedule and schedule["id"])
    with world.on(world.clock_of(owner)), terms.coupons_checked():
        made = previews.preview(world, lambda: _happens(world, params, details, *ids))
    if made is None:
        raise ApiError(
            404, f"No upcoming invoices for customer: {customer['id']}", code="invoice_upcoming_none", param="customer"
        )
    return made


def _happens(
    world: World, params: Params, details: Params, customer_id: str, sub_id: str | None, schedule_id: str | None
) -> Object | None:
    customer = world.the(customer_id, "customer")
    if schedule_id:
        schedule = world.the(schedule_id, "subscription_schedule")
        if schedule["status"] == "not_started":
            return previews.first_invoice(world, schedule)
        sub_id = schedule["subscription"]
        if not sub_id:
            return None
    elif sub_id is None and details.get("items"):
        return _new(world, params, details, customer)
    elif sub_id is None:
        sub_id = _soonest(world, customer)
        if sub_id is None:
            return _of_customer(world, params, customer)
    return _of_subscription(world, params, details, customer, world.the(sub_id, "subscription"))


def _new(world: World, params: Params, details: Params, customer: Object) -> Object:
    """The first invoice of a subscription that does not exist yet."""
    for row in details["items"]:
        if "id" in row or row.get("deleted"):
            raise invalid_parameter("subscription_details[items]", "A new subscription has no items to change.")
    asked = {name: details[name] for name in ("items", "metadata", "default_tax_rates", "trial_end") if name in details}
    asked |= {name: details[name] for name in ("cancel_at", "cancel_at_period_end") if details.get(name)}
    asked |= {name: params[name] for name in ("currency", "discounts") if name in params}
    if details.get("proration_behavior"):
        asked["proration_behavior"] = details["proration_behavior"]
    if (details.get("billing_cycle_anchor") or {}).get("timestamp") is not None:
        asked["billing_cycle_anchor"] = details["billing_cycle_anchor"]["timestamp"]
    _add_items(world, params, customer, None)
    found = subscriptions.terms_of(world, customer, {**asked, "payment_behavior": "default_incomplete"})
    return world.the(starting.start(world, customer, found)["latest_invoice"], "invoice")


def _of_subscription(world: World, params: Params, details: Params, customer: Object, sub: Object) -> Object | None:
    """What the changes cost at once, or otherwise the invoice that they will be on."""
    if sub["status"] in ENDED:
        return None
    _add_items(world, params, customer, sub)
    before = sub["latest_invoice"]
    if details.get("cancel_now"):
        ending.cancel(world, sub, prorate=details.get("proration_behavior") != "none", invoice_now=True)
    elif details.get("resume_at"):
        anchor = (details.get("billing_cycle_anchor") or {}).get("type") or "now"
        prorated = details.get("proration_behavior") != "none"
        ending.resume(world, sub, anchor_now=anchor == "now", prorated=prorated)
    else:
        change = {name: value for name, value in details.items() if name not in ("cancel_now", "resume_at")}
        if "discounts" in params:
            change["discounts"] = params["discounts"]
        if change:
            changing.change(world, sub, subscriptions.change_of(world, sub, change))
    if sub["latest_invoice"] != before:
        return world.the(sub["latest_invoice"], "invoice")
    return previews.next_invoice(world, sub)


def _of_customer(world: World, params: Params, customer: Object) -> Object | None:
    """What waits for the next invoice of a customer without subscriptions."""
    _add_items(world, params, customer, None)
    currency = params.get("currency") or customer["currency"] or "usd"
    waiting = take_waiting(world, currency, None, customer)
    return one_off(world, customer, waiting, due=None, currency=currency) if waiting else None


def _add_items(world: World, params: Params, customer: Object, sub: Object | None) -> None:
    for row in params.get("invoice_items") or []:
        fields = {**row}
        if fields.get("price") is not None:
            fields["pricing"] = {"price": fields.pop("price")}
        invoice_items.add(world, customer, fields, invoice=None, sub=sub)


def _soonest(world: World, customer: Object) -> str | None:
    """The subscription of the customer that is billed next."""
    where = {"customer": customer["id"], "status": ["active", "trialing", "past_due"]}
    rows: list[Any] = [
        msgspec.json.decode(body) for body in world.store.page("subscription", where=where, limit=100)[0]
    ]
    return min(rows, key=period_end)["id"] if rows else None
