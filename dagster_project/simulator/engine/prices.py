"""Prices and their plans, as they come into the world: those of the catalogue, and those made on the way.

Rules: https://docs.stripe.com/api/prices/create (a recurring price is listed as a plan of the same id, too; a price
made inline belongs to one item and is not active), https://docs.stripe.com/products-prices/manage-prices#lookup-keys.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dagster_project.simulator.engine.meters import plain
from dagster_project.simulator.engine.pricing import keep_on_request
from dagster_project.simulator.engine.world import Object, World

MOST = 99_999_999_999  # minor units of one unit or tier


def amounts(given: Object) -> tuple[int | None, str | None]:
    """(unit_amount, unit_amount_decimal) of parameters that have one of them.

    Finer than a minor unit the first is null. Raises ValueError when both are given.
    """
    if given.get("unit_amount") is not None and given.get("unit_amount_decimal") is not None:
        raise ValueError("You may only specify one of these parameters: unit_amount, unit_amount_decimal.")
    if given.get("unit_amount") is not None:
        return _both(str(given["unit_amount"]))
    return _both(given.get("unit_amount_decimal"))


def _both(text: str | None) -> tuple[int | None, str | None]:
    if text is None:
        return None, None
    number = Decimal(text)
    if not 0 <= number <= MOST:
        raise ValueError(f"The amount of a price must be at least 0 and no more than {MOST}.")
    return (int(number) if number == number.to_integral_value() else None), plain(number)


def tiers(given: list[Object]) -> list[Object]:
    """Tiers in Stripe's shape. Raises ValueError when their bounds do not rise to an endless last one."""
    made, above = [], 0
    for place, tier in enumerate(given):
        last = place == len(given) - 1
        up_to = None if tier["up_to"] == "inf" else _whole(tier["up_to"])
        if (up_to is None) != last:
            raise ValueError("The last tier must have up_to set to `inf`, and only the last one.")
        if up_to is not None and up_to <= above:
            raise ValueError("Tiers must be given in ascending order of up_to.")
        above = up_to or above
        flat = {"unit_amount": tier.get("flat_amount"), "unit_amount_decimal": tier.get("flat_amount_decimal")}
        (flat_amount, flat_decimal), (unit, unit_decimal) = amounts(flat), amounts(tier)
        if flat_decimal is None and unit_decimal is None:
            raise ValueError("Each tier needs a unit_amount or a flat_amount.")
        made.append({
            "flat_amount": flat_amount, "flat_amount_decimal": flat_decimal, "unit_amount": unit,
            "unit_amount_decimal": unit_decimal, "up_to": up_to,
        })  # fmt: skip
    return made


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("up_to must be a whole number or `inf`.")
    return int(text)


def options(price: Object, given: dict[str, Object], own_tiers: list[Object] | None) -> dict[str, Object]:
    """The `currency_options` of a price: its own currency, and those that are given."""
    own = {
        "custom_unit_amount": None, "tax_behavior": price["tax_behavior"], "unit_amount": price["unit_amount"],
        "unit_amount_decimal": price["unit_amount_decimal"],
    }  # fmt: skip
    made = {price["currency"]: own | ({"tiers": own_tiers} if own_tiers else {})}
    for currency, each in given.items():
        if currency == price["currency"]:
            raise ValueError(f"currency_options cannot hold the price's own currency, {currency}.")
        unit_amount, unit_decimal = amounts(each)
        if unit_decimal is None and not each.get("tiers"):
            raise ValueError(f"currency_options[{currency}] needs a unit_amount or tiers.")
        made[currency.lower()] = {
            "custom_unit_amount": None, "tax_behavior": each.get("tax_behavior") or "unspecified",
            "unit_amount": unit_amount, "unit_amount_decimal": unit_decimal,
        } | ({"tiers": tiers(each["tiers"])} if each.get("tiers") else {})  # fmt: skip
    return made


