"""The lines of a draft invoice, as callers add, change and remove them: each stands for an invoice item."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.calls import invoice_items as calls
from dagster_project.simulator.engine import invoice_items
from dagster_project.simulator.engine.lines import invoice_item_of
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def add_lines(world: World, params: Params, invoice: Object) -> Object:
    calls.editable(invoice)
    customer = world.the(invoice["customer"], "customer")
    for row in params["lines"]:
        item = row.pop("invoice_item", None)
        if item is None:
            calls.add(world, customer, row, invoice=invoice, sub=None)
        elif item["invoice"] or item["customer"] != customer["id"] or item["currency"] != invoice["currency"]:
            raise invalid_parameter("lines", f"The invoice item {item['id']} does not fit this invoice.")
        else:
            invoice_items.put_on_draft(world, item, invoice)
    return _with_metadata(world, params, invoice)


def remove_lines(world: World, params: Params, invoice: Object) -> Object:
    calls.editable(invoice)
    for place, row in enumerate(params["lines"]):
        item = _item_of(world, invoice, row["id"], f"lines[{place}][id]")
        if row["behavior"] == "delete":
            invoice_items.delete_item(world, item)
        else:
            invoice_items.take_off_draft(world, item)
    return _with_metadata(world, params, invoice)


def update_lines(world: World, params: Params, invoice: Object) -> Object:
    for row in params["lines"]:
        update_line(world, {name: value for name, value in row.items() if name != "id"}, invoice, row["id"])
    return _with_metadata(world, params, invoice)


def update_line(world: World, params: Params, invoice: Object, line: Object) -> Object:
    calls.editable(invoice)
    calls.change(world, params, _item_of(world, invoice, line, "line_item"))
    return line


def _item_of(world: World, invoice: Object, line: Object, param: str) -> Object:
    if line["invoice"] != invoice["id"]:
        raise missing("line_item", line["id"], param=param)
    id = invoice_item_of(line)
    if id is None:
        raise ApiError(400, "The lines of a subscription's items are changed with the subscription.", param=param)
    return world.the(id, "invoiceitem")


def _with_metadata(world: World, params: Params, invoice: Object) -> Object:
    if "invoice_metadata" in params:
        metadata = merged(invoice["metadata"], params["invoice_metadata"])
        world.change(invoice, "invoice.updated", metadata=metadata)
    return invoice
