"""Credit that customers have with the business."""

from __future__ import annotations

from typing import Any

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


def payment_id(payment_intent: str) -> str:
    """An invoice is paid by one intent here, so the invoice payment's id follows from the intent's."""
    return f"inpay_{payment_intent[3:]}"
