"""Top-ups of the balance."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import settlement, topups
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def create(world: World, params: Params) -> Object:
    currency = params["currency"]
    if settlement.currency_of(world, currency) != currency:
        raise invalid_parameter("currency", f"This account has no balance in that currency ({currency}).")
    return topups.top_up(
        world, params["amount"], currency, description=params.get("description"),
        descriptor=params.get("statement_descriptor"), group=params.get("transfer_group"),
        metadata=merged({}, params.get("metadata", {})),
    )  # fmt: skip


def update(world: World, params: Params, topup: Object) -> Object:
    fields = {name: params[name] for name in ("description",) if name in params}
    return world.change(topup, None, **fields, metadata=merged(topup["metadata"], params.get("metadata", {})))


def cancel(world: World, params: Params, topup: Object) -> Object:
    if topup["status"] != "pending":
        raise ApiError(400, f"Only pending top-ups can be canceled. This one has the status {topup['status']}.")
    return topups.cancel(world, topup)
