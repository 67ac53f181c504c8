"""Refunds that callers create and describe."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import refunds
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def create(world: World, params: Params) -> Object:
    charge = _charge_of(world, params)
    left = charge["amount"] - charge["amount_refunded"]
    if left <= 0:
        raise ApiError(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if not charge["paid"]:
        raise ApiError(400, f"Charge {charge['id']} was not paid, so there is nothing to refund.", param="charge")
    if charge["disputed"]:
        raise ApiError(400, f"Charge {charge['id']} has been charged back.", code="charge_disputed")
    try:
        return refunds.refund(
            world, charge, params.get("amount", left), reason=params.get("reason"), metadata=params.get("metadata", {})
        )
    except ValueError as error:
        raise invalid_parameter("amount", str(error)) from None


def update(world: World, params: Params, refund: Object) -> Object:
    return world.change(refund, "refund.updated", metadata=merged(refund["metadata"], params.get("metadata", {})))


def _charge_of(world: World, params: Params) -> Object:
    if params.get("charge"):
        charge: Object = params["charge"]
        return charge
    intent = params.get("payment_intent")
    if not intent:
        raise required_parameter("charge")
    if not intent["latest_charge"]:
        raise ApiError(
            400, f"The PaymentIntent {intent['id']} does not have a successful charge.", param="payment_intent"
        )
    return world.the(intent["latest_charge"], "charge")
