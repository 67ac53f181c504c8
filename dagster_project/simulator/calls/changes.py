"""What callers change in a running business: customers, refunds, subscriptions, payments of invoices.

The billing rules are the engine's own; here are only Stripe's parameters, refusals and answers.
"""

from __future__ import annotations

import heapq
from typing import Any

import msgspec

from dagster_project.simulator.engine import billing, payments
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http import forms
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing, required_parameter
from dagster_project.simulator.http.forms import Params

Object = dict[str, Any]
_CUSTOMER_TEXTS = ("name", "email", "description", "phone")
_CUSTOMER = (*_CUSTOMER_TEXTS, "metadata", "balance", "address", "tax_exempt")
_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


# ---- customers -----------------------------------------------------------------------------------------------
def create_customer(world: World, ids: list[str], params: Params) -> Object:
    forms.only(params, *_CUSTOMER)
    number = world.number("mail")
    fields: Object = {
        "name": None, "phone": None, "address": None, "currency": None, "delinquent": False, "preferred_locales": [],
        "invoice_prefix": f"LL{number:06d}", "next_invoice_sequence": 1, "tax_exempt": "none",
    } | _customer_fields({}, params)  # fmt: skip
    made = world.add("customer", "cus", **fields)
    world.emit("customer.created", made)
    return made


def update_customer(world: World, ids: list[str], params: Params) -> Object:
    forms.only(params, *_CUSTOMER)
    customer = the(world, ids[0], "customer")
    _change(world, customer, "customer.updated", _customer_fields(customer, params))
    return customer


def delete_customer(world: World, ids: list[str], params: Params) -> Object:
    """Subscriptions end at once; the customer leaves every list, and reading it gives the tombstone."""
    forms.only(params)
    customer = the(world, ids[0], "customer")
    running, more = {"customer": customer["id"], "not status": ["canceled", "incomplete_expired"]}, True
    while more:
        page, more = world.store.page("subscription", where=running, limit=100)
        for body in page:
            billing.end_subscription(world, the(world, msgspec.json.decode(body)["id"], "subscription"))
    _stop_collecting(world, customer["id"])
    world.emit("customer.deleted", customer)
    tombstone = {"id": customer["id"], "object": "customer", "deleted": True}
    world.store.delete(customer["id"], tombstone, kind="customer")
    return tombstone


def _stop_collecting(world: World, customer: str) -> None:
    """Nobody is left to collect from: unpaid invoices stay as they are."""
    unpaid: list[str] = []
    more = True
    while more:
        page, more = world.store.page(
            "invoice", where={"customer": customer, "status": ["draft", "open"]}, limit=100,
            starting_after=unpaid[-1] if unpaid else None,
        )  # fmt: skip
        unpaid += [msgspec.json.decode(body)["id"] for body in page]
    world._due[:] = [due for due in world._due if not set(unpaid) & {*map(str, due[3])}]
    heapq.heapify(world._due)


def _customer_fields(customer: Object, params: Params) -> Object:
    fields: Object = {name: forms.text(params, name) or None for name in _CUSTOMER_TEXTS if name in params}
    if "balance" in params:
        fields["balance"] = forms.integer(params["balance"], "balance")
    if "tax_exempt" in params:
        fields["tax_exempt"] = forms.choice(params, "tax_exempt", ("none", "exempt", "reverse")) or "none"
    if "address" in params:
        address = params["address"]
        if address != "" and not isinstance(address, dict):
            raise invalid_parameter("address", "Invalid object: address")
        if address:
            forms.only(address, *_ADDRESS)
        before = customer.get("address") or dict.fromkeys(_ADDRESS)
        fields["address"] = {**before, **{name: value or None for name, value in address.items()}} if address else None
    if "metadata" in params or not customer:
        fields["metadata"] = forms.metadata(customer.get("metadata"), params)
    return fields


