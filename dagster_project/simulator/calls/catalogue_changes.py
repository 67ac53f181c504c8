"""What callers add to the catalogue: products, prices, coupons."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.calls.changes import the
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http import forms
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, required_parameter
from dagster_project.simulator.http.forms import Params

Object = dict[str, Any]


def create_product(world: World, ids: list[str], params: Params) -> Object:
    forms.only(params, "name", "description", "active", "metadata", "id", required=("name",))
    if (wanted := forms.text(params, "id")) and world.store.get(wanted, "product"):
        raise ApiError(400, "Product already exists.", code="resource_already_exists", param="id")
    made = world.add(
        "product", "prod", name=forms.text(params, "name"), description=forms.text(params, "description"),
        type="service",
        active=_active(params), metadata=forms.metadata({}, params), updated=world.now, id=wanted,
    )  # fmt: skip
    world.emit("product.created", made)
    return made


def update_product(world: World, ids: list[str], params: Params) -> Object:
    forms.only(params, "name", "description", "active", "metadata")
    product = the(world, ids[0], "product")
    changes: Object = {name: forms.text(params, name) for name in ("name", "description") if name in params}
    if "active" in params:
        changes["active"] = _active(params)
    if "metadata" in params:
        changes["metadata"] = forms.metadata(product["metadata"], params)
    if any(product.get(name) != value for name, value in changes.items()):
        world.change(product, "product.updated", updated=world.now, **changes)
    return product


def delete_product(world: World, ids: list[str], params: Params) -> Object:
    forms.only(params)
    product = the(world, ids[0], "product")
    if world.store.page("price", where={"product": product["id"]}, limit=1)[0]:
        raise ApiError(400, "This product cannot be deleted because it has one or more user-created prices.")
    return _delete(world, product)


def create_price(world: World, ids: list[str], params: Params) -> Object:
    """A price of a fixed amount, once or recurring; a recurring one is listed as a plan, too."""
    forms.only(
        params, "currency", "product", "unit_amount", "recurring", "nickname", "active", "metadata", "lookup_key",
        required=("currency", "product", "unit_amount"),
    )  # fmt: skip
    product = the(world, forms.text(params, "product") or "", "product", param="product")
    amount = forms.integer(params["unit_amount"], "unit_amount")
    if amount < 0:
        raise invalid_parameter("unit_amount", "Invalid non-negative integer", "parameter_invalid_integer")
    recurring = _recurring(params)
    shared: Object = {
        "active": _active(params), "currency": _currency(params), "product": product["id"],
        "nickname": forms.text(params, "nickname"), "metadata": forms.metadata({}, params),
    }  # fmt: skip
    price = world.add(
        "price", "price", unit_amount=amount, unit_amount_decimal=str(amount), tax_behavior="unspecified",
        type="recurring" if recurring else "one_time", recurring=recurring, lookup_key=forms.text(params, "lookup_key"),
        **shared,
    )  # fmt: skip
    world.emit("price.created", price)
    if recurring:
        plan = world.add(
            "plan", "price", id=price["id"], amount=amount, amount_decimal=str(amount), interval=recurring["interval"],
            interval_count=recurring["interval_count"], usage_type=recurring["usage_type"], **shared,
        )  # fmt: skip
        world.emit("plan.created", plan)
    return price


def update_price(world: World, ids: list[str], params: Params) -> Object:
    forms.only(params, "active", "nickname", "metadata")
    price = the(world, ids[0], "price")
    changes: Object = {}
    if "active" in params:
        changes["active"] = _active(params)
    if "nickname" in params:
        changes["nickname"] = forms.text(params, "nickname") or None
    if "metadata" in params:
        changes["metadata"] = forms.metadata(price["metadata"], params)
    world.change(price, "price.updated", **changes)
    plan = world.store.get(price["id"], "plan")
    if plan is not None:
        world.change(plan, "plan.updated", **changes)
    return price


def create_coupon(world: World, ids: list[str], params: Params) -> Object:
    forms.only(
        params, "id", "name", "duration", "duration_in_months", "percent_off", "amount_off", "currency", "metadata"
    )
    duration = forms.choice(params, "duration", ("forever", "once", "repeating")) or "once"
    months = None
    if "duration_in_months" in params:
        months = forms.integer(params["duration_in_months"], "duration_in_months")
    if (duration == "repeating") != (months is not None):
        raise invalid_parameter("duration_in_months", "duration_in_months belongs to duration=repeating.")
    if ("percent_off" in params) == ("amount_off" in params):
        raise invalid_parameter("percent_off", "You must provide either percent_off or amount_off.")
    amount = forms.integer(params["amount_off"], "amount_off") if "amount_off" in params else None
    if (wanted := forms.text(params, "id")) and world.store.get(wanted, "coupon"):
        raise ApiError(400, "Coupon already exists.", code="resource_already_exists", param="id")
    made = world.add(
        "coupon", "coupon", id=wanted or world.id("coupon")[-8:], name=forms.text(params, "name"), duration=duration,
        duration_in_months=months, percent_off=_percent(params), amount_off=amount, valid=True,
        currency=None if amount is None else _currency(params), metadata=forms.metadata({}, params),
    )  # fmt: skip
    world.emit("coupon.created", made)
    return made


def delete_coupon(world: World, ids: list[str], params: Params) -> Object:
    forms.only(params)
    return _delete(world, the(world, ids[0], "coupon"))


def _delete(world: World, obj: Object) -> Object:
    kind, id = obj["object"], obj["id"]
    world.emit(f"{kind}.deleted", obj)
    tombstone = {"id": id, "object": kind, "deleted": True}
    world.store.delete(id, tombstone, kind=kind)
    return tombstone


def _active(params: Params) -> bool:
    return forms.boolean(params.get("active", "true"), "active")


def _currency(params: Params) -> str:
    currency = forms.text(params, "currency")
    if not currency:
        raise required_parameter("currency")
    if len(currency) != 3 or not currency.isalpha() or not currency.isascii():
        raise invalid_parameter("currency", f"Invalid currency: {currency}.")
    return currency.lower()


def _percent(params: Params) -> float | None:
    if "percent_off" not in params:
        return None
    try:
        percent = float(forms.text(params, "percent_off") or "")
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise invalid_parameter("percent_off", "percent_off must be greater than 0 and at most 100.")
    return percent


def _recurring(params: Params) -> Object | None:
    given = params.get("recurring")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise invalid_parameter("recurring", "Invalid object: recurring")
    forms.only(given, "interval", "interval_count", required=("interval",))
    interval = forms.choice(given, "interval", ("day", "week", "month", "year"))
    count = forms.integer(given.get("interval_count", "1"), "recurring[interval_count]")
    if not 1 <= count <= 1095:
        raise invalid_parameter("recurring[interval_count]", "Invalid interval_count.")
    return {
        "interval": interval, "interval_count": count, "meter": None, "trial_period_days": None,
        "usage_type": "licensed",
    }  # fmt: skip
