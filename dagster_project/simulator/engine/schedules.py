"""Subscription schedules: phases that a subscription passes through, each with its own items and terms.

Rules: https://docs.stripe.com/billing/subscriptions/subscription-schedules (a phase that begins where a period ends
changes what renews; one that begins in between is prorated as it says), https://docs.stripe.com/api/subscription_schedules.
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import changing, ending
from dagster_project.simulator.engine.extras import Extra, Redeemed
from dagster_project.simulator.engine.starting import Item, Terms, start
from dagster_project.simulator.engine.subscriptions import update
from dagster_project.simulator.engine.world import Object, World, action

KIND = "subscription_schedule"
OPEN = ("not_started", "active")
_EXPIRES = 7 * b.DAY  # before its end a schedule announces it


def create(world: World, customer: Object, phases: list[Object], **fields: Any) -> Object:
    """A schedule whose first phase begins at its `start_date`: at once when that is not in the future."""
    schedule = world.add(
        KIND, "sub_sched", customer=customer["id"], phases=phases, status="not_started",
        billing_mode={"flexible": {"proration_discounts": "included"}, "type": "flexible"}, **fields,
    )  # fmt: skip
    world.emit("subscription_schedule.created", schedule)
    _await_end(world, schedule)
    begins = phases[0]["start_date"]
    if begins > world.now:
        world.later(begins, schedule_starts, schedule["id"], begins)
    else:
        schedule_starts(world, schedule["id"], begins)
    return schedule


def take_over(world: World, sub: Object, **fields: Any) -> Object:
    """A schedule of a running subscription: its only phase is the current period."""
    first = sub["items"]["data"][0]
    begin, end = first["current_period_start"], min(item["current_period_end"] for item in sub["items"]["data"])
    items = [
        {
            "billing_thresholds": None, "discounts": _named(world, item["discounts"]), "metadata": item["metadata"],
            "plan": item["price"]["id"], "price": item["price"]["id"], "tax_rates": item["tax_rates"] or [],
            **({"quantity": item["quantity"]} if "quantity" in item else {}),
        }
        for item in sub["items"]["data"]
    ]  # fmt: skip
    phase = phase_of(
        items=items, start_date=begin, end_date=end, currency=sub["currency"], metadata={},
        discounts=_named(world, sub["discounts"]), default_payment_method=sub["default_payment_method"],
        trial_end=sub["trial_end"] if sub["status"] == "trialing" else None,
    )  # fmt: skip
    schedule = world.add(
        KIND, "sub_sched", customer=sub["customer"], subscription=sub["id"], phases=[phase], status="active",
        billing_mode={name: value for name, value in sub["billing_mode"].items() if name != "updated_at"},
        current_phase={"start_date": begin, "end_date": end}, **fields,
    )  # fmt: skip
    world.emit("subscription_schedule.created", schedule)
    update(world, sub, schedule=schedule["id"])
    _await_phase(world, schedule)
    _await_end(world, schedule)
    return schedule


def phase_of(**fields: Any) -> Object:
    """A phase in Stripe's shape; instants are Unix seconds."""
    return {
        "add_invoice_items": [], "application_fee_percent": None, "billing_cycle_anchor": None,
        "billing_thresholds": None, "collection_method": None, "default_payment_method": None,
        "default_tax_rates": [], "description": None, "discounts": [], "invoice_settings": None, "metadata": {},
        "on_behalf_of": None, "proration_behavior": "create_prorations", "transfer_data": None, "trial_end": None,
        **fields,
    }  # fmt: skip


def _named(world: World, discounts: list[str]) -> list[Object]:
    return [{"coupon": None, "discount": id, "promotion_code": None} for id in discounts]


# ---- phases come and go ----------------------------------------------------------------------------------------
@action
def schedule_starts(world: World, id: str, at: int) -> None:
    schedule = world.the(id, KIND)
    if schedule["status"] != "not_started" or schedule["phases"][0]["start_date"] != at:
        return
    phase = schedule["phases"][0]
    if not _possible(world, schedule, phase):
        cancel(world, schedule, prorate=False, invoice_now=False)
        return
    customer = world.the(schedule["customer"], "customer")
    terms = Terms(
        [_item(world, row) for row in phase["items"]], phase["currency"], _terms_of(schedule, phase, {}),
        discounts=_redeemed(world, phase["discounts"], []), trial_end=_trial_end(phase),
        extras=_extras(world, phase),
    )  # fmt: skip
    terms.fields["schedule"] = id
    sub = start(world, customer, terms)
    world.change(
        schedule, "subscription_schedule.updated", status="active", subscription=sub["id"],
        current_phase={"start_date": at, "end_date": phase["end_date"]},
    )  # fmt: skip
    _await_phase(world, schedule)


