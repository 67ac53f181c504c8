"""Webhook endpoints: registered, changed and removed by API calls; their secrets are shown once."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import ids
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http import forms
from dagster_project.simulator.http.api_errors import ApiError, missing
from dagster_project.simulator.http.forms import Params
from dagster_project.simulator.http.webhook_delivery import is_loopback

Object = dict[str, Any]
_PARAMETERS = ("url", "enabled_events", "description", "metadata")


def create(world: World, path_ids: list[str], params: Params) -> Object:
    """A new endpoint; its signing secret is in this answer only."""
    forms.only(params, *_PARAMETERS, "api_version", "connect", required=("enabled_events", "url"))
    _check(params)
    made = world.add(
        "webhook_endpoint", "we", status="enabled", url=forms.text(params, "url"),
        enabled_events=forms.texts(params, "enabled_events"), description=forms.text(params, "description"),
        api_version=forms.text(params, "api_version"), metadata=forms.metadata({}, params),
    )  # fmt: skip
    secret = ids.make(world.seed, "whsec", world.number("whsec"))
    world.store.meta.setdefault("webhook_secrets", {})[made["id"]] = secret
    return {**made, "secret": secret}


def update(world: World, path_ids: list[str], params: Params) -> Object:
    forms.only(params, *_PARAMETERS, "disabled")
    endpoint = _the(world, path_ids[0])
    _check(params)
    if "url" in params:
        endpoint["url"] = forms.text(params, "url")
    if "enabled_events" in params:
        endpoint["enabled_events"] = forms.texts(params, "enabled_events")
    if "description" in params:
        endpoint["description"] = forms.text(params, "description") or None
    if "disabled" in params:
        endpoint["status"] = "disabled" if forms.boolean(params["disabled"], "disabled") else "enabled"
    endpoint["metadata"] = forms.metadata(endpoint["metadata"], params)
    world.store.save(endpoint)
    return endpoint


def delete(world: World, path_ids: list[str], params: Params) -> Object:
    forms.only(params)
    id = _the(world, path_ids[0])["id"]
    tombstone = {"id": id, "object": "webhook_endpoint", "deleted": True}
    world.store.delete(id, tombstone)
    world.store.meta["webhook_secrets"].pop(id, None)
    return tombstone


def _the(world: World, id: str) -> Object:
    found = world.store.get(id, "webhook_endpoint")
    if found is None or found.get("deleted"):
        raise missing("webhook_endpoint", id)
    return found


def _check(params: Params) -> None:
    if "enabled_events" in params and not all(forms.texts(params, "enabled_events")):
        raise ApiError(400, "Invalid array: enabled_events", param="enabled_events")
    if "url" in params and not is_loopback(forms.text(params, "url") or ""):
        raise ApiError(
            400,
            "Invalid URL: the simulator delivers to this machine only, so the host must be a loopback address such as "
            "127.0.0.1.",
            code="url_invalid",
            param="url",
        )