# ---- refunds -------------------------------------------------------------------------------------------------
def create_refund(world: World, ids: list[str], params: Params) -> Object:
    forms.only(params, "charge", "payment_intent", "amount", "reason", "metadata")
    charge = _charge_of(world, params)
    left = charge["amount"] - charge["amount_refunded"]
    if left <= 0:
        raise ApiError(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if not charge["paid"]:
        raise ApiError(400, f"Charge {charge['id']} was not paid, so there is nothing to refund.", param="charge")
    if charge["disputed"]:
        raise ApiError(400, f"Charge {charge['id']} has been charged back.", code="charge_disputed")
    amount = forms.integer(params["amount"], "amount") if "amount" in params else left
    if amount < 1:
        raise invalid_parameter("amount", "Invalid positive integer", "parameter_invalid_integer")
    reason = forms.choice(params, "reason", ("duplicate", "fraudulent", "requested_by_customer"))
    metadata = forms.metadata({}, params)
    try:
        return payments.refund(world, charge, amount, reason=reason, metadata=metadata)
    except ValueError as error:
        raise invalid_parameter("amount", str(error)) from None


def update_refund(world: World, ids: list[str], params: Params) -> Object:
    forms.only(params, "metadata")
    refund = the(world, ids[0], "refund")
    _change(world, refund, "refund.updated", {"metadata": forms.metadata(refund["metadata"], params)})
    return refund


def _charge_of(world: World, params: Params) -> Object:
    if charge := forms.text(params, "charge"):
        return the(world, charge, "charge", param="charge")
    intent = forms.text(params, "payment_intent")
    if not intent:
        raise required_parameter("charge")
    found = the(world, intent, "payment_intent", param="payment_intent")
    if not found["latest_charge"]:
        raise ApiError(400, f"The PaymentIntent {intent} does not have a successful charge.", param="payment_intent")
    return the(world, found["latest_charge"], "charge")


# ---- subscriptions -------------------------------------------------------------------------------------------
def update_subscription(world: World, ids: list[str], params: Params) -> Object:
    """Metadata, the end of the period as the end, and quantity and price of an item (prorated on the next invoice)."""
    forms.only(params, "metadata", "cancel_at_period_end", "description", "items", "cancellation_details")
    subscription = _running(world, ids[0])
    items = _item_changes(world, subscription, params.get("items", []))
    changes: Object = {}
    if "cancel_at_period_end" in params:
        ends = forms.boolean(params["cancel_at_period_end"], "cancel_at_period_end")
        changes |= {
            "cancel_at_period_end": ends,
            "cancel_at": billing.period_end(subscription) if ends else None,
            "canceled_at": world.now if ends else None,
            "cancellation_details": _cancellation(params, "cancellation_requested" if ends else None),
        }
    if "description" in params:
        changes["description"] = forms.text(params, "description") or None
    if "metadata" in params:
        changes["metadata"] = forms.metadata(subscription["metadata"], params)
    if subscription["cancel_at_period_end"] == changes.get("cancel_at_period_end"):
        for name in ("cancel_at", "canceled_at", "cancellation_details"):
            changes.pop(name)
    _change(world, subscription, "customer.subscription.updated", changes)
    for price, quantity in items:
        billing.change_item(world, subscription, price, quantity)
    return subscription


def cancel_subscription(world: World, ids: list[str], params: Params) -> Object:
    """Ends now; stays in the list as canceled."""
    forms.only(params, "invoice_now", "prorate", "cancellation_details")
    subscription = _running(world, ids[0])
    subscription["cancellation_details"] = _cancellation(params, "cancellation_requested")
    return billing.end_subscription(world, subscription)


def _running(world: World, id: str) -> Object:
    subscription = the(world, id, "subscription")
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise missing("subscription", id)
    return subscription


def _cancellation(params: Params, reason: str | None) -> Object:
    given = params.get("cancellation_details") or {}
    if not isinstance(given, dict):
        raise invalid_parameter("cancellation_details", "Invalid object: cancellation_details")
    forms.only(given, "comment", "feedback")
    details = {"comment": given.get("comment") or None, "feedback": given.get("feedback") or None}
    return {**details, "feedback_option": None, "reason": reason}


def _item_changes(world: World, subscription: Object, given: Any) -> list[tuple[Object, int]]:
    """(price, quantity) for the changed first item. The engine prorates that one only; others are refused."""
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise invalid_parameter("items", "Invalid array: items")
    changes = []
    first = subscription["items"]["data"][0]
    for each in given:
        forms.only(each, "id", "quantity", "price", required=("id",))
        if each["id"] != first["id"]:
            if all(each["id"] != item["id"] for item in subscription["items"]["data"]):
                raise missing("subscription_item", str(each["id"]), param="items[0][id]")
            raise invalid_parameter("items[0][id]", "The simulator changes the first item of a subscription only.")
        price_id = forms.text(each, "price") or first["price"]["id"]
        price = the(world, price_id, "price", param="items[0][price]")
        if price["currency"] != subscription["currency"] or not price["recurring"]:
            raise invalid_parameter("items[0][price]", f"The price {price_id} does not fit this subscription.")
        quantity = forms.integer(each["quantity"], "quantity") if "quantity" in each else first["quantity"]
        if quantity < 1:
            raise invalid_parameter("items[0][quantity]", "This value must be greater than or equal to 1.")
        changes.append((price, quantity))
    return changes


# ---- invoices ------------------------------------------------------------------------------------------------
def pay_invoice(world: World, ids: list[str], params: Params) -> Object:
    """Try to collect now. Raises ApiError 402 when the card is declined."""
    forms.only(params)
    invoice = the(world, ids[0], "invoice")
    if world.the(invoice["customer"]).get("deleted"):
        raise ApiError(400, "This invoice can no longer be paid: its customer was deleted.")
    if invoice["status"] == "draft":
        billing.finalize(world, invoice)
    elif invoice["status"] == "open":
        billing.collect(world, invoice)
    elif invoice["status"] == "paid":
        raise ApiError(400, "Invoice is already paid", code="invoice_already_paid")
    else:
        raise ApiError(400, f"This invoice can no longer be paid: it is {invoice['status']}.")
    if invoice["status"] != "paid":
        raise ApiError(
            402, "Your card has insufficient funds.", type="card_error", code="card_declined",
            decline_code="insufficient_funds",
        )  # fmt: skip
    return invoice


# ---- shared --------------------------------------------------------------------------------------------------
def the(world: World, id: str, kind: str, *, param: str | None = None) -> Object:
    """The live object. Raises ApiError 404, or 400 when the id is in a parameter."""
    found = world.store.get(id, kind)
    if found is None or found.get("deleted"):
        raise missing(kind, id, param=param)
    return found


def _change(world: World, obj: Object, event: str, changes: Object) -> None:
    """Set fields; of metadata only the changed keys are previous values, null for new ones."""
    metadata = changes.get("metadata")
    before = obj.get("metadata") or {}
    previous = {name: obj.get(name) for name, value in changes.items() if obj.get(name) != value}
    if not previous:
        return
    if "metadata" in previous and metadata is not None:
        keys = sorted(before.keys() | metadata.keys())
        previous["metadata"] = {name: before.get(name) for name in keys if before.get(name) != metadata.get(name)}
    obj.update(changes)
    world.store.save(obj)
    world.emit(event, obj, previous)
