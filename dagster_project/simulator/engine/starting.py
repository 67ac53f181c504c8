"""Subscriptions that callers start.

Rules: https://docs.stripe.com/api/subscriptions/create, https://docs.stripe.com/billing/subscriptions/billing-cycle
(until a later anchor the first period is partial) and https://docs.stripe.com/billing/subscriptions/overview#payment-status
(incomplete until the first invoice is paid).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.changing import plan, set_end
from dagster_project.simulator.engine.collection import finalize, finalize_draft
from dagster_project.simulator.engine.cycle import FIRST_PAYMENT, REMINDED, first_payment_is_late, trial_will_end
from dagster_project.simulator.engine.extras import Extra, Redeemed, bill_once, redeem
from dagster_project.simulator.engine.invoices import draft, period_lines
from dagster_project.simulator.engine.proration import partial
from dagster_project.simulator.engine.subscriptions import add_item, next_edge, save, steer
from dagster_project.simulator.engine.world import Object, World


@dataclass
class Item:
    """What is subscribed to; without a quantity it is metered."""

    price: Object
    quantity: int | None = 1
    fields: Object = field(default_factory=dict)  # metadata, tax_rates
    discounts: list[Redeemed] = field(default_factory=list)


@dataclass
class Terms:
    """How a subscription starts. Instants are Unix seconds."""

    items: list[Item]
    currency: str
    fields: Object = field(default_factory=dict)
    discounts: list[Redeemed] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)
    trial_end: int | None = None
    anchor: int | None = None
    end: Object = field(default_factory=dict)  # cancel_at, cancel_at_period_end
    prorated: bool = True
    collected: bool = True  # whether the first invoice is charged at once


def start(world: World, customer: Object, terms: Terms) -> Object:
    """Start a subscription now, and bill its first invoice."""
    trial = terms.trial_end is not None and terms.trial_end > world.now
    sub = world.add(
        "subscription", "sub", customer=customer["id"], currency=terms.currency, start_date=world.now,
        billing_cycle_anchor=terms.anchor or (terms.trial_end if trial else world.now), metadata={},
        status="trialing" if trial else "active",
        billing_mode={"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": world.now},
        payment_settings={
            "payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off",
        },
        trial_settings={"end_behavior": {"billing_cycle_anchor": None, "missing_payment_method": "create_invoice"}},
    )  # fmt: skip
    sub.update(terms.fields)
    steer(world, sub)
    if trial:
        sub |= {"trial_start": world.now, "trial_end": terms.trial_end}
    for each in terms.items:
        end = terms.trial_end if trial else next_edge(sub, each.price, world.now)
        item = add_item(world, sub, each.price, each.quantity, world.now, end or 0)
        item.update(each.fields)
        item["discounts"] = redeem(world, customer, each.discounts, item=item)
    sub["discounts"] = redeem(world, customer, terms.discounts, subscription=sub)  # may ask what the items are worth
    if terms.end:
        set_end(world, sub, terms.end, prorated=False)
    for extra in terms.extras:
        bill_once(world, sub, customer, extra)
    lines = _first_lines(world, sub, terms, trial)
    sent = sub["collection_method"] == "send_invoice"
    if not trial and not sent and (terms.extras or any(line["amount"] for line in lines)):
        sub["status"] = "incomplete"
    if customer["currency"] is None:
        world.change(customer, "customer.updated", currency=sub["currency"])
    save(world, sub)
    world.emit("customer.subscription.created", sub)
    plan(world, sub)
    if trial and sub["trial_end"] - REMINDED <= world.now:
        trial_will_end(world, sub["id"])
    invoice = draft(world, sub, "subscription_create", lines)
    if sent and not trial:
        world.change(invoice, "invoice.updated", automatically_finalizes_at=world.now + b.HOUR)
        world.later(world.now + b.HOUR, finalize_draft, invoice["id"])
    else:
        finalize(world, invoice, advance=terms.collected)
    if sub["status"] == "incomplete":
        world.later(world.now + FIRST_PAYMENT, first_payment_is_late, sub["id"])
    return sub


def _first_lines(world: World, sub: Object, terms: Terms, trial: bool) -> list[Object]:
    lines = period_lines(world, sub, trial=trial)
    whole = [line["amount"] for line in lines]
    lines = partial(world, sub, lines)
    if not terms.prorated:  # the time until the anchor is free
        for line, amount in zip(lines, whole, strict=True):
            if line["amount"] != amount:
                line["amount"] = line["subtotal"] = 0
    return lines
