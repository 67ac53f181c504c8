"""What the calls about subscriptions, schedules and previews have in common: prices, items, discounts, payment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from dagster_project.simulator.calls import catalogue
from dagster_project.simulator.engine import pricing
from dagster_project.simulator.engine.changing import ItemChange
from dagster_project.simulator.engine.extras import CannotRedeem, Extra, Redeemed
from dagster_project.simulator.engine.starting import Item
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
MOST_ITEMS = 20
MOST_MONEY = 999_999_999_999  # minor units of one item
LATEST = 4_102_444_800  # 2100-01-01: no instant that is given lies later


def items_of(world: World, given: list[Params], currency: str | None, name: str = "items") -> tuple[list[Item], str]:
    """New items, and the currency in which they are billed (that of the first price unless it is given)."""
    if not given:
        raise required_parameter(name)
    if len(given) > MOST_ITEMS:
        raise invalid_parameter(name, f"A subscription has at most {MOST_ITEMS} items.")
    items = []
    for place, row in enumerate(given):
        price = price_of(world, row, f"{name}[{place}]")
        if price is None:
            raise required_parameter(f"{name}[{place}][price]")
        currency = currency or price["currency"]
        items.append(
            Item(
                checked_price(world, price, currency, f"{name}[{place}][price]"),
                _quantity(price, row, f"{name}[{place}][quantity]"),
                item_fields({}, row),
                redeemed(world, row.get("discounts"), f"{name}[{place}][discounts]"),
            )
        )
    ids = [item.price["id"] for item in items]
    if len(set(ids)) < len(ids):
        raise invalid_parameter(name, "Cannot add multiple subscription items with the same price.")
    return items, str(currency)


def extras_of(world: World, given: list[Params] | None, currency: str) -> list[Extra]:
    """What is billed once, with the next invoice."""
    extras = []
    for place, row in enumerate(given or []):
        name = f"add_invoice_items[{place}]"
        price = price_of(world, row, name)
        if price is None:
            raise required_parameter(f"{name}[price]")
        if price["recurring"]:
            raise invalid_parameter(f"{name}[price]", f"The price {price['id']} is recurring; it must be one-time.")
        fits(world, price, currency, f"{name}[price]")
        extras.append(
            Extra(
                price, row.get("quantity", 1), row.get("tax_rates", []),
                redeemed(world, row.get("discounts"), f"{name}[discounts]"), merged({}, row.get("metadata", {})),
            )
        )  # fmt: skip
    return extras


def item_changes(world: World, sub: Object, given: list[Params], customer: Object) -> list[ItemChange]:
    """Changes of the items of a subscription, and new ones."""
    changes, known = [], {item["id"]: item for item in sub["items"]["data"]}
    for place, row in enumerate(given):
        name = f"items[{place}]"
        named = row.get("id")
        item = known.get(named["id"]) if named else None
        if named and item is None:
            raise ApiError(
                400, f"No such subscription item: '{named['id']}'", code="resource_missing", param=f"{name}[id]"
            )
        changes.append(item_change(world, sub, item, row, customer, name))
    left = len(known) + sum(1 if each.item is None else -1 if each.deleted else 0 for each in changes)
    if left < 1:
        raise invalid_parameter(
            "items", "A subscription must have at least one active plan. To cancel it, use the cancel endpoint instead."
        )
    if left > MOST_ITEMS:
        raise invalid_parameter("items", f"A subscription has at most {MOST_ITEMS} items.")
    return changes


def item_change(
    world: World, sub: Object, item: Object | None, row: Params, customer: Object, name: str = ""
) -> ItemChange:  # fmt: skip
    """A change of one item; without `item` a new one."""

    def of(part: str) -> str:
        return f"{name}[{part}]" if name else part

    price = price_of(world, row, name)
    if price is not None:
        checked_price(world, price, sub["currency"], of("price"))
    elif item is None:
        raise required_parameter(of("price"))
    quantity = _quantity(price or item["price"], row, of("quantity"), 1 if item is None else None)  # type: ignore[index]
    fields = item_fields(item or {}, row)
    change = ItemChange(item, price, quantity, bool(row.get("deleted")), bool(row.get("clear_usage")), fields)
    if "discounts" in row:
        change.discounts = redeemed(world, row["discounts"], of("discounts"))
    return change


def price_of(world: World, row: Params, name: str) -> Object | None:
    """The price that is named, or made from `price_data` (such prices are not active: nobody else can use them)."""
    if row.get("price") is not None:
        price: Object = row["price"]
        if not price["active"]:
            raise invalid_parameter(
                f"{name}[price]", "The price specified is inactive. This field only accepts active prices."
            )
        return price
    if not row.get("price_data"):
        return None
    data = row["price_data"]
    if "unit_amount" not in data and "unit_amount_decimal" not in data:
        raise required_parameter(f"{name}[price_data][unit_amount]")
    return catalogue.create_price(world, {**data, "active": False})


def checked_price(world: World, price: Object, currency: str, name: str) -> Object:
    """Raises ApiError 400 for a price that a subscription in that currency cannot have."""
    if not price["recurring"]:
        raise invalid_parameter(
            name, f"The price specified is set to `type=one_time` but this field only accepts prices with "
            f"`type=recurring`: {price['id']}",
        )  # fmt: skip
    return fits(world, price, currency, name)


def fits(world: World, price: Object, currency: str, name: str) -> Object:
    if not pricing.fits(world, price, currency):
        raise invalid_parameter(
            name, f"The price `{price['id']}` supports currencies of `{price['currency']}`, but this subscription is "
            f"billed in `{currency}`.",
        )  # fmt: skip
    return price


def _quantity(price: Object, row: Params, name: str, otherwise: int | None = 1) -> int | None:
    if price["recurring"]["usage_type"] != "metered":
        quantity = int(row["quantity"]) if "quantity" in row else otherwise
        if quantity is not None and quantity * float(price["unit_amount_decimal"] or 1) > MOST_MONEY:
            raise invalid_parameter(name, f"The amount must be no more than {MOST_MONEY}.", "amount_too_large")
        return quantity
    if row.get("quantity") is not None:
        raise invalid_parameter(name, f"The price {price['id']} is metered: it takes no quantity.")
    return None


def item_fields(item: Object, row: Params) -> Object:
    fields: Object = {}
    if "metadata" in row:
        fields["metadata"] = merged(item.get("metadata"), row["metadata"])
    if "tax_rates" in row:
        fields["tax_rates"] = row["tax_rates"]
    return fields


def redeemed(world: World, given: list[Params] | None, name: str) -> list[Redeemed]:
    """(coupon, promotion code) of what is to be redeemed, or the id of a discount that stays."""
    found: list[Redeemed] = []
    for place, row in enumerate(given or []):
        coupon, code, discount = row.get("coupon"), row.get("promotion_code"), row.get("discount")
        if sum(each is not None for each in (coupon, code, discount)) != 1:
            raise invalid_parameter(
                f"{name}[{place}]", "You must provide exactly one of: coupon, discount, promotion_code."
            )
        if code is not None:
            found.append((world.the(code["promotion"]["coupon"], "coupon"), code["id"]))
        else:
            found.append((discount["id"] if discount is not None else coupon or {}, None))
    return found


@contextlib.contextmanager
def coupons_checked(name: str = "discounts") -> Iterator[None]:
    """A coupon that cannot be redeemed is refused in Stripe's envelope."""
    try:
        yield
    except CannotRedeem as error:
        raise invalid_parameter(name, str(error), "coupon_expired") from None


