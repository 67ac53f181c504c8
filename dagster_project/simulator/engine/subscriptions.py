"""One subscription: its items and periods, its discounts, and how every change of it is kept and told.

Rules: https://docs.stripe.com/billing/subscriptions/billing-cycle (the day of the month is the anchor's, or the last).
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.world import Object, World, action

ENDED = ("canceled", "incomplete_expired")


def after(start: int, interval: str, count: int, anchor: int) -> int:
    """The next period edge after `start`: same day of the month as the anchor, or the month's last day."""
    if interval == "day":
        return start + count * b.DAY
    if interval == "week":
        return start + 7 * count * b.DAY
    begin, day = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(anchor, UTC).day
    months = begin.year * 12 + begin.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    last = monthrange(year, month + 1)[1]
    return int(begin.replace(year=year, month=month + 1, day=min(day, last)).timestamp())


def period_end(sub: Object) -> int:
    """When the first of its items' periods ends, in Unix seconds."""
    return min(item["current_period_end"] for item in sub["items"]["data"])


def next_edge(sub: Object, price: Object, start: int) -> int:
    """When a period of `price` that begins at `start` ends."""
    recurring = price["recurring"]
    return after(start, recurring["interval"], recurring["interval_count"], sub["billing_cycle_anchor"])


def add_item(world: World, sub: Object, price: Object, quantity: int | None, start: int, end: int) -> Object:
    item = shapes.new(
        "subscription_item", world.id("si"), created=world.now, subscription=sub["id"], price=nested(price),
        plan=world.the(price["id"], "plan"), current_period_start=start, current_period_end=end, tax_rates=[],
        metadata={},
    )  # fmt: skip
    if quantity is not None:
        item["quantity"] = quantity
    sub["items"]["data"].append(item)
    return item


def nested(price: Object) -> Object:
    """A price inside another object: what Stripe only includes on request is absent."""
    return {name: value for name, value in price.items() if name not in ("tiers", "currency_options")}


def save(world: World, sub: Object) -> None:
    """The subscription, and its items as rows of their own."""
    sub["items"]["url"] = f"/v1/subscription_items?subscription={sub['id']}"
    world.store.save(sub)
    for item in sub["items"]["data"]:
        if world.store.get(item["id"], "subscription_item") is None:
            world.store.insert(item, parent=sub["id"])
        else:
            world.store.save(item)


def update(world: World, sub: Object, **changes: Any) -> None:
    """Change a subscription and announce it; items are kept as rows too."""
    world.change(sub, "customer.subscription.updated", **changes)
    save(world, sub)


def items_changed(world: World, sub: Object, before: Object) -> None:
    """Announce a change of the embedded items, of which Stripe sends the whole list as it was."""
    save(world, sub)
    world.emit("customer.subscription.updated", sub, {"items": {"data": before["data"]}} if before else None)


def end_subscription(world: World, sub: Object) -> Object:
    """Canceled for good; the event that says so is called `deleted` and carries the whole object."""
    sub |= {"status": "canceled", "ended_at": world.now, "canceled_at": sub["canceled_at"] or world.now}
    sub["cancel_at_period_end"] = False if sub["cancel_at"] is None else sub["cancel_at_period_end"]
    world.store.save(sub)
    world.emit("customer.subscription.deleted", sub)
    if world.chance("forgotten", sub["id"]).random() < world.business.forgotten:
        world.later(world.now + 60 * b.DAY, is_forgotten, sub["customer"])
    return sub


@action
def is_forgotten(world: World, id: str) -> None:
    """A customer who left is deleted, with nothing open; invoices and charges keep the id."""
    customer = world.the(id)
    running = world.store.page("subscription", where={"customer": id, "not status": ENDED}, limit=1)[0]
    unpaid = world.store.page("invoice", where={"customer": id, "status": ["draft", "open"]}, limit=1)[0]
    if running or unpaid or customer.get("deleted"):
        return
    world.emit("customer.deleted", customer)
    world.store.delete(id, {"id": id, "object": "customer", "deleted": True}, kind="customer")
