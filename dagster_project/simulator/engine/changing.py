"""Changes of a running subscription: items, cycle, trial, end; each billed as Stripe bills it.

Rules: https://docs.stripe.com/billing/subscriptions/change (another interval or the end of a trial is billed at once,
from now on), https://docs.stripe.com/billing/subscriptions/trials, https://docs.stripe.com/api/subscriptions/update.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from typing import Any

from dagster_project.simulator.engine.cycle import (
    REMINDED,
    await_period_end,
    bill,
    collection_resumes,
    reaches_its_end,
    trial_will_end,
)
from dagster_project.simulator.engine.extras import Extra, Redeemed, bill_once, redeem, replace
from dagster_project.simulator.engine.invoices import period_lines, usage_line
from dagster_project.simulator.engine.proration import charge_usage, credit_unused, debit_remaining, partial
from dagster_project.simulator.engine.subscriptions import (
    add_item,
    edited,
    nested,
    next_edge,
)
from dagster_project.simulator.engine.world import Object, World


@dataclass
class ItemChange:
    """A change of one item; without `item` a new one. None leaves a thing as it is."""

    item: Object | None = None
    price: Object | None = None
    quantity: int | None = None
    deleted: bool = False
    clear_usage: bool = False
    fields: Object = field(default_factory=dict)  # metadata, tax_rates
    discounts: list[Redeemed] | None = None


@dataclass
class Change:
    """What is changed at once. `at` is the instant to which prorations are worked out (default now)."""

    items: list[ItemChange] = field(default_factory=list)
    fields: Object = field(default_factory=dict)
    discounts: list[Redeemed] | None = None
    extras: list[Extra] = field(default_factory=list)
    prorations: str = "create_prorations"  # or always_invoice, none
    at: int | None = None
    anchor_now: bool = False
    trial_end: int | None = None  # now or earlier: the trial is over
    end: Object = field(default_factory=dict)  # cancel_at, cancel_at_period_end
    collected: bool = True  # whether an invoice that is due at once is charged at once

    @property
    def prorated(self) -> bool:
        return self.prorations != "none"

    def without_prorations(self) -> Change:
        return replace_fields(self, prorations="none")


def change_items(world: World, sub: Object, items: list[ItemChange]) -> None:
    """Change items now; the prorations wait for the next invoice."""
    change(world, sub, Change(items))


def change(world: World, sub: Object, what: Change) -> Object | None:
    """Apply the changes, tell them as one, and bill what is due at once: the invoice, if there is one."""
    if sub["status"] == "paused":  # what was paid in advance was given back when it was paused
        what = what.without_prorations()
    at = world.now if what.at is None else what.at
    customer = world.the(sub["customer"], "customer")
    trial_over = what.trial_end is not None and what.trial_end <= world.now and sub["status"] == "trialing"
    with edited(world, sub):
        sub.update(what.fields)
        if what.discounts is not None:
            sub["discounts"] = replace(
                world, sub["discounts"], redeem(world, customer, what.discounts, subscription=sub)
            )
        restarts = what.anchor_now or trial_over or any(_restarts(sub, each) for each in what.items)
        if sub["status"] == "paused" or (sub["status"] == "trialing" and not trial_over):
            restarts = False
        touched = _change_items(world, sub, customer, what, at, restarts)
        if what.trial_end is not None and what.trial_end > world.now:
            _begin_trial(world, sub, what, at, touched)
        elif restarts:
            _restart(world, sub, what, at, touched, trial_over)
        if what.end or (restarts and sub["cancel_at_period_end"]):
            set_end(world, sub, what.end, prorated=what.prorated)
    for extra in what.extras:
        bill_once(world, sub, customer, extra)
    plan(world, sub)
    if restarts:
        lines = [line for line in period_lines(world, sub, since=world.now) if not _of_new_meter(world, line)]
        lines = partial(world, sub, lines)
        return bill(world, sub, "subscription_update", lines, at_once=True, collected=what.collected)
    if what.prorations == "always_invoice" and world.meta.get("waiting", {}).get(sub["id"]):
        return bill(world, sub, "subscription_update", [], at_once=True, collected=what.collected)
    return None


def _restarts(sub: Object, each: ItemChange) -> bool:
    """Whether a change of an item begins a new cycle: another interval, or the first thing that is not free."""
    if each.item is None or each.price is None or each.deleted:
        return False
    old, new = each.item["price"], each.price
    cycle = ("interval", "interval_count")
    if any(old["recurring"][name] != new["recurring"][name] for name in cycle):
        return True
    free = all(item["price"]["unit_amount"] == 0 for item in sub["items"]["data"])
    return bool(free and new["unit_amount"] != 0 and sub["status"] == "active")


def _change_items(
    world: World, sub: Object, customer: Object, what: Change, at: int, restarts: bool
) -> set[str]:  # fmt: skip
    """Credits first, then what is new; the ids of the items that were credited or are new."""
    touched: set[str] = set()
    debited = []
    for each in what.items:
        item = each.item
        if item is None:
            assert each.price is not None
            renews_now = min(old["current_period_end"] for old in sub["items"]["data"]) <= world.now
            end = world.now if renews_now else _end(sub, each.price, world.now)
            item = add_item(world, sub, each.price, _quantity(each.price, each.quantity, 1), world.now, end)
            item.update(each.fields)
            debited.append(item)
        elif each.deleted:
            _leave(world, sub, item, what, at, each.clear_usage)
        else:
            if _costs_change(item, each):
                _leave(world, sub, item, what, at, each.clear_usage, keep=True)
                debited.append(item)
            _set_item(world, item, each)
        if each.discounts is not None and not each.deleted:
            item["discounts"] = replace(world, item["discounts"], redeem(world, customer, each.discounts, item=item))
        touched.add(item["id"])
    for item in debited:
        if what.prorated and not restarts:
            debit_remaining(world, sub, item, at)
    return touched if debited or any(each.deleted for each in what.items) else set()


def _costs_change(item: Object, each: ItemChange) -> bool:
    another = each.price is not None and each.price["id"] != item["price"]["id"]
    return another or (each.quantity is not None and each.quantity != item.get("quantity"))


def _leave(
    world: World, sub: Object, item: Object, what: Change, at: int, clear_usage: bool, *, keep: bool = False
) -> None:  # fmt: skip
    """What was paid in advance is given back, what was used is charged; without `keep` the item goes."""
    if what.prorated:
        credit_unused(world, sub, item, at)
    if item["price"]["recurring"]["usage_type"] == "metered" and not clear_usage and sub["status"] != "trialing":
        line = usage_line(world, sub, item, world.now)
        if line["amount"]:
            charge_usage(world, sub, line)
    if not keep:
        sub["items"]["data"] = [each for each in sub["items"]["data"] if each["id"] != item["id"]]
        tombstone = {"id": item["id"], "object": "subscription_item", "deleted": True}
        world.store.delete(item["id"], tombstone, kind="subscription_item")


def _set_item(world: World, item: Object, each: ItemChange) -> None:
    if each.price is not None:
        item |= {"price": nested(each.price), "plan": world.the(each.price["id"], "plan")}
    quantity = _quantity(item["price"], each.quantity, item.get("quantity", 1))
    if quantity is None:
        item.pop("quantity", None)
    else:
        item["quantity"] = quantity
    item.update(each.fields)


def _quantity(price: Object, asked: int | None, otherwise: int) -> int | None:
    if price["recurring"]["usage_type"] == "metered":
        return None
    return otherwise if asked is None else asked


def _end(sub: Object, price: Object, start: int) -> int:
    """When a period that begins at `start` ends: at the cycle's next edge, or with the trial or the subscription."""
    end = sub["trial_end"] if sub["status"] == "trialing" else next_edge(sub, price, start)
    return int(end if sub["cancel_at"] is None else min(end, max(sub["cancel_at"], start + 1)))


