"""Invoices that are finalized, collected, retried or given up.

Rules: https://docs.stripe.com/billing/revenue-recovery/smart-retries (here on fixed days), customer credit is used
first (https://docs.stripe.com/billing/customer/balance), https://docs.stripe.com/invoicing/overview#invoice-statuses.
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.credit import credit, payment_id
from dagster_project.simulator.engine.invoice_payments import (
    cancel_open,
    default_payment,
    method_of,
    owes,
    payment_row,
    received,
    settle,
    subscription_of,
)
from dagster_project.simulator.engine.payments import charge
from dagster_project.simulator.engine.subscriptions import ENDED, by_chance, end_subscription, update
from dagster_project.simulator.engine.world import Object, World, action


@action
def finalize_draft(world: World, id: str) -> None:
    """The hour of a draft is over, unless it was told to wait longer or for ever."""
    invoice = world.store.get(id, "invoice")
    if invoice is None or invoice.get("deleted") or invoice["status"] != "draft" or not invoice["auto_advance"]:
        return
    if (invoice["automatically_finalizes_at"] or 0) <= world.now:
        finalize(world, invoice)


def finalize(world: World, invoice: Object, *, advance: bool = True, **changes: Any) -> None:
    """Open the invoice, use the customer's credit, and (with `advance`) try to collect the rest.

    What the customer owes from before is collected with it; a negative total becomes their credit; nothing to collect
    means paid. The draft of a deleted customer stays one.
    """
    customer = world.the(invoice["customer"], "customer")
    if customer.get("deleted"):
        return
    number = world.number("invoice number")
    transitions = invoice["status_transitions"] | {"finalized_at": world.now}
    starting = customer["balance"]
    due, ending = max(starting + invoice["total"], 0), min(starting + invoice["total"], 0)
    if starting != ending:
        credit(world, customer, ending - starting, "applied_to_invoice", invoice["id"], invoice["currency"])
    world.change(
        invoice, "invoice.finalized", status="open", status_transitions=transitions, number=f"LL-{number:06d}",
        effective_at=world.now, starting_balance=starting, ending_balance=ending, amount_due=due,
        amount_remaining=due, automatically_finalizes_at=None,
        hosted_invoice_url=f"https://invoice.example.com/i/{invoice['id']}",
        invoice_pdf=f"https://invoice.example.com/i/{invoice['id']}/pdf", **changes,
    )  # fmt: skip
    if due == 0:
        settle(world, invoice)
    elif not advance:
        default_payment(world, invoice)
    elif invoice["collection_method"] == "send_invoice":
        _sent(world, invoice, customer)
    else:
        collect(world, invoice)


def _sent(world: World, invoice: Object, customer: Object) -> None:
    """The bill is on its way. A made-up customer pays it one day, or it is taken back."""
    world.emit("invoice.sent", invoice)
    if by_chance(customer):
        dice = world.chance("bill", invoice["id"])
        settles = void if dice.random() < world.business.bill_voided else retry
        world.later(world.now + dice.randint(3, 50) * b.DAY, settles, invoice["id"])
    else:
        default_payment(world, invoice)
        if invoice["due_date"]:
            world.later(invoice["due_date"], is_overdue, invoice["id"])


@action
def is_overdue(world: World, id: str) -> None:
    invoice = world.the(id, "invoice")
    if invoice["status"] == "open":
        world.emit("invoice.overdue", invoice)
        owes(world, invoice, True)
        sub = subscription_of(world, invoice)
        if sub and sub["status"] == "active":
            update(world, sub, status="past_due")


def collect(world: World, invoice: Object, method: str | None = None) -> bool:
    """Try to take what remains now, from `method` or the default; True when the invoice is paid.

    On failure the next attempt is planned, or after the last one the invoice is given up.
    """
    sub, attempt = subscription_of(world, invoice), invoice["attempt_count"] + 1
    customer = world.the(invoice["customer"], "customer")
    payment = default_payment(world, invoice, method)
    if payment["status"] == "processing":
        return False
    if payment["payment_method"] is None:
        return _not_paid(world, invoice, sub, attempt, "invoice.payment_failed")
    charge(world, payment, customer, works=_works(world, invoice, customer, sub, attempt))
    if payment["status"] == "succeeded":
        row = payment_row(world, payment["id"])
        return received(world, invoice, row, payment["amount_received"], attempt_count=attempt)
    if payment["status"] == "processing":
        if sub and sub["status"] == "incomplete":  # a bank debit under way counts as paid for the subscription
            update(world, sub, status="active")
        world.change(invoice, "invoice.updated", attempt_count=attempt, attempted=True, next_payment_attempt=None)
        return False
    action = payment["status"] == "requires_action"
    return _not_paid(
        world, invoice, sub, attempt, "invoice.payment_action_required" if action else "invoice.payment_failed"
    )


def _works(world: World, invoice: Object, customer: Object, sub: Object | None, attempt: int) -> bool | None:
    if not by_chance(customer):
        return None
    luck = world.chance("collect", invoice["id"], attempt).random()
    if sub and sub["status"] == "incomplete":
        return attempt > 1 and luck < world.business.first_payment_recovers
    if invoice["billing_reason"] == "subscription_create" or invoice["collection_method"] == "send_invoice":
        return True
    return luck < (world.business.retry_works if attempt > 1 else 1 - world.business.card_fails)


def _not_paid(world: World, invoice: Object, sub: Object | None, attempt: int, event: str) -> bool:
    """Plan the next attempt of an invoice that was not paid; always False."""
    if sub and sub["status"] == "incomplete":
        _attempted(world, invoice, event, attempt, None)
        if not by_chance(world.the(invoice["customer"], "customer")):
            return False  # it expires with its subscription, unless somebody pays it
        following, settles = (world.now + 5 * b.HOUR, retry) if attempt == 1 else (world.now + 18 * b.HOUR, void)
        world.later(following, settles, invoice["id"])
        return False
    retries = world.business.retry_days
    collected = invoice["auto_advance"] and invoice["collection_method"] == "charge_automatically"
    planned = world.now + retries[attempt - 1] * b.DAY if collected and attempt <= len(retries) else None
    _attempted(world, invoice, event, attempt, planned)
    if planned is not None:
        if sub and sub["status"] == "active":
            update(world, sub, status="past_due")
        world.later(planned, retry, invoice["id"])
    elif collected:
        _give_up(world, invoice, sub)
    return False


def _attempted(world: World, invoice: Object, event: str, attempt: int, again: int | None) -> None:
    """Tell of an attempt that failed, also when it was under way before and the invoice stays as it is."""
    changes: Object = {"next_payment_attempt": again, "attempt_count": attempt, "attempted": True}
    if all(invoice[name] == value for name, value in changes.items()):
        world.emit(event, invoice)
    else:
        world.change(invoice, event, **changes)
    owes(world, invoice, True)


@action
def retry(world: World, id: str) -> None:
    """The next planned attempt; one that was planned before another attempt replaced it is dropped."""
    invoice = world.the(id, "invoice")
    planned = invoice["next_payment_attempt"]
    if invoice["status"] == "open" and invoice["auto_advance"] and (planned is None or planned <= world.now):
        collect(world, invoice)


@action
def payment_intent_settled(world: World, id: str) -> None:
    """A payment that was under way has come, or will not come: a bank debit, a card that had to be authenticated."""
    row = world.store.get(payment_id(id), "invoice_payment")
    if row is None or row["status"] != "open":
        return
    payment, invoice = world.the(id, "payment_intent"), world.the(row["invoice"], "invoice")
    if payment["status"] == "succeeded":
        received(world, invoice, row, payment["amount_received"])
    elif payment["status"] == "canceled":
        row |= {"status": "canceled", "status_transitions": {"canceled_at": world.now, "paid_at": None}}
        world.store.save(row)
        if world.meta.get("intents", {}).get(invoice["id"]) == id:
            del world.meta["intents"][invoice["id"]]
    elif payment["status"] == "requires_payment_method" and invoice["status"] == "open" and row["is_default"]:
        attempt = max(invoice["attempt_count"], 1)
        _not_paid(world, invoice, subscription_of(world, invoice), attempt, "invoice.payment_failed")


def _give_up(world: World, invoice: Object, sub: Object | None) -> None:
    """No attempt is left: what happens to the invoice and its subscription, the business decides."""
    outcome = world.business.after_last_retry
    if outcome == "cancel":
        mark_uncollectible(world, invoice, "max_payment_attempts")
        if sub and sub["status"] not in ENDED:
            sub["cancellation_details"] = {
                "comment": None, "feedback": None, "feedback_option": None, "reason": "payment_failed",
            }  # fmt: skip
            end_subscription(world, sub)
    elif outcome == "unpaid" and sub and sub["status"] not in ENDED:
        update(world, sub, status="unpaid")


def mark_uncollectible(world: World, invoice: Object, reason: str) -> None:
    """The money is not expected any more; the invoice can still be paid or voided."""
    transitions = invoice["status_transitions"] | {"marked_uncollectible_at": world.now}
    world.change(
        invoice, "invoice.marked_uncollectible", status="uncollectible", status_transitions=transitions,
        status_details={"uncollectible": {"reason": reason}}, next_payment_attempt=None, auto_advance=False,
    )  # fmt: skip


@action
def void(world: World, id: str) -> None:
    """The bill is taken back; a subscription whose first payment never came expires with it."""
    invoice = world.the(id, "invoice")
    if invoice["status"] not in ("open", "uncollectible"):
        return
    cancel_open(world, invoice, "void_invoice")
    used = invoice["ending_balance"] - invoice["starting_balance"]
    if used:
        customer = world.the(invoice["customer"], "customer")
        if not customer.get("deleted"):
            credit(world, customer, -used, "unapplied_from_invoice", invoice["id"], invoice["currency"])
    transitions = invoice["status_transitions"] | {"voided_at": world.now}
    world.change(
        invoice, "invoice.voided", status="void", status_transitions=transitions, next_payment_attempt=None,
        auto_advance=False,
    )  # fmt: skip
    sub = subscription_of(world, invoice)
    if sub and sub["status"] == "incomplete":
        update(world, sub, status="incomplete_expired", ended_at=world.now)


__all__ = ["collect", "finalize", "finalize_draft", "mark_uncollectible", "method_of", "retry", "void"]
