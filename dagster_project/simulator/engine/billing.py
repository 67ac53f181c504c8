"""The cycle of a subscription: it starts, its periods end, it renews or ends.

Rules: https://docs.stripe.com/billing/subscriptions/overview (renewal invoices stay draft for about an hour),
https://docs.stripe.com/billing/subscriptions/trials/free-trials#create-free-trials-without-payment,
https://docs.stripe.com/billing/subscriptions/pause-payment.
"""

from __future__ import annotations

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.collection import collect, finalize
from dagster_project.simulator.engine.cycle import REMINDED, await_period_end, bill, pause, trial_will_end
from dagster_project.simulator.engine.discounts import apply_coupon
from dagster_project.simulator.engine.ending import final_invoice
from dagster_project.simulator.engine.habits import decide
from dagster_project.simulator.engine.invoices import draft, period_lines
from dagster_project.simulator.engine.proration import partial
from dagster_project.simulator.engine.subscriptions import (
    RENEWS,
    add_item,
    end_subscription,
    items_changed,
    next_edge,
    payment_method,
    period_end,
    save,
    steered,
    update,
)
from dagster_project.simulator.engine.world import ACTIONS, Object, World, action


def subscribe(
    world: World, customer: Object, items: list[tuple[Object, int | None]], *, method: str, trial_days: int = 0,
    coupon: Object | None = None, promotion_code: str | None = None,
) -> Object:  # fmt: skip
    """Start a subscription of the made-up business now; `items` are (price, quantity or None when metered)."""
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
        world.later(sub["trial_end"] - REMINDED, trial_will_end, sub["id"])
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
    await_period_end(world, sub)
    return sub


@action
def period_ends(world: World, id: str, end: int) -> None:
    """Renew, convert or end."""
    sub = world.the(id, "subscription")
    if sub["schedule"]:
        ACTIONS["phase_ends"](world, sub["schedule"])
    if sub["status"] not in RENEWS or period_end(sub) != end:
        return
    if sub["cancel_at"] is not None and sub["cancel_at"] <= end:
        if steered(world, sub):
            final_invoice(world, sub, end)
        end_subscription(world, sub)
        return
    by_chance = not steered(world, sub)
    dice = world.chance("renewal", id, end) if by_chance else None
    trial = sub["status"] == "trialing"
    if trial and not _converts(world, sub, dice.random() if dice else None):
        return
    renew(world, sub, end, trial=trial)
    if dice:
        decide(world, sub, dice, trial)


def _converts(world: World, sub: Object, luck: float | None) -> bool:
    """Whether the subscription goes on after its trial; `luck` is None where a caller, not chance, decides."""
    if luck is not None:
        converts = luck <= world.business.trial_converts
        if not converts:
            end_subscription(world, sub)
        return converts
    otherwise = ((sub["trial_settings"] or {}).get("end_behavior") or {}).get("missing_payment_method")
    sent = sub["collection_method"] == "send_invoice"
    if otherwise in (None, "create_invoice") or sent or payment_method(world, sub):
        return True
    if otherwise == "cancel":
        end_subscription(world, sub)
    else:
        pause(world, sub, "trial_end_without_payment_method")
    return False


def renew(world: World, sub: Object, end: int, *, trial: bool = False) -> None:
    """Begin the periods that follow those that end now, and bill them an hour later."""
    before = shapes.frozen(sub["items"]) if world.announces else {}
    for item in sub["items"]["data"]:
        if item["current_period_end"] <= end:
            item["current_period_start"] = end
            item["current_period_end"] = _end_of_period(sub, item, end)
    items_changed(world, sub, before)
    if trial:
        update(world, sub, status="active")
    lines = period_lines(world, sub, since=end)
    if steered(world, sub):
        lines = partial(world, sub, lines)
    bill(world, sub, "subscription_cycle", lines)
    await_period_end(world, sub)


def _end_of_period(sub: Object, item: Object, start: int) -> int:
    """The next edge of the cycle, or the instant at which the subscription ends when that is earlier."""
    edge = next_edge(sub, item["price"], start)
    return edge if sub["cancel_at"] is None else min(edge, max(sub["cancel_at"], start + 1))


__all__ = ["collect", "end_subscription", "finalize", "period_end", "subscribe"]
