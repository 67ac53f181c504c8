"""The lines of an invoice: what a period of a subscription costs, and what waited to be billed.

Rule: https://docs.stripe.com/billing/invoices/subscription (licensed items are billed in advance, metered ones
afterwards).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from dagster_project.simulator.engine import meters, shapes, wording
from dagster_project.simulator.engine.pricing import Quantity, amount_of, pricing, product_name, unit_amount
from dagster_project.simulator.engine.subscriptions import after
from dagster_project.simulator.engine.world import Object, World


def period_lines(world: World, sub: Object, *, trial: bool = False, since: int | None = None) -> list[Object]:
    """What the periods of a subscription's items cost that have begun: all of them, or those that began at `since`.

    With `since`, metered items are billed for the period that ended then.
    """
    lines = []
    for item in sub["items"]["data"]:
        if since is not None and item["current_period_start"] != since:
            continue
        metered = item["price"]["recurring"]["usage_type"] == "metered"
        if metered and since is None:
            continue
        if metered:
            lines.append(usage_line(world, sub, item, since or world.now))
        else:
            start, end = item["current_period_start"], item["current_period_end"]
            lines.append(_of_item(world, sub, item, item["quantity"], start, end, trial=trial))
    return lines


def usage_line(world: World, sub: Object, item: Object, end: int) -> Object:
    """What was used in the period of a metered item that ends at `end`, cut at whole minutes as summaries are.

    What was used during a trial is free.
    """
    recurring = item["price"]["recurring"]
    start = item["current_period_start"]
    if start >= end:  # the next period has begun
        start = after(end, recurring["interval"], -recurring["interval_count"], sub["billing_cycle_anchor"])
    start = max(start, sub["start_date"], item["created"])
    free = sub["trial_end"] is not None and end <= sub["trial_end"]
    used = Decimal(0)
    if not free:
        meters.report_until(world, recurring["meter"], sub["customer"], end)
        used = meters.used(world, recurring["meter"], sub["customer"], start // 60 * 60, end // 60 * 60)
    return _of_item(world, sub, item, used, start, end, trial=free)


def _of_item(
    world: World, sub: Object, item: Object, quantity: Quantity, start: int, end: int, *, trial: bool
) -> Object:  # fmt: skip
    price, currency = item["price"], sub["currency"]
    name, unit = product_name(world, price), unit_amount(world, price, currency)
    if trial:
        text, amount = f"Trial period for {name}", 0
    else:
        text = f"{meters.plain(quantity or 0)} × {name}{wording.rate(price, unit, currency)}"
        amount = amount_of(world, price, quantity, currency)
    return line(
        world, text, amount, currency, pricing(price, unit), quantity, start, end, subscription=sub["id"],
        item=item["id"], discounts=item["discounts"],
    )  # fmt: skip


def waiting_line(world: World, item: Object) -> Object:
    """The line of an invoice item."""
    parent, period = item["parent"], item["period"]
    return line(
        world, item["description"], item["amount"], item["currency"], item["pricing"],
        Decimal(item["quantity_decimal"]), period["start"], period["end"], invoice_item=item,
        subscription=parent["subscription_details"]["subscription"] if parent else None,
        discounts=item["discounts"] or [], discountable=item["discountable"], metadata=item["metadata"],
    )  # fmt: skip


def line(
    world: World, description: str | None, amount: int, currency: str, priced: Object | None, quantity: Quantity,
    start: int, end: int, *, subscription: str | None, item: str | None = None, invoice_item: Object | None = None,
    discounts: list[str] | None = None, discountable: bool = True, metadata: Any = None,
) -> Object:  # fmt: skip
    """A line in Stripe's shape, not stored yet; of a subscription item or of an invoice item."""
    details: Object = {
        "invoice_item": invoice_item["id"] if invoice_item else None,
        "proration": bool(invoice_item and invoice_item["proration"]),
        "proration_details": {"credited_items": _credited(invoice_item)},
        "subscription": subscription,
    }
    of = invoice_item["parent"] if invoice_item else None
    item = item or (of and of["subscription_details"].get("subscription_item"))
    # What a change of a subscription item made wait has that item for its parent.
    kind = "subscription_item_details" if item else "invoice_item_details"
    if item:
        details["subscription_item"] = item
    return shapes.new(
        "line_item", world.id("il"), amount=amount, subtotal=amount, currency=currency, description=description,
        discountable=discountable, discount_amounts=[], discounts=[*(discounts or [])], metadata={**(metadata or {})},
        parent={"invoice_item_details": None, "subscription_item_details": None, "type": kind, kind: details},
        period={"start": start, "end": end}, pricing=priced, quantity=None if quantity is None else int(quantity),
        quantity_decimal=None if quantity is None else meters.plain(quantity), pretax_credit_amounts=[], taxes=[],
        subscription=subscription,
    )  # fmt: skip


def invoice_item_of(line: Object) -> str | None:
    """The id of the invoice item behind a line; None where a period of a subscription item is billed."""
    id: str | None = line["parent"][line["parent"]["type"]]["invoice_item"]
    return id


def lines_of(world: World, invoice: Object) -> list[Object]:
    """All lines of an invoice, in their order; live objects."""
    found, _ = world.store.page("line_item", parent=invoice["id"], limit=1_000_000)
    return [world.the(msgspec.json.decode(body)["id"], "line_item") for body in reversed(found)]


def _credited(invoice_item: Object | None) -> Object | None:
    """The lines of an earlier invoice that a proration gives back."""
    details = (invoice_item or {}).get("proration_details") or {}
    lines: Object | None = (details.get("credited_items") or {}).get("invoice_line_item_details")
    return lines
