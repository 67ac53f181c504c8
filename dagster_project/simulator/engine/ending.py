"""A subscription ends, is paused, or runs again.

Rules: https://docs.stripe.com/billing/subscriptions/cancel (nothing is collected any more, unless somebody asks),
https://docs.stripe.com/billing/subscriptions/pause.
"""

from __future__ import annotations

import msgspec

from dagster_project.simulator.engine.changing import begin_periods, plan
from dagster_project.simulator.engine.cycle import bill, pause
from dagster_project.simulator.engine.invoices import period_lines, usage_line
from dagster_project.simulator.engine.proration import charge_usage, credit_unused, partial
from dagster_project.simulator.engine.subscriptions import edited, end_subscription, save
from dagster_project.simulator.engine.world import Object, World


def cancel(
    world: World, sub: Object, *, prorate: bool, invoice_now: bool, details: Object | None = None
) -> Object:  # fmt: skip
    """End now, for the reason that the details give.

    What is still to be billed comes on a last invoice, or waits for the customer's next one.
    """
    running = sub["status"] not in ("incomplete", "trialing", "paused")
    if prorate and running:
        for item in sub["items"]["data"]:
            credit_unused(world, sub, item, world.now)
    if invoice_now and running:
        final_invoice(world, sub, world.now, at_once=True)
    waiting = world.meta.get("waiting", {})
    if left := waiting.pop(sub["id"], None):
        waiting.setdefault(sub["customer"], []).extend(left)
    _stop_collecting(world, sub)
    if details is not None:
        sub["cancellation_details"] = details
    return end_subscription(world, sub)


def _stop_collecting(world: World, sub: Object) -> None:
    """What is open or a draft stays as it is: nobody is charged by itself for a subscription that was canceled."""
    where = {"customer": sub["customer"], "subscription": sub["id"], "status": ["draft", "open"]}
    for body in world.store.page("invoice", where=where, limit=1_000)[0]:
        invoice = world.the(msgspec.json.decode(body)["id"], "invoice")
        world.change(
            invoice, "invoice.updated", auto_advance=False, next_payment_attempt=None, automatically_finalizes_at=None
        )


def final_invoice(world: World, sub: Object, end: int, *, at_once: bool = False) -> Object | None:
    """Usage that was not billed yet, and what waited; None when there is nothing of that."""
    lines = [
        usage_line(world, sub, item, end)
        for item in sub["items"]["data"]
        if item["price"]["recurring"]["usage_type"] == "metered" and sub["status"] != "trialing"
    ]
    lines = [line for line in lines if line["amount"]]
    if not lines and not world.meta.get("waiting", {}).get(sub["id"]):
        return None
    return bill(world, sub, "subscription_update" if at_once else "subscription_cycle", lines, at_once=at_once)


def pause_now(world: World, sub: Object, *, credit: str, usage: bool, invoice: bool) -> Object:
    """Pause until it is resumed. `credit`: from when time is given back: now, item_current_period_start or none."""
    for item in sub["items"]["data"]:
        if credit != "none":
            from_start = credit == "item_current_period_start"
            credit_unused(world, sub, item, item["current_period_start"] if from_start else world.now)
        if usage and item["price"]["recurring"]["usage_type"] == "metered":
            line = usage_line(world, sub, item, world.now)
            if line["amount"]:
                charge_usage(world, sub, line)
    if invoice and world.meta.get("waiting", {}).get(sub["id"]):
        bill(world, sub, "subscription_update", [], at_once=True)
    pause(world, sub, "pause_requested")
    return sub


def resume(world: World, sub: Object, *, anchor_now: bool, prorated: bool) -> Object:
    """Run again: a new cycle from now on, or the rest of the period of the old one."""
    with edited(world, sub):
        sub["status"] = "active"
        sub.pop("status_details", None)
        if anchor_now:
            sub["billing_cycle_anchor"] = world.now
        begin_periods(world, sub)
    world.emit("customer.subscription.resumed", sub)
    save(world, sub)
    plan(world, sub)
    if anchor_now or prorated:
        lines = [line for line in period_lines(world, sub, since=world.now) if line["period"]["end"] > world.now]
        bill(world, sub, "subscription_update", partial(world, sub, lines), at_once=True)
    return sub
