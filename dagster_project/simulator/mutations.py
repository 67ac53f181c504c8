"""Calls that change something: which exist, and webhook endpoints, which only the server knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dagster_project.simulator import forms, ids
from dagster_project.simulator.api_errors import ApiError, missing, required_parameter, unknown_parameter
from dagster_project.simulator.forms import Params
from dagster_project.simulator.webhook_delivery import is_loopback
from dagster_project.simulator.world import World

Object = dict[str, Any]
Run = Callable[[World, list[str], Params], Object]


@dataclass(frozen=True)
class Mutation:
    """`name` and `kind` are what a restricted key may lack; `run` gives the object to answer with."""

    method: str
    path: str
    name: str
    kind: str
    run: Run


# ---- webhook endpoints ---------------------------------------------------------------------------------------
_ENDPOINT_PARAMETERS = ("url", "enabled_events", "description", "metadata", "api_version", "connect", "disabled")


def create_endpoint(world: World, path_ids: list[str], params: Params) -> Object:
    """A new endpoint; its signing secret is in this answer only."""
    for name in ("enabled_events", "url"):
        if not params.get(name):
            raise required_parameter(name)
    _check_endpoint(params)
    made = world.add(
        "webhook_endpoint", "we", status="enabled", url=forms.text(params, "url"),
        enabled_events=forms.texts(params, "enabled_events"), description=forms.text(params, "description"),
        api_version=forms.text(params, "api_version"), metadata=params.get("metadata") or {},
    )  # fmt: skip
    secret = ids.make(world.seed, "whsec", world.number("whsec"))
    world.store.meta.setdefault("webhook_secrets", {})[made["id"]] = secret
    return {**made, "secret": secret}


def update_endpoint(world: World, path_ids: list[str], params: Params) -> Object:
    endpoint = _endpoint(world, path_ids[0])
    _check_endpoint(params)
    if "url" in params:
        endpoint["url"] = forms.text(params, "url")
    if "enabled_events" in params:
        endpoint["enabled_events"] = forms.texts(params, "enabled_events")
    if "description" in params:
        endpoint["description"] = forms.text(params, "description") or None
    if "disabled" in params:
        endpoint["status"] = "disabled" if forms.boolean(params["disabled"], "disabled") else "enabled"
    if "metadata" in params:
        endpoint["metadata"] = merged(endpoint["metadata"], params["metadata"])
    world.store.save(endpoint)
    return endpoint


def delete_endpoint(world: World, path_ids: list[str], params: Params) -> Object:
    id = _endpoint(world, path_ids[0])["id"]
    tombstone = {"id": id, "object": "webhook_endpoint", "deleted": True}
    world.store.delete(id, tombstone)
    world.store.meta["webhook_secrets"].pop(id, None)
    return tombstone


def merged(metadata: Params, changes: Any) -> Params:
    """Metadata is merged key by key; an empty value removes its key, an empty string all of them."""
    if changes == "":
        return {}
    if not isinstance(changes, dict):
        raise ApiError(400, "Invalid object: metadata", param="metadata")
    kept = {**metadata, **changes}
    return {name: value for name, value in kept.items() if value != ""}


def _endpoint(world: World, id: str) -> Object:
    found = world.store.get(id, "webhook_endpoint")
    if found is None or found.get("deleted"):
        raise missing("webhook_endpoint", id)
    return found


def _check_endpoint(params: Params) -> None:
    for name in params:
        if name not in _ENDPOINT_PARAMETERS:
            raise unknown_parameter(name)
    if "enabled_events" in params and not forms.texts(params, "enabled_events"):
        raise required_parameter("enabled_events")
    if "url" in params and not is_loopback(forms.text(params, "url") or ""):
        raise ApiError(
            400,
            "Invalid URL: the simulator delivers to this machine only, so the host must be a loopback address such as "
            "127.0.0.1.",
            code="url_invalid",
            param="url",
        )


MUTATIONS = (
    Mutation("POST", "/v1/webhook_endpoints", "webhook_endpoints", "webhook_endpoint", create_endpoint),
    Mutation("POST", "/v1/webhook_endpoints/{id}", "webhook_endpoints", "webhook_endpoint", update_endpoint),
    Mutation("DELETE", "/v1/webhook_endpoints/{id}", "webhook_endpoints", "webhook_endpoint", delete_endpoint),
)
