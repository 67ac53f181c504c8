"""Setup intents, as callers create, confirm and cancel them."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.calls import payment_methods
from dagster_project.simulator.engine import setups, shapes
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def create(world: World, params: Params) -> Object:
    """Raises ApiError 402 when it is confirmed at once and the card declined."""
    customer, method = params.get("customer"), payment_methods.given(world, params)
    types = payment_methods.types(params, "")
    payment_methods.fits(world, method, customer and customer["id"], types)
    fields: Object = {name: params[name] for name in ("description", "metadata") if name in params}
    if automatic := params.get("automatic_payment_methods"):
        fields["automatic_payment_methods"] = {
            "enabled": automatic["enabled"], "allow_redirects": automatic.get("allow_redirects") or "always",
        }  # fmt: skip
    if params.get("allowed_payment_method_types"):
        fields["allowed_payment_method_types"] = types
    if params.get("on_behalf_of"):
        fields["on_behalf_of"] = params["on_behalf_of"]["id"]
    made = setups.create(
        world, types, customer=customer and customer["id"], payment_method=method and method["id"],
        status="requires_confirmation" if method else "requires_payment_method",
        usage=params.get("usage") or "off_session", **fields,
    )  # fmt: skip
    params.pop("payment_method_data", None)
    return confirm(world, params, made) if params.get("confirm") else made


def update(world: World, params: Params, setup: Object) -> Object:
    changes: Object = {}
    if "description" in params:
        changes["description"] = params["description"]
    if "metadata" in params:
        changes["metadata"] = merged(setup["metadata"], params["metadata"])
    if params.keys() - {"description", "metadata"} and setup["status"] not in setups.CANCELABLE:
        raise _unexpected(setup, f"This SetupIntent cannot be updated because it has a status of {setup['status']}.")
    if params.get("customer"):
        changes["customer"] = params["customer"]["id"]
    if params.get("allowed_payment_method_types"):
        types = payment_methods.types(params, "")
        changes |= {"allowed_payment_method_types": types, "payment_method_types": types}
    if "payment_method" in params:
        method, now = params["payment_method"], {**setup, **changes}
        payment_methods.fits(world, method, now["customer"], now["payment_method_types"])
        status = "requires_confirmation" if method else "requires_payment_method"
        changes |= {"payment_method": method and method["id"], "status": status, "next_action": None}
    return world.change(setup, None, **changes)


def confirm(world: World, params: Params, setup: Object) -> Object:
    if setup["status"] not in setups.CANCELABLE:
        raise _unexpected(setup, f"You cannot confirm this SetupIntent because it has a status of {setup['status']}.")
    method = payment_methods.given(world, params)
    if method is None and setup["payment_method"]:
        method = world.the(setup["payment_method"], "payment_method")
    if method is None:
        raise _unexpected(setup, "You cannot confirm this SetupIntent because it's missing a payment method.")
    types = payment_methods.types(params, "") if params.get("allowed_payment_method_types") else None
    payment_methods.fits(world, method, setup["customer"], types or setup["payment_method_types"])
    payment_methods.accepts(world, method, params)
    world.change(setup, None, payment_method=method["id"], payment_method_types=types or setup["payment_method_types"])
    setups.confirm(world, setup, params.get("return_url"))
    if setup["status"] == "requires_payment_method":
        error: Object = shapes.frozen(setup["last_setup_error"])
        error.pop("doc_url")
        raise ApiError(402, error.pop("message"), setup_intent=shapes.frozen(setup), **error)
    return setup


def cancel(world: World, params: Params, setup: Object) -> Object:
    if setup["status"] not in setups.CANCELABLE:
        raise _unexpected(setup, f"You cannot cancel this SetupIntent because it has a status of {setup['status']}.")
    return setups.cancel(world, setup, params.get("cancellation_reason"))


def _unexpected(setup: Object, message: str) -> ApiError:
    return ApiError(400, message, code="setup_intent_unexpected_state", setup_intent=shapes.frozen(setup))
