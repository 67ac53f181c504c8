"""What callers add to the catalogue: products, prices, plans."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine.prices import add_price, change_price
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def create_product(world: World, params: Params) -> Object:
    offer = params.pop("default_price_data", None)
    product = _product(world, params)
    world.emit("product.created", product)
    if offer:
        price = _price(world, product, offer)
        world.change(product, "product.updated", default_price=price["id"])
    return product


def update_product(world: World, params: Params, product: Object) -> Object:
    changes = _changes(product, params)
    for name in ("images", "marketing_features"):
        if name in changes:
            changes[name] = changes[name] or []
    if price := changes.get("default_price"):
        if price["product"] != product["id"]:
            raise invalid_parameter("default_price", "The default price must belong to the product.")
        changes["default_price"] = price["id"]
    if any(product.get(name) != value for name, value in changes.items()):
        world.change(product, "product.updated", updated=world.now, **changes)
    return product


def delete_product(world: World, params: Params, product: Object) -> Object:
    if world.store.page("price", where={"product": product["id"]}, limit=1)[0]:
        raise ApiError(400, "This product cannot be deleted because it has one or more user-created prices.")
    return _delete(world, product)


def create_price(world: World, params: Params) -> Object:
    """A price of a product that exists, or of one that comes with it."""
    product, data = params.get("product"), params.get("product_data")
    if (product is None) == (data is None):
        raise (
            required_parameter("product")
            if data is None
            else invalid_parameter(
                "product_data", "You may only specify one of these parameters: product, product_data."
            )
        )
    if data:
        product = _product(world, data)
        world.emit("product.created", product)
    return _price(world, product or {}, params)


def update_price(world: World, params: Params, price: Object) -> Object:
    try:
        return change_price(world, price, **_changes(price, params))
    except ValueError as error:
        raise ApiError(400, str(error)) from None


def create_plan(world: World, params: Params) -> Object:
    """An offer in the older words: it is a recurring price, too."""
    product = params.get("product")
    if not product:
        raise required_parameter("product")
    if params.get("id") and world.store.get(params["id"], "price"):
        raise ApiError(400, "Plan already exists.", code="resource_already_exists", param="id")
    if isinstance(product, dict):
        if not isinstance(product.get("name"), str):
            raise required_parameter("product[name]")
        product = _product(world, {name: product[name] for name in ("id", "name") if name in product})
        world.emit("product.created", product)
    else:
        found = world.store.get(str(product), "product")
        if found is None or found.get("deleted"):
            raise missing("product", str(product), param="product")
        product = found
    recurring = ("interval", "interval_count", "meter", "trial_period_days", "usage_type")
    renamed = {
        "amount": "unit_amount", "amount_decimal": "unit_amount_decimal", "transform_usage": "transform_quantity",
    }  # fmt: skip
    given = {renamed.get(name, name): value for name, value in params.items() if name not in (*recurring, "product")}
    given["recurring"] = {name: params[name] for name in recurring if name in params}
    return world.the(_price(world, product, given)["id"], "plan")


def update_plan(world: World, params: Params, plan: Object) -> Object:
    changes = _changes(plan, params)
    trial = changes.pop("trial_period_days", plan["trial_period_days"])
    price = world.the(plan["id"], "price")
    if trial != plan["trial_period_days"]:
        world.change(price, "price.updated", recurring=price["recurring"] | {"trial_period_days": trial})
        world.change(plan, "plan.updated", trial_period_days=trial)
    change_price(world, price, **changes)
    return plan


def delete_plan(world: World, params: Params, plan: Object) -> Object:
    price = world.store.get(plan["id"], "price")
    if price and not price.get("deleted"):
        _delete(world, price)
    return _delete(world, plan)


def _product(world: World, params: Params) -> Object:
    if params.get("id") and world.store.get(params["id"], "product"):
        raise ApiError(400, "Product already exists.", code="resource_already_exists", param="id")
    return world.add(
        "product", "prod", updated=world.now,
        **{"active": True, "metadata": {}, "type": "service", **{k: v for k, v in params.items() if v is not None}},
    )  # fmt: skip


def _price(world: World, product: Object, params: Params) -> Object:
    try:
        return add_price(world, product, params)
    except ValueError as error:
        raise ApiError(400, str(error)) from None


def _changes(obj: Object, params: Params) -> Object:
    return {**params, **({"metadata": merged(obj["metadata"], params["metadata"])} if "metadata" in params else {})}


def _delete(world: World, obj: Object) -> Object:
    kind, id = obj["object"], obj["id"]
    world.emit(f"{kind}.deleted", obj)
    tombstone = {"id": id, "object": kind, "deleted": True}
    world.store.delete(id, tombstone, kind=kind)
    return tombstone
