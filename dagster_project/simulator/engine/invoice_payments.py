"""The payments of an invoice: which intents and records pay it, how much each, and when it is paid in full.

Rules: https://docs.stripe.com/invoicing/partial-payments (one invoice has many payments, what is paid too much becomes
the customer's credit) and https://docs.stripe.com/api/invoice-payment/object.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dagster_project.simulator.engine.credit import credit, payment_id
from dagster_project.simulator.engine.payments import intent
from dagster_project.simulator.engine.pricing import keep_on_request, on_request
from dagster_project.simulator.engine.subscriptions import update
from dagster_project.simulator.engine.world import Object, World, action

_TEXTS = {"subscription_cycle": "Subscription update", "manual": "Invoice"}


def subscription_of(world: World, invoice: Object) -> Object | None:
    details = (invoice["parent"] or {}).get("subscription_details")
    return world.the(details["subscription"], "subscription") if details else None


def method_of(world: World, invoice: Object) -> str | None:
    """The payment method that is charged: the invoice's own, the subscription's, the customer's."""
    sub, customer = subscription_of(world, invoice), world.the(invoice["customer"], "customer")
    found: str | None = (
        invoice["default_payment_method"]
        or (sub and sub["default_payment_method"])
        or customer["invoice_settings"]["default_payment_method"]
    )
    return found


def default_payment(world: World, invoice: Object, method: str | None = None) -> Object:
    """The payment intent of an open invoice, for what remains: made at first need, and used for all attempts."""
    known = world.meta.setdefault("intents", {})
    left = invoice["amount_remaining"]
    method = method or method_of(world, invoice)
    if invoice["id"] in known:
        ask_for_the_rest(world, invoice)
        payment = world.the(known[invoice["id"]], "payment_intent")
        if method is not None:
            kind = world.the(method, "payment_method")["type"]
            world.change(payment, None, payment_method=method, payment_method_types=[kind])
        return payment
    customer = world.the(invoice["customer"], "customer")
    text = _TEXTS.get(invoice["billing_reason"], "Subscription creation")
    payment = intent(world, customer, left, invoice["currency"], method, text)
    known[invoice["id"]] = payment["id"]
    add_payment(world, invoice, payment, left, default=True)
    return payment


def add_payment(world: World, invoice: Object, payment: Object, amount: int, *, default: bool) -> Object:
    """Let a payment intent pay towards an invoice."""
    return world.add(
        "invoice_payment", "inpay", invoice=invoice["id"], currency=invoice["currency"], amount_requested=amount,
        amount_paid=None, is_default=default, status="open", id=payment_id(payment["id"]),
        payment={"payment_intent": payment["id"], "type": "payment_intent"},
    )  # fmt: skip


def received(world: World, invoice: Object, row: Object, amount: int, **changes: Any) -> bool:
    """Money of one payment has come. Whether the invoice is paid in full now; `changes` are told with it."""
    times = {"canceled_at": None, "paid_at": world.now}
    row |= {"status": "paid", "amount_paid": amount, "status_transitions": times}
    world.store.save(row)
    world.emit("invoice_payment.paid", row)
    if world.meta.get("intents", {}).get(invoice["id"]) == row["payment"].get("payment_intent"):
        world.meta.get("intents", {}).pop(invoice["id"], None)
    left = invoice["amount_remaining"] - amount
    paid = invoice["amount_paid"] + amount
    if left > 0:
        world.change(invoice, "invoice.updated", amount_paid=paid, amount_remaining=left, attempted=True, **changes)
        ask_for_the_rest(world, invoice)
        return False
    cancel_open(world, invoice, "abandoned")
    if left < 0:
        changes["amount_overpaid"] = invoice["amount_overpaid"] - left
        credit(world, world.the(invoice["customer"], "customer"), left, "invoice_overpaid", invoice["id"])
    settle(world, invoice, amount_paid=paid, **changes)
    _keep_method(world, subscription_of(world, invoice), row)
    return True


def _keep_method(world: World, sub: Object | None, row: Object) -> None:
    """What paid becomes the default of a subscription that was told to keep it."""
    if sub is None or (sub["payment_settings"] or {}).get("save_default_payment_method") != "on_subscription":
        return
    payment = world.store.get(row["payment"].get("payment_intent") or "", "payment_intent")
    if payment and payment["payment_method"] and sub["default_payment_method"] is None:
        update(world, sub, default_payment_method=payment["payment_method"])


