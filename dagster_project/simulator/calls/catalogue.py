"""What callers add to the catalogue: products, prices, coupons."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def create_product(world: World, params: Params) -> Object:
    if params.get("id") and world.store.get(params["id"], "product"):
        raise ApiError(400, "Product already exists.", code="resource_already_exists", param="id")
    made = world.add("product", "prod", type="service", updated=world.now, **{"active": True, "metadata": {}, **params})
    world.emit("product.created", made)
    return made


def update_product(world: World, params: Params, product: Object) -> Object:
    changes = _changes(product, params)
    if any(product[name] != value for name, value in changes.items()):
        world.change(product, "product.updated", updated=world.now, **changes)
    return product


def delete_product(world: World, params: Params, product: Object) -> Object:
    if world.store.page("price", where={"product": product["id"]}, limit=1)[0]:
        raise ApiError(400, "This product cannot be deleted because it has one or more user-created prices.")
    return _delete(world, product)


def create_price(world: World, params: Params) -> Object:
    """A price of a fixed amount, once or recurring; a recurring one is listed as a plan, too."""
    amount = params["unit_amount"]
    recurring = _recurring(params.get("recurring"))
    shared: Object = {
        "active": params.get("active", True), "currency": params["currency"], "product": params["product"]["id"],
        "nickname": params.get("nickname"), "metadata": params.get("metadata", {}),
    }  # fmt: skip
    price = world.add(
        "price", "price", unit_amount=amount, unit_amount_decimal=str(amount), tax_behavior="unspecified",
        type="recurring" if recurring else "one_time", recurring=recurring, lookup_key=params.get("lookup_key"),
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


def update_price(world: World, params: Params, price: Object) -> Object:
    changes = _changes(price, params)
    world.change(price, "price.updated", **changes)
    plan = world.store.get(price["id"], "plan")
    if plan is not None:
        world.change(plan, "plan.updated", **changes)
    return price


def create_coupon(world: World, params: Params) -> Object:
    duration = params.get("duration") or "once"
    if (duration == "repeating") != ("duration_in_months" in params):
        raise invalid_parameter("duration_in_months", "duration_in_months belongs to duration=repeating.")
    if ("percent_off" in params) == ("amount_off" in params):
        raise invalid_parameter("percent_off", "You must provide either percent_off or amount_off.")
    if params.get("percent_off") == 0:
        raise invalid_parameter("percent_off", "percent_off must be greater than 0 and at most 100.")
    if "amount_off" in params and "currency" not in params:
        raise required_parameter("currency")
    wanted = params.pop("id", None)
    if wanted and world.store.get(wanted, "coupon"):
        raise ApiError(400, "Coupon already exists.", code="resource_already_exists", param="id")
    made = world.add(
        "coupon", "coupon", id=wanted or world.id("coupon")[-8:], valid=True,
        **{"name": None, "metadata": {}, **params, "duration": duration},
    )  # fmt: skip
    world.emit("coupon.created", made)
    return made


def delete_coupon(world: World, params: Params, coupon: Object) -> Object:
    return _delete(world, coupon)


def _changes(obj: Object, params: Params) -> Object:
    return {**params, **({"metadata": merged(obj["metadata"], params["metadata"])} if "metadata" in params else {})}


def _delete(world: World, obj: Object) -> Object:
    kind, id = obj["object"], obj["id"]
    world.emit(f"{kind}.deleted", obj)
    tombstone = {"id": id, "object": kind, "deleted": True}
    world.store.delete(id, tombstone, kind=kind)
    return tombstone


def _recurring(given: Params | None) -> Object | None:
    if not given:
        return None
    count = given.get("interval_count", 1)
    if count > 1095:
        raise invalid_parameter("recurring[interval_count]", "Invalid interval_count.")
    return {
        "interval": given["interval"], "interval_count": count, "meter": None, "trial_period_days": None,
        "usage_type": "licensed",
    }  # fmt: skip
