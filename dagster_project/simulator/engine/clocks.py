"""Test clocks: timelines of their own, on which customers and all that belongs to them live.

Rules: https://docs.stripe.com/billing/testing/test-clocks, https://docs.stripe.com/api/test_clocks.
"""

from __future__ import annotations

import msgspec

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.customers import delete_customer
from dagster_project.simulator.engine.subscriptions import ENDED, after
from dagster_project.simulator.engine.world import Object, World, action

KIND = "test_helpers.test_clock"
_LIFE = 30 * b.DAY
_INTERVALS, _IDLE_YEARS = 2, 2  # how far a clock may go at once: with subscriptions on it, and without


def start_clock(world: World, frozen_time: int, name: str | None) -> Object:
    """A clock that stands at `frozen_time` (Unix seconds) until it is advanced."""
    clock = world.add(KIND, "clock", frozen_time=frozen_time, name=name, deletes_after=world.store.now + _LIFE)
    world.meta.setdefault("clocks", {})[clock["id"]] = {"now": frozen_time, "due": [], "customers": []}
    world.emit("test_helpers.test_clock.created", clock)
    world.later(clock["deletes_after"], clock_expires, clock["id"])
    return clock


def put_on_clock(world: World, customer: Object, clock: Object) -> None:
    """Let a customer live on the clock, for good."""
    customer["test_clock"] = clock["id"]
    world.meta["clocks"][clock["id"]]["customers"].append(customer["id"])


def latest_target(world: World, clock: Object) -> int:
    """How far the clock may be moved at once: two intervals of the shortest subscription on it, or else two years."""
    now = clock["frozen_time"]
    customers = world.meta["clocks"][clock["id"]]["customers"]
    reach = [after(after(now, "year", 1, now), "year", _IDLE_YEARS - 1, now)]
    if customers:
        where = {"customer": customers, "not status": list(ENDED)}
        for body in world.store.page("subscription", where=where, limit=1_000)[0]:
            for item in msgspec.json.decode(body)["items"]["data"]:
                recurring = item["price"]["recurring"]
                reach.append(after(now, recurring["interval"], _INTERVALS * recurring["interval_count"], now))
    return min(reach)


def advance_clock(world: World, clock: Object, to: int) -> Object:
    """Move the clock to `to` (Unix seconds); the answer is the clock as it was while it moved, as Stripe answers."""
    world.change(
        clock, "test_helpers.test_clock.advancing", status="advancing",
        status_details={"advancing": {"target_frozen_time": to}},
    )  # fmt: skip
    moving = shapes.frozen(clock)
    world.advance_clock(clock["id"], to)
    world.change(
        world.the(clock["id"], KIND), "test_helpers.test_clock.ready", status="ready", status_details={}, frozen_time=to
    )
    return moving


def delete_clock(world: World, clock: Object) -> Object:
    """The clock goes, and its customers with it; the answer is its tombstone."""
    with world.on(clock["id"]):
        for id in world.meta["clocks"][clock["id"]]["customers"]:
            customer = world.store.get(id, "customer")
            if customer is not None and not customer.get("deleted"):
                delete_customer(world, customer)
    del world.meta["clocks"][clock["id"]]
    world.emit("test_helpers.test_clock.deleted", clock)
    tombstone = {"id": clock["id"], "object": KIND, "deleted": True}
    world.store.delete(clock["id"], tombstone, kind=KIND)
    return tombstone


@action
def clock_expires(world: World, id: str) -> None:
    clock = world.store.get(id, KIND)
    if clock is not None and not clock.get("deleted"):
        delete_clock(world, clock)
