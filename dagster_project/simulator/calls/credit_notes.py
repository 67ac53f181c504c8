"""Credit notes, as callers issue, preview and void them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from dagster_project.simulator.engine import credit_notes, refunds
from dagster_project.simulator.engine.invoice_payments import payments_of
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http import lists
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
_PAGING = ("limit", "starting_after", "ending_before")


def create(world: World, params: Params) -> Object:
    """A credit note by `amount` or `lines`; a `refund_amount` is given back now."""
    invoice = params["invoice"]
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise ApiError(
            400, f"Credit notes can only be created for finalized invoices; this one is {invoice['status']}.",
            param="invoice",
        )  # fmt: skip
    lines = _lines(world, params, invoice)
    total = credit_notes.total_of(lines)
    if params.get("amount") is not None and params.get("lines") and params["amount"] != total:
        raise invalid_parameter("amount", f"The amount must equal the total of the lines ({total}).")
    given = [
        {"refund": row["refund"]["id"], "amount_refunded": row.get("amount_refunded", row["refund"]["amount"])}
        for row in params.get("refunds") or []
    ]
    amounts = {name: params[name] for name in ("credit_amount", "out_of_band_amount") if name in params}
    asked = sum(row["amount_refunded"] for row in given) + sum(amounts.values()) + params.get("refund_amount", 0)
    after = total - credit_notes.before_payment(invoice, total)
    try:
        if asked == after and total <= credit_notes.creditable(invoice):  # otherwise it is refused below
            given += _give_back(world, invoice, params.get("refund_amount", 0))
        fields = {name: params[name] for name in ("memo", "reason", "effective_at") if params.get(name) is not None}
        metadata = merged({}, params.get("metadata", {}))
        return credit_notes.issue(world, invoice, lines, refunds=given, metadata=metadata, **amounts, **fields)
    except ValueError as error:
        raise ApiError(400, str(error)) from None


def preview(world: World, params: Params) -> Object:
    """The credit note that would be issued; nothing happens."""
    with world.tentatively():
        return create(world, params)


def preview_lines(world: World, params: Params) -> Object:
    """A page of the lines that the credit note would have; their ids are the same each time until something happens."""
    at = lists.window({name: str(params.pop(name)) for name in _PAGING if name in params})
    with world.tentatively():
        note = create(world, params)
        bodies, _ = world.store.page("credit_note_line_item", parent=note["id"], limit=1_000)
    try:
        rows, more = lists.cut(bodies[::-1], at)
    except KeyError as error:
        raise missing("credit_note_line_item", str(error.args[0]), param="starting_after") from None
    data = [msgspec.json.decode(row) for row in rows]
    return {"object": "list", "data": data, "has_more": more, "url": "/v1/credit_notes/preview/lines"}


def update(world: World, params: Params, note: Object) -> Object:
    changes = {**params}
    if "metadata" in changes:
        changes["metadata"] = merged(note["metadata"], changes["metadata"])
    return world.change(note, "credit_note.updated", **changes)


def void(world: World, params: Params, note: Object) -> Object:
    try:
        return credit_notes.void(world, note)
    except ValueError as error:
        raise ApiError(400, str(error)) from None


def _lines(world: World, params: Params, invoice: Object) -> list[Object]:
    given: list[Params] | None = params.get("lines")
    amount: int | None = params.get("amount")
    if not given:
        if amount is None:
            raise required_parameter("amount")
        return [credit_notes.custom_line(world, None, Decimal(amount), 1, [])]
    return [_line(world, row, invoice, f"lines[{place}]") for place, row in enumerate(given)]


def _line(world: World, row: Params, invoice: Object, name: str) -> Object:
    quantity, metadata = row.get("quantity"), merged({}, row.get("metadata", {}))
    if row["type"] == "custom_line_item":
        if row.get("unit_amount") is None and row.get("unit_amount_decimal") is None:
            raise required_parameter(f"{name}[unit_amount]")
        if not row.get("description"):
            raise required_parameter(f"{name}[description]")
        unit = Decimal(row.get("unit_amount_decimal") or row["unit_amount"])
        return credit_notes.custom_line(
            world, row["description"], unit, quantity or 1, row.get("tax_rates", []), metadata
        )
    line = row.get("invoice_line_item")
    if line is None:
        raise required_parameter(f"{name}[invoice_line_item]")
    if line["invoice"] != invoice["id"] or line["amount"] <= 0:
        raise missing("line_item", line["id"], param=f"{name}[invoice_line_item]")
    if (row.get("amount") is None) == (quantity is None):
        raise invalid_parameter(name, "You must pass exactly one of amount and quantity.")
    amount = row.get("amount") or line["amount"] * quantity // max(line["quantity"] or 1, 1)
    if amount > line["amount"]:
        raise invalid_parameter(name, f"At most {line['amount']} can be credited of this line.")
    return credit_notes.billed_line(world, line, amount, quantity, metadata)


def _give_back(world: World, invoice: Object, amount: int) -> list[Object]:
    """Refund the payments of an invoice until `amount` is given back. Raises ValueError when they do not suffice."""
    given = []
    for row in payments_of(world, invoice):
        intent = row["payment"].get("payment_intent")
        charge_id = intent and world.the(intent, "payment_intent")["latest_charge"]
        if row["status"] != "paid" or not charge_id or amount == 0:
            continue
        charge = world.the(charge_id, "charge")
        part = min(amount, charge["amount"] - charge["amount_refunded"])
        if part > 0:
            back = refunds.refund(world, charge, part)
            given.append({"refund": back["id"], "amount_refunded": part})
            amount -= part
    if amount:
        raise ValueError("The refund amount is greater than what was charged for the invoice.")
    return given
