"""Items of subscriptions: each call is a change of the subscription that has the item."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.calls import subscriptions
from dagster_project.simulator.engine.world import Object, World

Params = dict[str, Any]
_OF_SUBSCRIPTION = ("off_session", "payment_behavior", "proration_behavior", "proration_date")


def create(world: World, params: Params) -> Object:
    known = {item["id"] for item in params["subscription"]["items"]["data"]}
    changed = _change(world, params.pop("subscription"), params, {})
    return next(item for item in changed["items"]["data"] if item["id"] not in known)


def update(world: World, params: Params, item: Object) -> Object:
    changed = _change(world, world.the(item["subscription"], "subscription"), params, {"id": item})
    return next(each for each in changed["items"]["data"] if each["id"] == item["id"])


def delete(world: World, params: Params, item: Object) -> Object:
    _change(world, world.the(item["subscription"], "subscription"), params, {"id": item, "deleted": True})
    return {"id": item["id"], "object": "subscription_item", "deleted": True}


def _change(world: World, sub: Object, params: Params, row: Params) -> Object:
    of_sub = {name: params.pop(name) for name in _OF_SUBSCRIPTION if name in params}
    with world.on(world.clock_of(sub)):
        return subscriptions.update(world, {**of_sub, "items": [{**row, **params}]}, sub)
