"""Webhook endpoints: registered, changed and removed by API calls; their secrets are shown once."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import ids
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError
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
    secret = ids.make(world.seed, "whsec", world.number("whsec"))
    world.meta.setdefault("webhook_secrets", {})[made["id"]] = secret
    return {**made, "secret": secret}


def update(world: World, params: Params, endpoint: Object) -> Object:
    _check(params)
    changes = {**params}
    if "disabled" in changes:
        changes["status"] = "disabled" if changes.pop("disabled") else "enabled"
    if "metadata" in changes:
        changes["metadata"] = merged(endpoint["metadata"], changes["metadata"])
    return world.change(endpoint, None, **changes)


def delete(world: World, params: Params, endpoint: Object) -> Object:
    tombstone = {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}
    world.store.delete(endpoint["id"], tombstone)
    world.meta["webhook_secrets"].pop(endpoint["id"], None)
    return tombstone


def _check(params: Params) -> None:
    if "enabled_events" in params and not all(params["enabled_events"]):
        raise ApiError(400, "Invalid array: enabled_events", param="enabled_events")
    if "url" in params and not is_loopback(params["url"] or ""):
        raise ApiError(
            400,
            "Invalid URL: the simulator delivers to this machine only, so the host must be a loopback address such as "
            "127.0.0.1.",
            code="url_invalid",
            param="url",
        )
