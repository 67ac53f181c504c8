"""The life of a subscription: it starts, renews, changes and ends, as its customer decides.

Rules: https://docs.stripe.com/billing/subscriptions/overview (renewal invoices stay draft for about an hour),
https://docs.stripe.com/billing/subscriptions/prorations.
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.collection import collect, finalize, finalize_draft
from dagster_project.simulator.engine.discounts import apply_coupon
from dagster_project.simulator.engine.invoices import amount_of, draft, period_lines, pricing, product_name
from dagster_project.simulator.engine.subscriptions import (
    add_item,
    end_subscription,
    items_changed,
    nested,
    next_edge,
    period_end,
    save,
    update,
)
from dagster_project.simulator.engine.world import Object, World, action


def subscribe(
    world: World, customer: Object, items: list[tuple[Object, int | None]], *, method: str, trial_days: int = 0,
    coupon: Object | None = None, promotion_code: str | None = None,
) -> Object:  # fmt: skip
    """Start a subscription now; `items` are (price, quantity or None when metered)."""
    currency = items[0][0]["currency"]
    sub = world.add(
        "subscription", "sub", customer=customer["id"], currency=currency, start_date=world.now,
        billing_cycle_anchor=world.now + trial_days * b.DAY, default_payment_method=method,
        status="trialing" if trial_days else "active", metadata={},
        billing_mode={"flexible": None, "type": "classic"},
        payment_settings={
            "payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off",
        },
        trial_settings={"end_behavior": {"billing_cycle_anchor": None, "missing_payment_method": "create_invoice"}},
    )  # fmt: skip
    if trial_days:
        sub |= {"trial_start": world.now, "trial_end": world.now + trial_days * b.DAY}
        world.later(sub["trial_end"] - 3 * b.DAY, trial_will_end, sub["id"])
    elif world.chance("first payment", sub["id"]).random() < world.business.first_payment_fails:
        sub["status"] = "incomplete"
    first_end = sub["billing_cycle_anchor"] if trial_days else None
    for price, quantity in items:
        add_item(world, sub, price, quantity, world.now, first_end or next_edge(sub, price, world.now))
    if coupon is not None:
        sub["discounts"] = [
            apply_coupon(world, coupon, customer=customer, subscription=sub, promotion_code=promotion_code)
        ]
    save(world, sub)
    world.emit("customer.subscription.created", sub)
    invoice = draft(world, sub, "subscription_create", period_lines(world, sub, trial=bool(trial_days)))
    finalize(world, invoice)
    world.later(period_end(sub), period_ends, sub["id"], period_end(sub))
    return sub


@action
def trial_will_end(world: World, id: str) -> None:
    sub = world.the(id)
    if sub["status"] == "trialing":
        world.emit("customer.subscription.trial_will_end", sub)


@action
def period_ends(world: World, id: str, end: int) -> None:
    """Renew, convert or end, as the customer decides."""
    sub = world.the(id)
    if sub["status"] not in ("active", "trialing", "past_due") or period_end(sub) != end:
        return
    if sub["cancel_at_period_end"]:
        end_subscription(world, sub)
        return
    dice = world.chance("renewal", id, end)
    trial = sub["status"] == "trialing"
    if trial and dice.random() > world.business.trial_converts:
        end_subscription(world, sub)
        return
    before = shapes.frozen(sub["items"]) if world.announces else {}
    for item in sub["items"]["data"]:
        if item["current_period_end"] <= end:
            item["current_period_start"] = end
            item["current_period_end"] = next_edge(sub, item["price"], end)
    items_changed(world, sub, before)
    if trial:
        update(world, sub, status="active")
    invoice = draft(world, sub, "subscription_cycle", period_lines(world, sub, since=end))
    world.later(world.now + b.HOUR, finalize_draft, invoice["id"])
    world.later(period_end(sub), period_ends, id, period_end(sub))
    _decide(world, sub, dice, trial)


def _decide(world: World, sub: Object, dice: Any, trial: bool) -> None:
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
    change_item(world, sub, sub["items"]["data"][0]["price"], new)


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
    change_item(world, sub, world.the(price, "price"), item["quantity"])


def change_item(world: World, sub: Object, price: Object, quantity: int) -> None:
    """Change the first item with proration.

    The next invoice holds a credit for the unused time and a debit for the remaining time, both to the second.
    """
    item = sub["items"]["data"][0]
    if item["price"]["id"] == price["id"] and item["quantity"] == quantity:
        return
    start, end, now = item["current_period_start"], item["current_period_end"], world.now
    share = (end - now) / (end - start)
    unused = -round(amount_of(world, item["price"], item["quantity"], sub["currency"]) * share)
    remaining = round(amount_of(world, price, quantity, sub["currency"]) * share)
    before = shapes.frozen(sub["items"]) if world.announces else {}
    old_price, old_quantity = item["price"], item["quantity"]
    item |= {"price": nested(price), "plan": world.the(price["id"], "plan"), "quantity": quantity}
    items_changed(world, sub, before)
    parent = {
        "subscription_details": {"subscription": sub["id"], "subscription_item": item["id"]},
        "type": "subscription_details",
    }
    for text, amount, of, count in (
        ("Unused time on", unused, old_price, old_quantity), ("Remaining time on", remaining, price, quantity)
    ):  # fmt: skip
        made = world.add(
            "invoiceitem", "ii", amount=amount, currency=sub["currency"], customer=sub["customer"], date=now,
            description=f"{text} {count} × {product_name(world, of)}", discountable=False, discounts=[],
            metadata={}, parent=parent, period={"start": now, "end": end}, pricing=pricing(of), proration=True,
            quantity=count, quantity_decimal=str(count), tax_rates=[], net_amount=amount,
        )  # fmt: skip
        world.emit("invoiceitem.created", made)
        world.store.meta.setdefault("waiting", {}).setdefault(sub["id"], []).append(made["id"])


__all__ = ["change_item", "collect", "end_subscription", "finalize", "period_end", "subscribe"]
