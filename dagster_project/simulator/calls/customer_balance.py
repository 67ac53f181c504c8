"""The balance of a customer, as callers adjust it."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine.credit import credit
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import invalid_parameter, missing
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def create(world: World, params: Params, customer: Object) -> Object:
    """An adjustment: a negative amount is credit, a positive one is owed with the next invoice."""
    currency = params["currency"]
    if customer["currency"] not in (None, currency):
        raise invalid_parameter(
            "currency", f"The customer's currency is {customer['currency']}, so its balance is not in {currency}."
        )
    if params["amount"] == 0:
        raise invalid_parameter("amount", "The amount must not be zero.")
    if customer["currency"] is None:
        world.change(customer, "customer.updated", currency=currency)
    metadata = merged({}, params.get("metadata", {}))
    return credit(
        world, customer, params["amount"], "adjustment", None, currency, description=params.get("description"),
        metadata=metadata,
    )  # fmt: skip


def update(world: World, params: Params, customer: Object, row: Object) -> Object:
    if row["customer"] != customer["id"]:
        raise missing("customer_balance_transaction", row["id"])
    changes = {**params}
    if "metadata" in changes:
        changes["metadata"] = merged(row["metadata"], changes["metadata"])
    return world.change(row, None, **changes)