def add_price(world: World, product: Object, given: Object) -> Object:
    """A price by the parameters of its creation, and its plan when it recurs.

    Raises ValueError, in Stripe's words, for parameters that do not fit together.
    """
    recurring = given.get("recurring")
    unit_amount, unit_decimal = amounts(given)
    tiered = given.get("billing_scheme") == "tiered"
    steps = tiers(given.get("tiers") or []) if tiered else None
    if tiered and (not steps or not given.get("tiers_mode")):
        raise ValueError("A price with billing_scheme=tiered needs tiers and tiers_mode.")
    if tiered and (unit_decimal is not None or given.get("transform_quantity")):
        raise ValueError("A tiered price has neither a unit_amount nor transform_quantity.")
    if not tiered and (given.get("tiers") or given.get("tiers_mode")):
        raise ValueError("tiers and tiers_mode belong to billing_scheme=tiered.")
    if not tiered and unit_decimal is None:
        raise ValueError("A price needs a unit_amount or a unit_amount_decimal.")
    shared: Object = {
        "active": given.get("active", True), "currency": given["currency"], "product": product["id"],
        "nickname": given.get("nickname"), "metadata": given.get("metadata", {}),
        "billing_scheme": "tiered" if tiered else "per_unit", "tiers_mode": given.get("tiers_mode"),
    }  # fmt: skip
    id = {"id": given["id"]} if given.get("id") else {}
    price = world.add(
        "price", "price", unit_amount=unit_amount, unit_amount_decimal=unit_decimal,
        tax_behavior=given.get("tax_behavior") or "unspecified", type="recurring" if recurring else "one_time",
        recurring=_recurring(recurring) if recurring else None, transform_quantity=given.get("transform_quantity"),
        lookup_key=_lookup_key(world, given, None), **shared, **id,
    )  # fmt: skip
    asked = given.get("currency_options")
    currencies = options(price, asked, steps) if asked else None
    keep_on_request(world, "price", price["id"], tiers=steps, currency_options=currencies)
    world.emit("price.created", price)
    if price["recurring"]:
        world.emit("plan.created", _add_plan(world, price, shared))
    return price


def _add_plan(world: World, price: Object, shared: Object) -> Object:
    recurring = price["recurring"]
    return world.add(
        "plan", "price", id=price["id"], amount=price["unit_amount"], amount_decimal=price["unit_amount_decimal"],
        interval=recurring["interval"], interval_count=recurring["interval_count"],
        usage_type=recurring["usage_type"], meter=recurring["meter"], transform_usage=price["transform_quantity"],
        trial_period_days=recurring["trial_period_days"], **shared,
    )  # fmt: skip


def _recurring(given: Object) -> Object:
    count, usage = given.get("interval_count") or 1, given.get("usage_type") or "licensed"
    longest = {"day": 1095, "week": 156, "month": 36, "year": 3}[given["interval"]]
    if count > longest:
        raise ValueError("The billing period of a price is at most three years.")
    meter = given.get("meter")
    if (usage == "metered") != (meter is not None):
        raise ValueError("recurring[meter] is needed when usage_type is metered, and only then.")
    return {
        "interval": given["interval"], "interval_count": count, "meter": meter["id"] if meter else None,
        "trial_period_days": given.get("trial_period_days"), "usage_type": usage,
    }  # fmt: skip


def _lookup_key(world: World, given: Object, own: str | None) -> str | None:
    key: str | None = given.get("lookup_key")
    if key is None:
        return None
    taken = [price for price in world.store.all("price") if price["lookup_key"] == key and price["id"] != own]
    for price in taken:
        if not given.get("transfer_lookup_key"):
            raise ValueError(f"A price (`{price['id']}`) already uses that lookup key.")
        world.change(world.the(price["id"], "price"), "price.updated", lookup_key=None)
    return key


def change_price(world: World, price: Object, **changes: Any) -> Object:
    """Change a price, and the plan that it is, too. Raises ValueError for a lookup key or currency that is taken."""
    given = {**changes}
    changes.pop("transfer_lookup_key", None)
    if "lookup_key" in changes:
        changes["lookup_key"] = _lookup_key(world, given, price["id"])
    if "currency_options" in changes:
        asked = changes.pop("currency_options") or {}
        known = world.meta.get("on_request", {}).get(f"price {price['id']}", {})
        merged = {**known.get("currency_options", {}), **options(price, asked, known.get("tiers"))}
        keep_on_request(world, "price", price["id"], currency_options=merged)
    world.change(price, "price.updated", **changes)
    plan = world.store.get(price["id"], "plan")
    if plan is not None and not plan.get("deleted"):
        shared = {name: changes[name] for name in ("active", "nickname", "metadata") if name in changes}
        world.change(plan, "plan.updated", **shared)
    return price


def inline_price(world: World, given: Object) -> Object:
    """The price of one item, given as `price_data` with the product as an object; not active, so in no list of offers.

    Raises ValueError for parameters that do not fit together.
    """
    return add_price(world, given["product"], {**given, "active": False})
