"""What a subscription's cycle is made of: waiting for the end of a period, its invoice, pauses, late first payments.

Rules: https://docs.stripe.com/billing/subscriptions/overview (a first invoice is paid within 23 hours or the
subscription expires), https://docs.stripe.com/billing/subscriptions/pause-payment.
"""

from __future__ import annotations

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.collection import finalize, finalize_draft, mark_uncollectible, void
from dagster_project.simulator.engine.invoices import draft
from dagster_project.simulator.engine.subscriptions import RENEWS, end_subscription, period_end, save, update
from dagster_project.simulator.engine.world import ACTIONS, Object, World, action

REMINDED = 3 * b.DAY  # before a trial ends
FIRST_PAYMENT = 23 * b.HOUR  # the time that the first invoice has


def await_period_end(world: World, sub: Object) -> None:
    """Let the period end when it ends; what was planned for another end is dropped when it comes."""
    world.later(period_end(sub), ACTIONS["period_ends"], sub["id"], period_end(sub))


@action
def trial_will_end(world: World, id: str) -> None:
    sub = world.the(id)
    if sub["status"] == "trialing" and sub["trial_end"] - REMINDED <= world.now:
        world.emit("customer.subscription.trial_will_end", sub)


def pause(world: World, sub: Object, why: str) -> None:
    """No periods and no invoices until the subscription is resumed."""
    reason = {"subscription": {"type": why}, "transitioned_at": world.now, "type": "subscription"}
    world.change(sub, "customer.subscription.paused", status="paused", status_details={"paused": reason})
    save(world, sub)


def bill(
    world: World, sub: Object, reason: str, lines: list[Object], *, at_once: bool = False, collected: bool = True
) -> Object:  # fmt: skip
    """The invoice of a subscription: finalized and collected after an hour or at once, unless that is paused."""
    invoice = draft(world, sub, reason, lines)
    paused = sub["pause_collection"]
    if sub["status"] == "unpaid" or (paused and paused["behavior"] == "keep_as_draft"):
        world.change(invoice, "invoice.updated", auto_advance=False, automatically_finalizes_at=None)
    elif paused:
        world.later(world.now + (0 if at_once else b.HOUR), finalize_without_collection, invoice["id"])
    elif at_once and sub["collection_method"] == "charge_automatically":
        finalize(world, invoice, advance=collected)
    else:
        world.later(world.now + b.HOUR, finalize_draft, invoice["id"])
    return invoice


@action
def finalize_without_collection(world: World, id: str) -> None:
    """While collection is paused an invoice is voided or given up as soon as it is finalized."""
    invoice = world.store.get(id, "invoice")
    if invoice is None or invoice.get("deleted") or invoice["status"] != "draft":
        return
    sub = world.the(invoice["parent"]["subscription_details"]["subscription"], "subscription")
    if not sub["pause_collection"]:
        finalize(world, invoice)
        return
    finalize(world, invoice, advance=False)
    if invoice["status"] == "open" and sub["pause_collection"]["behavior"] == "void":
        void(world, id)
    elif invoice["status"] == "open":
        mark_uncollectible(world, invoice, "subscription_paused")


@action
def collection_resumes(world: World, id: str, at: int) -> None:
    sub = world.the(id, "subscription")
    if sub["pause_collection"] and sub["pause_collection"]["resumes_at"] == at:
        update(world, sub, pause_collection=None)


@action
def first_payment_is_late(world: World, id: str) -> None:
    """A subscription whose first invoice is not paid within 23 hours expires with it."""
    sub = world.the(id, "subscription")
    if sub["status"] == "incomplete" and sub["latest_invoice"]:
        void(world, sub["latest_invoice"])


@action
def reaches_its_end(world: World, id: str, at: int) -> None:
    """The instant `cancel_at` has come."""
    sub = world.the(id, "subscription")
    if sub["cancel_at"] == at and sub["status"] in (*RENEWS, "paused"):
        end_subscription(world, sub)
