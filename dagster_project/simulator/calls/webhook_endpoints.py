"""Webhook endpoints: registered, changed and removed by API calls; their secrets are shown once."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import ids, webhooks
from dagster_project.simulator.engine.versions import VERSIONS
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter
from dagster_project.simulator.http.parameters import merged
from dagster_project.simulator.http.webhook_delivery import is_loopback

Params = dict[str, Any]


def create(world: World, params: Params) -> Object:
    """A new endpoint; its signing secret is in this answer only."""
    _check(params)
    made = world.add(
        "webhook_endpoint", "we", status="enabled", url=params["url"], enabled_events=params["enabled_events"],
        description=params.get("description"), api_version=params.get("api_version"),
        metadata=params.get("metadata", {}),
    )  # fmt: skip
    secret = new_secret(world)
    webhooks.register(world, made, secret, connect=params.get("connect", False))
    return {**made, "secret": secret}


def update(world: World, params: Params, endpoint: Object) -> Object:
    _check(params)
    changes = {**params}
    if "disabled" in changes:
        changes["status"] = "disabled" if changes.pop("disabled") else "enabled"
    if "metadata" in changes:
        changes["metadata"] = merged(endpoint["metadata"], changes["metadata"])
    if changes.get("status") == "enabled" and endpoint["id"] not in world.meta.get("webhooks", {}):
        webhooks.register(world, endpoint, new_secret(world), connect=False)
    return world.change(endpoint, None, **changes)


def delete(world: World, params: Params, endpoint: Object) -> Object:
    tombstone = {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}
    webhooks.unregister(world, endpoint)
    world.store.delete(endpoint["id"], tombstone)
    return tombstone


def new_secret(world: World) -> str:
    return ids.make(world.seed, "whsec", world.platform.number("whsec"))


def _check(params: Params) -> None:
    if "enabled_events" in params:
        if not params["enabled_events"]:
            raise ApiError(400, "Invalid array: enabled_events", param="enabled_events")
        for place, type in enumerate(params["enabled_events"]):
            if type != "*" and type not in webhooks.EVENT_TYPES:
                raise invalid_parameter(
                    f"enabled_events[{place}]", f"Invalid enabled_events[{place}]: {type[:100]} is no type of event"
                )
    if params.get("api_version") and params["api_version"] not in VERSIONS:
        raise invalid_parameter(
            "api_version",
            f"Invalid api_version: {params['api_version'][:40]}. "
            f"The simulator knows those from {VERSIONS[0]} to {VERSIONS[-1]}.",
        )
    if "url" in params and not is_loopback(params["url"] or ""):
        raise ApiError(
            400,
            "Invalid URL: the simulator delivers to this machine only, so the host must be a loopback address such as "
            "127.0.0.1.",
            code="url_invalid",
            param="url",
        )
