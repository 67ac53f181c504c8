"""What takes from a price or adds to it: coupons, promotion codes, discounts, tax rates."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine.discounts import coupon_expires
from dagster_project.simulator.engine.pricing import keep_on_request, on_request
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


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
    if params.get("redeem_by") is not None and params["redeem_by"] <= world.now:
        raise invalid_parameter("redeem_by", "redeem_by must be in the future.")
    wanted, applies_to = params.pop("id", None), params.pop("applies_to", None)
    options = params.pop("currency_options", None)
    # The id of a deleted coupon is free again.
    if wanted and not (world.store.get(wanted, "coupon") or {"deleted": True}).get("deleted"):
        raise ApiError(400, "Coupon already exists.", code="resource_already_exists", param="id")
    made = world.add(
        "coupon", "coupon", id=wanted or world.id("coupon")[-8:], valid=True,
        **{"name": None, "metadata": {}, **params, "duration": duration},
    )  # fmt: skip
    products = [product["id"] for product in (applies_to or {}).get("products", [])]
    keep_on_request(world, "coupon", made["id"], applies_to={"products": products} if products else None)
    _keep_options(world, made, options)
    if made["redeem_by"] is not None:
        world.later(made["redeem_by"], coupon_expires, made["id"])
    world.emit("coupon.created", made)
    return made


def update_coupon(world: World, params: Params, coupon: Object) -> Object:
    """Only its name, metadata and further currencies: what it takes off stays."""
    _keep_options(world, coupon, params.pop("currency_options", None))
    return world.change(coupon, "coupon.updated", **_changes(coupon, params))


def _keep_options(world: World, coupon: Object, options: dict[str, Object] | None) -> None:
    if not options:
        return
    if coupon["amount_off"] is None:
        raise invalid_parameter("currency_options", "currency_options belong to coupons of an amount.")
    known = on_request(world, "coupon", coupon["id"]).get(
        "currency_options", {coupon["currency"]: {"amount_off": coupon["amount_off"]}}
    )
    keep_on_request(world, "coupon", coupon["id"], currency_options={**known, **options})


def delete_coupon(world: World, params: Params, coupon: Object) -> Object:
    """Nobody can redeem it any more; discounts that were given stay."""
    world.meta.setdefault("deleted_coupons", {})[coupon["id"]] = {**coupon, "valid": False}
    world.emit("coupon.deleted", coupon)
    tombstone = {"id": coupon["id"], "object": "coupon", "deleted": True}
    world.store.delete(coupon["id"], tombstone, kind="coupon")
    return tombstone


def create_promotion_code(world: World, params: Params) -> Object:
    """A code is unique among the active ones of all customers, and of each customer."""
    coupon, customer = params["promotion"]["coupon"], params.get("customer")
    code = params.get("code") or f"{world.chance('code', world.number('promo code')).getrandbits(40):08X}"[-8:]
    active = params.get("active", True)
    if not coupon["valid"]:
        raise invalid_parameter("promotion[coupon]", f"Coupon {coupon['id']} is not valid.")
    if active and any(_same(each, code, customer) for each in world.store.all("promotion_code")):
        raise invalid_parameter("code", "An active promotion code with `code: " + code + "` already exists.")
    if params.get("expires_at") is not None and params["expires_at"] <= world.now:
        raise invalid_parameter("expires_at", "expires_at must be in the future.")
    given = params.get("restrictions") or {}
    if ("minimum_amount" in given) != ("minimum_amount_currency" in given):
        raise invalid_parameter(
            "restrictions[minimum_amount]", "minimum_amount and minimum_amount_currency belong together."
        )
    none = {"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None}
    made = world.add(
        "promotion_code", "promo", active=active, code=code, customer=customer["id"] if customer else None,
        expires_at=params.get("expires_at"), max_redemptions=params.get("max_redemptions"),
        metadata=params.get("metadata", {}), promotion={"coupon": coupon["id"], "type": "coupon"},
        restrictions={**none, **given},
    )  # fmt: skip
    world.emit("promotion_code.created", made)
    return made


def update_promotion_code(world: World, params: Params, code: Object) -> Object:
    if params.get("active") and not code["active"]:
        owner = {"id": code["customer"]} if code["customer"] else None
        if any(_same(each, code["code"], owner) for each in world.store.all("promotion_code")):
            raise invalid_parameter("active", "Another active promotion code has the same code.")
    return world.change(code, "promotion_code.updated", **_changes(code, params))


def _same(each: Object, code: str, customer: Object | None) -> bool:
    return (
        each["active"]
        and each["code"].lower() == code.lower()
        and (each["customer"] is None or customer is None or each["customer"] == customer["id"])
    )


def create_tax_rate(world: World, params: Params) -> Object:
    made = world.add(
        "tax_rate", "txr", effective_percentage=params["percentage"], rate_type="percentage",
        **{"active": True, "metadata": {}, **params},
    )  # fmt: skip
    world.emit("tax_rate.created", made)
    return made


def update_tax_rate(world: World, params: Params, rate: Object) -> Object:
    return world.change(rate, "tax_rate.updated", **_changes(rate, params))


def _changes(obj: Object, params: Params) -> Object:
    return {**params, **({"metadata": merged(obj["metadata"], params["metadata"])} if "metadata" in params else {})}
