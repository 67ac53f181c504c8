"""Test clocks, as callers set, advance and remove them."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.calls.subscription_terms import LATEST
from dagster_project.simulator.engine import clocks
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter

Params = dict[str, Any]


def create(world: World, params: Params) -> Object:
    """A new clock; an existing customer can be put on it while it has no billing of its own."""
    if params["frozen_time"] > LATEST:
        raise invalid_parameter("frozen_time", "Invalid timestamp: frozen_time is too far in the future.")
    customer = params.get("customer")
    if customer is not None and (customer.get("test_clock") or _bills(world, customer)):
        raise ApiError(
            400, "Only a customer without a test clock, subscriptions and invoices can be attached to a test clock.",
            param="customer",
        )  # fmt: skip
    clock = clocks.start_clock(world, params["frozen_time"], params.get("name"))
    if customer is not None:
        world.change(customer, "customer.updated", test_clock=clock["id"])
        clocks.put_on_clock(world, customer, clock)
    return clock


def advance(world: World, params: Params, clock: Object) -> Object:
    """Everything happens within this call; the answer shows the clock still on its way."""
    to, latest = params["frozen_time"], clocks.latest_target(world, clock)
    if to <= clock["frozen_time"]:
        raise invalid_parameter(
            "frozen_time", f"Cannot advance the test clock to {to}: its frozen time is already {clock['frozen_time']}."
        )
    if to > latest:
        raise invalid_parameter(
            "frozen_time",
            f"Cannot advance the test clock more than two intervals of its shortest subscription, or two years when it "
            f"has none: at most to {latest}.",
        )
    return clocks.advance_clock(world, clock, to)


def delete(world: World, params: Params, clock: Object) -> Object:
    return clocks.delete_clock(world, clock)


def _bills(world: World, customer: Object) -> bool:
    return any(
        world.store.page(kind, where={"customer": customer["id"]}, limit=1)[0]
        for kind in ("subscription", "invoice", "invoiceitem", "subscription_schedule", "quote")
    )