def _credit_others(world: World, sub: Object, what: Change, at: int, touched: set[str]) -> None:
    for item in sub["items"]["data"]:
        if what.prorated and item["id"] not in touched:
            credit_unused(world, sub, item, at)


def _begin_trial(world: World, sub: Object, what: Change, at: int, touched: set[str]) -> None:
    """From now on until `trial_end` everything is free; then a new cycle begins."""
    _credit_others(world, sub, what, at, touched)
    running = sub["status"] == "trialing"
    sub |= {"status": "trialing", "trial_end": what.trial_end, "billing_cycle_anchor": what.trial_end}
    if not running:
        sub["trial_start"] = world.now
    for item in sub["items"]["data"]:
        if not running:
            item["current_period_start"] = world.now
        item["current_period_end"] = _end(sub, item["price"], item["current_period_start"])


def _restart(world: World, sub: Object, what: Change, at: int, touched: set[str], trial_over: bool) -> None:
    """A new cycle begins now."""
    _credit_others(world, sub, what, at, touched)
    if trial_over:
        sub |= {"status": "active", "trial_end": world.now}
    sub["billing_cycle_anchor"] = world.now
    begin_periods(world, sub)


def begin_periods(world: World, sub: Object) -> None:
    """The periods of all items begin now."""
    for item in sub["items"]["data"]:
        item["current_period_start"] = world.now
        item["current_period_end"] = next_edge(sub, item["price"], world.now)
        if sub["cancel_at"] is not None and not sub["cancel_at_period_end"]:
            item["current_period_end"] = min(item["current_period_end"], max(sub["cancel_at"], world.now + 1))


