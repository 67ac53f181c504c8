"""Invoice items: what a caller puts on the next invoice, or on a draft.

Rules: https://docs.stripe.com/invoicing/invoice-items, https://docs.stripe.com/api/invoiceitems.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dagster_project.simulator.engine.invoices import add_items, add_up, unlink_lines, wait
from dagster_project.simulator.engine.lines import invoice_item_of, lines_of, waiting_line
from dagster_project.simulator.engine.meters import plain
from dagster_project.simulator.engine.prices import inline_price
from dagster_project.simulator.engine.pricing import amount_of, pricing, product_name, rounded, unit_amount
from dagster_project.simulator.engine.world import Object, World

MOST = 999_999_999_999  # minor units of one item
_OF_THE_LINE = (
    "amount", "subtotal", "description", "pricing", "quantity", "quantity_decimal", "period", "discounts",
    "discountable", "metadata",
)  # fmt: skip


def worth(world: World, given: Object, currency: str) -> Object:
    """amount, quantity and pricing of an item by `amount`, `unit_amount_decimal`, `price_data` or `pricing[price]`.

    Raises ValueError, in Stripe's words, for parameters that do not fit together.
    """
    price = (given.get("pricing") or {}).get("price")
    named = [name for name in ("amount", "unit_amount_decimal", "price_data") if given.get(name) is not None]
    if len(named) + bool(price) != 1:
        raise ValueError("You must pass exactly one of these: amount, pricing[price], price_data, unit_amount_decimal.")
    if given.get("quantity") is not None and given.get("quantity_decimal") is not None:
        raise ValueError("You may only specify one of these parameters: quantity, quantity_decimal.")
    quantity = Decimal(given.get("quantity_decimal") or given.get("quantity", 1))
    if named == ["amount"] and quantity != 1:
        raise ValueError("You cannot pass both amount and quantity.")
    if named == ["price_data"]:
        price = inline_price(world, given["price_data"])
    found: Object = {"quantity": int(quantity), "quantity_decimal": plain(quantity)}
    if price:
        if price["recurring"]:
            raise ValueError(
                f"The price specified is set to `type=recurring` but this field only accepts prices with "
                f"`type=one_time`: {price['id']}"
            )
        exact = int(quantity) if quantity == quantity.to_integral_value() else quantity
        found["amount"] = amount_of(world, price, exact, currency)
        priced = pricing(price, unit_amount(world, price, currency))
        return _bounded(found) | {"pricing": priced, "name": product_name(world, price)}
    unit = Decimal(given["amount"] if named == ["amount"] else given["unit_amount_decimal"])
    found["amount"] = rounded(unit * quantity)
    return _bounded(found) | {"pricing": {"type": "price_details", "unit_amount_decimal": plain(unit)}}


def _bounded(found: Object) -> Object:
    """Raises ValueError for an amount of more than twelve digits."""
    if abs(found["amount"]) > MOST:
        raise ValueError(f"The amount must be no more than {MOST}.")
    return found


def add_item(
    world: World, customer: Object, currency: str, worth: Object, *, sub: Object | None = None,
    period: Object | None = None, **fields: Any,
) -> Object:  # fmt: skip
    """An item that waits for the next invoice of its subscription, or of its customer."""
    details = {"subscription": sub["id"]} if sub else None
    name = worth.pop("name", None)
    item = world.add(
        "invoiceitem", "ii", currency=currency, customer=customer["id"], date=world.now,
        parent={"subscription_details": details, "type": "subscription_details"} if sub else None,
        period=period or {"start": world.now, "end": world.now}, proration=False, net_amount=worth["amount"],
        test_clock=customer.get("test_clock"), **worth,
        **{"description": name, "discountable": True, "discounts": [], "metadata": {}, "tax_rates": [], **fields},
    )  # fmt: skip
    world.emit("invoiceitem.created", item)
    wait(world, item, sub)
    return item


def put_on_draft(world: World, item: Object, invoice: Object) -> None:
    """The item waits no more: it is on this draft."""
    _waits_no_more(world, item)
    add_items(world, invoice, [item])


def change_item(world: World, item: Object, **changes: Any) -> Object:
    """Change an item that waits or is on a draft; invoice items change silently."""
    world.change(item, None, **changes, **({"net_amount": changes["amount"]} if "amount" in changes else {}))
    if item["invoice"]:
        unlink_lines(world.the(item["invoice"], "invoice"))
        line = line_of(world, item)
        fresh = waiting_line(world, item)
        line.update({name: fresh[name] for name in _OF_THE_LINE})
        world.store.save(line)
        add_up(world, world.the(item["invoice"], "invoice"))
    return item


def line_of(world: World, item: Object) -> Object:
    """The line of an item on its invoice."""
    invoice = world.the(item["invoice"], "invoice")
    return next(line for line in lines_of(world, invoice) if invoice_item_of(line) == item["id"])


def take_off_draft(world: World, item: Object) -> None:
    """The item leaves its draft and waits again."""
    invoice = world.the(item["invoice"], "invoice")
    world.store.delete(line_of(world, item)["id"], None, kind="line_item")
    item["invoice"] = None
    world.store.save(item)
    add_up(world, invoice)
    details = (item["parent"] or {}).get("subscription_details")
    wait(world, item, world.the(details["subscription"], "subscription") if details else None)


def delete_item(world: World, item: Object) -> Object:
    """The item is gone, from its draft, too; the tombstone."""
    if item["invoice"]:
        invoice = world.the(item["invoice"], "invoice")
        world.store.delete(line_of(world, item)["id"], None, kind="line_item")
        add_up(world, invoice)
    _waits_no_more(world, item)
    world.emit("invoiceitem.deleted", item)
    tombstone = {"id": item["id"], "object": "invoiceitem", "deleted": True}
    world.store.delete(item["id"], tombstone, kind="invoiceitem")
    return tombstone


def _waits_no_more(world: World, item: Object) -> None:
    waiting = world.meta.get("waiting", {})
    for owner in [owner for owner, ids in waiting.items() if item["id"] in ids]:
        waiting[owner].remove(item["id"])
        if not waiting[owner]:
            del waiting[owner]
