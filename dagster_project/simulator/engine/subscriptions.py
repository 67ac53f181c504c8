"""One subscription: its items and periods, its discounts, and how every change of it is kept and told.

Rules: https://docs.stripe.com/billing/subscriptions/billing-cycle (the day of the month is the anchor's, or the last).
"""

from __future__ import annotations

import contextlib
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.world import ACTIONS, Object, World, action, previous_attributes

ENDED = ("canceled", "incomplete_expired")
RENEWS = ("active", "trialing", "past_due", "unpaid")


def by_chance(customer: Object) -> bool:
    """Whether a customer is one of the made-up business, whose luck decides; others do what their cards are for."""
    return "segment" in (customer.get("metadata") or {})


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


def edge(anchor: int, recurring: Object, number: int) -> int:
    """The `number`-th period edge from the anchor (0 is the anchor itself; negative ones lie before it)."""
    return after(anchor, recurring["interval"], number * recurring["interval_count"], anchor)


def next_edge(sub: Object, price: Object, start: int) -> int:
    """The first edge of the subscription's cycle after `start`; `start` need not be an edge itself."""
    return _edges(sub["billing_cycle_anchor"], price["recurring"], start)[1]


def full_period(sub: Object, price: Object, within: int) -> tuple[int, int]:
    """(start, end) of the whole period of the cycle in which an instant lies; what a partial one is measured by."""
    return _edges(sub["billing_cycle_anchor"], price["recurring"], within)


def _edges(anchor: int, recurring: Object, at: int) -> tuple[int, int]:
    """The edges around an instant: the last at or before it, and the first after it."""
    interval, count = recurring["interval"], recurring["interval_count"]
    if interval in ("day", "week"):
        length = count * b.DAY * (7 if interval == "week" else 1)
        start = anchor + (at - anchor) // length * length
        return start, start + length
    here, origin = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(anchor, UTC)
    months = (here.year - origin.year) * 12 + here.month - origin.month
    number = months // (count * (12 if interval == "year" else 1))
    start = edge(anchor, recurring, number)
    if start > at:
        return edge(anchor, recurring, number - 1), start
    return start, edge(anchor, recurring, number + 1)


def period_end(sub: Object) -> int:
    """When the first of its items' periods ends, in Unix seconds."""
    return min(item["current_period_end"] for item in sub["items"]["data"])


def steered(world: World, sub: Object) -> bool:
    """Whether a caller started the subscription: then nothing happens to it by chance."""
    return sub["id"] in world.meta.get("steered", ())


def steer(world: World, sub: Object) -> None:
    world.meta.setdefault("steered", {})[sub["id"]] = True


def payment_method(world: World, sub: Object) -> str | None:
    """What pays for a subscription: its own default, or that of its customer."""
    own: str | None = sub["default_payment_method"]
    customer = world.store.get(sub["customer"], "customer") or {}
    return own or (customer.get("invoice_settings") or {}).get("default_payment_method")


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


@contextlib.contextmanager
def edited(world: World, sub: Object) -> Iterator[None]:
    """What is changed inside, of the subscription and its items, is kept and announced as one update."""
    before = shapes.frozen(sub)
    yield
    save(world, sub)
    previous: Object = {name: value for name, value in before.items() if name not in sub}
    for name, value in sub.items():
        if name == "items":
            if before["items"]["data"] != value["data"]:
                previous["items"] = {"data": before["items"]["data"]}
        elif name not in before or before[name] != value:
            previous |= previous_attributes({name: before.get(name)}, {name: value})
    if previous:
        world.emit("customer.subscription.updated", sub, previous)


def items_changed(world: World, sub: Object, before: Object) -> None:
    """Announce a change of the embedded items, of which Stripe sends the whole list as it was."""
    save(world, sub)
    world.emit("customer.subscription.updated", sub, {"items": {"data": before["data"]}} if before else None)


def end_subscription(world: World, sub: Object) -> Object:
    """Canceled for good; the event that says so is called `deleted` and carries the whole object."""
    sub |= {"status": "canceled", "ended_at": world.now, "canceled_at": sub["canceled_at"] or world.now}
    sub["cancel_at_period_end"] = False if sub["cancel_at"] is None else sub["cancel_at_period_end"]
    by_caller = world.meta.get("steered", {}).pop(sub["id"], None)
    world.store.save(sub)
    world.emit("customer.subscription.deleted", sub)
    if sub["schedule"]:
        ACTIONS["schedule_loses_subscription"](world, sub["schedule"])
    if not by_caller and world.chance("forgotten", sub["id"]).random() < world.business.forgotten:
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