def settle(world: World, invoice: Object, *, out_of_band: bool = False, **changes: Any) -> None:
    """Nothing is left to pay; a subscription that waited for the money runs again."""
    transitions = invoice["status_transitions"] | {"paid_at": world.now}
    world.change(
        invoice, "invoice.paid", status="paid", status_transitions=transitions, amount_remaining=0,
        next_payment_attempt=None, attempted=True, auto_advance=False, **changes,
    )  # fmt: skip
    if not out_of_band:
        world.emit("invoice.payment_succeeded", invoice)
    owes(world, invoice, False)
    sub = subscription_of(world, invoice)
    if sub and sub["status"] in ("past_due", "incomplete", "unpaid"):
        update(world, sub, status="active")


def owes(world: World, invoice: Object, late: bool) -> None:
    """Whether the customer is delinquent follows the last thing that happened to one of their invoices.

    Source: https://docs.stripe.com/api/customers/object#customer_object-delinquent
    """
    customer = world.the(invoice["customer"], "customer")
    if not customer.get("deleted"):
        world.change(customer, "customer.updated", delinquent=late)


def paid_elsewhere(world: World, invoice: Object) -> None:
    """The rest was paid outside of Stripe: no charge, a payment record instead."""
    amount, currency = invoice["amount_remaining"], invoice["currency"]
    nothing, all_of_it = {"currency": currency, "value": 0}, {"currency": currency, "value": amount}
    customer = world.the(invoice["customer"], "customer")
    record: Object = {
        "id": world.id("pr"), "object": "payment_record", "amount": all_of_it, "amount_authorized": nothing,
        "amount_canceled": nothing, "amount_failed": nothing, "amount_guaranteed": all_of_it,
        "amount_refunded": nothing, "amount_requested": all_of_it, "application": None, "created": world.now,
        "customer_details": {
            "customer": customer["id"], "email": customer["email"], "name": customer["name"],
            "phone": customer["phone"],
        },
        "customer_presence": None, "description": None, "latest_payment_attempt_record": None,
        "livemode": invoice["livemode"], "metadata": {}, "payment_method_details": None,
        "processor_details": {"type": "custom", "custom": {"payment_reference": invoice["number"]}},
        "reported_by": "self", "shipping_details": None,
    }  # fmt: skip
    world.store.insert(record)
    row = world.add(
        "invoice_payment", "inpay", invoice=invoice["id"], currency=currency, amount_requested=amount,
        amount_paid=amount, is_default=False, status="paid",
        payment={"payment_record": record["id"], "type": "payment_record"},
        status_transitions={"canceled_at": None, "paid_at": world.now},
    )  # fmt: skip
    world.emit("invoice_payment.paid", row)
    kept = on_request(world, "invoice", invoice["id"]).get("amount_paid_off_stripe", 0)
    keep_on_request(world, "invoice", invoice["id"], amount_paid_off_stripe=kept + amount)
    cancel_open(world, invoice, "abandoned")
    settle(world, invoice, out_of_band=True, amount_paid=invoice["amount_paid"] + amount)


def ask_for_the_rest(world: World, invoice: Object) -> None:
    """The intent of an invoice is for what remains, unless it is under way."""
    id = world.meta.get("intents", {}).get(invoice["id"])
    if id is None:
        return
    payment = world.the(id, "payment_intent")
    if payment["status"] != "processing" and payment["amount"] != invoice["amount_remaining"]:
        world.change(payment_row(world, id), None, amount_requested=invoice["amount_remaining"])
        world.change(payment, None, amount=invoice["amount_remaining"])


@action
def less_is_asked_for(world: World, id: str) -> None:
    """A credit note has changed what is to be paid; nothing left means paid."""
    invoice = world.the(id, "invoice")
    if invoice["amount_remaining"]:
        ask_for_the_rest(world, invoice)
    else:
        cancel_open(world, invoice, "abandoned")
        settle(world, invoice, out_of_band=True)


def cancel_open(world: World, invoice: Object, reason: str) -> None:
    """Payments that were not made will not be made."""
    default = world.meta.get("intents", {}).pop(invoice["id"], None)
    for row in [payment_row(world, default)] if default else []:
        if row["status"] == "open":
            row |= {"status": "canceled", "status_transitions": {"canceled_at": world.now, "paid_at": None}}
            world.store.save(row)
            payment = world.the(default, "payment_intent")
            if payment["status"] not in ("succeeded", "canceled", "processing"):
                world.change(
                    payment, "payment_intent.canceled", status="canceled", canceled_at=world.now,
                    cancellation_reason=reason,
                )  # fmt: skip


def payment_row(world: World, payment_intent: str) -> Object:
    return world.the(payment_id(payment_intent), "invoice_payment")


def payments_of(world: World, invoice: Object) -> list[Object]:
    """All payments of an invoice, newest first."""
    found, _ = world.store.page("invoice_payment", where={"invoice": invoice["id"]}, limit=1000)
    return [world.the(msgspec.json.decode(body)["id"], "invoice_payment") for body in found]
