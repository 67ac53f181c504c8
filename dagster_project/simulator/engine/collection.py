"""Invoices that are finalized, paid, retried or given up.

Rules: https://docs.stripe.com/billing/revenue-recovery/smart-retries (here on fixed days); customer credit is
used first (https://docs.stripe.com/billing/customer/balance).
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.credit import credit, payment_id
from dagster_project.simulator.engine.payments import charge, intent
from dagster_project.simulator.engine.subscriptions import ENDED, end_subscription, update
from dagster_project.simulator.engine.world import Object, World, action


@action
def finalize_draft(world: World, id: str) -> None:
    invoice = world.the(id)
    if invoice["status"] == "draft":
        finalize(world, invoice)


def finalize(world: World, invoice: Object) -> None:
    """Open the invoice, use the customer's credit, and try to collect the rest.

    A negative total becomes credit on the customer's balance; nothing to collect means paid.
    """
    customer = world.the(invoice["customer"])
    number = world.number("invoice number")
    transitions = invoice["status_transitions"] | {"finalized_at": world.now}
    starting, total = customer["balance"], invoice["total"]
    ending = min(starting + total, 0) if starting <= 0 else 0
    due = max(total + starting - ending, 0) if total > 0 else 0
    if starting != ending:
        credit(world, customer, ending - starting, "applied_to_invoice", invoice["id"])
    world.change(
        invoice, "invoice.finalized", status="open", status_transitions=transitions, number=f"LL-{number:06d}",
        effective_at=world.now, starting_balance=starting, ending_balance=ending, amount_due=due,
        amount_remaining=due, automatically_finalizes_at=None,
        hosted_invoice_url=f"https://invoice.example.com/i/{invoice['id']}",
        invoice_pdf=f"https://invoice.example.com/i/{invoice['id']}/pdf",
    )  # fmt: skip
    if due == 0:
        _paid(world, invoice, 0)
    elif invoice["collection_method"] == "send_invoice":
        world.emit("invoice.sent", invoice)
        dice = world.chance("bill", invoice["id"])
        settles = void if dice.random() < world.business.bill_voided else retry
        world.later(world.now + dice.randint(3, 50) * b.DAY, settles, invoice["id"])
    else:
        collect(world, invoice)


def collect(world: World, invoice: Object) -> bool:
    """Try to take the money now; on failure plan the next attempt, or give up after the last. True when paid."""
    details = (invoice["parent"] or {}).get("subscription_details")
    sub = world.the(details["subscription"]) if details else None
    customer = world.the(invoice["customer"])
    payment = _payment(world, invoice, customer, sub)
    attempt = invoice["attempt_count"] + 1
    works = _works(world, invoice, sub, attempt)
    charge(world, payment, customer, works=works)
    if works:
        done = world.the(payment_id(payment["id"]))
        done |= {"status": "paid", "amount_paid": invoice["amount_due"],
                 "status_transitions": {"canceled_at": None, "paid_at": world.now}}  # fmt: skip
        world.store.save(done)
        world.emit("invoice_payment.paid", done)
        _paid(world, invoice, invoice["amount_due"], attempt_count=attempt)
        world.store.meta["intents"].pop(invoice["id"])
        if sub and sub["status"] in ("past_due", "incomplete"):
            update(world, sub, status="active")
        return True
    if sub and sub["status"] == "incomplete":
        following, settles = (world.now + 5 * b.HOUR, retry) if attempt == 1 else (world.now + 18 * b.HOUR, void)
        world.change(invoice, "invoice.payment_failed", attempt_count=attempt, attempted=True)
        world.later(following, settles, invoice["id"])
        return False
    again = (
        None if attempt > len(world.business.retry_days) else world.now + world.business.retry_days[attempt - 1] * b.DAY
    )
    world.change(invoice, "invoice.payment_failed", next_payment_attempt=again, attempt_count=attempt, attempted=True)
    if again is None:
        _give_up(world, invoice, sub)
        return False
    if sub and sub["status"] == "active":
        update(world, sub, status="past_due")
    world.later(again, retry, invoice["id"])
    return False


def _payment(world: World, invoice: Object, customer: Object, sub: Object | None) -> Object:
    """The payment intent of an invoice: made at the first attempt, and used for all of them."""
    known = world.store.meta.setdefault("intents", {})
    if invoice["id"] in known:
        return world.the(known[invoice["id"]])
    text = {"subscription_cycle": "Subscription update", "manual": "Invoice"}
    method = sub["default_payment_method"] if sub else customer["invoice_settings"]["default_payment_method"]
    payment = intent(
        world, customer, invoice["amount_due"], invoice["currency"], method,
        text.get(invoice["billing_reason"], "Subscription creation"),
    )  # fmt: skip
    known[invoice["id"]] = payment["id"]
    world.add(
        "invoice_payment", "inpay", invoice=invoice["id"], currency=invoice["currency"],
        amount_requested=invoice["amount_due"], amount_paid=None, is_default=True, status="open",
        id=payment_id(payment["id"]), payment={"payment_intent": payment["id"], "type": "payment_intent"},
    )  # fmt: skip
    return payment


def _works(world: World, invoice: Object, sub: Object | None, attempt: int) -> bool:
    luck = world.chance("collect", invoice["id"], attempt).random()
    if sub and sub["status"] == "incomplete":
        return attempt > 1 and luck < world.business.first_payment_recovers
    if invoice["billing_reason"] == "subscription_create" or invoice["collection_method"] == "send_invoice":
        return True
    return luck < (world.business.retry_works if attempt > 1 else 1 - world.business.card_fails)


@action
def retry(world: World, id: str) -> None:
    invoice = world.the(id)
    if invoice["status"] == "open":
        collect(world, invoice)


def _paid(world: World, invoice: Object, amount: int, **changes: Any) -> None:
    transitions = invoice["status_transitions"] | {"paid_at": world.now}
    world.change(
        invoice, "invoice.paid", status="paid", status_transitions=transitions, amount_paid=amount,
        amount_remaining=0, next_payment_attempt=None, attempted=True, **changes,
    )  # fmt: skip
    world.emit("invoice.payment_succeeded", invoice)


def _give_up(world: World, invoice: Object, sub: Object | None) -> None:
    world.store.meta["intents"].pop(invoice["id"])
    transitions = invoice["status_transitions"] | {"marked_uncollectible_at": world.now}
    world.change(invoice, "invoice.marked_uncollectible", status="uncollectible", status_transitions=transitions)
    if sub and sub["status"] not in ENDED:
        sub["cancellation_details"] = {
            "comment": None, "feedback": None, "feedback_option": None, "reason": "payment_failed",
        }  # fmt: skip
        end_subscription(world, sub)


@action
def void(world: World, id: str) -> None:
    """The bill is taken back; a subscription whose first payment never came expires with it."""
    invoice = world.the(id)
    if invoice["status"] != "open":
        return
    if payment := world.store.meta.get("intents", {}).pop(id, None):
        row = world.the(payment_id(payment))
        row |= {"status": "canceled", "status_transitions": {"canceled_at": world.now, "paid_at": None}}
        world.store.save(row)
        world.change(
            world.the(payment), "payment_intent.canceled", status="canceled", canceled_at=world.now,
            cancellation_reason="void_invoice",
        )  # fmt: skip
    transitions = invoice["status_transitions"] | {"voided_at": world.now}
    world.change(invoice, "invoice.voided", status="void", status_transitions=transitions)
    if details := (invoice["parent"] or {}).get("subscription_details"):
        sub = world.the(details["subscription"])
        if sub["status"] == "incomplete":
            update(world, sub, status="incomplete_expired", ended_at=world.now)
