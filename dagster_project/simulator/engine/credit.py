"""Credit that customers have with the business, and credit notes that correct invoices."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.world import Object, World, action


def credit(
    world: World, customer: Object, amount: int, kind: str, invoice: str | None = None, currency: str | None = None,
    **fields: Any,
) -> Object:  # fmt: skip
    """Move a customer's credit by `amount` minor units (negative: they have more to spend)."""
    ending = customer["balance"] + amount
    made = world.add(
        "customer_balance_transaction", "cbtxn", within=customer["id"], amount=amount,
        customer=customer["id"], type=kind, currency=customer["currency"] or currency or "usd", ending_balance=ending,
        invoice=invoice, **{"metadata": {}, **fields},
    )  # fmt: skip
    world.change(customer, "customer.updated", balance=ending)
    return made


@action
def gives_credit(world: World, customer_id: str) -> None:
    """A gesture of goodwill: half a month's price as credit."""
    customer = world.the(customer_id)
    if not customer.get("deleted"):
        credit(world, customer, -1000 if customer["currency"] != "jpy" else -1500, "adjustment")


def credit_note_for_refund(world: World, refund: Object) -> None:
    """The correction of the invoice that belongs to a refund of its payment."""
    paid = world.store.get(payment_id(refund["payment_intent"]))
    if paid is None:
        return
    invoice = world.the(paid["invoice"])
    amount = refund["amount"]
    line = shapes.new(
        "credit_note_line_item", world.id("cnli"), amount=amount, description="Goodwill",
        type="custom_line_item", quantity=1, unit_amount=amount, unit_amount_decimal=str(amount),
    )  # fmt: skip
    note = world.add(
        "credit_note", "cn", amount=amount, subtotal=amount, total=amount, currency=invoice["currency"],
        metadata={}, customer=invoice["customer"], invoice=invoice["id"], number=f"{invoice['number']}-CN-01",
        reason="order_change", status="issued", type="post_payment", post_payment_amount=amount,
        pre_payment_amount=0, effective_at=world.now, subtotal_excluding_tax=amount,
        total_excluding_tax=amount, total_taxes=[], pdf=f"https://invoice.example.com/cn/{invoice['id']}",
        refunds=[
            {"amount_refunded": amount, "payment_record_refund": None, "refund": refund["id"], "type": "refund"}
        ],
    )  # fmt: skip
    world.store.insert(line, parent=note["id"])
    note["lines"] = shapes.embedded(f"/v1/credit_notes/{note['id']}/lines", [line])
    world.store.save(note)
    world.emit("credit_note.created", note)
    corrected = invoice["post_payment_credit_notes_amount"] + amount
    world.change(invoice, "invoice.updated", post_payment_credit_notes_amount=corrected)


def payment_id(payment_intent: str) -> str:
    """An invoice is paid by one intent here, so the invoice payment's id follows from the intent's."""
    return f"inpay_{payment_intent[3:]}"
