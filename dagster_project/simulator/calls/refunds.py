"""Refunds that callers create, describe and call off."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import disputes, refunds
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def create(world: World, params: Params) -> Object:
    """Refused for money that was not taken, was charged back, or was refunded already."""
    charge = _charge_of(world, params)
    left = charge["amount"] - charge["amount_refunded"]
    if not charge["paid"]:
        raise ApiError(400, f"Charge {charge['id']} was not paid, so there is nothing to refund.", param="charge")
    if not charge["captured"]:
        raise ApiError(
            400, f"Charge {charge['id']} has not been captured: cancel its PaymentIntent to release the funds.",
            code="charge_not_refundable", param="charge",
        )  # fmt: skip
    inquiries = []
    for case in disputes.of_charge(world, charge) if charge["disputed"] else []:
        if not case["is_charge_refundable"]:
            raise ApiError(400, f"Charge {charge['id']} has been charged back.", code="charge_disputed")
        inquiries.append(case)
    if left <= 0:
        raise ApiError(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    for name, wanted in (("reverse_transfer", "transfer"), ("refund_application_fee", "application_fee")):
        if params.get(name) and not charge.get(wanted):
            raise invalid_parameter(name, f"Charge {charge['id']} has no associated {wanted.replace('_', ' ')}.")
    try:
        made = refunds.refund(
            world, charge, params.get("amount", left), reason=params.get("reason"),
            metadata=params.get("metadata", {}), instructions_email=params.get("instructions_email"),
            reverse_transfer=bool(params.get("reverse_transfer")),
            refund_application_fee=bool(params.get("refund_application_fee")),
        )  # fmt: skip
    except ValueError as error:
        raise invalid_parameter("amount", str(error)) from None
    for case in inquiries:
        if charge["refunded"]:
            disputes.dispute_is_decided(world, case["id"], "refunded")
    return made


def update(world: World, params: Params, refund: Object) -> Object:
    return world.change(refund, "refund.updated", metadata=merged(refund["metadata"], params.get("metadata", {})))


def cancel(world: World, params: Params, refund: Object) -> Object:
    _waits(refund, "canceled")
    return refunds.cancel(world, refund)


def expire(world: World, params: Params, refund: Object) -> Object:
    _waits(refund, "expired")
    return refunds.expire(world, refund)


def _waits(refund: Object, what: str) -> None:
    if refund["status"] != "requires_action":
        raise ApiError(
            400,
            f"Refund {refund['id']} has a status of {refund['status']}: only one that requires action can be {what}.",
        )


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
