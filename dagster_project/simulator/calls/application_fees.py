"""Application fees that a platform gives back."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import connect
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def refund(world: World, params: Params, fee: Object) -> Object:
    left = fee["amount"] - fee["amount_refunded"]
    if left <= 0:
        raise ApiError(400, f"Application fee {fee['id']} has already been refunded.")
    metadata = merged({}, params.get("metadata", {}))
    try:
        return connect.refund_fee(world, fee, params.get("amount", left), metadata=metadata)
    except ValueError as error:
        raise invalid_parameter("amount", str(error)) from None


def update_refund(world: World, params: Params, fee: Object, made: Object) -> Object:
    if made["fee"] != fee["id"]:
        raise missing("fee_refund", made["id"])
    metadata = merged(made["metadata"], params.get("metadata", {}))
    world.change(made, "application_fee.refund.updated", metadata=metadata)
    connect.embed(world, fee, "refunds", made)
    return made
