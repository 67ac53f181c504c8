"""Customers, as callers create, change and delete them."""

from __future__ import annotations

import re
from typing import Any

from dagster_project.simulator.calls import payment_methods
from dagster_project.simulator.calls.subscription_terms import undone_when_declined
from dagster_project.simulator.calls.tax_ids import checked_type
from dagster_project.simulator.engine import clocks, credit, customers, discounts, ids
from dagster_project.simulator.engine.world import ABSENT, Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")
_OPTIONAL = ("business_name", "individual_name")  # absent, never null
_PREFIX = re.compile(r"[A-Z0-9]{3,12}", re.ASCII)


def create(world: World, params: Params) -> Object:
    """Raises ApiError 402 for a card that is declined already now; then there is no customer either."""
    _checked_email(params)
    with undone_when_declined(world, "error_if_incomplete" if params.get("payment_method") else None):
        return _create(world, params)


def _create(world: World, params: Params) -> Object:
    clock, method = params.pop("test_clock", None), params.pop("payment_method", None)
    balance, tax_ids = params.pop("balance", 0), params.pop("tax_id_data", [])
    if clock is not None and world.clock_of({"test_clock": clock["id"]}) is None:
        raise missing("test_helpers.test_clock", clock["id"], param="test_clock")
    made = world.add(
        "customer", "cus", currency=None, delinquent=False, next_invoice_sequence=1, name=None, phone=None,
        address=None, metadata={}, tax_exempt="none", preferred_locales=[],
        invoice_prefix=ids.make(world.seed, "prefix", world.number("prefix"))[-8:].upper(),
    )  # fmt: skip
    if clock:
        clocks.put_on_clock(world, made, clock)
    with world.on(clock and clock["id"]):
        made["created"] = world.now
        if method is not None:
            _attach(world, made, method, params.get("invoice_settings") or {})
        made.update(_fields(world, made, params))
        for name in _OPTIONAL:
            if made.get(name, "") is None:
                del made[name]
        world.store.save(made)
        world.emit("customer.created", made)
        for row in tax_ids:
            customers.add_tax_id(world, made, checked_type(row["type"], "tax_id_data"), row["value"])
        _set_balance(world, made, balance)
    return made


def _checked_email(params: Params) -> None:
    email = params.get("email")
    if email and not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise invalid_parameter("email", f"Invalid email address: {email}", "email_invalid")


def update(world: World, params: Params, customer: Object) -> Object:
    _checked_email(params)
    balance = params.pop("balance", customer["balance"])
    fields = _fields(world, customer, params)
    for name in _OPTIONAL:
        if name in fields and fields[name] is None:
            fields[name] = ABSENT
    world.change(customer, "customer.updated", **fields)
    _set_balance(world, customer, balance)
    return customer


def delete(world: World, params: Params, customer: Object) -> Object:
    return customers.delete_customer(world, customer)


def delete_discount(world: World, params: Params, customer: Object) -> Object:
    """The coupon of the customer itself; those of its subscriptions stay."""
    discount = customer.get("discount")
    if not discount:
        raise ApiError(404, f"No active discount for customer: {customer['id']}", code="resource_missing")
    world.change(customer, "customer.updated", discount=None)
    world.emit("customer.discount.deleted", discount)
    return discounts.tombstone(discount)


def _set_balance(world: World, customer: Object, balance: int) -> None:
    """The difference is a transaction of the customer's balance, in the account's currency if it has none yet."""
    if balance == customer["balance"]:
        return
    if not customer["currency"]:
        account = world.store.get(world.id_of_account, "account") or {}
        world.change(customer, "customer.updated", currency=account.get("default_currency") or "usd")
    credit.credit(world, customer, balance - customer["balance"], "adjustment")


def _attach(world: World, customer: Object, method: Object, settings: Params) -> None:
    """The payment method that is created along; a test token stands for the same one wherever it is named."""
    if method["customer"] not in (None, customer["id"]):
        raise ApiError(
            400, "The payment method you provided has already been attached to a customer.", param="payment_method"
        )
    payment_methods.attach(world, {"customer": customer}, method)
    default = settings.get("default_payment_method")
    if default is not None and default["customer"] is None and default.get("card") == method.get("card"):
        settings["default_payment_method"] = method
        world.store.delete(default["id"], None, kind="payment_method")


def _fields(world: World, customer: Object, params: Params) -> Object:
    fields = {**params}
    if "tax_exempt" in params:
        fields["tax_exempt"] = params["tax_exempt"] or "none"
    if "address" in params:
        fields["address"] = _address(customer.get("address"), params["address"])
    if params.get("shipping"):
        before = customer.get("shipping") or {}
        fields["shipping"] = {
            "phone": None, **before, **params["shipping"],
            "address": _address(before.get("address"), params["shipping"]["address"]),
        }  # fmt: skip
    if "metadata" in params:
        fields["metadata"] = merged(customer.get("metadata"), params["metadata"])
    if "invoice_settings" in params:
        fields["invoice_settings"] = _invoice_settings(customer, params["invoice_settings"] or {})
    if "invoice_prefix" in params and not _PREFIX.fullmatch(params["invoice_prefix"] or ""):
        raise invalid_parameter("invoice_prefix", "invoice_prefix must be 3-12 uppercase letters or numbers.")
    return fields


def _invoice_settings(customer: Object, given: Params) -> Object:
    settings = {**customer["invoice_settings"], **given}
    method = given.get("default_payment_method")
    if method is not None:
        if method["customer"] != customer["id"]:
            raise invalid_parameter(
                "invoice_settings[default_payment_method]",
                f"The customer does not have a payment method with the ID {method['id']}. The payment method must be "
                "attached to the customer.",
                "resource_missing",
            )
        settings["default_payment_method"] = method["id"]
    if given.get("rendering_options"):
        settings["rendering_options"] = {"amount_tax_display": None, "template": None, **given["rendering_options"]}
    return {**settings, "custom_fields": settings["custom_fields"] or None}


def _address(before: Object | None, given: Params | None) -> Object | None:
    return {**(before or dict.fromkeys(_ADDRESS)), **given} if given else None
