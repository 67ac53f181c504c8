"""Invoices, as callers move them along."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import billing
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError

Params = dict[str, Any]


def pay(world: World, params: Params, invoice: Object) -> Object:
    """Try to collect now. Raises ApiError 402 when the card is declined."""
    if world.the(invoice["customer"]).get("deleted"):
        raise ApiError(400, "This invoice can no longer be paid: its customer was deleted.")
    if invoice["status"] == "draft":
        billing.finalize(world, invoice)
    elif invoice["status"] == "open":
        billing.collect(world, invoice)
    elif invoice["status"] == "paid":
        raise ApiError(400, "Invoice is already paid", code="invoice_already_paid")
    else:
        raise ApiError(400, f"This invoice can no longer be paid: it is {invoice['status']}.")
    if invoice["status"] != "paid":
        raise ApiError(
            402, "Your card has insufficient funds.", type="card_error", code="card_declined",
            decline_code="insufficient_funds",
        )  # fmt: skip
    return invoice
