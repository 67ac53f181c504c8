"""Customers, as callers create, change and delete them."""

from __future__ import annotations

from typing import Any

import msgspec

from dagster_project.simulator.engine import billing
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.parameters import merged

_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def create(world: World, params: dict[str, Any]) -> Object:
    number = world.number("mail")
    clock = params.pop("test_clock", None)
    made = world.add(
        "customer", "cus", currency=None, delinquent=False, preferred_locales=[],
        invoice_prefix=f"LL{number:06d}", next_invoice_sequence=1,
        **{"name": None, "phone": None, "address": None, "metadata": {}, "tax_exempt": "none", **_fields({}, params)},
    )  # fmt: skip
    if clock:
        made["test_clock"] = clock["id"]
    world.emit("customer.created", made)
    return made


def update(world: World, params: dict[str, Any], customer: Object) -> Object:
    return world.change(customer, "customer.updated", **_fields(customer, params))


def delete(world: World, params: dict[str, Any], customer: Object) -> Object:
    """Subscriptions end at once; the customer leaves every list, and reading it gives the tombstone."""
    running, more = {"customer": customer["id"], "not status": ["canceled", "incomplete_expired"]}, True
    while more:
        page, more = world.store.page("subscription", where=running, limit=100)
        for body in page:
            billing.end_subscription(world, world.the(msgspec.json.decode(body)["id"], "subscription"))
    # Nobody is left to collect from: unpaid invoices stay as they are.
    unpaid, _ = world.store.page(
        "invoice", where={"customer": customer["id"], "status": ["draft", "open"]}, limit=100_000
    )
    world.forget({msgspec.json.decode(body)["id"] for body in unpaid})
    world.emit("customer.deleted", customer)
    tombstone = {"id": customer["id"], "object": "customer", "deleted": True}
    world.store.delete(customer["id"], tombstone, kind="customer")
    return tombstone


def _fields(customer: Object, params: dict[str, Any]) -> Object:
    fields = {**params}
    if "tax_exempt" in params:
        fields["tax_exempt"] = params["tax_exempt"] or "none"
    if "address" in params:
        before = customer.get("address") or dict.fromkeys(_ADDRESS)
        fields["address"] = {**before, **params["address"]} if params["address"] else None
    if "metadata" in params:
        fields["metadata"] = merged(customer.get("metadata"), params["metadata"])
    return fields
