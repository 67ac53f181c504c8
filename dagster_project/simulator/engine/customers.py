"""Customers who leave, and the tax ids that they have.

Rules: https://docs.stripe.com/api/customers/delete (subscriptions are canceled at once),
https://docs.stripe.com/invoicing/customer/tax-ids#validation.
"""

from __future__ import annotations

import msgspec

from dagster_project.simulator.engine.subscriptions import ENDED, end_subscription
from dagster_project.simulator.engine.world import Object, World, action

# What Stripe asks a register about, some time after the id was added; the others are `unavailable`.
_REGISTERED = ("au_abn", "eu_vat", "gb_vat")
_ASKED_AFTER = 60


def delete_customer(world: World, customer: Object) -> Object:
    """Subscriptions end; the customer leaves every list, and reading it gives the tombstone that is returned."""
    running, more = {"customer": customer["id"], "not status": list(ENDED)}, True
    while more:
        page, more = world.store.page("subscription", where=running, limit=100)
        for body in page:
            end_subscription(world, world.the(msgspec.json.decode(body)["id"], "subscription"))
    # Nobody is left to collect from: unpaid invoices stay as they are.
    unpaid, _ = world.store.page(
        "invoice", where={"customer": customer["id"], "status": ["draft", "open"]}, limit=100_000
    )
    world.forget({msgspec.json.decode(body)["id"] for body in unpaid})
    world.emit("customer.deleted", customer)
    tombstone = {"id": customer["id"], "object": "customer", "deleted": True}
    world.store.delete(customer["id"], tombstone, kind="customer")
    return tombstone


def add_tax_id(world: World, customer: Object | None, type: str, value: str) -> Object:
    """A tax id of a customer, or of the account itself; registered ones are verified a little later."""
    country = value[:2].upper() if type == "eu_vat" else type[:2].upper()
    if customer is None:
        return world.add("tax_id", "txi", type=type, value=value, country=country, owner=_owner("self"))
    status = "pending" if type in _REGISTERED else "unavailable"
    made = world.add(
        "tax_id", "txi", within=customer["id"], type=type, value=value, country=country, customer=customer["id"],
        owner=_owner("customer") | {"customer": customer["id"]}, verification=_verification(status),
    )  # fmt: skip
    world.emit("customer.tax_id.created", made)
    if status == "pending" and not value.endswith("222222222"):
        world.later(world.now + _ASKED_AFTER, tax_id_is_verified, made["id"])
    return made


@action
def tax_id_is_verified(world: World, id: str) -> None:
    """Values of Stripe's test mode: 111111111 is not found, 222222222 stays pending."""
    tax_id = world.store.get(id, "tax_id")
    if tax_id is not None and not tax_id.get("deleted"):
        status = "unverified" if tax_id["value"].endswith("111111111") else "verified"
        world.change(tax_id, "customer.tax_id.updated", verification=_verification(status))


def delete_tax_id(world: World, tax_id: Object) -> Object:
    if tax_id["customer"]:
        world.emit("customer.tax_id.deleted", tax_id)
    tombstone = {"id": tax_id["id"], "object": "tax_id", "deleted": True}
    world.store.delete(tax_id["id"], tombstone, kind="tax_id")
    return tombstone


def _owner(type: str) -> Object:
    return {"customer_account": None, "type": type}


def _verification(status: str) -> Object:
    return {"status": status, "verified_address": None, "verified_name": None}