def _await_phase(world: World, schedule: Object) -> None:
    world.later(schedule["current_phase"]["end_date"], phase_ends, schedule["id"])


def _await_end(world: World, schedule: Object) -> None:
    last = schedule["phases"][-1]["end_date"]
    if last - _EXPIRES > world.now:
        world.later(last - _EXPIRES, schedule_expires, schedule["id"], last)


@action
def phase_ends(world: World, id: str) -> None:
    """Enter the phase that begins now, or end with the last one; nothing when that has happened already."""
    schedule = world.the(id, KIND)
    while schedule["status"] == "active" and schedule["current_phase"]["end_date"] <= world.now:
        begin = schedule["current_phase"]["end_date"]
        following = next((phase for phase in schedule["phases"] if phase["start_date"] == begin), None)
        if following is None:
            _finish(world, schedule)
        elif not _possible(world, schedule, following):
            release(world, schedule)
        else:
            enter(world, schedule, following, following["proration_behavior"])


def _possible(world: World, schedule: Object, phase: Object) -> bool:
    """Whether the customer and everything that the phase sells or takes off still exist."""
    rows = [phase, *phase["items"]]
    coupons = [row["coupon"] for each in rows for row in each["discounts"] if row["coupon"]]
    named = [("price", row["price"]) for row in phase["items"]] + [("coupon", each) for each in coupons]
    found = (world.store.get(id, kind) for kind, id in [("customer", schedule["customer"]), *named])
    return all(obj is not None and not obj.get("deleted") for obj in found)


def enter(world: World, schedule: Object, phase: Object, prorations: str) -> None:
    """Change the subscription into what the phase says."""
    sub = world.the(schedule["subscription"], "subscription")
    begins_now = phase["start_date"] == world.now
    anchor = phase["billing_cycle_anchor"] or schedule["default_settings"]["billing_cycle_anchor"]
    changing.change(
        world, sub, changing.Change(
            items=_item_changes(world, sub, phase), fields=_terms_of(schedule, phase, sub), prorations=prorations,
            discounts=_redeemed(world, phase["discounts"], sub["discounts"]), trial_end=_trial_end(phase),
            extras=_extras(world, phase) if begins_now else [], anchor_now=anchor == "phase_start" and begins_now,
        ),
    )  # fmt: skip
    current = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    world.change(schedule, "subscription_schedule.updated", current_phase=current)
    _await_phase(world, schedule)


def _finish(world: World, schedule: Object) -> None:
    """The last phase is over."""
    if schedule["end_behavior"] == "cancel":
        sub = world.the(schedule["subscription"], "subscription")
        world.change(
            schedule, "subscription_schedule.completed", status="completed", completed_at=world.now, current_phase=None
        )
        ending.cancel(world, sub, prorate=False, invoice_now=True)
    else:
        release(world, schedule)


@action
def schedule_expires(world: World, id: str, end: int) -> None:
    schedule = world.the(id, KIND)
    if schedule["status"] in OPEN and schedule["phases"][-1]["end_date"] == end:
        world.emit("subscription_schedule.expiring", schedule)


def release(world: World, schedule: Object) -> Object:
    """Let the subscription go on by itself."""
    sub = schedule["subscription"] and world.the(schedule["subscription"], "subscription")
    world.change(
        schedule, "subscription_schedule.released", status="released", released_at=world.now,
        released_subscription=schedule["subscription"], subscription=None, current_phase=None,
    )  # fmt: skip
    if sub:
        update(world, sub, schedule=None)
    return schedule


def cancel(world: World, schedule: Object, *, prorate: bool, invoice_now: bool) -> Object:
    """End the schedule and its subscription now."""
    world.change(
        schedule, "subscription_schedule.canceled", status="canceled", canceled_at=world.now, current_phase=None
    )
    if schedule["subscription"]:
        sub = world.the(schedule["subscription"], "subscription")
        ending.cancel(world, sub, prorate=prorate, invoice_now=invoice_now)
    return schedule


