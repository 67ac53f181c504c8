"""When something rare is done, and what all rare things need."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from dagster_project.simulator.engine.arrivals import arrives
from dagster_project.simulator.engine.business import DAY
from dagster_project.simulator.engine.world import Object, World, action
from dagster_project.simulator.http.inside import request

Deed = Callable[[World, Random, str], None]
DEEDS: dict[str, Deed] = {}


def deed(function: Deed) -> Deed:
    """Something that a customer may do: deed(world, dice, id of the customer)."""
    DEEDS[function.__name__] = function
    return function


@action
def chaotic_arrives(world: World, number: int) -> None:
    """A new customer as in any business, and the days on which something rare will happen to it."""
    numbers: Any = world.business
    known = world.store.last
    arrives(world, number)
    customer = next(id for kind, id in world.store.since(known) if kind == "customer")
    dice = world.chance("deeds", number)
    for turn in range(dice.randint(*numbers.deeds)):
        world.later(world.now + int(dice.uniform(*numbers.deeds_after) * DAY), something_rare, customer, turn)


@action
def something_rare(world: World, customer: str, turn: int) -> None:
    dice = world.chance("deed", customer, turn)
    name = dice.choice(sorted(DEEDS))
    found = world.store.get(customer, "customer")
    if found is not None and not found.get("deleted"):
        DEEDS[name](world, dice, customer)


@action
def requested(world: World, path: str, params: Object, method: str) -> None:
    request(world, method, path, **params)


def then(world: World, days: float, path: str, method: str = "POST", **params: Any) -> None:
    """Send a request some days later."""
    world.later(world.now + int(days * DAY), requested, path, params, method)


def post(world: World, path: str, /, **params: Any) -> Object | None:
    return request(world, "POST", path, **params)


def one_of(world: World, dice: Random, kind: str, **where: Any) -> Object | None:
    """One of the newest objects of a kind, as it is now."""
    bodies, _ = world.store.page(kind, where=where, limit=20)
    return msgspec.json.decode(dice.choice(bodies)) if bodies else None


def subscription(world: World, dice: Random, customer: str) -> Object | None:
    """One that runs."""
    return one_of(world, dice, "subscription", customer=customer, status=["active", "trialing", "past_due"])


def currency_of(world: World, customer: str) -> str:
    return str(world.the(customer, "customer")["currency"])


def price(world: World, dice: Random, currency: str, interval: str = "month") -> str:
    """The id of the price of some plan."""
    name = dice.choice(list(world.business.plans))
    return str(world.meta["prices"][f"{name}/{currency}/{interval}"])
