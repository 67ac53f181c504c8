"""The history of the made-up business: what is set up on the first day, and the months that follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.accounts import open_account
from dagster_project.simulator.engine.arrivals import day_begins, weight
from dagster_project.simulator.engine.catalogue import make_catalogue
from dagster_project.simulator.engine.marketplace import invite_sellers
from dagster_project.simulator.engine.payouts import billing_fee, day_ends
from dagster_project.simulator.engine.rarities import rare_objects
from dagster_project.simulator.engine.world import World


def seed(
    world: World, *, seed: int, customers: int, months: int, scenario: str = "saas",
    progress: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Fill an empty world with `months` months that end at `business.CLOCK`, in which `customers` customers arrive."""
    meta = world.store.meta
    meta.update(scenario=scenario, seed=seed, customers=customers, months=months)
    start = b.CLOCK // b.DAY * b.DAY - int(months * 30.4375) * b.DAY
    world.events_from = b.CLOCK - b.EVENT_RETENTION
    world.store.now = start
    meta["began"] = start
    days = (b.CLOCK - start) // b.DAY
    meta["weight"] = sum(weight(world.business, day, days, start + day * b.DAY) for day in range(days))
    meta["prices"], meta["arrived"], meta["taken"] = {}, 0, 0.0
    open_account(world, id=world.meta.get("account"))
    make_catalogue(world)
    if issubclass(world.business, b.Marketplace):
        invite_sellers(world, customers, days)
    world.later(start + 60, day_begins, 0)
    world.later(start + b.DAY + 900, day_ends)
    world.later(start + 30 * b.DAY, billing_fee)
    for month in range(1, months + 1):
        world.advance(start + (b.CLOCK - b.HOUR - start) * month // months)
        progress(
            f"  {datetime.fromtimestamp(world.now, UTC):%Y-%m}: {meta['arrived']:,} customers, "
            f"{meta['numbers'].get('in', 0):,} invoices"
        )
    rare_objects(world)
    world.advance(b.CLOCK)
    world.new_events.clear()
    world.store.flush()