@contextlib.contextmanager
def undone_when_declined(world: World, behavior: str | None) -> Iterator[None]:
    """With `error_if_incomplete` an ApiError 402 inside leaves no trace of what was attempted."""
    if behavior != "error_if_incomplete":
        yield
        return
    announced = len(world.new_events)
    try:
        with world.store.atomic():
            yield
    except ApiError:
        del world.new_events[announced:]
        raise


def declined(world: World, invoice: Object) -> ApiError:
    """402 with what the card said."""
    intent = world.store.get(world.meta.get("intents", {}).get(invoice["id"], ""), "payment_intent")
    error = dict((intent or {}).get("last_payment_error") or {})
    error.pop("payment_method", None)
    message = error.pop("message", None) or "Your card was declined."
    known = {name: error[name] for name in ("charge", "decline_code") if error.get(name)}
    return ApiError(402, message, type="card_error", code=error.get("code") or "card_declined", **known)


def method_of_customer(method: Object | None, customer: Object, name: str) -> str | None:
    """Raises ApiError 400 for the payment method of somebody else."""
    if method is None:
        return None
    if method["customer"] != customer["id"]:
        raise invalid_parameter(
            name, f"The customer does not have a payment method with the ID {method['id']}. The payment method must be "
            "attached to the customer.", "resource_missing",
        )  # fmt: skip
    return str(method["id"])
