"""Many changes at random moments: what is billed must be the price of every second, whatever the order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from billing_cases import DAY, NOW

from dagster_project.simulator.calls.catalogue import create_price, create_product
from dagster_project.simulator.calls.customers import create as create_customer
from dagster_project.simulator.engine import changing, starting
from dagster_project.simulator.engine.cards import card
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store(tmp_path / "state.sqlite")
    store.now = NOW
    yield World(store)
    store.close()


@pytest.mark.parametrize("seed", range(6))
def test_what_is_billed_is_the_price_of_every_second(world, seed):
    dice = random.Random(seed)
    product = create_product(world, {"name": "Plan"})
    recurring = {"interval": "month", "interval_count": 1}
    prices = [
        create_price(world, {"currency": "usd", "product": product, "unit_amount": amount, "recurring": recurring})
        for amount in (997, 2500, 10_001)
    ]
    customer = create_customer(world, {"name": "Ada"})
    customer["address"] = {"country": "US"}
    method = card(world, customer)["id"]
    terms = starting.Terms([starting.Item(prices[0], 2)], "usd", {"default_payment_method": method})
    sub = starting.start(world, customer, terms)
    item = sub["items"]["data"][0]
    start, end = item["current_period_start"], item["current_period_end"]
    exact, since, rate, changes = Fraction(0), start, 2 * 997, 0
    moments = sorted(dice.sample(range(start + 1, end - 1), 9))
    for moment in moments:
        world.advance(moment)
        price, quantity = dice.choice(prices), dice.randint(0, 9)
        if price["id"] == item["price"]["id"] and quantity == item["quantity"]:
            continue
        behavior = dice.choice(("create_prorations", "always_invoice"))
        changing.change(world, sub, changing.Change([changing.ItemChange(item, price, quantity)], prorations=behavior))
        exact += Fraction(rate * (moment - since), end - start)
        since, rate, changes = moment, price["unit_amount"] * quantity, changes + 1
    exact += Fraction(rate * (end - since), end - start)
    assert (item["current_period_start"], item["current_period_end"]) == (start, end)
    world.advance(end + DAY)
    lines = [line for line in world.store.all("line_item") if line["period"]["start"] < end]
    billed = sum(line["amount"] for line in lines)
    assert abs(billed - exact) <= changes  # each change rounds twice, by half a unit at most
    renewal = [line["amount"] for line in world.store.all("line_item") if line["period"]["start"] == end]
    assert renewal == [rate]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_the_periods_follow_each_other_and_nothing_is_billed_twice(world, seed):
    dice = random.Random(seed)
    product = create_product(world, {"name": "Plan"})
    prices = [
        create_price(
            world,
            {
                "currency": "usd", "product": product, "unit_amount": 1000 * days,
                "recurring": {"interval": interval, "interval_count": count},
            },
        )
        for interval, count, days in (("day", 10, 10), ("week", 2, 14), ("month", 1, 30), ("month", 2, 60))
    ]  # fmt: skip
    customer = create_customer(world, {"name": "Ada"})
    customer["address"] = {"country": "US"}
    fields = {"default_payment_method": card(world, customer)["id"]}
    sub = starting.start(world, customer, starting.Terms([starting.Item(dice.choice(prices), 1)], "usd", fields))
    for _ in range(12):
        world.advance(world.now + dice.randint(1, 25 * DAY))
        item = sub["items"]["data"][0]
        kind = dice.choice(("price", "anchor", "trial", "end", "stay"))
        change = changing.Change(prorations=dice.choice(("create_prorations", "always_invoice")))
        if kind == "price":
            change.items = [changing.ItemChange(item, dice.choice(prices), dice.randint(1, 3))]
        elif kind == "anchor":
            change.anchor_now = True
        elif kind == "trial":
            change.trial_end = world.now + dice.choice((0, 5 * DAY))
        else:
            change.end = {"cancel_at": world.now + 90 * DAY if kind == "end" else None}
        changing.change(world, sub, change)
        assert sub["status"] in ("active", "trialing")
        assert item["current_period_start"] <= world.now < item["current_period_end"]
    world.advance(world.now + 80 * DAY)
    paid: dict[int, Fraction] = {}
    for line in world.store.all("line_item"):
        begin, end = line["period"]["start"], line["period"]["end"]
        for day in range((begin - NOW) // DAY, (end - NOW) // DAY + 1):
            overlap = min(end, NOW + (day + 1) * DAY) - max(begin, NOW + day * DAY)
            if overlap > 0:
                paid[day] = paid.get(day, Fraction(0)) + Fraction(line["amount"] * overlap, end - begin)
    dearest = Fraction(3 * 30_000, 28)  # per day, in February
    assert all(-1 <= paid.get(day, 0) <= dearest + 1 for day in range((world.now - NOW) // DAY))
