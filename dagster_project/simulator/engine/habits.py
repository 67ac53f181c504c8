"""What the customers of the made-up business do with their subscriptions, by chance: leave, stay, buy more or less."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.changing import ItemChange, change_items
from dagster_project.simulator.engine.subscriptions import end_subscription, period_end, update
from dagster_project.simulator.engine.world import Object, World, action


def decide(world: World, sub: Object, dice: Any, trial: bool) -> None:
    """What the customer will do during the period that has just begun."""
    length = period_end(sub) - world.now
    yearly = length > 200 * b.DAY
    tenure = (world.now - sub["start_date"]) / (30.4 * b.DAY)
    churn = next(rate for months, rate in world.business.churn_by_tenure if tenure < months)
    churn = min(0.35, churn * 7) if yearly else churn
    moment = world.now + int(length * dice.uniform(0.15, 0.85))
    fate = dice.random()
    changes = (world.business.change_quantity + world.business.change_plan) * (6 if yearly else 1)
    if not trial and fate < churn:
        world.later(moment, leaves, sub["id"])
    elif churn <= fate < churn + changes:
        share = world.business.change_plan / (world.business.change_plan + world.business.change_quantity)
        world.later(moment, changes_plan if dice.random() < share else changes_quantity, sub["id"])


@action
def leaves(world: World, id: str) -> None:
    sub = world.the(id)
    if sub["status"] not in ("active", "past_due") or sub["cancel_at_period_end"]:
        return
    dice = world.chance("leaves", id, world.now)
    feedback = dice.choice(("too_expensive", "unused", "switched_service", None))
    details = {"comment": None, "feedback": feedback, "feedback_option": None, "reason": "cancellation_requested"}
    if dice.random() < world.business.cancel_now:
        sub["cancellation_details"] = details
        end_subscription(world, sub)
        return
    update(
        world, sub, cancel_at_period_end=True, cancel_at=period_end(sub), canceled_at=world.now,
        cancellation_details=details,
    )  # fmt: skip
    if dice.random() < world.business.change_mind:
        world.later(min(world.now + 3 * b.DAY, period_end(sub) - b.HOUR), stays, id)


@action
def stays(world: World, id: str) -> None:
    sub = world.the(id)
    if sub["cancel_at_period_end"] and sub["status"] != "canceled":
        update(
            world, sub, cancel_at_period_end=False, cancel_at=None, canceled_at=None,
            cancellation_details={"comment": None, "feedback_option": None, "feedback": None, "reason": None},
        )  # fmt: skip


@action
def changes_quantity(world: World, id: str) -> None:
    sub = world.the(id)
    if sub["status"] != "active":
        return
    dice = world.chance("quantity", id, world.now)
    old = sub["items"]["data"][0]["quantity"]
    step = max(1, old * dice.randint(10, 50) // 100)
    new = old + step if dice.random() < world.business.upward else max(1, old - step)
    item = sub["items"]["data"][0]
    if new != old:
        change_items(world, sub, [ItemChange(item=item, quantity=new)])


@action
def changes_plan(world: World, id: str) -> None:
    sub = world.the(id)
    if sub["status"] != "active":
        return
    item = sub["items"]["data"][0]
    names = list(world.business.plans)
    product = world.the(item["price"]["product"])["name"]
    up = world.chance("plan", id, world.now).random() < world.business.upward
    place = min(max(names.index(product) + (1 if up else -1), 0), len(names) - 1)
    price = world.store.meta["prices"][f"{names[place]}/{sub['currency']}/{item['price']['recurring']['interval']}"]
    if price != item["price"]["id"]:
        change_items(world, sub, [ItemChange(item=item, price=world.the(price, "price"), quantity=item["quantity"])])
