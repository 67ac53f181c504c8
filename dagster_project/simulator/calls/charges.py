"""Charges without a payment intent, the older way to take money, and what callers change of any charge."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.calls import amounts, payment_intents
from dagster_project.simulator.engine import cards, charges, payments, shapes, test_methods
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
_BRANDS = {"amex": "American Express", "mastercard": "MasterCard", "diners": "Diners Club", "jcb": "JCB",
           "unionpay": "UnionPay"}  # fmt: skip


def create(world: World, params: Params) -> Object:
    """Charge a token such as tok_visa, at once. Raises ApiError 402 when it is declined; the charge stays on record.

    Source: https://docs.stripe.com/api/charges/create
    """
    amounts.check(params["amount"], params["currency"])
    customer, source = params.get("customer"), params.get("source")
    if not source:
        if customer is None:
            raise required_parameter("source")
        raise ApiError(402, "Cannot charge a customer that has no active card", type="card_error", code="missing")
    named = test_methods.named(source)
    if named is None or not source.startswith("tok_"):
        raise missing("token", source, param="source")
    fields = payment_intents.fields(world, params)
    if fields.get("description") is None:
        fields["description"] = None
    held = params.get("capture") is False
    wish = shapes.new(
        "payment_intent", "", amount=params["amount"], currency=params["currency"],
        customer=customer and customer["id"], **{**fields, "capture_method": "manual" if held else "automatic"},
    )  # fmt: skip
    wish["id"] = None
    _, number, how = named
    details = cards.numbered_card(world, number)
    method = {"id": world.id("card"), "type": "card", "card": details, "billing_details": cards.billing({})}
    cards.behaves(world, method, how)
    decline = payments.decline_of(how, present=False)
    made = charges.attempt(world, wish, customer, method, decline=decline, source=_card(method))
    if decline:
        code, message, _ = charges.DECLINES[decline]
        raise ApiError(402, message, type="card_error", code=code, decline_code=decline, charge=made["id"])
    charges.what_may_follow(world, made, chance=False)
    return made


def _card(method: Object) -> Object:
    card = method["card"]
    names = ("country", "exp_month", "exp_year", "fingerprint", "funding", "last4", "regulated_status")
    brand = card["brand"]
    return shapes.new(
        "card", method["id"], brand=_BRANDS.get(brand, brand.capitalize()), metadata={}, customer=None,
        **{name: card[name] for name in names},
    )  # fmt: skip


def update(world: World, params: Params, charge: Object) -> Object:
    changes: Object = {
        name: params[name] for name in ("description", "receipt_email", "transfer_group") if name in params
    }
    if "metadata" in params:
        changes["metadata"] = merged(charge["metadata"], params["metadata"])
    if params.get("shipping"):
        changes["shipping"] = payment_intents.shipping(params["shipping"])
    if params.get("fraud_details"):
        changes["fraud_details"] = {**(charge["fraud_details"] or {}), **params["fraud_details"]}
    if params.get("customer"):
        if charge["customer"]:
            raise invalid_parameter("customer", "You cannot update `customer` on a charge that has one already.")
        changes["customer"] = params["customer"]["id"]
    return world.change(charge, "charge.updated", **changes)


def capture(world: World, params: Params, charge: Object) -> Object:
    """Take what was authorized with `capture=false`, or a part of it."""
    if charge["captured"]:
        raise ApiError(400, f"Charge {charge['id']} has already been captured.", code="charge_already_captured")
    if not charge["paid"] or charge["refunded"]:
        raise ApiError(400, f"Charge {charge['id']} cannot be captured.", code="charge_expired_for_capture")
    amount = params.pop("amount", None)
    amount = charge["amount"] if amount is None else amount
    if not 0 < amount <= charge["amount"]:
        raise invalid_parameter(
            "amount", f"You cannot capture a charge for an amount greater than it already has ({charge['amount']})."
        )
    world.change(charge, None, **params)
    payment = world.the(charge["payment_intent"], "payment_intent") if charge["payment_intent"] else None
    return charges.capture(world, charge, payment, amount)
