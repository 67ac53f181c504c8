"""Invoices, as callers draft them, move them along and pay them."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import collection, invoice_payments, invoices
from dagster_project.simulator.engine.business import DAY, HOUR
from dagster_project.simulator.engine.discounts import given, spend
from dagster_project.simulator.engine.lines import invoice_item_of, lines_of
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
_ALWAYS = {"auto_advance", "automatically_finalizes_at", "default_payment_method", "metadata"}


def create(world: World, params: Params) -> Object:
    """A draft; a subscription's holds what waits for it, a customer's only if asked."""
    sub, customer = params.get("subscription"), params.get("customer")
    if sub is None and customer is None:
        raise required_parameter("customer")
    if sub and customer and sub["customer"] != customer["id"]:
        raise invalid_parameter("subscription", "The subscription belongs to another customer.")
    if customer is None:
        customer = world.the(params["subscription"]["customer"], "customer")
    if customer.get("deleted"):
        raise missing("customer", customer["id"], param="customer")
    currency = params.get("currency") or (sub or customer)["currency"] or "usd"
    waiting = []
    if sub:
        waiting = invoices.take_waiting(world, currency, sub, {"id": ""})
        if not waiting:
            raise ApiError(400, "Nothing to invoice for subscription", code="invoice_no_subscription_line_items")
    elif params.get("pending_invoice_items_behavior") == "include":
        waiting = invoices.take_waiting(world, currency, None, customer)
    fields = {"auto_advance": False, **_fields(world, {}, params)}
    if sub:
        details = {"metadata": {**sub["metadata"]}, "subscription": sub["id"]}
        fields["parent"] = {"quote_details": None, "subscription_details": details, "type": "subscription_details"}
        fields = {"default_tax_rates": [*(sub.get("default_tax_rates") or [])], **fields}
    if "discounts" not in params:
        own = customer.get("discount")
        fields["discounts"] = [*(sub or {}).get("discounts", [])] or ([own["id"]] if own else [])
    due = fields.pop("due_date", None)
    fields["automatically_finalizes_at"] = _finalizes(world, fields)
    invoice = invoices.one_off(world, customer, waiting, due=due, currency=currency, **fields)
    spend(world, lines_of(world, invoice))
    if params.get("discounts"):
        invoices.add_up(world, invoice, discounts=_discounts(world, params, invoice))
    _plan(world, invoice)
    return invoice


def update(world: World, params: Params, invoice: Object) -> Object:
    """A draft changes as a whole; afterwards only what does not change what was billed."""
    if invoice["status"] != "draft" and params.keys() - _ALWAYS:
        raise ApiError(
            400, "Finalized invoices can't be updated in this way", code="invoice_not_editable",
            param=sorted(params.keys() - _ALWAYS)[0],
        )  # fmt: skip
    changes = _fields(world, invoice, params)
    if invoice["status"] == "draft" and changes.keys() & {"auto_advance", "automatically_finalizes_at"}:
        changes["automatically_finalizes_at"] = _finalizes(world, {**invoice, **changes})
    if params.keys() & {"discounts", "default_tax_rates"}:
        if "discounts" in params:
            changes["discounts"] = _discounts(world, params, invoice)
        invoices.add_up(world, invoice, **changes)
    else:
        world.change(invoice, "invoice.updated", **changes)
    _plan(world, invoice)
    return invoice


def delete(world: World, params: Params, invoice: Object) -> Object:
    """A draft that belongs to no subscription, and its items with it."""
    if invoice["status"] != "draft" or invoice["parent"]:
        raise ApiError(400, "You can only delete one-off draft invoices; others are voided.")
    world.emit("invoice.deleted", invoice)
    for line in lines_of(world, invoice):
        id = invoice_item_of(line)
        assert id is not None, "a one-off invoice has no other lines"
        world.store.delete(line["id"], None, kind="line_item")
        world.emit("invoiceitem.deleted", world.the(id, "invoiceitem"))
        world.store.delete(id, {"id": id, "object": "invoiceitem", "deleted": True}, kind="invoiceitem")
    world.forget({invoice["id"]})
    tombstone = {"id": invoice["id"], "object": "invoice", "deleted": True}
    world.store.delete(invoice["id"], tombstone, kind="invoice")
    return tombstone


def finalize(world: World, params: Params, invoice: Object) -> Object:
    if invoice["status"] != "draft":
        raise ApiError(
            400, "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
            code="invoice_not_editable",
        )  # fmt: skip
    if world.the(invoice["customer"]).get("deleted"):
        raise ApiError(400, "This invoice can no longer be finalized: its customer was deleted.")
    advance = bool(params.get("auto_advance", invoice["auto_advance"]))
    collection.finalize(world, invoice, advance=advance, auto_advance=advance)
    return invoice


def pay(world: World, params: Params, invoice: Object) -> Object:
    """Try to collect now, or note that it was paid elsewhere. Raises ApiError 402 when the card is declined."""
    if world.the(invoice["customer"]).get("deleted"):
        raise ApiError(400, "This invoice can no longer be paid: its customer was deleted.")
    if invoice["status"] == "draft":
        collection.finalize(world, invoice, advance=False)
        if invoice["status"] == "paid":
            return invoice
    if invoice["status"] == "paid":
        raise ApiError(400, "Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] == "void":
        raise ApiError(400, "This invoice can no longer be paid: it is void.")
    if params.get("paid_out_of_band"):
        invoice_payments.paid_elsewhere(world, invoice)
        return invoice
    method = _method(world, params, invoice)
    collection.collect(world, invoice, method)
    if invoice["status"] != "paid":
        _refuse(invoice_payments.default_payment(world, invoice, method))
    return invoice


def _method(world: World, params: Params, invoice: Object) -> str:
    given = params.get("payment_method")
    if given and given["customer"] not in (None, invoice["customer"]):
        raise invalid_parameter("payment_method", "The payment method belongs to another customer.")
    found = given["id"] if given else invoice_payments.method_of(world, invoice)
    if found is None:
        raise ApiError(
            400,
            "This customer has no attached payment source or default payment method. Please consider adding a "
            "default payment method.",
            code="resource_missing",
        )
    return str(found)


def _refuse(payment: Object) -> None:
    """Raises ApiError 402 with what the bank said; a payment under way is no failure."""
    if payment["status"] == "requires_action":
        raise ApiError(
            402,
            "This payment requires additional user action before it can be completed successfully. Payment can be "
            "completed using the PaymentIntent associated with the invoice.",
            type="card_error", code="invoice_payment_intent_requires_action", payment_intent=payment,
        )  # fmt: skip
    if payment["status"] == "requires_payment_method":
        error = payment["last_payment_error"] or {}
        known = {name: error[name] for name in ("charge", "decline_code", "payment_method") if error.get(name)}
        raise ApiError(
            402, error.get("message") or "Your card was declined.", type="card_error",
            code=error.get("code") or "card_declined", payment_intent=payment, **known,
        )  # fmt: skip


def send(world: World, params: Params, invoice: Object) -> Object:
    if invoice["collection_method"] != "send_invoice":
        raise ApiError(400, "You can only manually send an invoice if its collection method is 'send_invoice'.")
    if invoice["status"] == "draft":
        collection.finalize(world, invoice)
    elif invoice["status"] in ("open", "uncollectible"):
        world.emit("invoice.sent", invoice)
    else:
        raise ApiError(400, f"This invoice can no longer be sent: it is {invoice['status']}.")
    return invoice


def void(world: World, params: Params, invoice: Object) -> Object:
    if invoice["status"] not in ("open", "uncollectible"):
        raise ApiError(400, f"You can only void open or uncollectible invoices; this one is {invoice['status']}.")
    if invoice["amount_paid"]:
        raise ApiError(400, "An invoice that was paid in part cannot be voided.")
    collection.void(world, invoice["id"])
    return invoice


def mark_uncollectible(world: World, params: Params, invoice: Object) -> Object:
    if invoice["status"] != "open":
        raise ApiError(400, f"You can only mark open invoices as uncollectible; this one is {invoice['status']}.")
    collection.mark_uncollectible(world, invoice, "user_forgiven")
    invoice_payments.owes(world, invoice, False)
    return invoice


def attach_payment(world: World, params: Params, invoice: Object) -> Object:
    """A payment that was made, or is under way, pays towards the invoice."""
    if params.get("payment_record"):
        raise invalid_parameter("payment_record", "This payment record was reported for another invoice.")
    payment: Object | None = params.get("payment_intent")
    if payment is None:
        raise required_parameter("payment_intent")
    if invoice["status"] not in ("open", "uncollectible"):
        raise ApiError(400, f"You can only attach payments to open invoices; this one is {invoice['status']}.")
    if payment["currency"] != invoice["currency"] or payment["customer"] not in (None, invoice["customer"]):
        raise invalid_parameter("payment_intent", "The payment intent has another currency or customer.")
    if payment["status"] == "canceled" or world.store.get(invoice_payments.payment_id(payment["id"])):
        raise invalid_parameter("payment_intent", "The payment intent is canceled or attached already.")
    row = invoice_payments.add_payment(world, invoice, payment, payment["amount"], default=False)
    if payment["status"] == "succeeded":
        invoice_payments.received(world, invoice, row, payment["amount_received"])
    return invoice


def _discounts(world: World, params: Params, invoice: Object) -> list[str]:
    try:
        return given(world, params["discounts"], customer=world.the(invoice["customer"], "customer"), invoice=invoice)
    except ValueError as error:
        raise ApiError(400, str(error), param="discounts") from None


def _fields(world: World, invoice: Object, params: Params) -> Object:
    """What parameters set as they are, and the due date that follows from them."""
    plain = (
        "auto_advance", "automatically_finalizes_at", "collection_method", "description", "footer",
        "statement_descriptor", "default_tax_rates", "due_date",
    )  # fmt: skip
    fields = {name: params[name] for name in plain if name in params}
    if "custom_fields" in params:
        fields["custom_fields"] = params["custom_fields"] or None
    if "default_payment_method" in params:
        fields["default_payment_method"] = params["default_payment_method"] and params["default_payment_method"]["id"]
    if "metadata" in params:
        fields["metadata"] = merged(invoice.get("metadata"), params["metadata"])
    sent = {**invoice, **fields}.get("collection_method") == "send_invoice"
    days, due = params.get("days_until_due"), fields.get("due_date")
    if days is not None and due is not None:
        raise invalid_parameter("due_date", "You may only specify one of these parameters: due_date, days_until_due.")
    if (days is not None or due is not None) and not sent:
        raise invalid_parameter(
            "days_until_due" if due is None else "due_date",
            "You can only specify a due date if the collection method is 'send_invoice'.",
        )
    if days is not None:
        fields["due_date"] = world.now + days * DAY
    if not sent and invoice.get("due_date"):
        fields["due_date"] = None
    if sent and not fields.get("due_date") and not invoice.get("due_date"):
        raise required_parameter("days_until_due")
    return fields


def _finalizes(world: World, fields: Object) -> int | None:
    if not fields.get("auto_advance"):
        return None
    at: int = fields.get("automatically_finalizes_at") or world.now + HOUR
    return at


def _plan(world: World, invoice: Object) -> None:
    if invoice["status"] == "draft" and invoice["automatically_finalizes_at"]:
        world.later(invoice["automatically_finalizes_at"], collection.finalize_draft, invoice["id"])
