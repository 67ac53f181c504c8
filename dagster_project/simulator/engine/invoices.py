"""Invoices while they can still change: drafted, filled with lines, added up.

Rules: https://docs.stripe.com/invoicing/overview, https://docs.stripe.com/billing/invoices/subscription.
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.discounts import spend, take_off
from dagster_project.simulator.engine.lines import invoice_item_of, lines_of, period_lines, usage_line, waiting_line
from dagster_project.simulator.engine.pricing import amount_of, pricing, product_name
from dagster_project.simulator.engine.subscriptions import after, update
from dagster_project.simulator.engine.tax import add_tax, summed
from dagster_project.simulator.engine.world import Object, World


def draft(world: World, sub: Object, reason: str, lines: list[Object], **fields: Any) -> Object:
    """A draft invoice of a subscription, with what waited for it.

    It is collected as the subscription says; `fields` are further attributes of the invoice.
    """
    customer = world.the(sub["customer"], "customer")
    lines = [*lines, *(waiting_line(world, item) for item in take_waiting(world, sub["currency"], sub, customer))]
    details = {"metadata": {**sub["metadata"]}, "subscription": sub["id"]}
    own = customer.get("discount")
    sent = sub["collection_method"] == "send_invoice"
    invoice = create(
        world, customer, sub["currency"], reason, lines,
        discounts=[*sub["discounts"]] or ([own["id"]] if own else []),
        parent={"quote_details": None, "subscription_details": details, "type": "subscription_details"},
        default_tax_rates=[*(sub.get("default_tax_rates") or [])], collection_method=sub["collection_method"],
        due_date=world.now + (sub["days_until_due"] or 0) * b.DAY if sent else None,
        default_payment_method=None, description=sub["description"],
        automatically_finalizes_at=None if reason == "subscription_create" else world.now + b.HOUR,
        **({"period_start": _last_edge(world, sub)} if reason == "subscription_cycle" else {}), **fields,
    )  # fmt: skip
    update(world, sub, latest_invoice=invoice["id"])
    if invoice["total_discount_amounts"]:
        spend(world, lines)
    return invoice


def _last_edge(world: World, sub: Object) -> int:
    """When the period that ends now began: what a renewal bills afterwards was used since then."""
    recurring = sub["items"]["data"][0]["price"]["recurring"]
    start = after(world.now, recurring["interval"], -recurring["interval_count"], sub["billing_cycle_anchor"])
    return max(start, int(sub["start_date"]))


def one_off(
    world: World, customer: Object, waiting: list[Object], *, due: int | None, currency: str | None = None,
    **fields: Any,
) -> Object:  # fmt: skip
    """A draft invoice of items that belong to no subscription; with `due` it is sent, not charged."""
    lines = [waiting_line(world, item) for item in waiting]
    how: Object = {
        "collection_method": "charge_automatically" if due is None else "send_invoice", "due_date": due,
        "automatically_finalizes_at": world.now + b.HOUR,
    }  # fmt: skip
    return create(world, customer, currency or customer["currency"], "manual", lines, **{**how, **fields})


def create(
    world: World, customer: Object, currency: str, reason: str, lines: list[Object], *, parent: Object | None = None,
    **fields: Any,
) -> Object:  # fmt: skip
    """A draft invoice with its lines, added up and announced."""
    seller = world.store.get(world.id_of_account, "account") or {"country": "US", "business_profile": None}
    made: Object = {
        "customer": customer["id"], "currency": currency, "billing_reason": reason,
        "account_country": seller["country"], "account_name": (seller["business_profile"] or {}).get("name"),
        "customer_email": customer["email"], "customer_name": customer["name"],
        "customer_address": customer["address"], "customer_phone": customer["phone"],
        "customer_shipping": customer.get("shipping"),
        "customer_tax_exempt": customer["tax_exempt"], "customer_tax_ids": [], "period_start": world.now,
        "period_end": world.now, "discounts": [], "starting_balance": customer["balance"],
        "total_discount_amounts": [], "total_pretax_credit_amounts": [], "total_taxes": [], "parent": parent,
        "metadata": {}, "status": "draft", "auto_advance": True,
        "test_clock": customer.get("test_clock"),
        "payment_settings": dict.fromkeys(("default_mandate", "payment_method_options", "payment_method_types")),
        "status_transitions": dict.fromkeys(("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")),
    }  # fmt: skip
    invoice = world.add("invoice", "in", **{**made, **fields})
    _claim(world, invoice, lines)
    invoice |= _sums(world, invoice, lines)
    for line in lines:
        world.store.insert(line, parent=invoice["id"])
    invoice["lines"] = _embedded(invoice, lines)
    details = (parent or {}).get("subscription_details")
    world.store.save(invoice, subscription=details["subscription"] if details else "")
    world.emit("invoice.created", invoice)
    return invoice


def add_items(world: World, invoice: Object, items: list[Object]) -> None:
    """Put further invoice items on a draft."""
    lines = [waiting_line(world, item) for item in items]
    _claim(world, invoice, lines)
    for line in lines:
        world.store.insert(line, parent=invoice["id"])
    add_up(world, invoice)


def add_up(world: World, invoice: Object, **changes: Any) -> None:
    """Work out a draft again after a change of its lines, discounts or tax rates, and tell; `changes` are told, too."""
    unlink_lines(invoice)
    lines = lines_of(world, invoice)
    sums = _sums(world, {**invoice, **changes}, lines)
    for line in lines:
        world.store.save(line)
    world.change(invoice, "invoice.updated", lines=_embedded(invoice, lines), **sums, **changes)


def unlink_lines(invoice: Object) -> None:
    """Before live lines change: the draft keeps what they were, so that its event can tell it."""
    invoice["lines"] = shapes.frozen(invoice["lines"])


def wait(world: World, item: Object, sub: Object | None) -> None:
    """Let an invoice item wait for the next invoice of its subscription, or of its customer."""
    waiting = world.meta.setdefault("waiting", {})
    waiting.setdefault(sub["id"] if sub else item["customer"], []).append(item["id"])


def take_waiting(world: World, currency: str, sub: Object | None, customer: Object) -> list[Object]:
    """The items in a currency that wait for the next invoice of a subscription and of a customer: they wait no more."""
    waiting = world.meta.get("waiting", {})
    found = []
    for owner in (*((sub["id"],) if sub else ()), customer["id"]):
        items = [world.the(id, "invoiceitem") for id in waiting.pop(owner, [])]
        found += [item for item in items if item["currency"] == currency]
        if others := [item["id"] for item in items if item["currency"] != currency]:
            waiting[owner] = others
    return found


def _claim(world: World, invoice: Object, lines: list[Object]) -> None:
    for line in lines:
        line["invoice"] = invoice["id"]
        if id := invoice_item_of(line):
            item = world.the(id, "invoiceitem")
            item["invoice"] = invoice["id"]
            world.store.save(item)


def _embedded(invoice: Object, lines: list[Object]) -> Object:
    return shapes.embedded(f"/v1/invoices/{invoice['id']}/lines", lines)


def _sums(world: World, invoice: Object, lines: list[Object]) -> Object:
    """Work out discounts and tax of the lines; the amounts of the invoice that follow from them, in minor units."""
    discounted = take_off(world, invoice, lines)
    inside = add_tax(world, invoice, lines)
    rows = [row for line in lines for row in line["taxes"]]
    on_top = sum(row["amount"] for row in rows if row["tax_behavior"] == "exclusive")
    subtotal = sum(line["amount"] for line in lines)
    total = subtotal - sum(discounted.values()) + on_top
    return {
        "subtotal": subtotal, "subtotal_excluding_tax": subtotal - inside, "total": total,
        "total_excluding_tax": total - sum(row["amount"] for row in rows), "total_taxes": summed(rows),
        "amount_due": max(total, 0), "amount_remaining": max(total, 0),
        "total_discount_amounts": [{"amount": amount, "discount": id} for id, amount in discounted.items()],
        "total_pretax_credit_amounts": [
            {"amount": amount, "discount": id, "type": "discount"} for id, amount in discounted.items()
        ],
    }  # fmt: skip


__all__ = [
    "add_items", "add_up", "amount_of", "create", "draft", "one_off", "period_lines", "pricing", "product_name",
    "take_waiting", "usage_line", "wait", "waiting_line",
]  # fmt: skip
