"""Subscriptions, as callers change and cancel them. The billing rules are the engine's."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import billing
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import invalid_parameter, missing
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def update(world: World, params: Params, subscription: Object) -> Object:
    """Metadata, the end of the period as the end, and quantity and price of an item (prorated on the next invoice)."""
    _running(subscription)
    items = _item_changes(subscription, params.get("items", []))
    changes: Object = {}
    ends = params.get("cancel_at_period_end")
    if ends is not None and ends != subscription["cancel_at_period_end"]:
        changes |= {
            "cancel_at_period_end": ends,
            "cancel_at": billing.period_end(subscription) if ends else None,
            "canceled_at": world.now if ends else None,
            "cancellation_details": _cancellation(params, "cancellation_requested" if ends else None),
        }
    if "description" in params:
        changes["description"] = params["description"]
    if "metadata" in params:
        changes["metadata"] = merged(subscription["metadata"], params["metadata"])
    world.change(subscription, "customer.subscription.updated", **changes)
    for price, quantity in items:
        billing.change_item(world, subscription, price, quantity)
    return subscription


def cancel(world: World, params: Params, subscription: Object) -> Object:
    """Ends now; stays in the list as canceled."""
    _running(subscription)
    subscription["cancellation_details"] = _cancellation(params, "cancellation_requested")
    return billing.end_subscription(world, subscription)


def _running(subscription: Object) -> None:
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise missing("subscription", subscription["id"])


def _cancellation(params: Params, reason: str | None) -> Object:
    given = params.get("cancellation_details") or {}
    return {"comment": None, "feedback": None, **given, "feedback_option": None, "reason": reason}


def _item_changes(subscription: Object, given: list[Params]) -> list[tuple[Object, int]]:
    """(price, quantity) for the changed first item. The engine prorates that one only; others are refused."""
    changes = []
    first = subscription["items"]["data"][0]
    for each in given:
        if each["id"]["id"] != first["id"]:
            if each["id"]["subscription"] != subscription["id"]:
                raise missing("subscription_item", each["id"]["id"], param="items[0][id]")
            raise invalid_parameter("items[0][id]", "The simulator changes the first item of a subscription only.")
        price = each.get("price") or first["price"]
        if price["currency"] != subscription["currency"] or not price["recurring"]:
            raise invalid_parameter("items[0][price]", f"The price {price['id']} does not fit this subscription.")
        changes.append((price, each.get("quantity", first["quantity"])))
    return changes
