"""What a price costs for a quantity, exactly: minor units, tiers, packages, other currencies.

Rules: https://docs.stripe.com/products-prices/pricing-models, https://docs.stripe.com/subscriptions/pricing-models/tiered-pricing
(a flat fee of the first tier is due without any usage, too), https://docs.stripe.com/api/prices/object.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any

from dagster_project.simulator.engine.world import Object, World

Quantity = int | Decimal | None


def amount_of(world: World, price: Object, quantity: Quantity, currency: str | None = None) -> int:
    """The list amount of `quantity` units in minor units of `currency` (default: the price's own).

    Without a quantity 0: what is metered is billed afterwards. Raises ValueError when the price has no amount in
    that currency.
    """
    if quantity is None:
        return 0
    unit = price["unit_amount"]
    if unit is not None and price["transform_quantity"] is None and currency in (None, price["currency"]):
        return int(unit) * quantity if isinstance(quantity, int) else rounded(unit * quantity)
    unit_amount, tiers = _terms(world, price, currency)
    units = _packages(Decimal(quantity), price["transform_quantity"])
    if price["billing_scheme"] != "tiered":
        return rounded(units * Decimal(unit_amount or 0))
    return rounded(_volume(tiers, units) if price["tiers_mode"] == "volume" else _graduated(tiers, units))


def rounded(amount: Decimal) -> int:
    """To the nearest minor unit, halves away from zero."""
    return int(amount.to_integral_value(ROUND_HALF_UP))


def unit_amount(world: World, price: Object, currency: str | None = None) -> str | None:
    """`unit_amount_decimal` of a price in a currency; null when it is tiered."""
    if currency in (None, price["currency"]):
        text: str | None = price["unit_amount_decimal"]
        return text
    return _terms(world, price, currency)[0]


def fits(world: World, price: Object, currency: str) -> bool:
    """Whether a price can be charged in a currency."""
    return price["currency"] == currency or currency in on_request(world, "price", price["id"]).get(
        "currency_options", {}
    )


def on_request(world: World, kind: str, id: str) -> Object:
    """What Stripe includes in an object only when it is expanded: tiers, currency_options, applies_to."""
    found: Object = world.meta.get("on_request", {}).get(f"{kind} {id}", {})
    return found


def keep_on_request(world: World, kind: str, id: str, **fields: Any) -> None:
    """Keep such fields beside their object; those that are None are taken away."""
    kept = world.meta.setdefault("on_request", {})
    merged = {**kept.get(f"{kind} {id}", {}), **fields}
    if known := {name: value for name, value in merged.items() if value is not None}:
        kept[f"{kind} {id}"] = known
    else:
        kept.pop(f"{kind} {id}", None)


def pricing(price: Object, unit_amount_decimal: str | None = None) -> Object:
    """The `pricing` of a line or invoice item at a price."""
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": unit_amount_decimal or price["unit_amount_decimal"],
    }


def product_name(world: World, price: Object) -> str:
    return str(world.the(price["product"], "product").get("name", price["product"]))


def _terms(world: World, price: Object, currency: str | None) -> tuple[str | None, list[Object]]:
    more = on_request(world, "price", price["id"])
    if currency in (None, price["currency"]):
        return price["unit_amount_decimal"], more.get("tiers", [])
    option = more.get("currency_options", {}).get(currency)
    if option is None:
        raise ValueError(f"The price `{price['id']}` has no amount in {currency}.")
    return option["unit_amount_decimal"], option.get("tiers", [])


def _packages(quantity: Decimal, transform: Object | None) -> Decimal:
    if transform is None:
        return quantity
    rounding = ROUND_CEILING if transform["round"] == "up" else ROUND_FLOOR
    return (quantity / transform["divide_by"]).to_integral_value(rounding)


def _cost(tier: Object, units: Decimal) -> Decimal:
    return units * Decimal(tier["unit_amount_decimal"] or 0) + Decimal(tier["flat_amount_decimal"] or 0)


def _volume(tiers: list[Object], units: Decimal) -> Decimal:
    """All units at the price of the tier that their number reaches."""
    return next((_cost(tier, units) for tier in tiers if tier["up_to"] is None or units <= tier["up_to"]), Decimal(0))


def _graduated(tiers: list[Object], units: Decimal) -> Decimal:
    """Each unit at the price of the tier in which it lies."""
    total, above = Decimal(0), Decimal(0)
    for place, tier in enumerate(tiers):
        if units > above or place == 0:
            inside = units - above if tier["up_to"] is None else min(units, Decimal(tier["up_to"])) - above
            total += _cost(tier, inside)
        above = units if tier["up_to"] is None else Decimal(tier["up_to"])
    return total