def set_end(world: World, sub: Object, end: Object, *, prorated: bool) -> None:
    """Let the subscription end at an instant, at the end of its period, or no more; periods are cut or made whole."""
    if "cancel_at" in end or "cancel_at_period_end" in end:
        at_period_end = bool(end.get("cancel_at_period_end"))
        sub |= {"cancel_at": None, "cancel_at_period_end": at_period_end}
        whole = {item["id"]: _end(sub, item["price"], item["current_period_start"]) for item in sub["items"]["data"]}
        cancel_at: Any = max(whole.values()) if at_period_end else end.get("cancel_at")
        if cancel_at in ("max_period_end", "max_billed_until", "min_period_end"):
            cancel_at = (min if cancel_at == "min_period_end" else max)(whole.values())
        sub |= {"cancel_at": cancel_at, "canceled_at": None if cancel_at is None else world.now}
        for item in sub["items"]["data"]:
            before = item["current_period_end"]
            after = whole[item["id"]] if cancel_at is None else min(whole[item["id"]], cancel_at)
            if prorated and after < before:
                credit_unused(world, sub, item, after)
            item["current_period_end"] = after
            if prorated and after > before:
                debit_remaining(world, sub, item, before)
    else:
        sub["cancel_at"] = max(item["current_period_end"] for item in sub["items"]["data"])


def plan(world: World, sub: Object) -> None:
    """What becomes due with the subscription as it is now."""
    await_period_end(world, sub)
    if sub["status"] == "trialing" and sub["trial_end"] - REMINDED > world.now:
        world.later(sub["trial_end"] - REMINDED, trial_will_end, sub["id"])
    if sub["cancel_at"] is not None:
        world.later(sub["cancel_at"], reaches_its_end, sub["id"], sub["cancel_at"])
    paused = sub["pause_collection"]
    if paused and paused["resumes_at"]:
        world.later(paused["resumes_at"], collection_resumes, sub["id"], paused["resumes_at"])


def _of_new_meter(world: World, line: Object) -> bool:
    """A metered item that is added now was not used before."""
    details = line["parent"]["subscription_item_details"]
    if details is None or details["invoice_item"]:
        return False
    item = world.store.get(details["subscription_item"], "subscription_item")
    return bool(item and item["created"] == world.now and line["period"]["end"] <= world.now)