@action
def schedule_loses_subscription(world: World, id: str) -> None:
    """Its subscription was canceled: by somebody, or because it was not paid."""
    schedule = world.the(id, KIND)
    if schedule["status"] in OPEN:
        sub = world.the(schedule["subscription"], "subscription")
        unpaid = (sub["cancellation_details"] or {}).get("reason") == "payment_failed"
        event = "aborted" if unpaid else "canceled"
        world.change(
            schedule, f"subscription_schedule.{event}", status="canceled", canceled_at=world.now, current_phase=None
        )


def set_phases(world: World, schedule: Object, phases: list[Object], prorations: str) -> None:
    """Replace the phases that are not over; what changes in the current one is applied at once."""
    current = schedule["current_phase"]
    running = current and next((phase for phase in phases if phase["start_date"] == current["start_date"]), None)
    end_moves = schedule["phases"][-1]["end_date"] != phases[-1]["end_date"]
    world.change(schedule, "subscription_schedule.updated", phases=phases)
    if end_moves:
        _await_end(world, schedule)
    if running:
        enter(world, schedule, running, prorations)
    elif not current:
        world.later(phases[0]["start_date"], schedule_starts, schedule["id"], phases[0]["start_date"])


# ---- what a phase says -----------------------------------------------------------------------------------------
def _item(world: World, row: Object) -> Item:
    fields = {"metadata": row["metadata"] or {}, "tax_rates": row["tax_rates"]}
    price = world.the(row["price"], "price")
    return Item(price, row.get("quantity"), fields, _redeemed(world, row["discounts"], []))


def _item_changes(world: World, sub: Object, phase: Object) -> list[changing.ItemChange]:
    """Items of the same price stay; the others become each other, come or go."""
    left = {item["id"]: item for item in sub["items"]["data"]}
    rows, changes = [], []
    for row in phase["items"]:
        same = next((item for item in left.values() if item["price"]["id"] == row["price"]), None)
        if same is None:
            rows.append(row)
        else:
            del left[same["id"]]
            changes.append(_item_change(world, row, same))
    for row in rows:
        changes.append(_item_change(world, row, left.pop(next(iter(left))) if left else None))
    return changes + [changing.ItemChange(item, deleted=True) for item in left.values()]


def _item_change(world: World, row: Object, item: Object | None) -> changing.ItemChange:
    fields = {"metadata": row["metadata"] or {}, "tax_rates": row["tax_rates"]}
    held = item["discounts"] if item else []
    return changing.ItemChange(
        item, world.the(row["price"], "price"), row.get("quantity"), fields=fields,
        discounts=_redeemed(world, row["discounts"], held),
    )  # fmt: skip


def _terms_of(schedule: Object, phase: Object, sub: Object) -> Object:
    """Attributes of the subscription: those of the phase, otherwise the schedule's defaults."""
    defaults = schedule["default_settings"]
    fields: Object = {}
    for name in ("collection_method", "default_payment_method", "description"):
        value = phase[name] if phase[name] is not None else defaults[name]
        if value is not None:
            fields[name] = value
    settings = phase["invoice_settings"] or defaults["invoice_settings"]
    if fields.get("collection_method") == "send_invoice":
        fields["days_until_due"] = settings["days_until_due"] or 30
    if phase["default_tax_rates"]:
        fields["default_tax_rates"] = phase["default_tax_rates"]
    if phase["metadata"]:
        fields["metadata"] = {**sub.get("metadata", {}), **phase["metadata"]}
    return fields


def _trial_end(phase: Object) -> int | None:
    end: int | None = phase["end_date"] if phase.get("trial") else phase["trial_end"]
    return end


def _extras(world: World, phase: Object) -> list[Extra]:
    return [
        Extra(
            world.the(row["price"], "price"), row["quantity"] or 1, row.get("tax_rates") or [],
            _redeemed(world, row["discounts"], []), row["metadata"] or {},
        )
        for row in phase["add_invoice_items"]
    ]  # fmt: skip


def _redeemed(world: World, rows: list[Object], held: list[str]) -> list[Redeemed]:
    """The discounts of a phase; one of a coupon that the subscription has already goes on."""
    found: list[Redeemed] = []
    for row in rows:
        code = row["promotion_code"]
        coupon = world.the(code, "promotion_code")["promotion"]["coupon"] if code else row["coupon"]
        same = next((id for id in held if world.the(id, "discount")["source"]["coupon"] == coupon), None)
        known: str | None = row["discount"] or same
        if known is not None:
            found.append((known, None))
        else:
            found.append((world.the(coupon, "coupon"), code))
    return found
